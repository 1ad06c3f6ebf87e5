"""How well hidden values were filled in: calibration, ranks, and errors beside simple ways.

Shape letters: L levels of intervals, K draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rgan.report.canvas import (
    FAINT,
    FIFTH,
    FOURTH,
    INK,
    SYNTHETIC,
    THIRD,
    Canvas,
    grid,
    left_out,
    pick_features,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"rgan": SYNTHETIC, "forward-fill": THIRD, "mean": FOURTH, "MICE": FIFTH}


def draw_calibration(
    levels_L: Sequence[float],
    covered_L: Sequence[float],
    ranks: Sequence[float],
    path: str | Path,
    *,
    errors: Mapping[str, float],
    features: Mapping[str, Mapping[str, float]],
    title: str = "",
) -> Path:
    """Three panels: what intervals hold against what they should, the ranks of the truth among its
    draws, and errors, by feature where there are some.

    Args:
        levels_L: shares that the intervals are to hold.
        covered_L: shares of the truth that they do hold.
        ranks: (K + 1,) shares of the truth at each rank.
        path: the PNG to write.
        errors: mean absolute error of each way.
        features: the same by feature; empty for images.
        title: stands above everything.

    Raises:
        RunError: the file cannot be written.
    """
    with Canvas(10.4, 3.5, title=title) as canvas:
        left, middle, right = canvas.figure.subplots(1, 3, width_ratios=[1, 1, 1.5])
        left.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9, linestyle="--", label="as it should")
        left.plot(levels_L, covered_L, color=SYNTHETIC, marker="o", markersize=3.5, label="draws")
        left.set(xlim=(0, 1), ylim=(0, 1), xlabel="interval's share", ylabel="truth inside it")
        left.set_title("Coverage")
        left.legend(loc="upper left")
        grid(left)
        middle.bar(np.arange(len(ranks)), ranks, width=0.9, color=SYNTHETIC)
        middle.axhline(1 / len(ranks), color=FAINT, linewidth=0.9, linestyle="--")
        middle.set(xlabel="rank of the truth among its draws", ylabel="share")
        middle.set_title("Ranks: flat is right")
        grid(middle)
        _errors(right, errors, features)
        note = left_out(len(features))
        if note:
            canvas.note(note)
        return canvas.save(path)


def _errors(
    ax: Axes, errors: Mapping[str, float], features: Mapping[str, Mapping[str, float]]
) -> None:
    """Bars of the mean absolute errors of each way, by feature where there are some."""
    names = [*features] or ["all"]
    shown = pick_features(len(names))
    table = features or {"all": errors}
    for offset, (way, mae) in enumerate(errors.items()):
        heights = [table[names[i]].get(way, np.nan) for i in shown]
        place = np.arange(len(shown)) + (offset - (len(errors) - 1) / 2) * 0.8 / len(errors)
        colour = _COLOURS.get(way, INK)
        label = f"{way} ({mae:.3f})"
        ax.bar(place, heights, width=0.8 / len(errors), color=colour, label=label)
    ax.set_xticks(np.arange(len(shown)), [shorten(names[i], 12) for i in shown], rotation=60)
    ax.set_ylabel("mean absolute error, in deviations")
    ax.set_title("Errors (of all features)" if features else "Errors")
    ax.set_ylim(0, 1.32 * ax.get_ylim()[1])  # room for the key
    ax.legend(loc="upper left", ncols=2)
    grid(ax)
