"""How far apart two sets of images are, by what fixed random filters see; for looks while training.

    d(X, Y) = (2 E|f(x) - f(y)| - E|f(x) - f(x')| - E|f(y) - f(y')|) / E|f(x) - f(x')|

the energy distance (Szekely & Rizzo 2013, J. Stat. Plan. Inference 143) of features f, each mean
over pairs of different images, in units of the mean distance between two real images. 0 in
expectation where both sets come from one distribution, so it may be slightly negative; lower is
better.

The features are made of nothing that was learnt: 3 x 3 filters of zero mean with normal random
weights, always the same, on the image and on copies of half and of a quarter of its size; the
responses' positive and negative parts, and the brightness, averaged in up to 4 x 4 cells. Random
filters tell textures and edges nearly as well as trained ones (Saxe et al., ICML 2011). Blur and
noise change how strongly filters answer, shifts and broken strokes where; and what is never drawn
is missed in the pairs.

Shape letters: N images, H, W, C height, width, channels, K features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rgan.evaluate.features import brightness
from rgan.evaluate.mmd import square_distances
from rgan.sequences import Sequences

FILTERS, CELLS, LEVELS = 24, 4, 3
MOST_PIXELS = 32
"""Longer sides are averaged down by whole factors until they are no longer."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class ImageDistance:
    """The distance to a set of real images.

    Args:
        real_NK: features of the real images.
        scale_K: what each kind of feature is divided by.
        own: mean distance between two real images.
    """

    real_NK: Floats
    scale_K: Floats
    own: float

    @classmethod
    def of(cls, real: Sequences, train: Sequences) -> ImageDistance | None:
        """The distance to ``real``, features scaled by those of ``train``.

        None where the sequences are no images, are fewer than two, or are all alike.
        """
        if not real.is_image or min(len(real), len(train)) < 2:
            return None
        scale_K = _scale(features(train))
        real_NK = features(real) / scale_K
        own = _between(real_NK, real_NK, same=True)
        rounding = 0.01 * np.sqrt(len(scale_K))  # where features deviate by about 1
        return cls(real_NK, scale_K, own) if own > rounding else None

    def __call__(self, candidate: Sequences) -> float:
        """How far the candidate's images are from the real ones."""
        found_NK = features(candidate) / self.scale_K
        across = _between(self.real_NK, found_NK)
        within = _between(found_NK, found_NK, same=True)
        return (2 * across - self.own - within) / self.own


def features(images: Sequences) -> Floats:
    """(N, K) what the filters see of each image."""
    x_NHWC = brightness(images)
    x_NHWC = _smaller(x_NHWC, -(-max(x_NHWC.shape[1:3]) // MOST_PIXELS))
    filters = _filters(x_NHWC.shape[3])
    found = []
    for _ in range(LEVELS):
        found.append(_cells(x_NHWC))
        if min(x_NHWC.shape[1:3]) < 3:
            break
        windows = np.lib.stride_tricks.sliding_window_view(x_NHWC, (3, 3), axis=(1, 2))
        flat = np.ascontiguousarray(windows).reshape(*windows.shape[:3], -1)
        answers = flat @ filters
        found += [_cells(np.maximum(answers, 0)), _cells(np.maximum(-answers, 0))]
        x_NHWC = _smaller(x_NHWC, 2)
    return np.concatenate(found, axis=1)


def _filters(channels: int) -> Floats:
    """(C·3·3, filters) random weights of zero mean and unit norm; the same ones always."""
    random = np.random.Generator(np.random.PCG64(0)).standard_normal((channels * 9, FILTERS))
    random -= random.mean(0)
    return (random / np.linalg.norm(random, axis=0)).astype(np.float32)


def _smaller(x_NHWC: Floats, factor: int) -> Floats:
    """Averages over squares of factor x factor pixels; what is left over at the edges is cut."""
    n, h, w, c = x_NHWC.shape
    if factor < 2 or min(h, w) < factor:
        return x_NHWC
    h, w = h // factor, w // factor
    cut = x_NHWC[:, : h * factor, : w * factor].reshape(n, h, factor, w, factor, c)
    return np.asarray(cut.mean((2, 4)))


def _cells(x_NHWC: Floats) -> Floats:
    """(N, cells·C) means over a grid of up to 4 x 4 cells."""
    n, h, w, _ = x_NHWC.shape
    rows, columns = (np.arange(min(CELLS, s)) * s // min(CELLS, s) for s in (h, w))
    sums = np.add.reduceat(np.add.reduceat(x_NHWC, rows, 1), columns, 2)
    sizes = np.diff(rows, append=h)[:, None] * np.diff(columns, append=w)
    return np.asarray((sums / sizes[:, :, None]).reshape(n, -1), dtype=np.float32)


def _scale(features_NK: Floats) -> Floats:
    """The deviation of each feature, at least a tenth of the mean one: corners are often empty."""
    std_K = features_NK.std(0)
    return np.maximum(std_K, 0.1 * std_K.mean() + 1e-9).astype(np.float32)


def _between(x_NK: Floats, y_MK: Floats, same: bool = False) -> float:
    """Mean distance between rows; of one set, between different ones."""
    total = np.sqrt(square_distances(x_NK, y_MK)).astype(np.float64)
    if same:
        np.fill_diagonal(total, 0)
        return float(total.sum() / max(1, len(x_NK) * (len(x_NK) - 1)))
    return float(total.mean())
