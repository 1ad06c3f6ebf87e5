"""How near samples come to held-out real sequences, quickly: numbers for a look while training.

Shape letters: N sequences, K columns of a row, C classes.

The same real sequences, the same labels and the same noise are used in every look, so that looks
differ by the networks alone. Everything runs on one thread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.errors import ConfigError
from rgan.evaluate.classifiers import auroc
from rgan.evaluate.features import flat_values, summaries
from rgan.evaluate.marginals import distances_1d
from rgan.evaluate.scale import Scale
from rgan.evaluate.temporal import FEWEST_PAIRS, MOST_LAGS, autocorrelation, cross_correlation
from rgan.evaluate.threads import one_thread
from rgan.evaluate.trial import Trial, Unscorable, choose
from rgan.sequences import Sequences
from rgan.workflow.image_distance import ImageDistance

DISTANCES = ("mmd", "missingness", "lengths")
"""Metrics of an evaluation that take milliseconds, and judge whatever a generator makes."""
DOUBLE = ("length_ks",)
"""What says the same as another score of its metric."""
MOST_COLUMNS = 1024
SLOW = 2.0
"""Seconds, above which a metric is left out of every look."""
Rows = NDArray[np.float64]
Sampler = Callable[[int, Any, int], Sequences]


@dataclass
class Scorer:
    """Compares samples with the validation split.

    Args:
        real: of the validation split.
        train: as many of the training split: their distance to ``real`` is what can be reached.
        scale: of the training split.
        slow: metrics that are left out.
        floor: what ``train`` has in place of samples, by metric; filled in by ``settle``.
    """

    real: Sequences
    train: Sequences
    scale: Scale
    slow: set[str] = field(default_factory=set)
    floor: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, train: Sequences, validation: Sequences, size: int) -> Scorer:
        """A scorer on at most ``size`` sequences of each, the same ones each time."""
        order = np.random.default_rng(0)
        train = train[order.permutation(len(train))]
        real = validation[order.permutation(len(validation))[:size]]
        return cls(real, train[:size], Scale.of(train[: 10 * size]))

    def labels(self, n: int) -> NDArray[Any] | None:
        """The validation sequences' labels, repeated to n."""
        return None if self.real.labels is None else np.resize(self.real.labels, n)

    def settle(self) -> list[str]:
        """Measure the floor, once. Gives the names of metrics that turn out too slow."""
        if self.floor:
            return []
        before = set(self.slow)
        self.floor = self._measure(self.train, watch=True)
        return sorted(self.slow - before)

    def score(self, sampler: Sampler) -> dict[str, float]:
        """Every metric of one sample, with "overall" where none is missing.

        Args:
            sampler: (n, labels, seed) to n synthetic sequences.
        """
        with one_thread():
            n = len(self.train)
            synthetic = sampler(n, self.labels(n), 1)
            found = self._measure(synthetic)
        return found | (
            {"overall": self.overall(found)} if found.keys() == self.floor.keys() else {}
        )

    def overall(self, found: Mapping[str, float]) -> float:
        """The mean over metrics of log2(1 + d / f): d the metric, f what real sequences have.

        1 where samples are as near as real training sequences; each doubling of every distance
        adds one. By logarithms no single metric outweighs the others, so that a generator has to
        please them all. Where real sequences have next to nothing, f is what chance makes of n.
        """
        n = min(len(self.real), len(self.train))
        parts = []
        for name, value in found.items():
            distance, floor = value, self.floor[name]
            if name == "tstr":  # the share of wrong answers
                distance, floor = 1 - value, 1 - floor
            square = ("mmd2", "length_w1", "image_distance")
            chance = 1 / n if name in square else 1 / math.sqrt(n)
            if name in ("marginal_w1", "autocorrelation", "cross_correlation", "missingness"):
                chance = 0.1 / math.sqrt(n)
            parts.append(math.log2(1 + max(distance, 0.0) / max(floor, chance)))
        return float(np.mean(parts))

    def _measure(self, candidate: Sequences, watch: bool = False) -> dict[str, float]:
        found: dict[str, float] = {}
        with one_thread():
            for name, measure in self._measures().items():
                begun = time.monotonic()
                try:
                    values = measure(candidate)
                except Unscorable:
                    continue
                if watch and time.monotonic() - begun > SLOW:
                    self.slow.add(name)
                    continue
                found |= {k: float(v) for k, v in values.items() if math.isfinite(v)}
        return found

    def _measures(self) -> dict[str, Callable[[Sequences], dict[str, float]]]:
        measures: dict[str, Callable[[Sequences], dict[str, float]]] = {}
        lags = min(MOST_LAGS, self.real.n_steps - 1)
        for metric in choose(DISTANCES):
            if metric.unfit(self.train, self.real, self.train):
                continue

            def distance(candidate: Sequences, metric: Any = metric) -> dict[str, float]:
                trial = Trial("synthetic", self.train, self.real, candidate, self.scale)
                found = metric.measure(trial)
                return {k: m.value for k, m in found.items() if k not in DOUBLE}

            measures[metric.name] = distance
        # Not by an evaluation's own functions, which refuse sets that look like other units: so
        # does an untrained generator's.
        measures["marginal_w1"] = lambda x: {"marginal_w1": self._marginals(x)}
        if self.real.n_steps > 1:
            measures["autocorrelation"] = lambda x: {
                "autocorrelation": self._apart(x, lambda s: autocorrelation(s, self.scale, lags))
            }
        if self.real.n_features > 1:
            measures["cross_correlation"] = lambda x: {
                "cross_correlation": self._apart(x, lambda s: cross_correlation(s, self.scale))
            }
        if len(self.real) >= 20:
            measures["discriminative"] = lambda x: {"discriminative": self._told_apart(x)}
        if self.real.is_image:
            measures["image_distance"] = self._images_apart
        if has_tstr(self.train, self.real):
            measures["tstr"] = lambda x: {"tstr": self._useful(x)}
        return {name: measure for name, measure in measures.items() if name not in self.slow}

    @cached_property
    def _images(self) -> ImageDistance | None:
        return ImageDistance.of(self.real, self.train)

    def _images_apart(self, candidate: Sequences) -> dict[str, float]:
        return {"image_distance": self._images(candidate)} if self._images else {}

    def _marginals(self, candidate: Sequences) -> float:
        """Wasserstein-1 distance of each feature's values, in standard deviations; the mean."""
        found = []
        for f in range(self.real.n_features):
            x, y = (
                s.values[:, :, f][s.observed[:, :, f]].astype(np.float64) / self.scale.std_F[f]
                for s in (self.real, candidate)
            )
            if len(x) and len(y):
                found.append(distances_1d(x, y)[0])
        return float(np.mean(found)) if found else math.nan

    def _apart(
        self, candidate: Sequences, correlation: Callable[[Sequences], tuple[Rows, Rows]]
    ) -> float:
        """Mean difference of correlations, over those with enough pairs on both sides."""
        (r, pairs_r), (s, pairs_s) = correlation(self.real), correlation(candidate)
        use = np.minimum(pairs_r, pairs_s) >= FEWEST_PAIRS
        return float(np.abs(r - s)[use].mean()) if use.any() else math.nan

    def _told_apart(self, candidate: Sequences) -> float:
        """2 AUROC - 1 of a linear judge on summaries and their squares, each half judged by what
        the other taught: 0 cannot tell, 1 always can."""
        real, synthetic = self._rows(self.real), self._rows(candidate)
        x_NK = np.concatenate([real, synthetic])
        y_N = np.repeat([1, 0], [len(real), len(synthetic)])
        order = np.random.default_rng(0).permutation(len(y_N))
        p_N = np.zeros(len(y_N))
        for learn, test in ((order[::2], order[1::2]), (order[1::2], order[::2])):
            p_N[test] = ridge(x_NK[learn], y_N[learn][:, None].astype(float), x_NK[test])[:, 0]
        halves = [auroc(y_N[rows], np.stack([-p_N[rows], p_N[rows]], 1))
                  for rows in (order[::2], order[1::2])]  # fmt: skip
        return max(0.0, 2 * float(np.mean(halves)) - 1)

    def _useful(self, candidate: Sequences) -> float:
        """What a linear classifier that learns on the candidate gets right of real sequences: AUROC
        of two classes, which rare ones do not spoil, else accuracy."""
        assert candidate.labels is not None and self.real.labels is not None
        classes = np.union1d(self.train.classes, self.real.classes)
        if len(candidate.classes) < 2:
            return 0.5 if len(classes) == 2 else 1 / len(classes)
        hot_NC = (candidate.labels[:, None] == classes).astype(float)
        p_NC = ridge(self._rows(candidate), hot_NC, self._rows(self.real))
        y_N = np.searchsorted(classes, self.real.labels)
        if len(classes) == 2:
            return auroc(y_N, p_NC)
        return float((p_NC.argmax(1) == y_N).mean())

    def _rows(self, data: Sequences) -> Rows:
        flat = flat_values if data.is_image else summaries
        rows_NK = np.nan_to_num(flat(data, self.scale)).astype(np.float64)
        if rows_NK.shape[1] > MOST_COLUMNS:
            keep = np.linspace(0, rows_NK.shape[1] - 1, MOST_COLUMNS).astype(int)
            rows_NK = rows_NK[:, keep]
        rows_NK = np.clip(rows_NK, -10, 10)
        return np.concatenate([rows_NK, rows_NK**2], axis=1)


def ridge(x_NK: Rows, y_NC: Rows, other_MK: Rows, weight: float = 0.1) -> Rows:
    """Least squares with a penalty, fitted to rows and applied to others: (M, C).

    Args:
        x_NK, y_NC: rows, and what they are.
        other_MK: rows to judge.
        weight: of the penalty, in shares of N for columns of deviation 1.
    """
    mean_K, std_K = x_NK.mean(0), x_NK.std(0)
    std_K = np.where(std_K > 1e-6, std_K, np.inf)
    x_NK, other_MK = (x_NK - mean_K) / std_K, np.clip((other_MK - mean_K) / std_K, -10, 10)
    n, k = x_NK.shape
    centre_C = y_NC.mean(0)
    if k <= n:
        gram_KK = x_NK.T @ x_NK + weight * n * np.eye(k)
        return np.asarray(
            other_MK @ np.linalg.solve(gram_KK, x_NK.T @ (y_NC - centre_C)) + centre_C
        )
    gram_NN = x_NK @ x_NK.T + weight * n * np.eye(n)
    return np.asarray((other_MK @ x_NK.T) @ np.linalg.solve(gram_NN, y_NC - centre_C) + centre_C)


def has_tstr(train: Sequences, real: Sequences) -> bool:
    """Whether a classifier of labels can be trained on one set and tested on the other."""
    if train.labels is None or not train.has_classes or not real.has_classes:
        return False
    return 2 <= len(train.classes) <= 100 and len(real.classes) >= 2


def check_metric(metric: str, train: Sequences, validation: Sequences) -> None:
    """Refuse a metric that cannot be had of these data.

    Raises:
        ConfigError: it is "tstr", and there are no classes; or the split is too small.
    """
    why = ""
    if metric == "tstr" and not has_tstr(train, validation):
        why = "the data have no classes, or the validation split has one only"
    if metric == "discriminative" and len(validation) < 20:
        why = f"the validation split has {len(validation)} sequences, and it needs 20"
    if metric == "image_distance" and ImageDistance.of(validation[:50], train[:50]) is None:
        why = "the data are no images, or all alike"
    if metric == "autocorrelation" and train.n_steps < 2:
        why = "sequences have one step"
    if why:
        raise ConfigError(
            f'monitor.metric is "{metric}", and {why}',
            rule="the metric that chooses can be computed",
            repair="--set monitor.metric=overall",
        )
