"""TensorBoard as a listener of the loop's events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.errors import InputError
from rgan.train.events import Ended, EpochEnded, Event, Examined, Judged, Started, Stepped


class Board:
    """Writes losses, rates and pictures for TensorBoard.

    Tags: ``loss/NAME`` and ``rate/NAME`` per epoch, with ``rate/g_factor``,
    ``speed/sequences_per_second``, ``health/...`` at each examination,
    ``similarity/NAME`` at each look, and ``step/NAME`` for the losses of single steps. Going on
    from an earlier step hides what was written after it.

    Args:
        folder: ``Run.tensorboard``; the event file is made at the first event or picture.
        every: steps between two writings of single steps' losses.
    """

    def __init__(self, folder: str | Path, *, every: int = 50) -> None:
        self.folder = Path(folder)
        self._every = max(1, every)
        self._writer: Any = None

    def __call__(self, event: Event) -> None:
        """Writes what the event says."""
        if isinstance(event, Started):
            self._open(purge_step=event.step + 1 if event.step else None)
        elif isinstance(event, Stepped):
            if event.step % self._every == 0:
                self._scalars("step", event.losses, event.step)
        elif isinstance(event, Examined):
            self._health(event)
        elif isinstance(event, Judged):
            self._scalars("similarity", event.values, event.step)
        elif isinstance(event, EpochEnded):
            self._scalars("loss", event.losses, event.step)
            self._scalars("rate", event.rates, event.step)
            if event.rates.keys() >= {"generator", "critic"}:
                gfactor = event.rates["generator"] / event.rates["critic"]
                self._scalars("rate", {"g_factor": gfactor}, event.step)
            speed = {"sequences_per_second": event.sequences_per_second, "epoch": event.epoch}
            self._scalars("speed", speed, event.step)
        elif isinstance(event, Ended) and self._writer is not None:
            self._writer.flush()

    def _health(self, event: Examined) -> None:
        for group in ("gradient", "update", "weight", "dead"):
            self._scalars(f"health/{group}", getattr(event, group), event.step)
        single = {n: getattr(event, n) for n in ("accuracy", "margin", "logit", "diversity")}
        self._scalars("health", single, event.step)

    def images(self, name: str, picture: str | Path | NDArray[Any], step: int) -> None:
        """Adds a picture.

        Args:
            name: its tag, such as "samples".
            picture: a PNG's path; or an array (H, W) or (H, W, 3), uint8, or floats in 0 to 1.
            step: the step it was made at.

        Raises:
            InputError: the file is not a picture that can be read.
        """
        if isinstance(picture, str | Path):
            from PIL import Image

            try:
                with Image.open(picture) as file:
                    array: NDArray[Any] = np.asarray(file.convert("RGB"))
            except OSError as error:
                raise InputError(f'"{picture}" is not a picture that can be read') from error
        else:
            array = np.asarray(picture)
        shape = "HW" if array.ndim == 2 else "HWC"
        self._open().add_image(name, array, global_step=step, dataformats=shape)
        self._writer.flush()

    def close(self) -> None:
        """Writes out what is left; a later event opens a new file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _open(self, purge_step: int | None = None) -> Any:
        if self._writer is None:
            # loaded here because it takes a second and not every run wants it
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=purge_step, flush_secs=20)
        return self._writer

    def _scalars(self, group: str, numbers: dict[str, Any], step: int) -> None:
        writer = self._open()
        for name, number in numbers.items():
            writer.add_scalar(f"{group}/{name}", number, global_step=step)
