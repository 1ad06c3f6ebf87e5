"""Sequences as rows of plain numbers, for classifiers that do not read sequences.

Shape letters: N sequences, T steps, F features, A static attributes, K features of a row; H, W, C
height, width and channels of an image.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rgan.evaluate.scale import Scale, held
from rgan.layouts import ImageLayout
from rgan.sequences import Sequences

FLAT_LIMIT = 1024  # most values of a sequence that are given one by one
PIXEL_LIMIT = 4096  # most values of an image, above which it is averaged down
Floats = NDArray[np.float32]


def summaries(data: Sequences, scale: Scale) -> Floats:
    """(N, 8F) mean, least, greatest, first, last, slope, roughness and share observed.

    Of each feature, in standard deviations of the real training set. The slope is per T steps, the
    roughness is the mean absolute change from one observed value to the next. NaN where a feature
    is never observed in a sequence; slope and roughness are 0 where it is observed once.
    """
    m = data.observed
    z = scale.standardise(data)
    count = m.sum(1).astype(np.float32)
    some, steps = count > 0, np.maximum(count, 1)
    time = np.arange(data.n_steps, dtype=np.float32)[None, :, None] / data.n_steps
    mean = z.sum(1) / steps
    centred_time = np.where(
        m, time - np.where(m, time, 0).sum(1, keepdims=True) / steps[:, None], 0
    )
    spread = (centred_time**2).sum(1)
    slope = (centred_time * z).sum(1) / np.where(spread > 0, spread, 1)
    first = np.take_along_axis(z, m.argmax(1)[:, None], 1)[:, 0]
    last = np.take_along_axis(z, data.n_steps - 1 - m[:, ::-1].argmax(1)[:, None], 1)[:, 0]
    low, high = np.where(m, z, np.inf).min(1), np.where(m, z, -np.inf).max(1)
    change = np.abs(np.diff(held(scale, data), axis=1))
    earlier = np.maximum.accumulate(m, axis=1)[:, :-1]  # the first value is no change
    rough = np.where(m[:, 1:] & earlier, change, 0).sum(1) / np.maximum(count - 1, 1)
    kinds = (mean, low, high, first, last, slope, rough)
    rows = [np.where(some, part, np.nan) for part in kinds]
    rows.append(count / data.lengths[:, None])
    return np.concatenate(rows, axis=1).astype(np.float32)


def flat_values(data: Sequences, scale: Scale) -> Floats:
    """(N, K) standardised values one by one, NaN where not observed; images averaged to fit."""
    z = np.where(data.observed, scale.standardise(data), np.float32(np.nan))
    if data.is_image and z[0].size > PIXEL_LIMIT:
        images = data.layout.to_images(z)  # type: ignore[union-attr]
        n, h, w, c = images.shape
        k = int(np.ceil(np.sqrt(z[0].size / PIXEL_LIMIT)))
        h, w = h // k * k, w // k * k
        z = images[:, :h, :w].reshape(n, h // k, k, w // k, k, c).mean((2, 4))
    return np.asarray(z.reshape(len(z), -1), dtype=np.float32)


def brightness(images: Sequences) -> Floats:
    """(N, H, W, C) images with the layout's range brought to 0..1; gaps are the darkest."""
    layout = images.layout
    assert isinstance(layout, ImageLayout)
    values = np.where(images.observed, images.values, layout.low)
    x_NHWC = np.ascontiguousarray(layout.to_images(values), np.float32)
    return np.asarray((x_NHWC - layout.low) / (layout.high - layout.low), np.float32)


def statics(data: Sequences) -> Floats:
    """(N, K) continuous attributes as they are, the others one-hot; NaN where not known."""
    columns: list[NDArray[np.float32]] = []
    for a, info in enumerate(data.static_info):
        assert data.static is not None
        x_N = data.static[:, a]
        if info.kind == "categorical":
            hot = (x_N[:, None] == np.arange(len(info.levels))).astype(np.float32)
            columns.extend(np.where(np.isnan(x_N)[:, None], np.nan, hot).T)
        else:
            columns.append(x_N)
    if not columns:
        return np.zeros((len(data), 0), dtype=np.float32)
    return np.stack(columns, axis=1).astype(np.float32)


def table(data: Sequences, scale: Scale, *, with_static: bool) -> Floats:
    """(N, K) everything a classifier may use of each sequence.

    Summaries; single values too where T·F <= 1024 or the data are images (for images, only these,
    since a summary over rows of pixels says nothing); static attributes; and the length, where
    lengths differ.

    Args:
        data: (N, T, F) sequences.
        scale: of the real training set.
        with_static: whether both sides of the comparison have the same static attributes.
    """
    parts = [] if data.is_image else [summaries(data, scale)]
    if data.is_image or data.n_steps * data.n_features <= FLAT_LIMIT:
        parts.append(flat_values(data, scale))
    if with_static:
        parts.append(statics(data))
    parts.append((data.lengths[:, None] / data.n_steps).astype(np.float32))
    return np.concatenate(parts, axis=1)
