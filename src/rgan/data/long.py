"""``Sequences`` as the columns of a long table: ids, times, values, labels and attributes.

Shape letters: N sequences, T steps, F features, R rows of a long table (one per step in a length).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.errors import DataError
from rgan.layouts import StaysLayout, TableLayout, levels_of
from rgan.sequences import Sequences, Static

EPOCH = np.datetime64("2000-01-01T00:00:00", "us")
"""Where timestamps of a table that is given back start: sequences know only the time elapsed."""


def as_dtype(sequences: Sequences, dtype: str) -> NDArray[Any]:
    """Values (N, T, F) in this dtype; float32 where it has no NaN and one is needed."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return sequences.values.astype(kind)
    if not sequences.observed.all():
        return sequences.values
    return _whole(sequences.values, kind)


def long_columns(
    sequences: Sequences, first_id: int = 0
) -> dict[str, tuple[NDArray[Any], NDArray[np.bool_] | None]]:
    """The columns of the long table by name, in order: values (R,) and what is missing (R,)."""
    layout = sequences.layout
    table = layout if isinstance(layout, TableLayout) else TableLayout()
    rows_R, steps_R = np.nonzero(sequences.valid)
    columns: dict[str, tuple[NDArray[Any], NDArray[np.bool_] | None]] = {}

    def put(name: str, values: NDArray[Any], missing: NDArray[np.bool_] | None = None) -> None:
        if name in columns:
            raise DataError(
                f'two columns would be called "{name}"',
                rule="id, time, features, label and static attributes have different names",
            )
        kind = table.dtypes.get(name, "")
        columns[name] = (_as_kind(values, missing, kind), missing)

    ids, alone = _ids(sequences, first_id)
    put(table.id, ids[rows_R])
    if table.time:
        elapsed_R = elapsed(sequences)[rows_R, steps_R]
        kind = table.dtypes.get(table.time, "")
        columns[table.time] = (_times(elapsed_R, float(sequences.step), kind), None)
    for index, name in enumerate(sequences.feature_names):
        if name == table.gap:  # it is in the times
            continue
        unseen = ~sequences.observed[rows_R, steps_R, index]
        put(name, _named(sequences, index)[rows_R, steps_R], unseen)
    if sequences.labels is not None:
        put(table.label or sequences.label_name, sequences.labels[rows_R])
    for index, info in enumerate(sequences.static_info):
        assert sequences.static is not None
        column_N = sequences.static[:, index]
        unknown = np.isnan(column_N)[rows_R]
        put(info.name, _static(column_N, info, table.dtypes.get(info.name, ""))[rows_R], unknown)
    if not alone and sequences.subjects is not None:
        free = next(n for n in ("subject", "subject_id", "rgan_subject") if n not in columns)
        put(free, sequences.subjects[rows_R])
    came = [name for name in table.dtypes if name in columns]
    first = [] if table.id in came else [table.id]
    return {name: columns[name] for name in dict.fromkeys([*first, *came, *columns])}


def _ids(sequences: Sequences, first_id: int) -> tuple[NDArray[Any], bool]:
    """(N,) ids, and whether they say all that the subjects say."""
    subjects = sequences.subjects
    if subjects is not None and len(np.unique(subjects)) == len(subjects):
        return subjects, True
    return np.arange(first_id, first_id + len(sequences)), subjects is None


def elapsed(sequences: Sequences) -> NDArray[np.float64]:
    """(N, T) time of each step since the sequence's start, in the data's unit: on a grid by the
    step, else the sum of the gaps so far."""
    layout = sequences.layout
    gap = layout.gap if isinstance(layout, TableLayout | StaysLayout) else ""
    if gap in sequences.feature_names:
        gap_NT = sequences.values[:, :, sequences.feature_names.index(gap)].astype(np.float64)
        gap_NT = np.maximum(np.nan_to_num(gap_NT), 0)
        if isinstance(layout, TableLayout):  # whose times count from the first row of each id
            gap_NT[:, 0] = 0
        return np.asarray(np.round(np.cumsum(gap_NT, axis=1), 6), dtype=np.float64)
    time_T = np.arange(sequences.n_steps) * sequences.step
    # 0.3, not 0.30000000000000004
    return np.broadcast_to(np.round(time_T, 12), sequences.values.shape[:2])


def _named(sequences: Sequences, index: int) -> NDArray[Any]:
    """(N, T) a feature's values, or the names of its levels where it is a category."""
    values_NT = sequences.values[:, :, index]
    levels = levels_of(sequences.layout, sequences.feature_names[index])
    if not levels:
        return values_NT
    codes = np.array(sorted(levels))
    names = np.array([levels[code] for code in codes])
    # a generated code may lie between two, where rounding is off
    nearest_NT = np.abs(np.nan_to_num(values_NT)[:, :, None] - codes).argmin(axis=2)
    return names[nearest_NT]


def _times(elapsed_R: NDArray[np.float64], step: float, kind: str) -> NDArray[Any]:
    if kind in ("datetime", "date", "duration"):
        span = np.round(elapsed_R * 3.6e9).astype(np.int64).astype("timedelta64[us]")
        if kind == "duration":
            return span
        return EPOCH + span if kind == "datetime" else (EPOCH + span).astype("datetime64[D]")
    return _as_kind(elapsed_R, None, kind or ("int64" if step.is_integer() else "float64"))


def _static(column_N: NDArray[np.float32], info: Static, kind: str) -> NDArray[Any]:
    """Names of levels where they are names, else numbers."""
    text = kind == "str" or (not kind and info.levels and info.levels != ("0", "1"))
    if not text or not info.levels:
        return column_N
    names = np.array([*info.levels, ""])
    return names[np.where(np.isnan(column_N), len(info.levels), column_N).astype(np.int64)]


def _as_kind(values: NDArray[Any], missing: NDArray[np.bool_] | None, kind: str) -> NDArray[Any]:
    """Values in the dtype that came; whole numbers are rounded, and 0 where missing."""
    if not kind or kind == "float32" or values.dtype.kind in "Mm":
        return values
    if kind == "str" or values.dtype.kind == "U":
        return values.astype(str) if kind == "str" else values
    known = values if missing is None else np.where(missing, 0, values)
    return _whole(known, np.dtype(kind)) if np.dtype(kind).kind in "iub" else values.astype(kind)


def _whole(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "b":
        return np.asarray(values > 0.5)
    if values.dtype.kind in "iub":
        return values.astype(dtype)
    # the greatest float below the limit: the limit itself would wrap round
    limits = np.iinfo(dtype)
    high = np.nextafter(float(limits.max), 0) if limits.max > 2**53 else float(limits.max)
    return np.clip(np.rint(values.astype(np.float64)), float(limits.min), high).astype(dtype)
