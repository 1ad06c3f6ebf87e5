"""One line of judgement on a training, in the words of somebody who looks at its figures."""

from __future__ import annotations

import math

from rgan.train.events import Event, Examined, Started, Stepped
from rgan.train.health import FEW

AHEAD, BEHIND, ALIKE = 0.9, 0.55, 0.2
"""Shares of real sequences that the critic takes for real, and of the diversity of real ones."""
_KEEP = 0.8
"""How much of the running means is kept at each examination: one batch says little."""


def verdict(
    accuracy: float | None,
    diversity: float,
    gfactor: float = 1.0,
    begun_with: float = 1.0,
    twins: float = 0.0,
) -> str:
    """How a training stands.

    Args:
        accuracy: share of real sequences that the critic takes for real, 0 to 1; None where it
            rests, so that there is no balance.
        diversity: of generated sequences over that of real ones.
        gfactor: the generator's learning rate over the critic's, now.
        begun_with: the same when the training began.
        twins: share of pairs of generated sequences that are next to the same.

    >>> verdict(0.94, 0.8, gfactor=0.6, begun_with=0.5)
    'critic ahead (accuracy .94), g-factor raised to 0.6'
    """
    words = []
    if accuracy is not None and accuracy > AHEAD:
        words.append(f"critic ahead (accuracy {_short(accuracy)})")
    elif accuracy is not None and accuracy < BEHIND:
        words.append(f"critic behind (accuracy {_short(accuracy)})")
    if diversity < ALIKE:
        words.append(f"samples alike ({diversity:.0%} of the real diversity)")
    elif twins > FEW:
        words.append(f"samples keep to about {1 / twins:.0f} modes")
    if accuracy is None:
        return ", ".join(words)
    words = words or ["balanced"]
    if math.isfinite(gfactor) and gfactor > 0:
        shown = f"{gfactor:.2g}"
        moved = math.log(gfactor / begun_with) if begun_with > 0 else 0.0
        if abs(moved) > 0.05 and shown != f"{begun_with:.2g}":
            words.append(f"g-factor {'raised' if moved > 0 else 'lowered'} to {shown}")
        elif shown != "1":
            words.append(f"g-factor {shown}")
    return ", ".join(words)


def _short(share: float) -> str:
    return f"{share:.2f}".removeprefix("0")


class Watcher:
    """Follows a training's events, and has the line that fits the moment; "" before it knows."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._accuracy: float | None = None
        self._rests = False
        self._diversity = self._gfactor = self._begun_with = 1.0
        self._twins = 0.0
        self._rated = False

    def __call__(self, event: Event) -> None:
        """Takes in a measurement or a step's rates."""
        if isinstance(event, Started):
            self._clear()
        elif isinstance(event, Examined):
            self._examined(event)
        elif isinstance(event, Stepped) and event.rates.get("critic"):
            self._gfactor = event.rates.get("generator", 0.0) / event.rates["critic"]
            if not self._rated:
                self._begun_with, self._rated = self._gfactor, True

    def _examined(self, event: Examined) -> None:
        if not math.isfinite(event.accuracy + event.diversity):
            return
        self._rests = bool(event.gradient) and "critic" not in event.gradient
        if self._accuracy is None:
            self._accuracy, self._diversity = event.accuracy, event.diversity
            self._twins = event.twins
            return
        self._accuracy = _KEEP * self._accuracy + (1 - _KEEP) * event.accuracy
        self._diversity = _KEEP * self._diversity + (1 - _KEEP) * event.diversity
        self._twins = _KEEP * self._twins + (1 - _KEEP) * event.twins

    @property
    def words(self) -> str:
        """The line."""
        if self._accuracy is None:
            return ""
        return verdict(
            None if self._rests else self._accuracy,
            self._diversity,
            self._gfactor,
            self._begun_with,
            self._twins,
        )
