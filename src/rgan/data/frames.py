"""What a Python user brings, to ``Sequences``, and the same kind back.

Shape letters: N sequences, T steps, F features, R rows of a long table (one per step in a length).

pandas and polars frames are read through narwhals; pandas need not be installed.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rgan.data.arrays import from_array
from rgan.errors import DataError, nearest
from rgan.layouts import ArrayLayout, TableLayout
from rgan.sequences import Sequences, Static

CONTAINERS: tuple[str, ...] = ("polars", "pandas")

EPOCH = np.datetime64("2000-01-01T00:00:00", "us")
"""Where timestamps of a table that is given back start: sequences know only the time elapsed."""


def from_frame(
    frame: Any,
    *,
    id: str = "",  # noqa: A002  # the name of the option, of the column and of the layout's field
    time: str = "",
    label: str = "",
    subject: str = "",
    static: tuple[str, ...] | list[str] = (),
    nan: Literal["error", "missing"] = "error",
    step: float = 0.0,
) -> Sequences:
    """The sequences of a long pandas or polars frame; see ``tables.read_table`` for the rules.

    Nulls are values that were not measured, as is NaN in pandas, which often has nothing else.

    Args:
        frame: a row for each (id, time); columns without a role are features.
        id: the column that says which sequence a row belongs to; "" for one long series.
        time: numbers or timestamps; "" where rows are steps in order.
        label, subject, static: columns with one value per id.
        nan: what NaN in polars means: "error" or "missing".
        step: bin width for times on no grid, in hours for timestamps; 0 infers the grid.

    Raises:
        DataError: not a pandas or polars frame, or a cell breaks a rule.
    """
    import narwhals as nw

    from rgan.data.columns import table_of
    from rgan.data.tables import Roles, sequences_of

    wrapped = nw.from_native(frame, eager_only=True, pass_through=True)
    if not isinstance(wrapped, nw.DataFrame) or wrapped.implementation.value not in CONTAINERS:
        raise DataError(
            f"a {type(frame).__module__}.{type(frame).__name__} is not read as a table",
            rule="a pandas or polars DataFrame",
            repair="frame.collect() for a lazy one, pl.from_arrow(table) for an Arrow table",
        )
    container = wrapped.implementation.value
    hint = "frame.reset_index(), if it is in the index" if container == "pandas" else ""
    roles = Roles(id, time, label, subject, tuple(static), nan, step)
    return sequences_of(table_of(wrapped, hint=hint), roles, container)


def to_frame(sequences: Sequences, container: str = "", *, first_id: int = 0) -> Any:
    """Sequences as a long frame: the columns, their order and their dtypes as they came.

    A row for each step within a length; what was not observed is null. Ids are the subjects where
    those are unique, else numbers from ``first_id`` beside a column of subjects. Whole-number
    columns are rounded; timestamps start at ``EPOCH``.

    Args:
        sequences: of any layout; without a table's the columns are id, time, features, label and
            static attributes.
        container: "polars" or "pandas"; "" for the one that the layout names, else polars.
        first_id: the first id, so that chunks can be numbered on.

    Raises:
        DataError: an unknown container, or two columns of one name.
    """
    named = sequences.layout.container if isinstance(sequences.layout, TableLayout) else ""
    kind = container or (named if named in CONTAINERS else "polars")
    if kind not in CONTAINERS:
        raise DataError(f'"{kind}" is not a container', rule=nearest(kind, CONTAINERS))
    columns = long_columns(sequences, first_id)
    if kind == "polars":
        import polars as pl

        return pl.DataFrame([_polars(name, *column) for name, column in columns.items()])
    import pandas as pd

    return pd.DataFrame({name: _pandas(*column) for name, column in columns.items()})


def from_any(
    X: Any,  # scikit-learn's name
    labels: ArrayLike | None = None,
    observed: ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    subjects: ArrayLike | None = None,
    static: ArrayLike | None = None,
    static_info: tuple[Static, ...] = (),
    feature_names: tuple[str, ...] = (),
    units: tuple[str, ...] = (),
    nan: Literal["error", "missing"] = "error",
    **columns: Any,
) -> Sequences:
    """The sequences of whatever a user brings to ``fit``.

    Args:
        X: ``Sequences`` (given back as they are), a pandas or polars frame, or anything that
            ``numpy.asarray`` makes an (N, T, F) or (N, T) array of.
        labels, observed, lengths, subjects, static, static_info, feature_names, units: fields of
            ``Sequences``, for arrays only.
        nan: what NaN without a mask means: "error", or "missing" (not measured).
        columns: for frames only: ``id``, ``time``, ``label``, ``subject``, ``static_columns``,
            ``step``, as in ``from_frame``.

    Raises:
        DataError: ragged lists, text, NaN without a mask, or options that do not fit X.
    """
    given: dict[str, Any] = {
        **{"labels": labels, "observed": observed, "lengths": lengths, "subjects": subjects},
        **{"static": static, "static_info": static_info or None},
        **{"feature_names": feature_names or None, "units": units or None},
    }
    fields = {name: value for name, value in given.items() if value is not None}
    if isinstance(X, Sequences):
        _refuse({**fields, **columns}, "Sequences, which hold them", "dataclasses.replace(X, ...)")
        return X
    if _is_frame(X):
        _refuse(fields, "a frame, where they are columns", 'label="NAME" for a column')
        known = ("id", "time", "label", "subject", "static_columns", "step")
        _refuse({n: v for n, v in columns.items() if n not in known}, "a frame", str(known))
        if "static_columns" in columns:
            columns["static"] = columns.pop("static_columns")
        return from_frame(X, nan=nan, **columns)
    _refuse(columns, "an array", "labels=..., subjects=... as arrays")
    return from_array(X, nan=nan, **fields)


def to_like(sequences: Sequences) -> Any:
    """The kind of thing that the training data was, by the layout.

    An array of the shape, (N, T, F) or (N, T), and dtype that came, with NaN where nothing was
    observed (whole numbers are rounded; where something is unobserved they come as float32, which
    has NaN); a pandas or polars frame; polars for a file's table; for images the array (N, T, F).
    """
    if isinstance(sequences.layout, TableLayout):
        return to_frame(sequences)
    if isinstance(sequences.layout, ArrayLayout):
        values = as_dtype(sequences, sequences.layout.dtype)
        return values[:, :, 0] if sequences.layout.flat else values
    return sequences.values


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
        columns[table.time] = (_times(sequences, steps_R, table.dtypes.get(table.time, "")), None)
    for index, name in enumerate(sequences.feature_names):
        unseen = ~sequences.observed[rows_R, steps_R, index]
        put(name, sequences.values[rows_R, steps_R, index], unseen)
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


def _times(sequences: Sequences, steps_R: NDArray[np.int64], kind: str) -> NDArray[Any]:
    elapsed = np.round(steps_R * sequences.step, 12)  # 0.3, not 0.30000000000000004
    if kind in ("datetime", "date", "duration"):
        span = np.round(elapsed * 3.6e9).astype(np.int64).astype("timedelta64[us]")
        if kind == "duration":
            return span
        return EPOCH + span if kind == "datetime" else (EPOCH + span).astype("datetime64[D]")
    whole = float(sequences.step).is_integer()
    return _as_kind(elapsed, None, kind or ("int64" if whole else "float64"))


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


def _polars(name: str, values: NDArray[Any], missing: NDArray[np.bool_] | None) -> Any:
    import polars as pl

    series = pl.Series(name, values)
    if missing is None or not missing.any():
        return series
    return series.set(pl.Series(missing), None)


def _pandas(values: NDArray[Any], missing: NDArray[np.bool_] | None) -> Any:
    import pandas as pd

    if missing is None or not missing.any():
        return pd.Series(values)
    if values.dtype.kind == "f":
        return pd.Series(np.where(missing, np.nan, values))
    if values.dtype.kind in "iub":
        name = str(values.dtype).replace("uint", "UInt").replace("int", "Int")
        return pd.Series(values).astype("boolean" if name == "bool" else name).mask(missing)
    return pd.Series(values).mask(missing)


def _is_frame(value: Any) -> bool:
    if isinstance(value, (np.ndarray, list, tuple)):
        return False
    import narwhals as nw

    wrapped = nw.from_native(value, pass_through=True, allow_series=True)
    return isinstance(wrapped, (nw.DataFrame, nw.LazyFrame))


def _refuse(given: dict[str, Any], what: str, repair: str) -> None:
    if given:
        raise DataError(
            f"{', '.join(given)} cannot be given beside {what}",
            rule="each thing is said once",
            repair=repair,
        )
