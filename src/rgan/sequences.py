"""``Sequences``: the one currency between the rooms of this package.

Shape letters: N sequences, T steps, F features, A static attributes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rgan.errors import DataError
from rgan.layouts import ArrayLayout, ImageLayout, Layout, is_nominal

StaticKind = Literal["continuous", "binary", "categorical"]


@dataclass(frozen=True)
class Static:
    """What one column of ``Sequences.static`` holds.

    Args:
        name: the attribute's name, "age".
        kind: "continuous"; "binary" (0 or 1); "categorical" (codes 0..K-1).
        levels: the names of the codes, for binary and categorical attributes.
        unit: the unit of a continuous attribute, "" if it has none.
    """

    name: str
    kind: StaticKind = "continuous"
    levels: tuple[str, ...] = ()
    unit: str = ""


@dataclass(frozen=True, eq=False)
class Sequences:
    """N sequences of up to T steps and F features, in original units.

    Rows are numbered from 0 in every message. What is not observed is NaN in ``values`` whatever
    was passed there, so that it cannot be used by accident; steps past a sequence's length are not
    observed.

    Args:
        values: (N, T, F) float32, original units.
        observed: (N, T, F) bool, True = measured. None: everything within the lengths is.
        lengths: (N,) int in 1..T. None: all T.
        labels: (N,) integers, booleans or strings are classes; floats are a continuous condition.
        static: (N, A) float32, one row a sequence; NaN = not known; described by ``static_info``.
        static_info: one ``Static`` per column of ``static``.
        subjects: (N,) who each sequence belongs to: the unit of splitting and of privacy.
        feature_names: F unique names. Empty: "x0", "x1", ...
        units: F units, "" where there is none.
        step: time between two steps, in ``step_unit``.
        step_unit: "h", "s", "day", or "step" where time has no unit.
        layout: how this maps back to an array, an image or a table.
        starts: (N,) for windows cut from longer series: the step of its subject's series at which a
            window begins, so that a split by time can keep overlapping windows apart.
        part: (N,) "train", "validation" or "test" where a data set comes with an official split.
        label_name: what the labels are called, "label" unless the source says otherwise.
        name: what the data set is called, for titles; never used to find anything.
        notes: what was found odd or repaired while reading, a sentence with counts each; no part of
            the data.

    Raises:
        DataError: a shape, a length, a name or a value breaks a rule; says which row and column.

    >>> s = Sequences(np.zeros((2, 3, 1)), feature_names=("hr",))
    >>> len(s), s.n_steps, s.n_features, s.share_observed
    (2, 3, 1, 1.0)
    """

    values: NDArray[np.float32]
    observed: NDArray[np.bool_] = None  # type: ignore[assignment]  # filled in __post_init__
    lengths: NDArray[np.int64] = None  # type: ignore[assignment]
    labels: NDArray[Any] | None = None
    static: NDArray[np.float32] | None = None
    static_info: tuple[Static, ...] = ()
    subjects: NDArray[Any] | None = None
    feature_names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    step: float = 1.0
    step_unit: str = "step"
    layout: Layout = field(default_factory=ArrayLayout)
    starts: NDArray[np.int64] | None = None
    part: NDArray[np.str_] | None = None
    label_name: str = "label"
    name: str = "data"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        put = object.__setattr__  # the dataclass is frozen to everyone else
        values = _as_values(self.values)
        n, t, f = values.shape
        lengths = _as_lengths(self.lengths, n, t)
        valid = np.arange(t)[None, :] < lengths[:, None]
        observed = _as_observed(self.observed, values, valid)
        names = tuple(self.feature_names) or tuple(f"x{i}" for i in range(f))
        units = tuple(self.units) or ("",) * f
        put(self, "values", np.where(observed, values, np.float32(np.nan)))
        put(self, "lengths", lengths)
        put(self, "observed", observed)
        put(self, "feature_names", names)
        put(self, "units", units)
        put(self, "labels", _as_column(self.labels, n, "labels"))
        for column in ("subjects", "starts", "part"):
            put(self, column, _as_column(getattr(self, column), n, column))
        static = None if self.static is None else np.asarray(self.static, dtype=np.float32)
        put(self, "static", static)
        put(self, "static_info", tuple(self.static_info))
        _check_finite(self.values, observed, names)
        _check_names(names, units, f)
        _check_static(static, self.static_info, n)
        if isinstance(self.layout, ImageLayout) and self.layout.shape != (t, f):
            raise DataError(
                f"values are (N, {t}, {f}) but the layout reads images as {self.layout.shape}",
                rule="(T, F) of the values is the layout's shape",
            )
        if not np.isfinite(self.step) or self.step <= 0:
            raise DataError(f"step is {self.step}", rule="the time between steps is positive")

    # -- sizes -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.values)

    @property
    def n_steps(self) -> int:
        """T, the most steps a sequence may have."""
        return int(self.values.shape[1])

    @property
    def n_features(self) -> int:
        """F."""
        return int(self.values.shape[2])

    @property
    def valid(self) -> NDArray[np.bool_]:
        """(N, T) bool: which steps are within a sequence's length."""
        return np.arange(self.n_steps)[None, :] < self.lengths[:, None]

    @property
    def share_observed(self) -> float:
        """Share of the values within the lengths that were measured, 0 to 1."""
        return float(self.observed.sum() / max(1, int(self.lengths.sum()) * self.n_features))

    # -- kinds -------------------------------------------------------------------------------

    @property
    def is_image(self) -> bool:
        """Whether the sequences are images read in some order."""
        return isinstance(self.layout, ImageLayout)

    @property
    def fixed_length(self) -> bool:
        """Whether every sequence has all T steps."""
        return bool((self.lengths == self.n_steps).all())

    @property
    def fully_observed(self) -> bool:
        """Whether everything within the lengths was measured."""
        return bool((self.observed == self.valid[:, :, None]).all())

    @property
    def has_classes(self) -> bool:
        """Whether the labels are classes (integers, booleans or strings)."""
        return self.labels is not None and self.labels.dtype.kind in "iubUO"

    @property
    def classes(self) -> NDArray[Any]:
        """The sorted distinct labels; empty where the labels are not classes."""
        if self.labels is None or not self.has_classes:
            return np.array([], dtype=np.int64)
        return np.unique(self.labels)

    # -- parts -------------------------------------------------------------------------------

    def __getitem__(self, rows: ArrayLike | slice) -> Sequences:
        """The sequences of these rows: a slice, indices or a bool mask."""
        index = rows if isinstance(rows, slice) else np.atleast_1d(np.asarray(rows))

        def take(array: NDArray[Any] | None) -> NDArray[Any] | None:
            return None if array is None else array[index]

        return replace(
            self,
            values=self.values[index],
            observed=self.observed[index],
            lengths=self.lengths[index],
            labels=take(self.labels),
            static=take(self.static),
            subjects=take(self.subjects),
            starts=take(self.starts),
            part=take(self.part),
        )

    def with_features(self, keep: Sequence[str]) -> Sequences:
        """The same sequences with only these features, in this order.

        Raises:
            DataError: a name is not a feature.
        """
        for name in keep:
            if name not in self.feature_names:
                raise DataError(
                    f'there is no feature "{name}"',
                    rule=f"features are: {', '.join(self.feature_names)}",
                )
        index = [self.feature_names.index(name) for name in keep]
        return replace(
            self,
            values=self.values[:, :, index],
            observed=self.observed[:, :, index],
            feature_names=tuple(keep),
            units=tuple(self.units[i] for i in index),
        )

    def to_images(self) -> NDArray[np.float32]:
        """(N, H, W, C) in the pixels' own range.

        Raises:
            DataError: the layout is not an image's.
        """
        if not isinstance(self.layout, ImageLayout):
            raise DataError("these sequences are not images", rule="the layout must be an image's")
        return self.layout.to_images(self.values)

    # -- identity ----------------------------------------------------------------------------

    def fingerprint(self) -> str:
        """SHA-256 over shapes, names, values, masks, lengths, labels and static, as hex."""
        digest = hashlib.sha256()
        digest.update(repr((self.values.shape, self.feature_names, self.layout)).encode())
        nominal = [name for name in self.feature_names if is_nominal(self.layout, name)]
        digest.update("\x1f".join(nominal).encode())
        arrays = (np.nan_to_num(self.values), self.observed, self.lengths, self.static)
        for array in arrays:
            if array is not None:
                digest.update(np.ascontiguousarray(array).tobytes())
        for column in (self.labels, self.subjects):
            if column is not None:
                digest.update("\x1f".join(map(str, column.tolist())).encode())
        return digest.hexdigest()

    def equals(self, other: Sequences) -> bool:
        """Whether both hold the same data, NaN equal to NaN, and the same description."""

        def same(a: NDArray[Any] | None, b: NDArray[Any] | None) -> bool:
            if a is None or b is None:
                return a is b
            return np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f")

        arrays = (
            *("values", "observed", "lengths", "labels", "static", "subjects", "starts", "part"),
        )
        plain = ("static_info", "feature_names", "units", "step", "step_unit", "layout")
        return all(same(getattr(self, a), getattr(other, a)) for a in arrays) and all(
            getattr(self, p) == getattr(other, p) for p in plain
        )


def concatenate(parts: Sequence[Sequences]) -> Sequences:
    """Several Sequences of one description as one.

    Raises:
        DataError: no parts, or parts whose features, steps or layout differ.
    """
    if not parts:
        raise DataError("there is nothing to concatenate", rule="at least one Sequences")
    first = parts[0]
    for part in parts[1:]:
        for what in ("feature_names", "n_steps", "layout", "static_info"):
            if getattr(part, what) != getattr(first, what):
                raise DataError(
                    f"{what} differs: {getattr(part, what)} and {getattr(first, what)}",
                    rule="only sequences of one description can be joined",
                )

    def join(what: str) -> NDArray[Any] | None:
        columns = [getattr(part, what) for part in parts]
        absent = [column is None for column in columns]
        if any(absent) and not all(absent):
            raise DataError(
                f"part {absent.index(True)} has no {what} and others have",
                rule="only sequences of one description can be joined",
            )
        return None if absent[0] else np.concatenate(columns)

    names = ("values", "observed", "lengths", "labels", "static", "subjects", "starts", "part")
    return replace(first, **{name: join(name) for name in names})  # type: ignore[arg-type]


def _as_values(values: ArrayLike) -> NDArray[np.float32]:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataError(
            "the sequences are ragged: their lengths or their numbers of features differ",
            rule="values are one array (N, T, F)",
            repair="from rgan.data.arrays import pad; values, lengths = pad(list_of_arrays)",
        ) from error
    if array.dtype.kind not in "fiub":
        raise DataError(
            f"values hold {array.dtype}, not numbers",
            rule="values are numbers; text categories must be coded first",
        )
    if array.ndim != 3 or 0 in array.shape:
        raise DataError(
            f"values have the shape {array.shape}",
            rule="three dimensions, none of them empty: (sequences, steps, features)",
            repair="values[:, :, None] for sequences of one feature",
        )
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf and is named below
        return array.astype(np.float32)


def _as_lengths(lengths: ArrayLike | None, n: int, t: int) -> NDArray[np.int64]:
    if lengths is None:
        return np.full(n, t, dtype=np.int64)
    array = np.asarray(lengths)
    if array.shape != (n,) or array.dtype.kind not in "iu":
        raise DataError(
            f"lengths are {array.dtype} of shape {array.shape}",
            rule=f"one whole number for each of the {n} sequences",
        )
    bad = np.flatnonzero((array < 1) | (array > t))
    if len(bad):
        raise DataError(
            f"row {bad[0]} has the length {array[bad[0]]}", rule=f"lengths are between 1 and T={t}"
        )
    return array.astype(np.int64)


def _as_observed(
    observed: ArrayLike | None, values: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    if observed is None:
        missing = np.isnan(values) & valid[:, :, None]
        if missing.any():
            row, step, column = np.argwhere(missing)[0]
            raise DataError(
                f"row {row}, step {step}, column {column} is NaN, and there is no mask",
                rule="what was not measured is False in observed",
                reason="a gap in the data and a fault in the data look alike otherwise",
                repair="Sequences(values, observed=~np.isnan(values))",
            )
        return np.broadcast_to(valid[:, :, None], values.shape).copy()
    array = np.asarray(observed)
    if array.shape != values.shape or array.dtype.kind not in "b":
        raise DataError(
            f"observed is {array.dtype} of shape {array.shape}",
            rule=f"bool of the values' shape {values.shape}",
        )
    return np.asarray(array & valid[:, :, None], dtype=np.bool_)


def _as_column(column: ArrayLike | None, n: int, what: str) -> NDArray[Any] | None:
    if column is None:
        return None
    array = np.asarray(column)
    if array.shape != (n,):
        raise DataError(f"{what} have the shape {array.shape}", rule=f"one for each of {n} rows")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array))[0])
        raise DataError(f"{what}: row {row} is {array[row]}", rule=f"{what} are finite")
    if array.dtype.kind == "O":
        if any(value is None for value in array):
            row = next(i for i, value in enumerate(array) if value is None)
            raise DataError(f"{what}: row {row} is empty", rule=f"every row has one of {what}")
        array = array.astype(str)
    return array


def _check_finite(
    values: NDArray[np.float32], observed: NDArray[np.bool_], names: tuple[str, ...]
) -> None:
    bad = observed & ~np.isfinite(values)
    if bad.any():
        row, step, column = np.argwhere(bad)[0]
        name = names[column] if column < len(names) else str(column)
        raise DataError(
            f'row {row}, step {step}, column {column} ("{name}") is {values[row, step, column]} '
            f"and marked as observed ({int(bad.sum())} such values)",
            rule="observed values are finite, and fit in float32",
            repair="observed &= np.isfinite(values)",
        )


def _check_names(names: tuple[str, ...], units: tuple[str, ...], f: int) -> None:
    if len(names) != f or len(units) != f:
        raise DataError(
            f"there are {len(names)} feature names and {len(units)} units",
            rule=f"one of each for every one of the {f} features",
        )
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DataError(f'the feature name "{doubled[0]}" occurs twice', rule="names are unique")


def _check_static(static: NDArray[np.float32] | None, info: tuple[Static, ...], n: int) -> None:
    columns = 0 if static is None else static.shape[-1]
    if static is not None and static.shape != (n, len(info)):
        raise DataError(
            f"static has the shape {static.shape} and {len(info)} descriptions",
            rule=f"one row for each of {n} sequences, one Static in static_info for each column",
        )
    if len(info) != columns:
        raise DataError(
            f"static_info describes {len(info)} columns and static has {columns}",
            rule="one Static for each column",
        )
    for column, static_column in enumerate(info):
        assert static is not None
        known = static[:, column][~np.isnan(static[:, column])]
        top = {"binary": 2, "categorical": len(static_column.levels)}.get(static_column.kind)
        if top is not None and not np.isin(known, np.arange(top)).all():
            raise DataError(
                f'static "{static_column.name}" holds {known[~np.isin(known, np.arange(top))][0]}',
                rule=f"{static_column.kind} attributes are whole numbers 0 to {top - 1}",
            )
        if np.isinf(known).any():
            raise DataError(f'static "{static_column.name}" is infinite', rule="finite or NaN")
