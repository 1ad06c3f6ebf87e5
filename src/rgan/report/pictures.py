"""A data set as one picture: images as tiles, series as heat maps of one row a sequence.

Shape letters: N sequences, R rows drawn, T steps, F features, H, W, C of images.

Colours run over the 1 to 99 % range of each feature with the median in the middle, so that neither
one odd value nor a long tail makes the rest look alike. What was not observed, and what lies past a
sequence's length, is grey.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rgan.errors import InputError
from rgan.layouts import ImageLayout
from rgan.report.show import number
from rgan.sequences import Sequences

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSING = "0.82"  # a light grey that none of the colour maps holds
MOST_PANELS = 24
SEED = 0  # which sequences are drawn is the same each time


def draw_sequences(sequences: Sequences, path: Path, rows: int = 100, dpi: int = 110) -> Path:
    """Draw a data set into a PNG file.

    Args:
        sequences: the data.
        path: of the file; it is replaced if it is there.
        rows: the most sequences of a series that are drawn, R.
        dpi: dots per inch.

    Raises:
        InputError: the file does not end in .png, or cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise InputError(
            f'the picture is to be "{path}"', rule="it ends in .png", repair=f"{path.stem}.png"
        )
    if not path.parent.is_dir():
        raise InputError(
            f'"{path.parent}" is not a folder', rule="a picture goes into a folder that is there"
        )
    picture = _tiles(sequences) if sequences.is_image else _heat_maps(sequences, rows)
    part = path.with_name(path.name + ".part")
    try:
        picture.savefig(part, format="png", dpi=dpi, facecolor="white")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(
            f'"{path}" cannot be written: {error.strerror}', repair="--png FILE elsewhere"
        ) from error
    return path


def _figure(width: float, height: float, title: str) -> Figure:
    """A figure of this many inches, without the global state of pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, fontsize=11, x=0.01, ha="left")
    return figure


# -- images ----------------------------------------------------------------------------------


def _tiles(s: Sequences, columns: int = 16, plain_rows: int = 8) -> Figure:
    """Images side by side: a row for each class, or simply a grid."""
    assert isinstance(s.layout, ImageLayout)
    groups, names = _image_rows(s, columns, plain_rows)
    shown_n = sum(len(rows) for rows in groups)
    h, w, c = s.layout.height, s.layout.width, s.layout.channels
    gap = max(1, round(min(h, w) / 14))
    sheet = np.full((len(groups) * (h + gap) - gap, columns * (w + gap) - gap, c), np.nan)
    for r, rows in enumerate(groups):
        if not len(rows):
            continue
        for k, image in enumerate(s.layout.to_images(s.values[rows])):
            y, x = r * (h + gap), k * (w + gap)
            sheet[y : y + h, x : x + w] = image
    aspect = sheet.shape[0] / sheet.shape[1]
    figure = _figure(
        10, min(14.0, 9.6 * aspect + 0.6), f"{s.name}: {shown_n:,} of {len(s):,} images"
    )
    axes = figure.add_subplot()
    shown = np.clip((sheet - s.layout.low) / (s.layout.high - s.layout.low), 0, 1)
    if c == 3:
        shown = np.where(np.isnan(shown), 1.0, shown)
        axes.imshow(shown, interpolation="nearest")
    else:
        axes.imshow(shown[..., 0], cmap=_map("gray", "white"), vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks(
        [r * (h + gap) + h / 2 for r in range(len(groups))] if names else [], names, fontsize=9
    )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _image_rows(
    s: Sequences, columns: int, plain_rows: int
) -> tuple[list[NDArray[np.int64]], list[str]]:
    rng = np.random.default_rng(SEED)
    if s.labels is not None and 1 < len(s.classes) <= 16:
        groups = []
        for label in s.classes:
            members = np.flatnonzero(s.labels == label)
            groups.append(rng.permutation(members)[:columns])
        return groups, [str(label) for label in s.classes]
    chosen = rng.permutation(len(s))[: columns * plain_rows]
    return [chosen[i : i + columns] for i in range(0, len(chosen), columns)], []


# -- series ----------------------------------------------------------------------------------


def _heat_maps(s: Sequences, rows: int) -> Figure:
    """One heat map a feature; a row of all of them is the same sequence."""
    chosen, bounds, names = _series_rows(s, rows)
    features = _panels(s)
    columns = 1 if len(features) == 1 else min(4, int(np.ceil(np.sqrt(len(features)))))
    lines = int(np.ceil(len(features) / columns))
    with_lines = len(features) == 1
    width = 11.0 if with_lines else max(6.0, 3.3 * columns)
    figure = _figure(width, 4.8 if with_lines else 2.3 * lines + 0.5, _title(s, chosen, features))
    for k, f in enumerate(features):
        axes = figure.add_subplot(lines, columns + with_lines, k + 1)
        _heat_map(axes, s, f, chosen)
        first, last = k % columns == 0, k + columns >= len(features)
        _row_marks(axes, bounds, names if first else [])
        if last:
            axes.set_xlabel(
                "step" if s.step_unit == "step" else f"time ({s.step_unit})", fontsize=8
            )
    if with_lines:
        _curves(figure.add_subplot(1, 2, 2), s, features[0], chosen)
    return figure


def _title(s: Sequences, chosen: NDArray[np.int64], features: list[int]) -> str:
    title = f"{s.name}: {len(chosen):,} of {len(s):,} sequences, one row each"
    if len(features) < s.n_features:
        title += f"; the {len(features)} most observed of {s.n_features} features"
    return title + ("" if s.fully_observed and s.fixed_length else "; grey = not observed")


def _panels(s: Sequences) -> list[int]:
    """Which features are drawn: all, or the most observed ones, in the data's order."""
    if s.n_features <= MOST_PANELS:
        return list(range(s.n_features))
    share_F = s.observed.mean(axis=(0, 1))
    return sorted(int(f) for f in np.argsort(-share_F, kind="stable")[:MOST_PANELS])


def _series_rows(s: Sequences, rows: int) -> tuple[NDArray[np.int64], list[int], list[str]]:
    """Which sequences are drawn in which order, where each class begins, and its name.

    Classes take equal parts of the picture, so that a rare one can be seen. Within a class the
    rows are ordered along the direction in which the sequences differ most.
    """
    rng = np.random.default_rng(SEED)
    place_N = _order_key(s)
    if s.labels is None or not 1 < len(s.classes) <= 12:
        chosen = rng.permutation(len(s))[:rows]
        return chosen[np.argsort(place_N[chosen], kind="stable")], [], []
    groups, bounds, names = [], [0], []
    for label in s.classes:
        members = rng.permutation(np.flatnonzero(s.labels == label))
        members = members[: max(1, rows // len(s.classes))]
        groups.append(members[np.argsort(place_N[members], kind="stable")])
        bounds.append(bounds[-1] + len(members))
        names.append(f"{s.label_name} {label}")
    return np.concatenate(groups), bounds, names


def _order_key(s: Sequences) -> NDArray[np.float64]:
    """A number for each sequence: its place on the first principal component of the mean levels
    (for one feature: of the course itself), gaps taken as average."""
    if s.n_features == 1:
        table = s.values[:, :, 0].astype(np.float64)
    else:
        count = np.maximum(s.observed.sum(axis=1), 1)
        total = np.where(s.observed, s.values, 0).sum(axis=1, dtype=np.float64)
        table = np.where(s.observed.any(axis=1), total / count, np.nan)
    seen = ~np.isnan(table)
    mean = np.where(seen, table, 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    centred = np.where(seen, table - mean, 0)
    scale = np.sqrt((centred**2).sum(axis=0) / np.maximum(seen.sum(axis=0), 1))
    centred = np.clip(centred / np.where(scale > 0, scale, 1), -4, 4)
    _, axes = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ axes[:, -1])


def _range(s: Sequences, f: int) -> tuple[float, float]:
    """The 1 to 99 % range of a feature, widened where it is a point."""
    known = s.values[:, :, f][s.observed[:, :, f]]
    if not len(known):
        return 0.0, 1.0
    low, high = (float(q) for q in np.quantile(known, [0.01, 0.99]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _colours(s: Sequences, f: int) -> tuple[Any, list[float]]:
    """The scale from values to colours, and the values marked on its bar."""
    from matplotlib.colors import Normalize, TwoSlopeNorm

    low, high = _range(s, f)
    known = s.values[:, :, f][s.observed[:, :, f]]
    middle = float(np.median(known)) if len(known) else low
    if low < middle < high:
        return TwoSlopeNorm(middle, low, high), [low, middle, high]
    return Normalize(low, high), [low, high]


def _map(name: str, missing: str) -> Any:
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad=missing)


def _heat_map(axes: Any, s: Sequences, f: int, chosen: NDArray[np.int64]) -> None:
    norm, ticks = _colours(s, f)
    shown_RT = np.ma.masked_invalid(s.values[chosen, :, f])
    end = s.n_steps * s.step
    image = axes.imshow(
        shown_RT,
        aspect="auto",
        interpolation="nearest",
        cmap=_map("viridis", MISSING),
        norm=norm,
        extent=(0, end, len(chosen), 0),
    )
    unit = f" ({s.units[f]})" if s.units[f] else ""
    axes.set_title(f"{s.feature_names[f]}{unit}", fontsize=9, loc="left", pad=3)
    axes.tick_params(labelsize=7, length=2)
    bar = axes.figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02)
    bar.set_ticks(ticks, labels=[number(float(f"{tick:.3g}")) for tick in ticks])
    bar.ax.tick_params(labelsize=7, length=0)
    bar.outline.set_visible(False)
    axes.spines[:].set_visible(False)


def _row_marks(axes: Any, bounds: list[int], names: list[str]) -> None:
    """White lines between the classes, and their names at the left."""
    for bound in bounds[1:-1]:
        axes.axhline(bound, color="white", linewidth=1.5)
    axes.set_yticks([])
    if names:
        middles = [(a + b) / 2 for a, b in pairwise(bounds)]
        axes.set_yticks(
            middles, names, fontsize=8, rotation=90 if len(names) < 5 else 0, va="center"
        )
        axes.tick_params(axis="y", length=0)


def _curves(axes: Any, s: Sequences, f: int, chosen: NDArray[np.int64], most: int = 8) -> None:
    """Some of the rows as curves, evenly over the picture, each in a band of its own."""
    low, high = _range(s, f)
    picks = chosen[np.linspace(0, len(chosen) - 1, min(most, len(chosen))).round().astype(int)]
    time_T = (np.arange(s.n_steps) + 0.5) * s.step
    for k, row in enumerate(picks):
        level_T = (s.values[row, :, f] - low) / (high - low)
        axes.axhline(-k * 1.25 + 0.5, color="0.9", linewidth=0.8)
        axes.plot(time_T, level_T - k * 1.25, color="#31688e", linewidth=1.2)
    axes.set_title(f"{len(picks)} of these rows as curves", fontsize=9, loc="left", pad=3)
    axes.set_yticks([])
    axes.set_xlim(0, s.n_steps * s.step)
    axes.tick_params(labelsize=7, length=2)
    axes.spines[["top", "left", "right"]].set_visible(False)
