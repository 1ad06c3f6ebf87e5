"""Is the synthetic data as useful for one group of people as for another?

Groups are the levels of each binary or categorical static attribute (sex), and those below and
above the real median of a continuous one (age). In each, a classifier of the labels trained on
synthetic sequences is tested on real ones beside one trained on real sequences.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rgan.evaluate.classifiers import auroc
from rgan.evaluate.trial import About, Measure, Metric, Trial, Unscorable, register
from rgan.evaluate.utility import fit_on, how_to_read, labels_unfit
from rgan.sequences import Sequences

FEWEST = 8
"""Of the rarest class in a group, below which its AUROC is noise."""
MOST_LEVELS = 6


def groups_of(train: Sequences, data: Sequences) -> dict[str, NDArray[np.bool_]]:
    """Name to rows of ``data``; medians are those of ``train``."""
    found: dict[str, NDArray[np.bool_]] = {}
    for a, info in enumerate(data.static_info):
        assert data.static is not None and train.static is not None
        x_N = data.static[:, a]
        if info.kind == "continuous":
            known = train.static[:, a][~np.isnan(train.static[:, a])]
            if len(known):
                middle = float(np.median(known))
                found[f"{info.name} < {middle:g}"] = x_N < middle
                found[f"{info.name} >= {middle:g}"] = x_N >= middle
        elif len(info.levels) <= MOST_LEVELS:
            for code in range(max(2, len(info.levels))):
                level = info.levels[code] if code < len(info.levels) else str(code)
                found[f"{info.name} = {level}"] = x_N == code
    return found


class Groups(Metric):
    """The largest loss of AUROC in any group, against a classifier trained on real sequences."""

    name = "groups"
    fresh = 0.5
    controls_once = "always"

    def about(self, quick: bool) -> tuple[About, ...]:
        note = "largest AUROC lost against real-trained in any group; parts name them"
        return (About("groups_gap", "utility lost in the worst group", "lower", note),)

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        if not train.static_info or not test.static_info:
            return "the data have no static attributes to tell groups by"
        return labels_unfit(train, test, candidate)

    def measure(self, trial: Trial) -> dict[str, Measure]:
        assert trial.test.labels is not None
        how = how_to_read(trial.scale, trial.train, trial.test, trial.candidate)
        classes = np.union1d(trial.train.classes, trial.test.classes)
        y_N = np.searchsorted(classes, trial.test.labels)
        answers = {
            side: fit_on(data, "linear", classes, **how)(trial.test)
            for side, data in (("synthetic", trial.candidate), ("real", trial.train))
        }
        parts: dict[str, float] = {}
        gaps = []
        for name, rows in groups_of(trial.train, trial.test).items():
            counts = np.bincount(y_N[rows], minlength=len(classes))
            counts = counts[counts > 0]
            if len(counts) < 2 or counts.min() < FEWEST:
                continue
            scores = {side: auroc(y_N[rows], p_NC[rows]) for side, p_NC in answers.items()}
            if all(map(math.isfinite, scores.values())):
                parts |= {f"{name}, trained on {side}": v for side, v in scores.items()}
                gaps.append(scores["real"] - scores["synthetic"])
        if not gaps:
            raise Unscorable(f"no group has {FEWEST} held-out sequences of each class")
        return {"groups_gap": Measure(max(gaps), parts)}


register(Groups())
