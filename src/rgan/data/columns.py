"""Tables from any frame library as plain numpy columns, so that one code reads them all.

Shape letters: R rows of a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from rgan.errors import DataError, nearest

ColumnKind = Literal["number", "time", "text"]


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table.

    Args:
        values: (R,) numbers; microseconds for times; str for text. Anything where missing.
        missing: (R,) bool.
        kind: what the values are.
        dtype: the dtype's name, in lower case: "int64", "float64", "bool", "str", "datetime", ...
    """

    values: NDArray[Any]
    missing: NDArray[np.bool_]
    kind: ColumnKind
    dtype: str


@dataclass(frozen=True, eq=False)
class Table:
    """Columns by name, and how to say where a row is.

    Args:
        columns: by name, in the table's order.
        rows: R.
        first_line: the line of row 0 in a text file; 0 where rows have no lines.
        hint: added to the error about a column that is not there.
    """

    columns: dict[str, Column]
    rows: int
    first_line: int = 0
    hint: str = ""

    def where(self, row: int) -> str:
        """How a message names a row.

        >>> Table({}, 9, first_line=2).where(3)
        'row 3 (line 5)'
        """
        return f"row {row} (line {row + self.first_line})" if self.first_line else f"row {row}"

    def column(self, name: str, role: str) -> Column:
        """The column that plays a role.

        Raises:
            DataError: there is no such column; names the nearest.
        """
        if name not in self.columns:
            raise DataError(
                f'there is no column "{name}" (asked for as {role})',
                rule="a role names a column of the table",
                repair="; or ".join(filter(None, (nearest(name, self.columns), self.hint))),
            )
        return self.columns[name]


def table_of(frame: nw.DataFrame[Any], first_line: int = 0, hint: str = "") -> Table:
    """The columns of a narwhals frame.

    Raises:
        DataError: there are no rows, or a column is of a kind that no role can have.
    """
    if not len(frame) or not frame.columns:
        raise DataError(
            f"the table is empty: {len(frame)} rows, {len(frame.columns)} columns",
            rule="at least one row under the column names",
            repair="write the table again, with a row for each sequence and time",
        )
    columns = {name: _column(frame[name], name) for name in frame.columns}
    return Table(columns, rows=len(frame), first_line=first_line, hint=hint)


def _column(series: nw.Series[Any], name: str) -> Column:
    dtype = series.dtype
    missing = np.asarray(series.is_null().to_numpy(), dtype=np.bool_)
    if dtype == nw.Date:
        return Column(_microseconds(series.cast(nw.Datetime("us"))), missing, "time", "date")
    if dtype == nw.Datetime:
        return Column(_microseconds(series), missing, "time", "datetime")
    if dtype == nw.Duration:
        whole = series.dt.total_microseconds().fill_null(0).to_numpy()
        return Column(np.asarray(whole, dtype=np.int64), missing, "time", "duration")
    if dtype == nw.Boolean:
        filled = np.array([bool(v) for v in series.fill_null(False).to_list()])
        return Column(filled.astype(np.int64), missing, "number", "bool")
    if dtype.is_integer():
        numbers = series.fill_null(0).to_numpy() if missing.any() else series.to_numpy()
        return Column(np.asarray(numbers).astype(np.int64), missing, "number", str(dtype).lower())
    if dtype.is_numeric():  # floats and decimals
        numbers = series.cast(nw.Float64).fill_null(0.0).to_numpy()
        kind = str(dtype).lower() if dtype.is_float() else "float64"
        return Column(np.asarray(numbers, dtype=np.float64), missing, "number", kind)
    if missing.all():  # an empty column of a text file has no type
        kind = "str" if dtype == nw.String else "float64"
        return Column(np.zeros(len(missing)), missing, "number", kind)
    values = series.to_list()
    if not all(isinstance(v, str) for v, gone in zip(values, missing, strict=True) if not gone):
        raise DataError(
            f'column "{name}" holds {dtype}', rule="numbers, text, truth values or times"
        )
    text = np.array(["" if gone else v for v, gone in zip(values, missing, strict=True)])
    return Column(text, missing, "text", "str")


def _microseconds(series: nw.Series[Any]) -> NDArray[np.int64]:
    return np.asarray(series.dt.timestamp("us").fill_null(0).to_numpy()).astype(np.int64)
