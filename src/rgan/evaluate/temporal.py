"""How values hang together: over time within a feature, and between features at one time.

Shape letters: N sequences, T steps, F features, L lags.

Only pairs of values that were both measured count; nothing is filled in.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rgan.evaluate.comparable import check_comparable
from rgan.evaluate.scale import Scale
from rgan.evaluate.trial import About, Measure, Metric, Trial, Unscorable, register
from rgan.sequences import Sequences

MOST_LAGS = 24
FEWEST_PAIRS = 30  # a correlation of fewer pairs is noise
Floats = NDArray[np.float64]


def autocorrelation(data: Sequences, scale: Scale, lags: int) -> tuple[Floats, Floats]:
    """Autocorrelation of each feature at lags 1 to L, and the number of pairs behind each.

    r(l) = mean of (z_t - μ)(z_{t+l} - μ) over pairs both observed, divided by the variance; μ and
    the variance are the set's own, pooled over sequences, so lasting differences between sequences
    count as correlation. 0 where a feature does not vary.

    Args:
        data: (N, T, F) sequences.
        scale: only for numerical ease; the result does not depend on it.
        lags: L < T.

    Returns:
        r: (L, F), pairs: (L, F).
    """
    mask_NTF = data.observed
    z_NTF = scale.standardise(data).astype(np.float64)
    count_F = np.maximum(mask_NTF.sum((0, 1)), 1)
    centred_NTF = np.where(mask_NTF, z_NTF - z_NTF.sum((0, 1)) / count_F, 0.0)
    variance_F = (centred_NTF**2).sum((0, 1)) / count_F
    r_LF, pairs_LF = np.zeros((lags, data.n_features)), np.zeros((lags, data.n_features))
    for lag in range(1, lags + 1):
        product_F = np.einsum("ntf,ntf->f", centred_NTF[:, :-lag], centred_NTF[:, lag:])
        pairs_F = (mask_NTF[:, :-lag] & mask_NTF[:, lag:]).sum((0, 1))
        pairs_LF[lag - 1] = pairs_F
        ok_F = (variance_F > 1e-12) & (pairs_F > 0)
        np.divide(product_F, pairs_F * variance_F, out=r_LF[lag - 1], where=ok_F)
    return r_LF, pairs_LF


def autocorrelation_distances(
    real: Sequences, synthetic: Sequences, *, scale: Scale | None = None, lags: int = 0
) -> dict[str, float]:
    """Mean over lags of |r_real(l) - r_synthetic(l)|, for each feature.

    Features and lags with fewer than 30 pairs in either set are left out.

    Args:
        real, synthetic: (N, T, F) and (M, T, F) sequences, original units.
        scale: of the real training set; None: of ``real``.
        lags: L; 0: min(T - 1, 24).

    Raises:
        DataError: the sets are not comparable.
    """
    check_comparable(real, synthetic)
    scale = scale or Scale.of(real)
    lags = min(lags or MOST_LAGS, real.n_steps - 1)
    (r, pairs_r), (s, pairs_s) = (autocorrelation(x, scale, lags) for x in (real, synthetic))
    use_LF = np.minimum(pairs_r, pairs_s) >= FEWEST_PAIRS
    return {
        name: float(np.abs(r - s)[use_LF[:, f], f].mean())
        for f, name in enumerate(real.feature_names)
        if use_LF[:, f].any()
    }


def cross_correlation(data: Sequences, scale: Scale) -> tuple[Floats, Floats]:
    """(F, F) Pearson correlation between features at the same step, and the pairs behind each.

    Moments of each pair of features come from the steps where both were measured. 0 where one of
    the two does not vary there.
    """
    m = data.observed.reshape(-1, data.n_features).astype(np.float64)
    z = scale.standardise(data).reshape(m.shape).astype(np.float64)
    pairs_FF = m.T @ m
    n = np.maximum(pairs_FF, 1)
    mean_FF = (z.T @ m) / n  # row feature's mean where the column feature is observed too
    variance_FF = ((z * z).T @ m) / n - mean_FF**2
    covariance_FF = (z.T @ z) / n - mean_FF * mean_FF.T
    spread_FF = np.maximum(variance_FF, 0) * np.maximum(variance_FF.T, 0)
    r_FF = np.zeros_like(pairs_FF)
    np.divide(covariance_FF, np.sqrt(spread_FF), out=r_FF, where=spread_FF > 1e-12)
    return np.clip(r_FF, -1, 1), pairs_FF


def cross_correlation_distances(
    real: Sequences, synthetic: Sequences, *, scale: Scale | None = None
) -> dict[str, float]:
    """Mean over the other features of |r_real - r_synthetic|, for each feature.

    Args, Raises: as ``autocorrelation_distances``.
    """
    check_comparable(real, synthetic)
    scale = scale or Scale.of(real)
    (r, pairs_r), (s, pairs_s) = (cross_correlation(x, scale) for x in (real, synthetic))
    use_FF = np.minimum(pairs_r, pairs_s) >= FEWEST_PAIRS
    np.fill_diagonal(use_FF, False)
    return {
        name: float(np.abs(r - s)[f][use_FF[f]].mean())
        for f, name in enumerate(real.feature_names)
        if use_FF[f].any()
    }


class Autocorrelation(Metric):
    """Dependence over time."""

    name = "autocorrelation"

    def about(self, quick: bool) -> tuple[About, ...]:
        return (About("autocorrelation", "autocorrelation, difference", "lower"),)

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        return "sequences have one step" if train.n_steps < 2 else ""

    def measure(self, trial: Trial) -> dict[str, Measure]:
        parts = autocorrelation_distances(trial.test, trial.candidate, scale=trial.scale)
        return {"autocorrelation": _mean(parts)}


class CrossCorrelation(Metric):
    """Dependence between features."""

    name = "cross_correlation"

    def about(self, quick: bool) -> tuple[About, ...]:
        return (About("cross_correlation", "correlation of features, difference", "lower"),)

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        return "there is one feature" if train.n_features < 2 else ""

    def measure(self, trial: Trial) -> dict[str, Measure]:
        parts = cross_correlation_distances(trial.test, trial.candidate, scale=trial.scale)
        return {"cross_correlation": _mean(parts)}


def _mean(parts: dict[str, float]) -> Measure:
    if not parts:
        raise Unscorable(f"nowhere are {FEWEST_PAIRS} pairs of values observed in both sets")
    return Measure(float(np.mean(list(parts.values()))), parts)


register(Autocorrelation())
register(CrossCorrelation())
