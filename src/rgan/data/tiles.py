"""A picture of sequences as a grid of tiles: images as they are, series as heat maps.

Shape letters: N sequences, T steps, F features, h, w height and width of a tile.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgan.errors import InputError
from rgan.layouts import ImageLayout
from rgan.sequences import Sequences, concatenate

MOST_TILES = 1024
"""More could not be told apart."""

GAP = 2
"""White pixels between tiles."""

_LEAST_SIDE = 48
"""Tiles smaller than this are enlarged by a whole factor."""

_COLOURS = np.array([(38, 40, 96), (44, 123, 182), (171, 217, 163), (253, 231, 76)], np.float32)
"""Low to high, growing lighter all the way, so that it also reads in grey."""

_UNSEEN = 225
"""The grey of what was not observed."""


class PngSink:
    """One picture; it needs all tiles at once, which is why their number is limited."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "grid.png"
        self._parts: list[Sequences] = []

    def add(self, chunk: Sequences) -> None:
        """Keep the chunk for the picture."""
        check_count(len(chunk) + sum(map(len, self._parts)))
        self._parts.append(chunk)

    def finish(self) -> Path:
        """The finished picture."""
        from PIL import Image

        Image.fromarray(grid(concatenate(self._parts))).save(self._path)
        return self._path


def check_count(count: int) -> None:
    """Refuse more sequences than a grid shows.

    Raises:
        InputError: more than ``MOST_TILES``.
    """
    if count > MOST_TILES:
        raise InputError(
            f"{count} sequences are to be drawn in one picture",
            rule=f"a grid shows at most {MOST_TILES}",
            repair="-n 100, or -o with the ending .npz",
        )


def grid(sequences: Sequences) -> NDArray[np.uint8]:
    """The tiles in rows, nearly square, as RGB pixels (height, width, 3)."""
    tiles = _images(sequences) if sequences.is_image else _heat_maps(sequences)
    n, h, w = tiles.shape[:3]
    if sequences.is_image:
        down = across = max(1, -(-_LEAST_SIDE // max(h, w)))
    else:
        down, across = max(1, -(-_LEAST_SIDE // h)), max(1, -(-_LEAST_SIDE // w))
    tiles = tiles.repeat(down, axis=1).repeat(across, axis=2)
    h, w = tiles.shape[1:3]
    columns = min(n, max(1, round((n * (h + GAP) / (w + GAP)) ** 0.5)))
    rows = -(-n // columns)
    picture = np.full((rows * (h + GAP) + GAP, columns * (w + GAP) + GAP, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        top = GAP + index // columns * (h + GAP)
        left = GAP + index % columns * (w + GAP)
        picture[top : top + h, left : left + w] = tile
    return picture


def _images(sequences: Sequences) -> NDArray[np.uint8]:
    """(N, H, W, 3) of images of one or three channels; of others the first is shown."""
    layout = sequences.layout
    assert isinstance(layout, ImageLayout)
    pixels = (sequences.to_images() - layout.low) / (layout.high - layout.low) * 255
    shown = pixels if pixels.shape[3] == 3 else np.repeat(pixels[..., :1], 3, axis=3)
    return np.nan_to_num(np.clip(np.rint(shown), 0, 255), nan=_UNSEEN).astype(np.uint8)


def _heat_maps(sequences: Sequences) -> NDArray[np.uint8]:
    """(N, F, T, 3): a row a feature, each coloured over its own range in all sequences."""
    seen, values = sequences.observed, sequences.values
    low = np.where(seen, values, np.inf).min(axis=(0, 1))
    high = np.where(seen, values, -np.inf).max(axis=(0, 1))
    low, high = (np.where(np.isfinite(edge), edge, 0) for edge in (low, high))  # never observed
    span = np.where(high > low, high - low, 1)
    place = np.where(seen, (np.where(seen, values, 0) - low) / span, 0) * (len(_COLOURS) - 1)
    below = np.clip(np.floor(place), 0, len(_COLOURS) - 2).astype(np.int64)
    share = (place - below)[..., None]
    colour = _COLOURS[below] * (1 - share) + _COLOURS[below + 1] * share
    colour = np.where(seen[..., None], colour, _UNSEEN)
    colour = np.where(sequences.valid[:, :, None, None], colour, 255)  # past the end: paper
    return np.rint(colour).astype(np.uint8).transpose(0, 2, 1, 3)
