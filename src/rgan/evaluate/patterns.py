"""Is it measured when and together with what it is measured in truth?

Shape letters: N sequences, T steps, F features, K columns.

``missingness`` compares how often each feature is measured. Here: how its rate runs over time, and
whether a classifier that sees nothing but the masks can tell synthetic sequences from real ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rgan.evaluate.classifiers import fit
from rgan.evaluate.discriminative import balanced, judge_sets
from rgan.evaluate.trial import About, Measure, Metric, Trial, Unscorable, register
from rgan.sequences import Sequences

FEWEST_STEPS = 4
LEAST_SPREAD = 0.02
"""Deviation of a rate over the steps, below which its curve is flat and has no shape to keep."""
MOST_FLAT = 4096


def curve(data: Sequences) -> NDArray[np.float64]:
    """(T, F): the share of the sequences so long that have each feature measured at each step."""
    long_T = data.valid.sum(0)
    return np.asarray(data.observed.sum(0) / np.maximum(long_T, 1)[:, None], dtype=np.float64)


class MissingCurve(Metric):
    """Correlation over the steps of each feature's rate in both sets; the mean over features."""

    name = "missing_curve"

    def about(self, quick: bool) -> tuple[About, ...]:
        note = "mean correlation of rates by step"
        return (About(self.name, "missingness over time", "higher", note),)

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        if all(s.fully_observed for s in (train, test, candidate)):
            return "everything is observed in all sets"
        return f"sequences have {train.n_steps} steps" if train.n_steps < FEWEST_STEPS else ""

    def measure(self, trial: Trial) -> dict[str, Measure]:
        real_TF, synthetic_TF = curve(trial.test), curve(trial.candidate)
        parts = {}
        for f, name in enumerate(trial.train.feature_names):
            r, s = real_TF[:, f], synthetic_TF[:, f]
            if r.std() < LEAST_SPREAD:
                continue
            # A flat synthetic curve has no correlation: nothing of the real one's shape is kept.
            parts[name] = float(np.corrcoef(r, s)[0, 1]) if s.std() > 0 else 0.0
        if not parts:
            raise Unscorable("every feature is measured about as often at each step")
        return {self.name: Measure(float(np.mean(list(parts.values()))), parts)}


class MissingPattern(Metric):
    """Balanced accuracy - 0.5 of boosting that sees masks alone, on held-out sequences."""

    name = "missing_pattern"
    controls_once = "quick"

    def about(self, quick: bool) -> tuple[About, ...]:
        note = "balanced accuracy - 0.5 of a judge that sees masks alone"
        return (About(self.name, "missingness, judged", "lower", note),)

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        full = all(s.fully_observed for s in (train, test, candidate))
        return "everything is observed in all sets" if full else ""

    def measure(self, trial: Trial) -> dict[str, Measure]:
        sets = judge_sets(trial, np.random.default_rng(trial.seed))
        x = [np.concatenate([mask_table(s) for s in pair]) for pair in sets]
        y = [np.repeat([1, 0], [len(a), len(b)]) for a, b in sets]
        learn_x, learn_y = np.concatenate(x[:2]), np.concatenate(y[:2])
        judge = fit("boosting", learn_x, learn_y, np.array([0, 1]), trial.seed)
        return {self.name: Measure(balanced(y[2], judge(x[2])[:, 1]) - 0.5)}


def mask_table(data: Sequences) -> NDArray[np.float32]:
    """(N, K) what may be told from the masks: of each feature how often, when first and last, how
    often it changes between measured and not, the longest gap; of pairs of features how often both;
    of each step how many; each mask itself where there are up to 4,096; the length.
    """
    m = data.observed
    n, t, f = m.shape
    length_N1 = data.lengths[:, None].astype(np.float32)
    count_NF = m.sum(1)
    ever_NF = count_NF > 0
    first = np.where(ever_NF, m.argmax(1), t)
    last = np.where(ever_NF, t - 1 - m[:, ::-1].argmax(1), -1)
    changes = (m[:, 1:] != m[:, :-1]).sum(1)
    both = np.einsum("ntf,ntg->nfg", m.astype(np.float32), m.astype(np.float32))
    upper = np.triu_indices(f, 1)
    parts = [count_NF / length_N1, first, last, changes, _longest_gap(data), m.sum(2)]
    parts += [both[:, upper[0], upper[1]] / length_N1, length_N1]
    if t * f <= MOST_FLAT:
        parts.append(m.reshape(n, -1))
    return np.concatenate([np.asarray(part, dtype=np.float32) for part in parts], axis=1)


def _longest_gap(data: Sequences) -> NDArray[np.int64]:
    """(N, F): most steps in a row within the length without a value."""
    running = np.zeros(data.observed.shape[::2], dtype=np.int64)
    longest = running.copy()
    for t in range(data.n_steps):
        missing = ~data.observed[:, t] & data.valid[:, t, None]
        running = np.where(missing, running + 1, 0)
        longest = np.maximum(longest, running)
    return longest


for _metric in (MissingCurve(), MissingPattern()):
    register(_metric)
