"""Irregular times: values into bins by a stated rule, or kept as events with the gaps between them.

Shape letters: V values, each of one sequence and time, in the order of time within a sequence;
N sequences, T bins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rgan.data.config import BinRule

GAP = "gap"
"""What the feature with the time since the event before is called."""


def binned(
    row_V: NDArray[np.int64],
    bin_V: NDArray[np.int64],
    value_V: NDArray[np.floating],
    shape: tuple[int, int],
    rule: BinRule,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """One feature's values in bins.

    Args:
        row_V, bin_V: which sequence and bin each value belongs to.
        value_V: the values.
        shape: (N, T).
        rule: "last": the last value of a bin; "mean": the mean of its values; "count": how many
            there are, 0 where there is none. "gaps" has one value a step, so it is as "last".

    Returns:
        values (N, T), and whether there is one; counts are always observed.

    >>> rows, bins = np.zeros(3, int), np.array([0, 0, 2])
    >>> values = np.array([1.0, 2.0, 5.0])
    >>> binned(rows, bins, values, (1, 3), "mean")[0].tolist()
    [[1.5, 0.0, 5.0]]
    >>> binned(rows, bins, values, (1, 3), "count")[0].tolist()
    [[2.0, 0.0, 1.0]]
    """
    n, t = shape
    place_V = row_V * t + bin_V
    count = np.bincount(place_V, minlength=n * t)
    if rule == "count":
        return count.astype(np.float32).reshape(shape), np.ones(shape, dtype=np.bool_)
    if rule == "mean":
        total = np.bincount(place_V, weights=value_V, minlength=n * t)
        values = total / np.maximum(count, 1)
    else:
        values = np.zeros(n * t)
        values[place_V] = value_V  # of several for one place, numpy keeps the last
    return values.astype(np.float32).reshape(shape), (count > 0).reshape(shape)


def free_name(wanted: str, taken: list[str]) -> str:
    """A feature's name that no other has.

    >>> free_name("gap", ["gap", "hr"])
    'gap_before'
    """
    while wanted in taken:
        wanted += "_before"
    return wanted
