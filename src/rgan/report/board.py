"""TensorBoard as a listener of the loop's events."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rgan.errors import InputError
from rgan.report.board_parts import finished, hyperparameters, numbers, to_histogram
from rgan.train.events import Ended, EpochEnded, Event, Examined, Judged, Noted, Started, Stepped

if TYPE_CHECKING:
    from torch import nn

HISTOGRAMS = 25
"""About how many times in a training gradients are written as histograms."""


class Board:
    """Writes numbers, gradients and pictures for TensorBoard.

    Tags: ``loss/NAME`` and ``rate/NAME`` per epoch, with ``rate/g_factor``,
    ``speed/sequences_per_second``, ``health/...`` at each examination, ``similarity/NAME`` at each
    look with ``similarity/best``, ``step/NAME`` for the losses of single steps, ``gradient/GROUP``
    now and then, ``notes`` in words. Going on from an earlier step hides what was written after it.

    Args:
        folder: ``Run.tensorboard``; the event file is made at the first event or picture.
        every: steps between two writings of single steps' losses.
        networks: by name; the histograms are of their gradients.
        settings: ``{"section.key": value}``, shown in the HPARAMS tab beside the last metrics.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        every: int = 50,
        networks: Mapping[str, nn.Module] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._every = max(1, every)
        self._networks, self._settings = networks or {}, settings or {}
        self._apart, self._drawn = 1, 0
        self._writer: Any = None

    def __call__(self, event: Event) -> None:
        """Writes what the event says."""
        if isinstance(event, Started):
            self._start(event)
        elif isinstance(event, Stepped):
            if event.step % self._every == 0:
                self.numbers("step", event.losses, event.step)
            if event.step // self._apart > self._drawn:
                self._drawn = event.step // self._apart
                self._gradients(event.step)
        elif isinstance(event, Examined):
            self._health(event)
        elif isinstance(event, Judged):
            values = dict(event.values)
            if event.best and event.value is not None:
                values["best"] = event.value
            self.numbers("similarity", values, event.step)
        elif isinstance(event, EpochEnded):
            self._epoch(event)
        elif isinstance(event, Noted):
            self._open().add_text("notes", event.text, event.step)
        elif isinstance(event, Ended) and self._writer is not None:
            if event.status == "finished" and self._settings:
                self._writer.file_writer.add_summary(finished())
            self._writer.flush()

    def _start(self, event: Started) -> None:
        writer = self._open(purge_step=event.step + 1 if event.step else None)
        self._apart = max(1, event.total_steps // HISTOGRAMS)
        self._drawn = event.step // self._apart
        if self._settings:
            for summary in hyperparameters(self._settings):
                writer.file_writer.add_summary(summary)

    def _epoch(self, event: EpochEnded) -> None:
        rates = dict(event.rates)
        if rates.get("critic") and "generator" in rates:
            rates["g_factor"] = rates["generator"] / rates["critic"]
        speed = {"sequences_per_second": event.sequences_per_second, "epoch": event.epoch}
        groups = {"loss": event.losses, "rate": rates, "speed": speed}
        for group, values in groups.items():
            self.numbers(group, values, event.step)

    def _health(self, event: Examined) -> None:
        groups = ("gradient", "update", "weight", "dead")
        found = {f"{g}/{name}": v for g in groups for name, v in getattr(event, g).items()}
        single = ("accuracy", "margin", "logit", "diversity", "twins")
        found |= {name: getattr(event, name) for name in single}
        self.numbers("health", found, event.step)

    def _gradients(self, step: int) -> None:
        """Histograms of the last update's gradients, one for each group of layers."""
        groups: dict[str, list[NDArray[Any]]] = {}
        for network, module in self._networks.items():
            for name, parameter in module.named_parameters():
                if parameter.grad is not None:
                    group = f"gradient/{network}.{name.partition('.')[0]}"
                    values = parameter.grad.detach().flatten().float().cpu().numpy()
                    groups.setdefault(group, []).append(values)
        for group, parts in groups.items():
            histogram = to_histogram(np.concatenate(parts))
            if histogram is not None:
                self._open().add_histogram_raw(group, **histogram, global_step=step)

    def numbers(self, group: str, values: Mapping[str, float], step: int) -> None:
        """Adds numbers, under the tags ``GROUP/NAME``."""
        if values:
            self._open().file_writer.add_summary(numbers(group, values), step)

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
