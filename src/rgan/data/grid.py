"""Times of a table's rows onto a regular grid, each sequence's from its own first row.

Shape letters: R rows of a table, in the order of the file.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rgan.data.columns import Column, Table
from rgan.errors import DataError

TOLERANCE = 0.02
"""How far from a grid point a time may be, in steps."""

SPARSE = 20
"""Most grid points a row for an inferred grid: beyond it, the grid is an accident of the times."""

MICROSECONDS = 3.6e9
"""In an hour: the unit of a step between timestamps."""

_UNITS = {
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("s", "sec", "second", "seconds"), "s"),
    **dict.fromkeys(("d", "day", "days"), "day"),
}


def unit_of(column: Column, name: str) -> str:
    """The unit of time: hours for timestamps, else what the column's name says, or "step"."""
    return "h" if column.kind == "time" else _UNITS.get(name.lower(), "step")


def steps_of(
    table: Table,
    time: str,
    sequence_R: NDArray[np.int64],
    asked: float,
    together: bool = False,
) -> tuple[NDArray[np.int64], float]:
    """(R,) the step of each row within its sequence, and the time between two steps.

    The grid's step is the smallest gap between two rows of a sequence (the median of all gaps that
    round to one step, where times jitter); every gap must then be a whole number of steps. If
    ``asked`` is positive, rows are binned by that width instead.

    Args:
        table: the rows.
        time: the name of the time column.
        sequence_R: which sequence each row belongs to.
        asked: the bin width, in hours for timestamps; 0 infers the grid.
        together: whether rows of a sequence may have one time, as they are averaged or counted.

    Raises:
        DataError: a time is empty, twice in a sequence without ``together``, before the one above
            it, or off the grid.
    """
    times_R = _times(table, time)
    order = np.argsort(sequence_R, kind="stable")
    inside = np.diff(sequence_R[order]) == 0
    gaps = np.diff(times_R[order]).astype(np.float64)
    gaps[~inside] = 0.0  # the next sequence starts anew
    _check_order(table, time, order, inside & (gaps < 0 if together else gaps <= 0), gaps)
    if table.columns[time].kind == "time":
        gaps /= MICROSECONDS
    elapsed = np.concatenate([[0.0], np.cumsum(gaps)])
    first = np.concatenate([[True], ~inside])
    if asked:
        start = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
        steps = np.floor((elapsed - elapsed[start]) / asked + 1e-6).astype(np.int64)
        width = asked
    else:
        width, counts = _infer(table, time, order, gaps, inside)
        total = np.concatenate([[0], np.cumsum(counts)])
        start = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
        steps = total - total[start]
        _check_sparse(steps, first, width)
    steps_R = np.empty(len(order), dtype=np.int64)
    steps_R[order] = steps
    return steps_R, float(width)


def gaps_of(
    table: Table, time: str, sequence_R: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(R,) the number of each row within its sequence, and the time since the row above, 0 for the
    first; in hours for timestamps. Several rows may have one time.

    Raises:
        DataError: a time is empty, or before the one above it.
    """
    times_R = _times(table, time)
    order = np.argsort(sequence_R, kind="stable")
    inside = np.diff(sequence_R[order]) == 0
    gaps = np.diff(times_R[order]).astype(np.float64)
    gaps[~inside] = 0.0
    _check_order(table, time, order, inside & (gaps < 0), gaps)
    if table.columns[time].kind == "time":
        gaps /= MICROSECONDS
    first = np.concatenate([[True], ~inside])
    start = np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    steps_R, gap_R = np.empty(len(order), dtype=np.int64), np.empty(len(order))
    steps_R[order] = np.arange(len(order)) - start
    gap_R[order] = np.concatenate([[0.0], gaps])
    return steps_R, gap_R


def _times(table: Table, time: str) -> NDArray[np.int64] | NDArray[np.float64]:
    column = table.column(time, "time")
    if column.missing.any():
        row = int(np.argmax(column.missing))
        raise DataError(f'{table.where(row)}: "{time}" is empty', rule="every row has a time")
    if column.kind == "text":
        looks = [text[:4].isdecimal() and text[4:5] in "-/" for text in column.values.tolist()]
        row = looks.index(False) if False in looks else 0
        raise DataError(
            f'{table.where(row)}: "{time}" is "{column.values[row]}"',
            rule="times are numbers, or timestamps such as 2024-01-31 12:00:00, in every row",
        )
    bad = ~np.isfinite(column.values)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(f'{table.where(row)}: "{time}" is {column.values[row]}', rule="finite")
    return column.values


def _check_order(
    table: Table,
    time: str,
    order: NDArray[np.int64],
    bad: NDArray[np.bool_],
    gaps: NDArray[np.float64],
) -> None:
    if not bad.any():
        return
    at = int(np.argmax(bad))
    row, above = int(order[at + 1]), int(order[at])
    if gaps[at] == 0:
        raise DataError(
            f'{table.where(row)} has the same id and "{time}" as {table.where(above)} '
            f"({int((bad & (gaps == 0)).sum())} such rows)",
            rule="one row for each (id, time)",
            reason="which of them would count is not said",
            repair="--bin mean --step 1, or keep one of them",
        )
    raise DataError(
        f'{table.where(row)}: "{time}" is before that of {table.where(above)}, the same id\'s '
        f"row above ({int(bad.sum())} such rows)",
        rule="times grow within an id",
        reason="a wrong order may mean a wrong time or a wrong id",
        repair="sort the table by id and time",
    )


def _infer(
    table: Table,
    time: str,
    order: NDArray[np.int64],
    gaps: NDArray[np.float64],
    inside: NDArray[np.bool_],
) -> tuple[float, NDArray[np.int64]]:
    """The grid's step, and the whole number of steps in each gap."""
    if not inside.any():
        return 1.0, np.zeros(len(gaps), dtype=np.int64)
    smallest = gaps[inside].min()
    width = float(np.median(gaps[inside & (gaps < 1.5 * smallest)]))
    counts = np.round(gaps / width)
    off = inside & (np.abs(gaps - counts * width) > TOLERANCE * width)
    if off.any():
        at = int(np.argmax(off))
        raise DataError(
            f'{table.where(int(order[at + 1]))}: "{time}" is {gaps[at]:g} after the row above, '
            f"which is no multiple of the step {width:g} ({int(off.sum())} such rows)",
            rule="times lie on a regular grid, or a bin width is given",
            repair=f"--set data.step={float(np.median(gaps[inside])):g}",
        )
    return width, counts.astype(np.int64)


def _check_sparse(steps: NDArray[np.int64], first: NDArray[np.bool_], width: float) -> None:
    last = np.concatenate([first[1:], [True]])
    points = int((steps[last] + 1).sum())
    if points > SPARSE * len(steps):
        share = len(steps) / points
        raise DataError(
            f"the times fit only a grid of {width:g}, on which {1 - share:.1%} of the steps have "
            "no row",
            rule=f"at least one row for every {SPARSE} steps, or a bin width is given",
            reason="irregular times are learnt better in bins than as nearly empty steps",
            repair=f"--set data.step={width * points / len(steps):.3g}",
        )
