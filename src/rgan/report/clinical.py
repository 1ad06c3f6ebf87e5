"""What a data set of stays looks like as a whole, and single stays as pictures.

Shape letters: N sequences, T steps, F features, K stays drawn.

The overview shows shares, counts and densities, and no single sequence. Pictures of stays do, so
they are drawn only where they are asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rgan.errors import InputError
from rgan.layouts import levels_of
from rgan.report.canvas import (
    FAINT,
    FIFTH,
    FOURTH,
    GRID,
    INK,
    SIXTH,
    THIRD,
    Canvas,
    shorten,
    with_unit,
)
from rgan.report.show import number, percent
from rgan.sequences import Sequences

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_FEATURES = 48
MOST_CLASSES = 4  # more densities over each other than this are not told apart
MOST_STAYS = 48
COLUMNS = 6  # of densities
COLOURS = (THIRD, FOURTH, FIFTH, SIXTH)
MISSING = "0.82"
SEED = 0


def draw_overview(sequences: Sequences, path: Path) -> Path:
    """Which features were measured when, how long sequences are, how labels are balanced, and each
    feature's density, by class where there are few.

    Args:
        sequences: series, no images.
        path: of the PNG.

    Raises:
        RunError: the file cannot be written.
    """
    features = _most_observed(sequences)
    rows = -(-len(features) // COLUMNS)
    top, below = max(2.6, 0.19 * len(features) + 0.9), 1.25 * rows + 0.3
    with Canvas(11.5, top + below, title=f"{sequences.name}: {len(sequences):,} sequences") as page:
        halves: Any = page.figure.subfigures(2, 1, height_ratios=[top, below])
        upper, lower = halves
        left, right = upper.subfigures(1, 2, width_ratios=[3.2, 1])
        _missingness(left.subplots(), sequences, features)
        if sequences.fixed_length:
            _labels(right.subplots(), sequences)
        else:
            lengths, labels = right.subplots(2, 1)
            _lengths(lengths, sequences)
            _labels(labels, sequences)
        axes = np.atleast_1d(lower.subplots(rows, COLUMNS)).ravel()
        for ax, feature in zip(axes, features, strict=False):
            _density(ax, sequences, feature)
        for ax in axes[len(features) :]:
            ax.set_axis_off()
        left_out = sequences.n_features - len(features)
        if left_out:
            page.note(f"the {len(features)} most observed features; {left_out} more")
        return page.save(path)


def _most_observed(s: Sequences) -> list[int]:
    if s.n_features <= MOST_FEATURES:
        return list(range(s.n_features))
    share_F = s.observed.mean(axis=(0, 1))
    return sorted(int(f) for f in np.argsort(-share_F, kind="stable")[:MOST_FEATURES])


def _missingness(ax: Axes, s: Sequences, features: list[int]) -> None:
    """A row a feature, a column a step: the share of the sequences that are that long and have the
    feature measured then."""
    there_T = np.maximum(s.valid.sum(axis=0), 1)
    share_TF = s.observed.sum(axis=0) / there_T[:, None]
    image = ax.imshow(
        share_TF[:, features].T,
        aspect="auto",
        interpolation="nearest",
        cmap="viridis",
        vmin=0,
        vmax=1,
        extent=(0, s.n_steps * s.step, len(features), 0),
    )
    steps = max(1, int(s.lengths.sum()))
    names = [
        f"{shorten(s.feature_names[f], 36)}  {percent(s.observed[:, :, f].sum() / steps)}"
        for f in features
    ]
    ax.set_yticks(np.arange(len(features)) + 0.5, names, fontsize=7.5)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(_time(s))
    told = f", all of {s.n_steps:,} steps" if s.fixed_length else " of those that are that long"
    ax.set_title(f"Measured: share of the sequences{told}")
    ax.spines[:].set_visible(False)
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.03, pad=0.015)
    bar.set_ticks([0, 0.5, 1], labels=["0", "50 %", "100 %"])
    bar.outline.set_visible(False)


def _time(s: Sequences) -> str:
    return "step" if s.step_unit == "step" else f"time ({s.step_unit})"


def _lengths(ax: Axes, s: Sequences) -> None:
    bins = min(30, int(s.lengths.max() - s.lengths.min()) + 1)
    ax.hist(s.lengths, bins=bins, color=FAINT)
    ax.set_title(f"Lengths: median {np.median(s.lengths):,.0f} steps")
    ax.set_xlabel("steps")
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)


def _labels(ax: Axes, s: Sequences) -> None:
    if s.labels is None:
        ax.set_axis_off()
        ax.set_title("No labels")
        return
    ax.set_title(s.label_name)
    if not s.has_classes:
        ax.hist(s.labels.astype(np.float64), bins=30, color=FAINT)
        ax.set_yticks([])
        return
    classes, counts = np.unique(s.labels, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:12]
    colours = [_colour(s, classes[i]) for i in order]
    ax.barh(np.arange(len(order)), counts[order], color=colours, height=0.7)
    for place, i in enumerate(order):
        text = f" {counts[i]:,} ({percent(counts[i] / len(s))})"
        ax.text(counts[i], place, text, va="center", fontsize=8, color=INK)
    ax.set_yticks(np.arange(len(order)), [shorten(str(classes[i]), 14) for i in order])
    ax.set_xlim(0, counts.max() * 1.75)
    ax.set_xticks([])
    ax.invert_yaxis()
    ax.tick_params(axis="y", length=0)
    ax.spines[:].set_visible(False)


def _colour(s: Sequences, label: Any) -> str:
    classes = s.classes.tolist()
    return COLOURS[classes.index(label)] if 1 < len(classes) <= MOST_CLASSES else FAINT


def _groups(s: Sequences) -> list[tuple[str, NDArray[np.bool_]]]:
    """Colour and rows (N,) of each density."""
    if s.labels is None or not 1 < len(s.classes) <= MOST_CLASSES:
        return [(FAINT, np.ones(len(s), dtype=np.bool_))]
    return [(_colour(s, label), np.asarray(s.labels == label)) for label in s.classes.tolist()]


def _density(ax: Axes, s: Sequences, feature: int) -> None:
    """Each class's values as a density over the middle 99 % of the range, or as bars of levels."""
    name, unit = s.feature_names[feature], s.units[feature]
    ax.set_title(shorten(with_unit(name, unit), 30), fontsize=7.5)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.tick_params(labelsize=6.5, length=2)
    known = s.values[:, :, feature][s.observed[:, :, feature]].astype(np.float64)
    if not len(known):
        ax.text(0.5, 0.5, "never measured", ha="center", va="center", fontsize=7, color=FAINT)
        ax.set_xticks([])
        return
    whole = len(np.unique(known[:50_000])) <= 20 and (known == np.rint(known)).all()
    if whole:
        edges = np.arange(known.min() - 0.5, known.max() + 1)
    else:
        low, high = np.quantile(known, [0.005, 0.995])
        low, high = (low, high) if high > low else (known.min() - 0.5, known.max() + 0.5)
        edges = np.linspace(low, high if high > low else low + 1, 41)
    for colour, rows_N in _groups(s):
        part_NT = s.observed[rows_N, :, feature]
        values = s.values[rows_N, :, feature][part_NT]
        if len(values):
            height, _ = np.histogram(values, bins=edges)
            share = height / len(values)
            ax.stairs(share, edges, color=colour, linewidth=1.1, fill=False)
            ax.stairs(share, edges, color=colour, alpha=0.18, fill=True)
    levels = levels_of(s.layout, name)
    if levels:
        ax.set_xticks(sorted(levels))
    elif not whole:
        ends = [float(edges[0]), float(edges[-1])]
        middle = float(np.median(known))
        if 0.25 < (middle - ends[0]) / (ends[1] - ends[0]) < 0.75:  # or it runs into an end
            ends.append(middle)
        ax.set_xticks(ends, [number(float(f"{end:.3g}")) for end in ends])


# -- single stays ----------------------------------------------------------------------------


def draw_stays(sequences: Sequences, path: Path, count: int, seed: int = SEED) -> Path:
    """Single stays, each as a picture of features by steps, all on one range of colours.

    Each feature's values are put on [0, 1] by its 1 and 99 % quantiles over all sequences, so that
    the same colour means the same value in every picture. Grey was not measured.

    Args:
        sequences: series, no images.
        path: of the PNG.
        count: K, how many stays.
        seed: draws them, of the classes in turn.

    Raises:
        InputError: a count below 1 or above ``MOST_STAYS``.
        RunError: the file cannot be written.
    """
    if not 1 <= count <= MOST_STAYS:
        raise InputError(
            f"{count} stays are to be drawn", rule=f"from 1 to {MOST_STAYS}", repair="--stays 12"
        )
    chosen = _chosen(sequences, count, seed)
    features = _most_observed(sequences)
    scaled_KFT = _scaled(sequences, chosen, features)
    across = min(4, len(chosen))
    down = -(-len(chosen) // across)
    height = max(1.5, 0.115 * len(features) + 0.35)
    title = f"{sequences.name}: {len(chosen)} of {len(sequences):,} stays, features by "
    with Canvas(2.0 + 2.9 * across, height * down + 0.8, title=title + _time(sequences)) as page:
        axes = np.atleast_1d(page.figure.subplots(down, across, sharex=True, sharey=True)).ravel()
        image: Any = None
        for ax, row, picture_FT in zip(axes, chosen, scaled_KFT, strict=False):
            image = _picture(ax, sequences, int(row), picture_FT)
        names = [shorten(sequences.feature_names[f], 24) for f in features]
        axes[0].set_yticks(np.arange(len(features)) + 0.5, names, fontsize=6)
        for ax in axes[len(chosen) :]:
            ax.set_axis_off()
        bar = page.figure.colorbar(image, ax=axes.tolist(), fraction=0.02, pad=0.01)
        bar.set_ticks([0, 1], labels=["1 % of the\nfeature's values", "99 %"])
        bar.ax.tick_params(labelsize=7, length=0)
        bar.outline.set_visible(False)
        page.note("grey: not measured")
        return page.save(path)


def _chosen(s: Sequences, count: int, seed: int) -> NDArray[np.int64]:
    """Rows of the stays to draw, of each class in turn where there are classes."""
    order = np.random.default_rng(seed).permutation(len(s))
    if s.labels is None or not s.has_classes:
        return order[:count]
    labels = s.labels[order]
    turn = np.zeros(len(s), dtype=np.int64)
    for label in s.classes:
        turn[labels == label] = np.arange(int((labels == label).sum()))
    picked = order[np.argsort(turn, kind="stable")][:count]
    return picked[np.argsort(s.labels[picked], kind="stable")]


def _scaled(s: Sequences, chosen: NDArray[np.int64], features: list[int]) -> NDArray[np.float64]:
    """(K, F, T) in [0, 1], NaN where not observed."""
    scaled = np.full((len(chosen), len(features), s.n_steps), np.nan)
    for place, f in enumerate(features):
        known = s.values[:, :, f][s.observed[:, :, f]]
        if len(known):
            low, high = (float(q) for q in np.quantile(known, [0.01, 0.99]))
            width = high - low if high > low else 1.0
            scaled[:, place] = np.clip((s.values[chosen, :, f] - low) / width, 0, 1)
    return scaled


def _picture(ax: Axes, s: Sequences, row: int, picture_FT: NDArray[np.float64]) -> Any:
    from matplotlib import colormaps

    image = ax.imshow(
        np.ma.masked_invalid(picture_FT),
        aspect="auto",
        interpolation="nearest",
        cmap=colormaps["viridis"].with_extremes(bad=MISSING),
        vmin=0,
        vmax=1,
        extent=(0, s.n_steps * s.step, len(picture_FT), 0),
    )
    label = "" if s.labels is None else f"{s.label_name} {s.labels[row]}"
    ax.set_title(shorten(label, 24), fontsize=8)
    ax.tick_params(labelsize=6.5, length=2)
    ax.tick_params(axis="y", length=0)
    ax.spines[:].set_visible(False)
    end = s.lengths[row] * s.step
    if s.lengths[row] < s.n_steps:
        ax.axvline(end, color=GRID, linewidth=1.0)
    return image
