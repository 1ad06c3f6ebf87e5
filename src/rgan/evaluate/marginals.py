"""Each feature by itself: its values, how often it is measured, and the lengths and statics.

Shape letters: N sequences, T steps, F features, A static attributes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.evaluate.comparable import check_comparable
from rgan.evaluate.scale import Scale
from rgan.evaluate.trial import About, Measure, Metric, Trial, Unscorable, register
from rgan.layouts import is_nominal
from rgan.sequences import Sequences

Floats = NDArray[np.floating[Any]]


def distances_1d(x: Floats, y: Floats) -> tuple[float, float]:
    """Wasserstein-1 and Kolmogorov-Smirnov distance of two samples of numbers.

    W1 = ∫ |F(u) - G(u)| du and KS = max |F(u) - G(u)|, F and G the empirical distributions.

    >>> distances_1d(np.array([0.0, 1.0]), np.array([2.0, 3.0]))
    (2.0, 1.0)
    """
    x, y = np.sort(x), np.sort(y)
    grid = np.sort(np.concatenate([x, y]))
    f = np.searchsorted(x, grid, side="right") / len(x)
    g = np.searchsorted(y, grid, side="right") / len(y)
    gap = np.abs(f - g)
    return float((gap[:-1] * np.diff(grid)).sum()), float(gap.max())


def total_variation(x: Floats, y: Floats) -> float:
    """½ Σ |p - q|, p and q the shares of each level.

    >>> total_variation(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 2.0]))
    0.5
    """
    levels = np.union1d(x, y)
    return sum(abs(float((x == k).mean() - (y == k).mean())) for k in levels) / 2


def marginal_distances(
    real: Sequences, synthetic: Sequences, *, scale: Scale | None = None
) -> dict[str, tuple[float, float]]:
    """Wasserstein-1 (in real standard deviations) and KS distance of each feature's values; of a
    category without an order, whose codes mean nothing, total variation in place of both.

    Observed values of all steps are pooled. Features that one of the sets never observes are left
    out: the missingness shows them.

    Args:
        real, synthetic: (N, T, F) and (M, T, F) sequences, original units.
        scale: how values are standardised; None: by the real set.

    Raises:
        DataError: the sets are not comparable.
    """
    check_comparable(real, synthetic)
    scale = scale or Scale.of(real)
    out = {}
    for f, name in enumerate(real.feature_names):
        x, y = (s.values[:, :, f][s.observed[:, :, f]] for s in (real, synthetic))
        if not len(x) or not len(y):
            continue
        if is_nominal(real.layout, name):
            out[name] = (total_variation(x, y),) * 2
        else:
            out[name] = distances_1d(*((z - scale.mean_F[f]) / scale.std_F[f] for z in (x, y)))
    return out


def missingness_differences(real: Sequences, synthetic: Sequences) -> dict[str, float]:
    """|share observed in real - in synthetic| of each feature, over steps within the lengths."""
    rate_r, rate_s = (s.observed.sum((0, 1)) / s.lengths.sum() for s in (real, synthetic))
    gap_F = np.abs(rate_r - rate_s)
    return dict(zip(real.feature_names, gap_F.tolist(), strict=True))


def static_distances(real: Sequences, synthetic: Sequences) -> dict[str, float]:
    """Distance of each static attribute's known values.

    Continuous: Wasserstein-1 in real standard deviations. Binary and categorical: total variation,
    ½ Σ |p - q|.
    """
    assert real.static is not None and synthetic.static is not None
    out = {}
    for a, info in enumerate(real.static_info):
        x, y = (s.static[:, a].astype(np.float64) for s in (real, synthetic))  # type: ignore[index]
        x, y = x[~np.isnan(x)], y[~np.isnan(y)]
        if not len(x) or not len(y):
            continue
        if info.kind == "continuous":
            out[info.name] = distances_1d(x, y)[0] / (x.std() or 1.0)
        else:
            out[info.name] = total_variation(x, y)
    return out


def _mean(parts: dict[str, float], nothing: str) -> Measure:
    if not parts:
        raise Unscorable(nothing)
    return Measure(float(np.mean(list(parts.values()))), parts)


class Marginals(Metric):
    """W1 and KS over features."""

    name = "marginals"

    def about(self, quick: bool) -> tuple[About, ...]:
        return (
            About("marginal_w1", "marginals, Wasserstein-1", "lower", "in standard deviations"),
            About("marginal_ks", "marginals, Kolmogorov-Smirnov", "lower"),
        )

    def measure(self, trial: Trial) -> dict[str, Measure]:
        both = marginal_distances(trial.test, trial.candidate, scale=trial.scale)
        empty = "no feature is observed in both sets"
        return {
            "marginal_w1": _mean({k: v[0] for k, v in both.items()}, empty),
            "marginal_ks": _mean({k: v[1] for k, v in both.items()}, empty),
        }


class Missingness(Metric):
    """How often each feature is measured."""

    name = "missingness"

    def about(self, quick: bool) -> tuple[About, ...]:
        return (About("missingness", "missingness, difference of rates", "lower"),)

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        full = all(s.fully_observed for s in (train, test, candidate))
        return "everything is observed in all sets" if full else ""

    def measure(self, trial: Trial) -> dict[str, Measure]:
        return {"missingness": _mean(missingness_differences(trial.test, trial.candidate), "")}


class Lengths(Metric):
    """How long sequences are."""

    name = "lengths"

    def about(self, quick: bool) -> tuple[About, ...]:
        return (
            About("length_w1", "lengths, Wasserstein-1", "lower", "in shares of T"),
            About("length_ks", "lengths, Kolmogorov-Smirnov", "lower"),
        )

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        fixed = all(s.fixed_length for s in (train, test, candidate))
        return "all sequences have one length" if fixed else ""

    def measure(self, trial: Trial) -> dict[str, Measure]:
        x, y = (s.lengths / s.n_steps for s in (trial.test, trial.candidate))
        return dict(zip(("length_w1", "length_ks"), map(Measure, distances_1d(x, y)), strict=True))


class Statics(Metric):
    """The attributes that do not change over time."""

    name = "statics"

    def about(self, quick: bool) -> tuple[About, ...]:
        return (About("static_distance", "static attributes, distance", "lower"),)

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        if train.static is None:
            return "the data have no static attributes"
        same = candidate.static_info == test.static_info == train.static_info
        return "" if same else "the sets do not have the same static attributes"

    def measure(self, trial: Trial) -> dict[str, Measure]:
        parts = static_distances(trial.test, trial.candidate)
        return {"static_distance": _mean(parts, "no static attribute is known in both sets")}


for _metric in (Marginals(), Missingness(), Lengths(), Statics()):
    register(_metric)
