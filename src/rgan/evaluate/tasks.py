"""Will a vital sign cross its threshold soon? Early-warning tasks on real and on synthetic series.

Shape letters: N sequences, T steps, F features.

Esteban et al. 2017, section 4.3, asks of the first hours of an eICU stay whether oxygen saturation,
heart rate, respiratory rate or mean pressure cross given thresholds within the next hour, with a
classifier trained on synthetic stays and tested on real ones. No label of a data set is needed:
each sequence brings its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.evaluate.classifiers import auprc, auroc, fit
from rgan.evaluate.features import table
from rgan.evaluate.trial import About, Measure, Metric, Trial, Unscorable, register
from rgan.sequences import Sequences

PAPER: dict[str, tuple[tuple[str, ...], float | None, float | None]] = {
    "SpO2": (("spo2", "sao2", "o2sat", "oxygensaturation"), 95.0, None),
    "HR": (("hr", "heartrate"), 70.0, 100.0),
    "RR": (("rr", "resprate", "respiratoryrate", "respiration"), 13.0, 20.0),
    "MAP": (("map", "meanbloodpressure", "meanarterialpressure", "mbp"), 70.0, 110.0),
}
"""Names in lower case without signs, and the paper's thresholds from below and above."""
QUANTILES = (0.1, 0.9)
MOST_FEATURES, FEWEST_STEPS, FEWEST = 5, 8, 5


@dataclass(frozen=True)
class Task:
    """Whether a feature lies beyond a threshold at any observed step of the next hour.

    Args:
        name: "HR > 100".
        feature: its place.
        limit: in the feature's unit.
        above: on which side.
    """

    name: str
    feature: int
    limit: float
    above: bool

    def answers(self, data: Sequences, begin: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """For each sequence whether the hour from ``begin`` has a value, and the answer, 0 or 1."""
        end = begin + horizon(data)
        seen = data.observed[:, begin:end, self.feature]
        x = np.where(seen, data.values[:, begin:end, self.feature], np.nan)
        with np.errstate(invalid="ignore"):
            beyond = x > self.limit if self.above else x < self.limit
        return np.asarray(seen.any(1)), np.asarray(beyond.any(1), dtype=np.int64)


def horizon(data: Sequences) -> int:
    """Steps of the next hour; a twelfth of the sequence where time has no such unit."""
    hours = {"h": 1.0, "min": 1 / 60, "s": 1 / 3600}.get(data.step_unit)
    if hours is None:
        return max(1, data.n_steps // 12)
    return int(min(max(1, round(1 / (hours * data.step))), data.n_steps // 3))


def tasks_of(train: Sequences) -> list[Task]:
    """The paper's tasks where features have such names; else the tenth and the ninetieth percentile
    of those that are observed most."""
    plain = ["".join(c for c in name.lower() if c.isalnum()) for name in train.feature_names]
    found = []
    for short, (aliases, low, high) in PAPER.items():
        places = [i for i, name in enumerate(plain) if name in aliases]
        for i in places[:1]:
            found += [Task(f"{short} < {low:g}", i, low, False)] if low is not None else []
            found += [Task(f"{short} > {high:g}", i, high, True)] if high is not None else []
    if found:
        return found
    most = np.argsort(-train.observed.mean((0, 1)), kind="stable")[:MOST_FEATURES]
    for i in sorted(most.tolist()):
        x = train.values[:, :, i][train.observed[:, :, i]]
        if len(x):
            low_, high_ = (float(q) for q in np.quantile(x, QUANTILES))
            name = train.feature_names[i]
            found += [Task(f"{name} < {low_:.4g}", i, low_, False)]
            found += [Task(f"{name} > {high_:.4g}", i, high_, True)]
    return found


def history(data: Sequences, steps: int) -> Sequences:
    """The sequences' first steps, without labels."""
    return replace(
        data,
        values=data.values[:, :steps],
        observed=data.observed[:, :steps],
        lengths=np.minimum(data.lengths, steps),
        labels=None,
    )


class Thresholds(Metric):
    """The mean over the tasks of AUROC and AUPRC, trained on the candidate and tested on real."""

    name = "thresholds"
    fresh = 0.0
    controls_once = "quick"

    def about(self, quick: bool) -> tuple[About, ...]:
        note = "mean over tasks, floor: trained on real"
        return (
            About("thresholds_auroc", "crosses a threshold, AUROC", "higher", note),
            About("thresholds_auprc", "crosses a threshold, AUPRC", "higher", note),
        )

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        if train.is_image:
            return "images have no next hour"
        if train.n_steps < FEWEST_STEPS:
            return f"sequences have {train.n_steps} steps; it takes {FEWEST_STEPS}"
        return ""

    def measure(self, trial: Trial) -> dict[str, Measure]:
        begin = trial.train.n_steps - horizon(trial.train)
        same = trial.candidate.static_info == trial.test.static_info
        sides = (trial.candidate, trial.test)
        rows = [table(history(s, begin), trial.scale, with_static=same) for s in sides]
        parts: dict[str, dict[str, float]] = {"auroc": {}, "auprc": {}}
        for task in tasks_of(trial.train):
            found = _scores(task, trial, begin, rows)
            for name, value in found.items():
                parts[name][task.name] = value
        if not parts["auroc"]:
            raise Unscorable(
                f"no threshold is crossed by {FEWEST} of the held-out sequences and not by others"
            )
        return {
            f"thresholds_{name}": Measure(float(np.mean(list(values.values()))), values)
            for name, values in parts.items()
        }


def _scores(task: Task, trial: Trial, begin: int, rows: list[Any]) -> dict[str, float]:
    known, y_N = zip(*(task.answers(s, begin) for s in (trial.candidate, trial.test)), strict=True)
    _, real_N = task.answers(trial.train, begin)
    tested = y_N[1][known[1]]
    if min(tested.sum(), (1 - tested).sum()) < FEWEST or not 0 < real_N.mean() < 1:
        return {}
    if known[0].sum() < FEWEST:  # the candidate never measures it: nothing can be learnt
        return {"auroc": 0.5, "auprc": float(tested.mean())}
    predict = fit("boosting", rows[0][known[0]], y_N[0][known[0]], np.array([0, 1]), trial.seed)
    p_NC = predict(rows[1][known[1]])
    scores = {"auroc": auroc(tested, p_NC), "auprc": auprc(tested, p_NC)}
    return {name: value for name, value in scores.items() if math.isfinite(value)}


register(Thresholds())
