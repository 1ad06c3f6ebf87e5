"""Long tables to ``Sequences``: a row for each (id, time), a column for each feature.

Shape letters: R rows of the table, N sequences, T steps, F features.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.data.attributes import is_nan, is_number, one_per_id, static
from rgan.data.bins import GAP, free_name
from rgan.data.cells import fill
from rgan.data.columns import Table, table_of
from rgan.data.config import DataConfig, parse_category
from rgan.data.grid import gaps_of, steps_of, unit_of
from rgan.data.plausible import Judge
from rgan.data.roles import Roles, check_roles
from rgan.errors import DataError, SourceError
from rgan.layouts import Levels, TableLayout
from rgan.sequences import Sequences, Static


def read_table(path: Path, config: DataConfig) -> Sequences:
    """The sequences of a ``.csv`` (also gzipped) or ``.parquet`` file.

    Empty cells are values that were not measured. Times are numbers or timestamps, are taken from
    each id's first row on, and are put on a grid whose step is the smallest gap (``grid``); times
    that are on no grid need ``config.step``, or ``config.bin`` "gaps". Without a time column, rows
    are steps. Without an id column the table is one long series, which needs ``config.window``.

    Raises:
        SourceError: the file cannot be read.
        DataError: a column or a cell breaks a rule; names row and column.
    """
    if not config.id and not config.window:
        raise DataError(
            f'"{path.name}" is a table, and no id column is named',
            rule="--id names the column that says which sequence a row belongs to; without one the "
            "table is one long series, which is cut into windows",
            repair="--id NAME --time NAME, or --window 24",
        )
    import narwhals as nw

    frame = nw.from_native(_read_frame(path, config), eager_only=True)
    table = table_of(frame, first_line=0 if path.suffix == ".parquet" else 2)
    roles = Roles(
        id=config.id,
        time=config.time,
        label=config.label,
        subject=config.subject,
        static=config.static,
        nan=config.nan,
        step=config.step,
        bin=config.bin,
        category=config.category,
        judge=Judge.of(config.implausible, skip=config.drop),
    )
    return sequences_of(table, roles, container="file", name=path.name.split(".")[0])


def _read_frame(path: Path, config: DataConfig) -> Any:
    import polars as pl

    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path)
        frame = pl.read_csv(path, infer_schema_length=None)
    except (pl.exceptions.PolarsError, OSError) as error:
        first = str(error).strip().split("\n")[0]
        raise SourceError(
            f'"{path}" cannot be read as a table: {first}',
            rule="comma-separated text with column names in the first line, or Parquet",
        ) from error
    names = frame.columns
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise SourceError(f'the first line is "{names[0]}"', rule="columns are divided by commas")
    if all(is_number(name) for name in names):
        raise SourceError(
            f'the first line is numbers: "{",".join(names[:5])}"', rule="it holds column names"
        )
    doubled = [name for name in names if "_duplicated_" in name]
    if doubled:
        name = doubled[0].split("_duplicated_")[0]
        raise DataError(f'the column "{name}" occurs twice', rule="column names are unique")
    plain = {config.id, config.label, config.subject, *config.static}
    plain |= {parse_category(entry).name for entry in config.category}
    texts = [n for n in names if frame.schema[n] == pl.String and n not in plain]
    return frame.with_columns([_times(frame[name]) for name in texts])


def _times(column: Any) -> Any:
    """Text as times if all of it is, year first; 01/02/2024 is left, for it says two things."""
    known = column.drop_nulls()
    if not known.len() or not known.str.contains(r"^\d{4}[-/]").all():
        return column
    for parse in (column.str.to_date, column.str.to_datetime):
        times = parse(strict=False)
        if times.null_count() == column.null_count():
            return times
    return column


def sequences_of(table: Table, roles: Roles, container: str, name: str = "data") -> Sequences:
    """The sequences of a table.

    A label, subject or static attribute is one value per id: empty cells beside it are passed over,
    two different values are an error. Float labels are a continuous condition. Static attributes of
    text are categories; numbers 0 and 1 and truth values are binary; other numbers are continuous.

    Raises:
        DataError: a column is missing or a cell breaks a rule; names row and column.
    """
    check_roles(table, roles)
    ids_N, sequence_R = _sequences(table, roles.id)
    first_N = _first_rows(sequence_R, len(ids_N))
    names = [column for column in table.columns if column not in roles.named]
    gap, gap_R = free_name(GAP, names) if roles.bin == "gaps" else "", np.zeros(0)
    if gap:
        steps_R, gap_R = gaps_of(table, roles.time, sequence_R)
        step, unit = 1.0, "step"
    elif roles.time:
        together = roles.bin in ("mean", "count")
        steps_R, step = steps_of(table, roles.time, sequence_R, roles.step, together)
        unit = unit_of(table.columns[roles.time], roles.time)
    else:
        steps_R, step, unit = _row_numbers(sequence_R), 1.0, "step"
    values, observed, lengths, notes = fill(table, names, roles, sequence_R, steps_R)
    if gap:
        values[sequence_R, steps_R, len(names)] = gap_R
        observed[sequence_R, steps_R, len(names)] = True
    label, subject = (
        one_per_id(table, column, what, sequence_R, first_N) if column else None
        for column, what in ((roles.label, "label"), (roles.subject, "subject"))
    )
    static_NA, infos, odd = _statics(table, roles, sequence_R, first_N)
    subjects = subject if subject is not None else (ids_N if roles.id else None)
    return Sequences(
        values,
        observed=observed,
        lengths=lengths,
        labels=label,
        static=static_NA,
        static_info=infos,
        subjects=subjects,
        feature_names=(*names, gap) if gap else tuple(names),
        units=_units(table, names, roles),
        step=step,
        step_unit=unit,
        layout=_layout(table, roles, container, gap),
        label_name=roles.label or "label",
        name=name,
        notes=(*notes, *odd),
    )


def _statics(
    table: Table, roles: Roles, sequence_R: NDArray[np.int64], first_N: NDArray[np.int64]
) -> tuple[NDArray[np.float32] | None, tuple[Static, ...], list[str]]:
    """(N, A) static attributes, what they are, and notes on impossible ones."""
    columns, infos, notes = [], [], []
    for name in roles.static:
        column_N, info = static(table, name, sequence_R, first_N)
        if info.kind == "continuous":
            column_N, note = roles.judge.judge_static(name, column_N)
            notes += [note] if note else []
        columns.append(column_N)
        infos.append(info)
    return np.stack(columns, axis=1) if columns else None, tuple(infos), notes


def _units(table: Table, names: list[str], roles: Roles) -> tuple[str, ...]:
    """Counts say that they are such, and the gap has the unit of time."""
    units = ("count" if roles.bin == "count" else "",) * len(names)
    if roles.bin != "gaps":
        return units
    unit = unit_of(table.columns[roles.time], roles.time)
    return (*units, "" if unit == "step" else unit)


def _layout(table: Table, roles: Roles, container: str, gap: str) -> TableLayout:
    """The schema; ``dtypes`` holds every column, so that their order is kept too."""
    kinds = {column: table.columns[column].dtype for column in table.columns}
    levels: Levels = {}
    if roles.bin == "count":  # how many there were is a whole number, whatever they were
        kinds |= {column: "int64" for column in table.columns if column not in roles.named}
    else:
        levels = {n: {str(c): text for c, text in enumerate(of)} for n, of in roles.levels.items()}
    free = next(n for n in ("id", "sequence", "rgan_id") if n not in table.columns or n == roles.id)
    return TableLayout(
        id=roles.id or free,
        time=roles.time,
        label=roles.label or None,
        container=container,
        dtypes=kinds,
        gap=gap,
        levels=levels,
        nominal=roles.nominal if levels else (),
    )


def _sequences(table: Table, name: str) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """(N,) ids in the order of their first rows, and (R,) the sequence of each row."""
    if not name:
        return np.zeros(1, dtype=np.int64), np.zeros(table.rows, dtype=np.int64)
    column = table.column(name, "id")
    empty = column.missing | is_nan(column)
    if empty.any():
        row = int(np.argmax(empty))
        raise DataError(f'{table.where(row)}: "{name}" is empty', rule="every row has an id")
    ids, first, codes = np.unique(column.values, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return ids[order], rank[codes]


def _first_rows(sequence_R: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    first_N = np.full(n, len(sequence_R), dtype=np.int64)
    np.minimum.at(first_N, sequence_R, np.arange(len(sequence_R)))
    return first_N


def _row_numbers(sequence_R: NDArray[np.int64]) -> NDArray[np.int64]:
    """(R,) how many rows of the same sequence stand above each row."""
    order = np.argsort(sequence_R, kind="stable")
    counts = np.bincount(sequence_R)
    within = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = within
    return numbers
