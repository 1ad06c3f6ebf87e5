"""What a Python user brings, to ``Sequences``, and the same kind back.

Shape letters: N sequences, T steps, F features, R rows of a long table (one per step in a length).

pandas and polars frames are read through narwhals; pandas need not be installed.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rgan.data.arrays import from_array
from rgan.data.config import BinRule
from rgan.data.long import as_dtype, long_columns
from rgan.errors import DataError, nearest
from rgan.layouts import ArrayLayout, StaysLayout, TableLayout
from rgan.sequences import Sequences, Static

CONTAINERS: tuple[str, ...] = ("polars", "pandas")


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
    bin: BinRule = "last",  # noqa: A002  # the setting's name
    category: tuple[str, ...] | list[str] = (),
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
        bin: what stands for the values of a bin; "gaps" makes each row a step.
        category: columns of text with their levels, in order "pain=none<some<severe" or without
            one "rhythm=sinus|paced|AF".

    Raises:
        DataError: not a pandas or polars frame, or a cell breaks a rule.
    """
    import narwhals as nw

    from rgan.data.columns import table_of
    from rgan.data.roles import Roles
    from rgan.data.tables import sequences_of

    wrapped = nw.from_native(frame, eager_only=True, pass_through=True)
    if not isinstance(wrapped, nw.DataFrame) or wrapped.implementation.value not in CONTAINERS:
        raise DataError(
            f"a {type(frame).__module__}.{type(frame).__name__} is not read as a table",
            rule="a pandas or polars DataFrame",
            repair="frame.collect() for a lazy one, pl.from_arrow(table) for an Arrow table",
        )
    container = wrapped.implementation.value
    hint = "frame.reset_index(), if it is in the index" if container == "pandas" else ""
    given = (id, time, label, subject, tuple(static), nan, step, bin, tuple(category))
    roles = Roles(*given)
    return sequences_of(table_of(wrapped, hint=hint), roles, container)


def to_frame(sequences: Sequences, container: str = "", *, first_id: int = 0) -> Any:
    """Sequences as a long frame: the columns, their order and their dtypes as they came.

    A row for each step within a length; what was not observed is null. Ids are the subjects where
    those are unique, else numbers from ``first_id`` beside a column of subjects. Whole-number
    columns are rounded; timestamps start at ``long.EPOCH``.

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
            ``step``, ``bin``, ``category``, as in ``from_frame``.

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
        known = ("id", "time", "label", "subject", "static_columns", "step", "bin", "category")
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
    has NaN); a pandas or polars frame; polars for a file's table and for a folder of stays; for
    images the array (N, T, F).
    """
    if isinstance(sequences.layout, TableLayout | StaysLayout):
        return to_frame(sequences)
    if isinstance(sequences.layout, ArrayLayout):
        values = as_dtype(sequences, sequences.layout.dtype)
        return values[:, :, 0] if sequences.layout.flat else values
    return sequences.values


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
