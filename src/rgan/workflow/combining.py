"""Combining a chain of runs, and drawing again what is drawn from the whole history."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rgan.errors import InputError
from rgan.report.board import Board
from rgan.report.figures import draw_losses, make_gif
from rgan.runs.combine import combine
from rgan.runs.folder import Run
from rgan.runs.metric import number
from rgan.train.events import EpochEnded

Say = Callable[[str], None]


def combine_runs(
    runs: list[Run], *, name: str = "", command: str = "", say: Say = lambda text: None
) -> Run:
    """One run of a chain, its pictures, losses and TensorBoard drawn from the one history.

    Args:
        runs: in any order, each a branch of another one.
        name: of the new run; the last one's if not given.
        command: what was typed.
        say: is told what is left out.

    Raises:
        RunError: they cannot be combined; nothing has been changed.
        StorageError: the disk is full or cannot be written; nothing has been changed.
    """
    return combine(runs, name=name, command=command, finish=lambda run: draw(run, say), say=say)


def draw(run: Run, say: Say) -> None:
    """The GIF, the losses and the TensorBoard of a run from its history and its pictures."""
    pictures = _readable(sorted(run.figures.glob("samples-*.png")), say)
    if len(pictures) > 1:
        make_gif(pictures, run.figures / "samples.gif")
    events = run.history.read()
    draw_losses(events, run.figures / "losses.png")
    by_step = {int(path.stem.removeprefix("samples-")): path for path in pictures}
    with Board(run.tensorboard) as board:
        for event in filter(None, map(_epoch, events)):
            board(event)
        for step, path in by_step.items():
            board.images("samples", path, step)


def _readable(paths: list[Path], say: Say) -> list[Path]:
    from PIL import Image

    found = []
    for path in paths:
        try:
            with Image.open(path) as file:
                file.verify()
        except (OSError, SyntaxError, InputError):  # what PIL raises for a broken PNG
            say(f"left out: {path.name} is not a picture that can be read")
            path.unlink()
        else:
            found.append(path)
    return found


def _epoch(event: Mapping[str, Any]) -> EpochEnded | None:
    """An epoch's event from its line; None of another kind of event."""
    if event.get("event") != "epoch":
        return None

    def numbers(name: str) -> dict[str, float]:
        listed = event.get(name)
        pairs = listed.items() if isinstance(listed, Mapping) else ()
        return {str(key): float(value) for key, value in pairs if number(value)}

    speed = event.get("sequences_per_second")
    return EpochEnded(
        int(event["step"]),
        int(event["epoch"]),
        numbers("losses"),
        numbers("rates"),
        sequences_per_second=float(speed) if number(speed) else 0.0,
    )
