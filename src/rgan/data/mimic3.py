"""The in-hospital-mortality task of mimic3-benchmarks: a file of events for each stay.

Each file has the column Hours (since admission) and 17 variables, blank where nothing was measured;
what the coma scale and capillary refill show is text, in the spellings of two systems of record.
The coma scale is spelled "Glascow" in this layout.

Shape letters: V values of one stay.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgan.data.bins import GAP
from rgan.data.config import BinRule, DataConfig
from rgan.data.mimic3_lists import read_lists
from rgan.data.mimic3_variables import NAMES, VARIABLES, Variable
from rgan.data.plausible import Judge
from rgan.data.stays import EPSILON, Grid, Stay, draw, gridded, read_all
from rgan.errors import DataError, SourceError, nearest
from rgan.layouts import ArrayLayout, StaysLayout
from rgan.sequences import Sequences

TIME = "Hours"

_PLACES = {name: place for place, name in enumerate(NAMES)}
_WHOLE = frozenset(v.name for v in VARIABLES if v.levels or v.points)


def read_mimic3(path: Path, config: DataConfig, seed: int = 0, quiet: bool = True) -> Sequences:
    """The stays of a task's folder, or of its ``train`` or ``test`` alone.

    Bin h holds what was measured after hour h up to hour h+1, both as in the benchmark's own
    reader, and the last value of a bin counts unless ``config.bin`` says otherwise. Nothing is
    filled in. The lists' own split is kept as parts. Levels are codes: the points of the coma
    scale, 0 for a tube.

    Args:
        path: the folder.
        config: ``bin``, ``step`` (hours of a bin, 1 unless given), ``nan``, ``max_sequences``.
        seed: draws the stays where ``max_sequences`` asks for fewer.
        quiet: no bar.

    Raises:
        SourceError: a file is missing or no text.
        DataError: a list or a cell breaks a rule; names file, line and column.
    """
    stays, notes = read_lists(path)
    limit = 0 if config.window else config.max_sequences
    chosen = [stays[row] for row in draw(len(stays), limit, seed)]
    events = read_all(chosen, lambda stay: read_stay(stay.file, config.nan), quiet)
    judge = Judge.of(config.implausible, stays=True, skip=config.drop)
    grid = Grid(config.bin, config.step or 1.0, closed="right")
    units = tuple(variable.unit for variable in VARIABLES)
    table = gridded(events, NAMES, units, grid, judge, whole=_WHOLE)
    parts = np.array([stay.part for stay in chosen])
    return Sequences(
        **table.fields(),
        labels=np.array([stay.died for stay in chosen], dtype=np.int64),
        subjects=np.array([stay.subject for stay in chosen], dtype=np.int64),
        step=1.0 if config.bin == "gaps" else grid.width,
        step_unit="step" if config.bin == "gaps" else "h",
        part=parts if (parts != "").all() else None,
        layout=layout_of(config.bin),
        label_name="died",
        name=path.resolve().name,
        notes=(*notes, *table.notes),
    )


def layout_of(rule: BinRule) -> StaysLayout | ArrayLayout:
    """The layout; counts are an array, since no file of events can say them."""
    if rule == "count":
        return ArrayLayout()
    levels = {v.name: {str(c): text for c, text in v.levels.items()} for v in VARIABLES if v.levels}
    return StaysLayout("mimic3", gap=GAP if rule == "gaps" else "", levels=levels)


def read_stay(path: Path, nan: str = "error") -> Stay:
    """The events of one file.

    Args:
        path: ``SUBJECT_episodeNUMBER_timeseries.csv``.
        nan: what the text "nan" in a cell means: "error", or "missing".

    Raises:
        SourceError: the file is no text.
        DataError: a column, a time or a cell breaks a rule; names line and column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *lines = list(csv.reader(file)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f'"{path}" cannot be read: {error}', rule="a text file") from error
    _check_header(header, path)
    numbers = [number for number, line in enumerate(lines, start=2) if line]
    lines = [line for line in lines if line]
    for number, line in zip(numbers, lines, strict=True):
        if len(line) != len(header):
            raise DataError(
                f'"{path.name}" line {number} has {len(line)} cells',
                rule=f"as many as the header: {len(header)}",
            )
    columns = dict(zip(header, zip(*lines, strict=True), strict=True)) if lines else {}
    hours = _hours(columns.get(TIME, ()), numbers, path)
    rows: list[int] = []
    features: list[int] = []
    values: list[float] = []
    for name, cells in columns.items():
        if name == TIME:
            continue
        variable = VARIABLES[_PLACES[name]]
        at = [row for row, cell in enumerate(cells) if cell and not cell.isspace()]
        known = _values(variable, [cells[row] for row in at], [numbers[row] for row in at], path)
        at = [row for row, value in zip(at, known, strict=True) if value == value]
        known = _without_nan(known, variable.name, path, nan)
        rows += at
        features += [_PLACES[name]] * len(at)
        values += known
    order = np.argsort(rows, kind="stable")
    return Stay(
        hours[np.array(rows, dtype=np.int64)[order]],
        np.array(features, dtype=np.int64)[order],
        np.array(values, dtype=np.float64)[order],
    )


def _check_header(header: list[str], path: Path) -> None:
    wanted = {TIME, *NAMES}
    unknown = [name for name in header if name not in wanted]
    absent = sorted(wanted - set(header))
    if unknown or absent or len(header) != len(wanted):
        found = f'the column "{(unknown or absent or header)[0]}"'
        raise DataError(
            f'"{path.name}" has {found}' if unknown else f'"{path.name}" lacks or repeats {found}',
            rule=f"the columns are {TIME} and the {len(NAMES)} variables of the layout",
            repair=nearest(unknown[0], wanted) if unknown else "",
        )


def _hours(cells: tuple[str, ...], numbers: list[int], path: Path) -> NDArray[np.float64]:
    hours: list[float] = []
    for number, cell in zip(numbers, cells, strict=True):
        try:
            hour = float(cell)
        except ValueError:
            hour = np.nan
        if not np.isfinite(hour):
            raise DataError(
                f'"{path.name}" line {number}: {TIME} is "{cell[:40]}"',
                rule="hours since admission, in every row",
            )
        if hours and hour < hours[-1] - EPSILON:
            raise DataError(
                f'"{path.name}" line {number}: {TIME} is before that of the line above',
                rule="times grow within a stay",
                repair="sort the file by Hours",
            )
        hours.append(hour)
    return np.array(hours, dtype=np.float64)


def _values(variable: Variable, cells: list[str], numbers: list[int], path: Path) -> list[float]:
    """The cells as numbers, NaN where they say so."""
    values: list[float] = []
    bad: list[int] = []
    for place, cell in enumerate(cells):
        if variable.levels:
            code = variable.code(cell)
            value = np.inf if code is None else float(code)
        else:
            try:
                value = float(cell)
            except ValueError:
                value = np.inf
        if value in (np.inf, -np.inf):
            bad.append(place)
        values.append(value)
    if bad:
        first = bad[0]
        raise DataError(
            f'"{path.name}" line {numbers[first]}, column "{variable.name}" is '
            f'"{cells[first][:40]}" ({len(bad)} such cells in this column)',
            rule="one of " + ", ".join(f'"{name}"' for name in variable.levels.values())
            if variable.levels
            else "a finite number, or blank where nothing was measured",
            reason="a level that the layout does not know has no place in the order of levels"
            if variable.levels
            else "",
        )
    return values


def _without_nan(values: list[float], name: str, path: Path, nan: str) -> list[float]:
    known = [value for value in values if value == value]
    if len(known) < len(values) and nan == "error":
        raise DataError(
            f'"{path.name}", column "{name}" says NaN ({len(values) - len(known)} such cells)',
            rule="what was not measured is blank",
            repair="--nan missing",
        )
    return known
