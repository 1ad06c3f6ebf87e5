"""Windows cut from longer series.

Shape letters: N series, M windows, T steps of a series, W steps of a window, F features.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rgan.errors import ConfigError, DataError
from rgan.sequences import Sequences

logger = logging.getLogger(__name__)


def cut_windows(series: Sequences, window: int, stride: int = 1) -> Sequences:
    """Windows of ``window`` steps, one every ``stride`` steps, from each series in turn.

    A window keeps its series' label, static attributes and subject (the series' number where there
    are no subjects), and remembers in ``starts`` where it begins, so that a split by time can keep
    overlapping windows apart. Series shorter than a window give none, and their number is logged.

    Args:
        series: N series of up to T steps.
        window: W, steps of a window, at least 2.
        stride: steps between the starts of two windows, at least 1.

    Returns:
        M sequences of W steps.

    Raises:
        ConfigError: window or stride is out of range.
        DataError: no series is as long as a window, or the sequences are images.

    >>> windows = cut_windows(Sequences(np.arange(10.0).reshape(1, 10, 1)), window=4, stride=3)
    >>> windows.starts.tolist(), windows.values[-1, :, 0].tolist()
    ([0, 3, 6], [6.0, 7.0, 8.0, 9.0])
    """
    if window < 2 or stride < 1:
        raise ConfigError(
            f"window is {window} and stride is {stride}",
            rule="a window has at least 2 steps, a stride at least 1",
            repair="--window 24 --stride 1",
        )
    if series.is_image:
        raise DataError(
            "windows are asked for, and the sequences are images",
            rule="windows are cut from series",
            repair="leave --window out",
        )
    rows_M, starts_M = _places(series.lengths, window, stride)
    if not len(rows_M):
        raise DataError(
            f"the longest series has {int(series.lengths.max())} steps",
            rule=f"at least one series has the window's {window} steps",
            reason="a (T, F) array is read as T sequences of one feature",
            repair="--window with fewer steps, or save one long series as values[None]",
        )
    short = int((series.lengths < window).sum())
    if short:
        logger.warning("%d of %d series are shorter than a window: left out", short, len(series))
    steps_MW = starts_M[:, None] + np.arange(window)[None, :]
    origin = series.starts if series.starts is not None else np.zeros(len(series), dtype=np.int64)
    subjects = series.subjects if series.subjects is not None else np.arange(len(series))
    return replace(
        series,
        values=series.values[rows_M[:, None], steps_MW],
        observed=series.observed[rows_M[:, None], steps_MW],
        lengths=np.full(len(rows_M), window, dtype=np.int64),
        labels=None if series.labels is None else series.labels[rows_M],
        static=None if series.static is None else series.static[rows_M],
        subjects=subjects[rows_M],
        starts=origin[rows_M] + starts_M,
        part=None if series.part is None else series.part[rows_M],
    )


def _places(
    lengths_N: NDArray[np.int64], window: int, stride: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(M,) the series of each window, and (M,) the step at which it starts."""
    counts_N = np.maximum(0, (lengths_N - window) // stride + 1)
    rows_M = np.repeat(np.arange(len(lengths_N), dtype=np.int64), counts_N)
    first_M = np.repeat(np.cumsum(counts_N) - counts_N, counts_N)
    return rows_M, (np.arange(len(rows_M), dtype=np.int64) - first_M) * stride
