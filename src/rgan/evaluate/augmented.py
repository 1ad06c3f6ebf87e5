"""Do synthetic sequences help beside real ones? Train on both, test on held-out real sequences.

The floor is trained on the real training set alone, so a score below it says that adding the
synthetic set did harm.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rgan.evaluate.trial import Measure, Trial, register
from rgan.evaluate.utility import Usefulness
from rgan.sequences import Sequences, concatenate


class Augmented(Usefulness):
    """TSTR+real: train on real and as many synthetic sequences, test on real ones."""

    name = "augmented"
    title = "TSTR+real"
    fresh = 0.0
    note = "floor: trained on real alone"

    def measure(self, trial: Trial) -> dict[str, Measure]:
        if trial.kind == "floor":
            return self.score(trial, trial.train, trial.test, shared=True)
        learn = both(trial.train, trial.candidate)
        return self.score(trial, learn, trial.test, shared=False)


def both(train: Sequences, candidate: Sequences) -> Sequences:
    """One labelled set of two, without what a synthetic set has not (whose a sequence is)."""
    shared: dict[str, Any] = {}
    if train.static_info != candidate.static_info:
        shared = {"static": None, "static_info": ()}
    parts = [
        replace(s, subjects=None, starts=None, part=None, layout=train.layout, notes=(), **shared)
        for s in (train, candidate)
    ]
    return concatenate(parts)


register(Augmented())
