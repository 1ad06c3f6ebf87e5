"""The feature columns of a long table: text to numbers or levels, judged, and put into place.

Shape letters: R rows of the table, N sequences, T steps, F features.
"""

from __future__ import annotations

import shlex
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rgan.data.attributes import is_nan, is_number
from rgan.data.bins import binned
from rgan.data.columns import Column, Table
from rgan.data.plausible import Judge
from rgan.data.roles import Roles
from rgan.errors import DataError

MOST_VALUES = 4_000_000_000
"""N x T x F beyond which the regular grid is refused rather than made."""

MOST_LEVELS = 20
"""Different texts in a column that may be the levels of a category."""


def fill(
    table: Table,
    names: list[str],
    roles: Roles,
    sequence_R: NDArray[np.int64],
    steps_R: NDArray[np.int64],
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.int64], list[str]]:
    """Values and mask (N, T, F), with room for gaps; lengths (N,); notes."""
    lengths = np.zeros(int(sequence_R.max()) + 1, dtype=np.int64)
    np.maximum.at(lengths, sequence_R, steps_R + 1)
    shape = (len(lengths), int(lengths.max()), len(names) + (roles.bin == "gaps"))
    if np.prod(shape, dtype=np.float64) > MOST_VALUES:
        raise DataError(
            f"the regular grid has {shape} = {np.prod(shape, dtype=np.float64):.2g} values",
            rule=f"at most {MOST_VALUES:.0e}",
            repair="a wider --set data.step, or fewer ids at a time",
        )
    values = np.zeros(shape, dtype=np.float32)
    observed = np.zeros(shape, dtype=np.bool_)
    notes: list[str] = []
    levels = roles.levels
    for index, name in enumerate(names):
        if name in levels:
            numbers_R, seen_R = _codes(table, name, levels[name], name in roles.nominal)
        else:
            numbers_R, seen_R = _numbers(table, name, roles.nan)
            seen_R, note = _judged(name, numbers_R, seen_R, roles.judge)
            notes += [note] if note else []
        rows = np.flatnonzero(seen_R)
        # the mean of two levels is none
        rule = "last" if name in levels and roles.bin == "mean" else roles.bin
        values[:, :, index], observed[:, :, index] = binned(
            sequence_R[rows], steps_R[rows], numbers_R[rows], shape[:2], rule
        )
    return values, observed, lengths, notes


def _judged(
    name: str, numbers_R: NDArray[np.float64], seen_R: NDArray[np.bool_], judge: Judge
) -> tuple[NDArray[np.bool_], str]:
    stays_V, note = judge.judge(name, numbers_R[seen_R])
    judged_R = seen_R.copy()
    judged_R[seen_R] = stays_V
    return judged_R, note


def _codes(
    table: Table, name: str, levels: tuple[str, ...], nominal: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(R,) the place of each level among the levels, and which cells hold one."""
    column = table.columns[name]
    gone_R = column.missing | is_nan(column)
    codes = {level: float(code) for code, level in enumerate(levels)}
    texts = [f"{v:g}" if column.kind == "number" else str(v) for v in column.values.tolist()]
    code_R = np.array([codes.get(text.strip(), np.nan) for text in texts])
    bad_R = np.isnan(code_R) & ~gone_R
    if bad_R.any():
        row = int(np.argmax(bad_R))
        raise DataError(
            f'{table.where(row)}, column "{name}" is "{texts[row][:40]}" '
            f"({int(bad_R.sum())} cells with an unknown level)",
            rule=f"one of {', '.join(levels)}, as --category says",
            reason="a level that was not named may be a slip of the pen"
            if nominal
            else "a level that was not named has no place in the order of levels",
            repair="name it in --category, or mend the cell",
        )
    return np.where(gone_R, 0.0, code_R), ~gone_R


def _numbers(
    table: Table, name: str, nan: Literal["error", "missing"]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(R,) a feature's numbers, and which of them were measured."""
    column = table.columns[name]
    if column.kind != "number":
        raise _not_numbers(table, name, column)
    numbers = column.values.astype(np.float64)
    seen = ~column.missing
    if nan == "missing":
        seen &= ~np.isnan(numbers)
    bad = seen & ~(np.abs(numbers) <= np.finfo(np.float32).max)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f'{table.where(row)}, column "{name}" is {numbers[row]} ({int(bad.sum())} such cells)',
            rule="what was not measured is an empty cell; numbers are finite and fit in float32",
            repair="--set data.nan=missing"
            if np.isnan(numbers[row])
            else f"--drop {name}, or mend the cell",
        )
    return numbers, seen


def _not_numbers(table: Table, name: str, column: Column) -> DataError:
    if column.kind == "time":
        return DataError(
            f'column "{name}" holds times', rule="features are numbers", repair=f"--time {name}"
        )
    texts = zip(column.values.tolist(), column.missing, strict=True)
    bad = [row for row, (text, gone) in enumerate(texts) if not gone and not is_number(text)]
    row = bad[0] if bad else 0
    repair = f"--label {name} or --static {name} if it is one value per id, else mend the cell"
    known = sorted(
        {text for text, gone in zip(column.values, column.missing, strict=True) if not gone}
    )
    if len(known) <= MOST_LEVELS and len(bad) + int(column.missing.sum()) == table.rows:
        ordered, free = (shlex.quote(f"{name}={mark.join(known)}") for mark in "<|")
        repair = (
            f"--category {ordered}, with the levels in their order, or --category {free}, if they "
            f"have none; {repair}"
        )
    return DataError(
        f'{table.where(row)}, column "{name}" is "{column.values[row]}" '
        f"({len(bad)} of {table.rows} cells are no numbers)",
        rule="features are numbers; what was not measured is an empty cell",
        repair=repair,
    )
