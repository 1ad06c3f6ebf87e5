"""Conditions as small whole numbers that can be counted, and back.

Shape letters: N sequences.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.errors import DataError, InputError
from rgan.sequences import Static
from rgan.transforms.conditions import ClassCondition, Condition, ContinuousCondition

UNKNOWN = -1
"""The code of what is not known."""


def check_varies(static: Static, column_N: NDArray[Any]) -> None:
    """Raises ``DataError`` where a condition is the same in every training sequence."""
    if len(np.unique(column_N)) < 2:  # where it is not known is a value too
        raise DataError(
            f'the condition "{static.name}" is the same in every training sequence',
            rule="a condition takes at least two values",
            reason="one that never changes teaches nothing",
            repair=f'leave "{static.name}" out of --condition',
        )


def in_range(static: Static, raw: NDArray[Any], grid: tuple[float, ...]) -> NDArray[np.float64]:
    """What is asked for as numbers; raises ``InputError`` where they lie beyond the grid's ends."""
    # As the data's own numbers are kept, so that the largest of them is not above itself.
    try:
        with np.errstate(over="ignore"):  # what is infinite is outside
            value_N = raw.astype(np.float64).astype(np.float32)
    except ValueError as error:
        raise InputError(
            f'the condition "{static.name}" is asked to be "{raw.tolist()[0]}"',
            rule="it is a number",
        ) from error
    low, high = np.float32(grid[0]), np.float32(grid[-1])
    span = [str(end).removesuffix(".0") for end in (low, high)]
    outside = ~((value_N >= low) & (value_N <= high))
    if outside.any():
        unit = f" {static.unit}" if static.unit else ""
        raise InputError(
            f'the condition "{static.name}" is asked to be {raw[outside].tolist()[0]}{unit}',
            rule=f"between {span[0]} and {span[1]}{unit}, the range of the training data",
            reason="nothing was learnt beyond it",
            repair=f"--condition {static.name}={span[int(value_N[outside][0] > high)]}",
        )
    return value_N.astype(np.float64)


def codes(value_N: NDArray[Any], grid: tuple[float, ...], parts: int) -> NDArray[np.int64]:
    """Levels as they are, parts of equal share where there are quantiles, -1 for not known."""
    known_N = ~np.isnan(value_N)
    if not grid:
        return np.where(known_N, value_N, UNKNOWN).astype(np.int64)
    sides = [np.searchsorted(grid, value_N.astype(np.float64), side=s) for s in ("left", "right")]
    share_N = (sides[0] + sides[1] - 1) / 2 / (len(grid) - 1)  # the middle of what is equal
    return np.where(known_N, np.clip(share_N * parts, 0, parts - 1), UNKNOWN).astype(np.int64)


def uncoded(
    code_N: NDArray[np.int64], inner_N: NDArray[np.float64], grid: tuple[float, ...], parts: int
) -> NDArray[np.float64]:
    """The way back: levels, or values within the part, where ``inner_N`` of 0 to 1 says."""
    if not grid:
        return code_N.astype(np.float64)
    share_N = (code_N + inner_N) / parts
    return np.interp(share_N, np.linspace(0, 1, len(grid)), grid)


def label_codes(condition: Condition, labels: Any, n: int, parts: int) -> NDArray[np.int64]:
    """The label's codes (n,); 0 where there is no label."""
    if isinstance(condition, ClassCondition):
        return condition.indices(labels)
    if isinstance(condition, ContinuousCondition):
        return codes(np.asarray(labels).astype(np.float64), condition.quantiles, parts)
    return np.zeros(n, dtype=np.int64)


def drawn_labels(
    condition: Condition, code_N: NDArray[np.int64], inner_N: NDArray[np.float64], parts: int
) -> NDArray[Any] | None:
    """Labels of these codes; None where there is no label."""
    if isinstance(condition, ClassCondition):
        return np.asarray(condition.classes, dtype=condition.dtype)[code_N]
    if isinstance(condition, ContinuousCondition):
        return uncoded(code_N, inner_N, condition.quantiles, parts).astype(condition.dtype)
    return None
