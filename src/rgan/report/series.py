"""Time series, real beside synthetic, one feature after another.

Shape letters: N sequences, T steps, F features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rgan.report.canvas import (
    FAINT,
    GRID,
    INK,
    MAX_FEATURES,
    REAL,
    SYNTHETIC,
    Canvas,
    grid,
    left_out,
    pick_features,
    shorten,
)
from rgan.sequences import Sequences

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINES = 4  # sequences drawn one by one in each panel
_NO_ROWS = np.zeros(0, dtype=np.int64)
_ENOUGH = 5  # values at a step below which no band is drawn


@dataclass(frozen=True)
class _Bands:
    """Per step (T,): 5th and 95th percentile, mean, and the share that was measured."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mean: NDArray[np.float64]
    share: NDArray[np.float64]


def draw_series_samples(
    real: Sequences | None,
    synthetic: Sequences,
    path: str | Path,
    *,
    title: str = "",
    most: int = MAX_FEATURES,
    singles: bool = True,
    still: bool = False,
) -> Path:
    """For each feature real sequences left and synthetic ones right, on the same axes.

    A panel shows the mean, the band from the 5th to the 95th percentile at each step, and a few
    sequences; gaps stay gaps, and values between two gaps are dots. Under features that have gaps,
    a strip shows the share of the sequences measured at each step, its full height being all.

    Args:
        real: real sequences, or None to draw synthetic ones only.
        synthetic: sequences of the same features.
        path: the PNG to write.
        title: stands above everything.
        most: how many features to draw, spread evenly over all.
        singles: whether single real sequences may be shown; if not, only their bands and means.
        still: the panels stand at the same place in every picture of the same features.

    Raises:
        RunError: the file cannot be written.
    """
    features = pick_features(synthetic.n_features, most)
    sides = [("real", real, REAL), ("synthetic", synthetic, SYNTHETIC)]
    present = [(name, s, colour) for name, s, colour in sides if s is not None]
    pairs = 1 if len(features) <= 3 else 2
    rows = -(-len(features) // pairs)
    gaps = any(not s.fully_observed for _, s, _ in present)
    note = left_out(synthetic.n_features, most)
    heading = title + (f"  ·  {note}" if note and title else note)
    width = max(5.6, pairs * (1.8 * len(present) + 0.7))
    height = rows * (1.8 if gaps else 1.45) + 0.7
    with Canvas(width, height, title=heading, still=still) as canvas:
        if not still:
            canvas.space(h_pad=0.05, w_pad=0.05, hspace=0.0, wspace=0.0)
        extra: list[tuple[str, dict[str, Any]]] = [("mean", {"color": INK})]
        extra.insert(0, ("5–95 %", {"color": "#C4C4C4", "linewidth": 7}))
        below = canvas.legend(real=real is not None, extra=extra)
        # one grid for everything, so that all panels line up
        axes = canvas.figure.subplots(rows, pairs * len(present), squeeze=False)
        if still:
            canvas.margins(left=0.75, right=0.15, bottom=0.5 + 0.25 * gaps + 0.3 * below, top=0.6)
            canvas.figure.subplots_adjust(hspace=0.75 if gaps else 0.35, wspace=0.4)
        for index, feature in enumerate(features):
            row, pair = divmod(index, pairs)
            panels = axes[row, pair * len(present) : (pair + 1) * len(present)].tolist()
            bottom = index + pairs >= len(features)
            _draw_feature(panels, present, int(feature), gaps=gaps, bottom=bottom, singles=singles)
        for ax in axes[-1, len(present) * (len(features) - pairs * (rows - 1)) :]:
            ax.set_axis_off()
        return canvas.save(path)


def _draw_feature(
    panels: list[Axes],
    present: list[tuple[str, Sequences, str]],
    feature: int,
    *,
    gaps: bool,
    bottom: bool,
    singles: bool,
) -> None:
    """One feature: a panel for each side, and under it the share measured where there are gaps."""
    from matplotlib.ticker import MultipleLocator

    first, left = present[0][1], panels[0]
    bands_of = [_bands(sequences, feature) for _, sequences, _ in present]
    limits = _limits(present, bands_of, feature, singles)
    for ax, bands, (name, sequences, colour) in zip(panels, bands_of, present, strict=True):
        time = np.arange(sequences.n_steps, dtype=np.float64) * sequences.step
        rows = _rows_to_draw(sequences) if singles or name != "real" else _NO_ROWS
        _draw_panel(ax, time, sequences, feature, bands, colour, rows)
        ax.set_ylim(*limits)
        ax.tick_params(axis="y", labelleft=ax is left)
        if gaps:
            _draw_strip(ax, time, bands.share, colour, named=ax is left)
        if sequences.step_unit == "h" and 24 <= time[-1] + sequences.step <= 96:
            ax.xaxis.set_major_locator(MultipleLocator(12.0))
        if bottom:
            unit = sequences.step_unit
            ax.set_xlabel(f"time [{unit}]" if unit != "step" else "step")
    left.set_title(shorten(first.feature_names[feature]), fontweight="bold")
    left.set_ylabel(first.units[feature])


def _draw_panel(
    ax: Axes,
    time: NDArray[np.float64],
    sequences: Sequences,
    feature: int,
    bands: _Bands,
    colour: str,
    rows: Iterable[int],
) -> None:
    grid(ax)
    ax.fill_between(time, bands.low, bands.high, color=colour, alpha=0.16, linewidth=0)
    for row in rows:
        values_T = sequences.values[row, :, feature]
        ax.plot(time, values_T, color=colour, linewidth=0.8, alpha=0.75)
        alone = _between_gaps(sequences.observed[row, :, feature])
        ax.plot(time[alone], values_T[alone], ".", color=colour, markersize=2.8, alpha=0.75, mew=0)
    ax.plot(time, bands.mean, color=INK, linewidth=1.5)
    ax.margins(x=0.01)


def _draw_strip(
    ax: Axes, time: NDArray[np.float64], share_T: NDArray[np.float64], colour: str, *, named: bool
) -> None:
    """Drawn into the panel's own axes, below their zero: a second set would take twice as long."""
    place, height = -0.27, 0.17  # as shares of the panel's height
    beside = ax.get_xaxis_transform()
    ends = time[[0, -1]]
    ax.fill_between(ends, place, place + height, color=GRID, lw=0, transform=beside, clip_on=False)
    ax.fill_between(
        time,
        place,
        place + height * share_T,
        step="mid",
        color=colour,
        alpha=0.6,
        linewidth=0,
        transform=beside,
        clip_on=False,
    )
    ax.spines["bottom"].set_position(("axes", place - 0.015))
    ax.spines["left"].set_bounds(*ax.get_ylim())
    if named:
        middle = (-0.03, place + height / 2)
        ax.annotate(
            "observed",
            middle,
            xycoords="axes fraction",
            ha="right",
            va="center",
            fontsize=6.5,
            color=FAINT,
        )


def _bands(sequences: Sequences, feature: int) -> _Bands:
    values_NT = sequences.values[:, :, feature].astype(np.float64)
    seen_NT = sequences.observed[:, :, feature]
    low, high, mean = (np.full(sequences.n_steps, np.nan) for _ in range(3))
    for step in range(sequences.n_steps):
        here = values_NT[seen_NT[:, step], step]
        if len(here) >= min(_ENOUGH, len(sequences)):
            low[step], high[step] = np.percentile(here, (5.0, 95.0))
            mean[step] = here.mean()
    running = sequences.valid.sum(axis=0)
    share = seen_NT.sum(axis=0) / np.maximum(1, running)
    return _Bands(low, high, mean, share)


def _rows_to_draw(sequences: Sequences) -> NDArray[np.int64]:
    """The same few sequences for every feature, drawn by lot and always the same."""
    lot = np.random.default_rng(0)
    return np.sort(lot.permutation(len(sequences))[:_LINES])


def _between_gaps(observed_T: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Measured steps with none measured before or after, which a line would not show."""
    padded = np.pad(observed_T, 1)
    return observed_T & ~padded[:-2] & ~padded[2:]


def _limits(
    present: list[tuple[str, Sequences, str]], bands_of: list[_Bands], feature: int, singles: bool
) -> tuple[float, float]:
    """What the vertical axis shows: all of the first side's panel, and of the other's up to once
    more that span, so that one wild value does not press everything else flat."""
    extents = []
    for bands, (name, sequences, _) in zip(bands_of, present, strict=True):
        rows = _rows_to_draw(sequences) if singles or name != "real" else _NO_ROWS
        drawn = sequences.values[rows, :, feature]
        everything = np.concatenate([bands.low, bands.high, drawn.ravel()])
        known = everything[np.isfinite(everything)]
        extents.append((known.min(), known.max()) if len(known) else (np.nan, np.nan))
    lows, highs = np.array(extents, dtype=np.float64).T
    if np.isnan(lows).all():
        return 0.0, 1.0
    anchor = 0 if np.isfinite(lows[0]) else 1
    span = max(highs[anchor] - lows[anchor], 1e-6 * max(1.0, abs(highs[anchor])))
    low = max(np.nanmin(lows), lows[anchor] - span)
    high = min(np.nanmax(highs), highs[anchor] + span)
    margin = 0.05 * max(high - low, span)
    return low - margin, high + margin
