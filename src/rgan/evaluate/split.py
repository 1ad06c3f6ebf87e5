"""Two disjoint parts of a set: by subject, by time, or by row, whichever the data allows.

Shape letters: N sequences.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rgan.sequences import Sequences

Rows = NDArray[np.int64]
FEW_SUBJECTS = 4  # with fewer, parts of whole subjects are too uneven to stand for each other


def split_rows(data: Sequences, share: float, rng: np.random.Generator) -> tuple[Rows, Rows]:
    """Row numbers of the rest and of a random part of about ``share`` of the rows.

    No subject is in both. Windows cut from one or a few long series are parted by time: the part is
    one stretch, and windows of the rest that overlap it are left out of both. Without subjects,
    rows are drawn freely. Neither side is empty where N >= 2.

    Args:
        data: (N, T, F) sequences.
        share: of the second part, 0 < share < 1.
        rng: where the draw comes from.

    Returns:
        rest, part: row numbers, each in random order.
    """
    n = len(data)
    want = min(max(1, round(share * n)), max(1, n - 1))
    if data.subjects is not None:
        codes_N = np.unique(data.subjects, return_inverse=True)[1]
        if codes_N.max() + 1 >= FEW_SUBJECTS:
            return _by_group(codes_N, want, rng)
    if data.starts is not None:
        rest, part = _by_time(data, want, rng)
        if len(rest) and len(part):
            return rest, part
    order = rng.permutation(n)
    return order[want:], order[:want]


def _by_group(codes_N: Rows, want: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    sizes_G = np.bincount(codes_N)
    order = rng.permutation(len(sizes_G))
    total = np.cumsum(sizes_G[order])
    last = max(1, int(np.searchsorted(total, want, side="right")))
    taken = np.isin(codes_N, order[: min(last, len(order) - 1)])
    return rng.permutation(np.flatnonzero(~taken)), rng.permutation(np.flatnonzero(taken))


def _by_time(data: Sequences, want: int, rng: np.random.Generator) -> tuple[Rows, Rows]:
    assert data.starts is not None
    starts_N = data.starts
    order = np.argsort(starts_N, kind="stable")
    first = int(rng.integers(0, len(data) - want + 1))
    part = order[first : first + want]
    low, high = starts_N[part].min(), starts_N[part].max()
    clear_N = (starts_N + data.n_steps <= low) | (starts_N >= high + data.n_steps)
    return rng.permutation(np.flatnonzero(clear_N)), rng.permutation(part)
