"""Columns of a long table that hold one value per id: labels, subjects, static attributes.

Shape letters: R rows of the table, N sequences.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rgan.data.columns import Column, Table
from rgan.errors import DataError
from rgan.sequences import Static


def one_per_id(
    table: Table,
    name: str,
    what: str,
    sequence_R: NDArray[np.int64],
    first_N: NDArray[np.int64],
    optional: bool = False,
) -> NDArray[Any]:
    """(N,) the one value that each id has in this column."""
    column = table.column(name, what)
    if column.kind == "time":
        raise DataError(f'column "{name}" holds times', rule=f"a {what} is text or a number")
    known_R = ~(column.missing | is_nan(column))
    row_N = np.full(len(first_N), table.rows, dtype=np.int64)
    known = np.flatnonzero(known_R)
    np.minimum.at(row_N, sequence_R[known], known)
    if (row_N == table.rows).any() and not optional:
        row = int(first_N[int(np.argmax(row_N == table.rows))])
        raise DataError(
            f'{table.where(row)}: "{name}" is empty in every row of this id',
            rule=f"each id has a {what}",
            repair="leave these ids out",
        )
    value_N = column.values[np.minimum(row_N, table.rows - 1)]
    differs_R = known_R & (column.values != value_N[sequence_R])
    if differs_R.any():
        row = int(np.argmax(differs_R))
        other = int(row_N[sequence_R[row]])
        raise DataError(
            f'"{name}" is {column.values[other]} in {table.where(other)} and '
            f"{column.values[row]} in {table.where(row)}, the same id",
            rule=f"a {what} is one value per id",
            repair="leave it among the features if it changes over time",
        )
    if optional:
        value_N = np.where(row_N == table.rows, "" if column.kind == "text" else np.nan, value_N)
    elif column.dtype == "bool":
        value_N = value_N.astype(bool)
    return value_N


def static(
    table: Table, name: str, sequence_R: NDArray[np.int64], first_N: NDArray[np.int64]
) -> tuple[NDArray[np.float32], Static]:
    """(N,) the codes or numbers of a static attribute (NaN = not known), and what they mean."""
    value_N = one_per_id(table, name, "static attribute", sequence_R, first_N, optional=True)
    if table.columns[name].kind == "text":
        levels = sorted(set(value_N.tolist()) - {""})
        codes = {level: float(code) for code, level in enumerate(levels)} | {"": np.nan}
        column = np.array([codes[value] for value in value_N.tolist()], dtype=np.float32)
        kind: Literal["binary", "categorical"] = "binary" if len(levels) == 2 else "categorical"
        return column, Static(name, kind, tuple(levels))
    column = value_N.astype(np.float32)
    if table.columns[name].dtype == "bool":
        return column, Static(name, "binary", ("false", "true"))
    if np.isin(column[~np.isnan(column)], (0.0, 1.0)).all():
        return column, Static(name, "binary", ("0", "1"))
    return column, Static(name)


def is_nan(column: Column) -> NDArray[np.bool_]:
    if column.values.dtype.kind != "f":
        return np.zeros(len(column.values), dtype=np.bool_)
    return np.isnan(column.values)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
