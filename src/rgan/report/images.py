"""Grids of images, real beside synthetic.

Shape letters: N images, H, W, C height, width and channels of one, R rows and K columns of tiles.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgan.layouts import ImageLayout
from rgan.report.canvas import FAINT, REAL, SYNTHETIC, Canvas, shorten
from rgan.sequences import Sequences

_MISSING = np.array([0.96, 0.80, 0.66], dtype=np.float32)  # a pixel that was not measured
_GAP = 0.08  # between tiles, as a share of a tile's shorter side


def draw_image_samples(
    real: Sequences | None, synthetic: Sequences, path: str | Path, *, title: str = ""
) -> Path:
    """Two grids of tiles beside each other, a row for each class where the labels are classes.

    Args:
        real: real images, or None to draw synthetic ones only.
        synthetic: images of the same layout.
        path: the PNG to write.
        title: stands above everything.

    Raises:
        RunError: the file cannot be written.
    """
    sides = [("real", real, REAL), ("synthetic", synthetic, SYNTHETIC)]
    sides = [side for side in sides if side[1] is not None]
    classes = _common_classes(real, synthetic)
    layout = synthetic.layout
    assert isinstance(layout, ImageLayout)
    rows, columns = _grid_shape(layout, len(classes), max(len(s) for _, s, _ in sides if s))
    tile_w = 0.46 * min(2.0, max(0.5, layout.width / layout.height)) ** 0.5
    tile_h = tile_w * layout.height / layout.width
    width = len(sides) * (columns * tile_w + 0.25) + (0.6 if len(classes) else 0.1)
    height = rows * tile_h + 0.5 + (0.35 if title else 0)
    with Canvas(max(width, 3.0), max(height, 1.5), title=title) as canvas:
        canvas.space(h_pad=0.1, w_pad=0.08)
        axes = canvas.figure.subplots(1, len(sides), squeeze=False)[0]
        for ax, (name, sequences, colour) in zip(axes, sides, strict=True):
            assert sequences is not None
            chosen = _choose(sequences, classes, rows, columns)
            ax.imshow(
                _mosaic(_to_rgb(sequences, chosen)),
                interpolation="nearest",
                aspect="equal",
                extent=(0.0, columns, rows, 0.0),
            )
            ax.set_aspect(layout.height / layout.width)
            ax.set_title(name, color=colour, fontweight="bold", fontsize=10.5)
            ax.tick_params(length=0)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        if len(classes):
            axes[0].set_yticks(np.arange(rows) + 0.5, [shorten(str(c), 14) for c in classes[:rows]])
            axes[0].tick_params(axis="y", colors=FAINT, labelsize=9, pad=2)
        return canvas.save(path)


def _common_classes(real: Sequences | None, synthetic: Sequences) -> NDArray[np.generic]:
    """The classes to give a row each: at most 12, and only where both sides have classes."""
    if not synthetic.has_classes or (real is not None and not real.has_classes):
        return np.array([])
    classes = synthetic.classes if real is None else np.union1d(real.classes, synthetic.classes)
    return classes[:12] if len(classes) > 1 else np.array([])


def _grid_shape(layout: ImageLayout, n_classes: int, n_images: int) -> tuple[int, int]:
    """(R, K): eight columns, fewer where images are wide or there are not so many."""
    columns = 8 if layout.width <= 2 * layout.height else 4
    if n_classes:
        return n_classes, columns
    columns = min(columns, max(1, n_images))
    return min(8, -(-n_images // columns)), columns


def _choose(
    sequences: Sequences, classes: NDArray[np.generic], rows: int, columns: int
) -> NDArray[np.int64]:
    """(R, K) indices of the images to show, -1 for an empty tile; the first ones of each class."""
    chosen = np.full((rows, columns), -1, dtype=np.int64)
    if not len(classes):
        shown = min(len(sequences), rows * columns)
        chosen.flat[:shown] = np.arange(shown)
        return chosen
    assert sequences.labels is not None
    for row, label in enumerate(classes):
        found = np.flatnonzero(sequences.labels == label)[:columns]
        chosen[row, : len(found)] = found
    return chosen


def _to_rgb(sequences: Sequences, chosen_RK: NDArray[np.int64]) -> NDArray[np.float32]:
    """(R, K, H, W, 3) in 0 to 1; empty tiles are white, pixels not measured are tinted."""
    layout = sequences.layout
    assert isinstance(layout, ImageLayout)
    tiles = np.ones((*chosen_RK.shape, layout.height, layout.width, 3), dtype=np.float32)
    here = chosen_RK >= 0
    if not here.any():
        return tiles
    images_NHWC = sequences[chosen_RK[here]].to_images()
    scaled = np.clip((images_NHWC - layout.low) / (layout.high - layout.low), 0.0, 1.0)
    # two channels, or more than three, have no colours of their own: the first one is shown
    colours = scaled[..., :3] if layout.channels in (3, 4) else scaled[..., :1]
    colours = np.broadcast_to(colours, (*colours.shape[:3], 3))
    missing = np.isnan(colours).any(axis=-1, keepdims=True)
    tiles[here] = np.where(missing, _MISSING, colours)
    return tiles


def _mosaic(tiles_RKHW3: NDArray[np.float32]) -> NDArray[np.float32]:
    """Tiles as one picture with white gaps; every pixel enlarged so that gaps can be thin."""
    rows, _, height, width, _ = tiles_RKHW3.shape
    times = max(1, 64 // min(height, width))
    big = tiles_RKHW3.repeat(times, axis=2).repeat(times, axis=3)
    gap = max(1, round(_GAP * times * min(height, width) / 2))
    padded = np.pad(big, ((0, 0), (0, 0), (gap, gap), (gap, gap), (0, 0)), constant_values=1.0)
    return padded.transpose(0, 2, 1, 3, 4).reshape(rows * padded.shape[2], -1, 3)
