"""Pictures of samples from constant noise, as a training goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rgan.report.board import Board
from rgan.report.figures import draw_losses, draw_samples, make_gif
from rgan.runs.folder import Run
from rgan.sequences import Sequences
from rgan.train.config import TrainConfig
from rgan.train.events import Ended, EpochEnded, Event, Started
from rgan.workflow.session import Session

SERIES = 200
"""Sequences behind the bands and means of a figure of series."""
PANELS = 4
"""Features in a figure of series: each takes a quarter of a second."""
TILES = 64
"""Images in a grid."""


class Pictures:
    """A listener that draws ``figures/samples-00001200.png`` beside real sequences, evenly spaced
    over the training, and at its end a GIF of them and the losses.

    The noise and the labels are the same each time, so that one sees the same samples improve. The
    real side shows sequences of the validation split.
    """

    def __init__(self, session: Session, run: Run, board: Board) -> None:
        self.session, self.run, self.board = session, run, board
        self.count = session.config.train.figures
        real = session.splits.validation
        n = TILES if real.is_image else SERIES
        self.real = _evenly(real, n)
        self.singles = may_show_singles(real, session.config.train)
        self.marks: list[int] = []

    def __call__(self, event: Event) -> None:
        if not self.count:
            return
        if isinstance(event, Started):
            every = [round(event.total_steps * (i + 1) / self.count) for i in range(self.count)]
            # A mark inside the epoch that a stop broke off is still to be drawn at its end.
            drawn = event.step - event.step % event.steps_per_epoch
            self.marks = [mark for mark in every if mark > drawn]
            self.cut(event.step)
        elif isinstance(event, EpochEnded) and self.marks and event.step >= self.marks[0]:
            self.marks = [mark for mark in self.marks if mark > event.step]
            self.draw(event.step)
        elif isinstance(event, Ended) and event.status == "finished":
            self.finish()

    def cut(self, step: int) -> None:
        """Remove pictures after a step, which a killed training drew and this one draws again."""
        for path in self.run.figures.glob("samples-*.png"):
            number = path.stem.removeprefix("samples-")
            if number.isdigit() and int(number) > step:
                path.unlink()

    def draw(self, step: int) -> Path:
        """Draw the samples of this moment."""
        trained = self.session.trained
        # Labels that are read off samples cannot be asked for without other noise each time.
        labels = None if trained.generator.reads_labels else self.real.labels
        synthetic = trained.sample(len(self.real), labels, seed=0)
        path = self.run.figures / f"samples-{step:08d}.png"
        title = f"step {step:,}"
        draw_samples(
            self.real,
            synthetic,
            path,
            title=title,
            most=PANELS,
            singles=self.singles,
            still=True,
        )
        self.board.images("samples", path, step)
        return path

    def finish(self) -> None:
        """The GIF of all pictures, and the losses."""
        pictures = sorted(self.run.figures.glob("samples-*.png"))
        if len(pictures) > 1:
            make_gif(pictures, self.run.figures / "samples.gif")
        draw_losses(self.run.history.read(), self.run.figures / "losses.png")


def may_show_singles(real: Sequences, config: TrainConfig) -> bool:
    """Whether a picture may show single real sequences: ``train.real_examples``."""
    if config.real_examples == "auto":
        return real.subjects is None
    return config.real_examples == "always"


def _evenly(real: Sequences, n: int) -> Sequences:
    """At most n sequences; of classes, as evenly as there are, in order of the class."""
    if not real.has_classes or real.labels is None:
        return real[:n]
    per_class = max(1, n // len(real.classes))
    rows = [np.flatnonzero(real.labels == label)[:per_class] for label in real.classes]
    return real[np.concatenate(rows)[:n]]
