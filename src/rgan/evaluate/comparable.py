"""Whether two sets of sequences may be compared at all.

Shape letters: N sequences, T steps, F features.

Two sets are comparable where they describe the same thing (features, steps, units, layout) in the
same units. Names can be checked; a forgotten inverse transform can only be recognised, so the rule
for scales is narrow: it must never refuse a generator for being bad.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rgan.errors import DataError
from rgan.layouts import ImageLayout
from rgan.sequences import Sequences

APART = 3.0  # how many times wider, or how many spreads away, counts as another scale
HUGE = 100.0  # wider than any generator in the right units makes a feature


def check_comparable(real: Sequences, synthetic: Sequences) -> None:
    """Refuse two sets that differ in description, or are evidently on different scales.

    The rule for scales: (1) exactly one set looks transformed, that is, every feature lies within
    [-1.05, 1.05], or every feature has a mean within 0.5 of 0 and a deviation of 0.3 to 2; and for
    more than half of the features the deviations differ by a factor of 3 or the medians by 3
    deviations of the real set; or (2) for more than half of the features the synthetic deviation is
    over 100 times the real one. Features that are constant in the real set do not vote.

    Args:
        real: (N, T, F) sequences in original units.
        synthetic: (M, T, F) sequences that claim to be in the same units.

    Raises:
        DataError: names, number of steps, time step, units or layout differ, or the scales do.
    """
    _same("feature names", real.feature_names, synthetic.feature_names)
    _same("numbers of steps", real.n_steps, synthetic.n_steps)
    _same("times between steps", (real.step, real.step_unit), (synthetic.step, synthetic.step_unit))
    for name, a, b in zip(real.feature_names, real.units, synthetic.units, strict=True):
        if a and b:
            _same(f'units of "{name}"', a, b)
    # An array and a table hold the same numbers; an image's order changes what a feature means.
    if isinstance(real.layout, ImageLayout) or isinstance(synthetic.layout, ImageLayout):
        _same("layouts", real.layout, synthetic.layout)
    _check_scales(real, synthetic)


def _same(what: str, a: object, b: object) -> None:
    if a != b:
        raise DataError(
            f"the {what} differ: {a} in the real set, {b} in the synthetic one",
            rule="only sets of one description can be compared",
        )


def _check_scales(real: Sequences, synthetic: Sequences) -> None:
    stats_r, stats_s = _spread(real), _spread(synthetic)
    use_F = np.isfinite(stats_r).all(0) & np.isfinite(stats_s).all(0) & (stats_r[1] > 0)
    if not use_F.any():
        return
    a, b = stats_r[:, use_F], stats_s[:, use_F]
    ratio_F = np.maximum(b[1], 1e-12) / a[1]
    wider = (ratio_F > APART) | (ratio_F < 1 / APART) | (np.abs(b[2] - a[2]) > APART * a[1])
    one_is_transformed = _looks_transformed(a) != _looks_transformed(b)
    if (one_is_transformed and wider.mean() > 0.5) or (ratio_F > HUGE).mean() > 0.5:
        worst = int(np.argmax(np.abs(np.log(ratio_F))))
        name = np.array(real.feature_names)[use_F][worst]
        raise DataError(
            f'the two sets are on different scales: "{name}" has mean {a[0, worst]:.4g} and '
            f"deviation {a[1, worst]:.4g} in the real set, {b[0, worst]:.4g} and "
            f"{b[1, worst]:.4g} in the synthetic one",
            rule="both sets are in original units",
            reason="distances between standardised and raw values mean nothing",
            repair="invert the transform of the synthetic set, or transform neither",
        )


def _spread(data: Sequences) -> NDArray[np.float64]:
    """(5, F): mean, deviation, median, least and greatest of the observed values; NaN if none."""
    out = np.full((5, data.n_features), np.nan)
    for f in range(data.n_features):
        x = data.values[:, :, f][data.observed[:, :, f]].astype(np.float64)
        if len(x):
            out[:, f] = x.mean(), x.std(), np.median(x), x.min(), x.max()
    return out


def _looks_transformed(stats: NDArray[np.float64]) -> bool:
    mean, std, _, low, high = stats
    bounded = low.min() >= -1.05 and high.max() <= 1.05
    standard = (np.abs(mean) <= 0.5).all() and (std >= 0.3).all() and (std <= 2).all()
    # A collapsed generator may draw a constant near 0: that is bad, not transformed.
    return bool((bounded and np.median(std) > 0.02) or standard)
