"""Transforms that take a number out of each sequence and add it as a static column.

Shape letters: N sequences, T steps, F features.

As the number is a static column, it is generated together with the sequence, and inverting needs
nothing but what was generated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from rgan.sequences import Sequences, Static
from rgan.transforms.base import (
    CHUNK,
    Transform,
    add_statics,
    check_ever_observed,
    check_features,
    take_statics,
)


@dataclass(frozen=True)
class LocalMax(Transform):
    """Each sequence divided by its own largest absolute value, feature by feature.

    The static column ``log-max:NAME`` holds the natural logarithm of that value: scales differ by
    factors, and whatever a generator puts there, the scale is positive. A series that is never
    observed, or all zero, has no scale; its column gets the training median.

    Args:
        features: the names of the F features.
        fill: for each feature, the median of the logarithms in the training data.
    """

    name: ClassVar[str] = "local-max"
    bounded: ClassVar[bool] = True
    features: tuple[str, ...]
    fill: tuple[float, ...]

    @classmethod
    def fit(cls, sequences: Sequences) -> Self:
        check_ever_observed(sequences)
        return cls(sequences.feature_names, _medians(_log_max(sequences)))

    def apply(self, sequences: Sequences) -> Sequences:
        check_features(sequences, self.features)
        log_NF = _filled(_log_max(sequences), self.fill)
        scaled = _multiplied(sequences, np.exp(-log_NF.astype(np.float64)))
        info = tuple(Static(name) for name in self.columns)
        return add_statics(scaled, log_NF, info)

    def invert(self, sequences: Sequences) -> Sequences:
        check_features(sequences, self.features)
        rest, log_NF = take_statics(sequences, self.columns)
        return _multiplied(rest, np.exp(_filled(log_NF, self.fill).astype(np.float64)))

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the static columns that it adds."""
        return tuple(f"log-max:{name}" for name in self.features)


@dataclass(frozen=True)
class Differences(Transform):
    """First differences between successive observed values, which sum up to the values again.

    The static column ``start:NAME`` holds the first observed value, where the difference is 0.
    Gaps stay gaps: the difference after one spans it. Each difference is taken from what summing up
    gives back so far, so float32's rounding does not add up along a sequence. A series that is
    never observed has no start; its column gets the training median.

    Args:
        features: the names of the F features.
        fill: for each feature, the median first observed value in the training data.
    """

    name: ClassVar[str] = "differences"
    features: tuple[str, ...]
    fill: tuple[float, ...]

    @classmethod
    def fit(cls, sequences: Sequences) -> Self:
        check_ever_observed(sequences)
        return cls(sequences.feature_names, _medians(_first_observed(sequences)))

    def apply(self, sequences: Sequences) -> Sequences:
        check_features(sequences, self.features)
        start_NF = _filled(_first_observed(sequences), self.fill)
        sum_NF = start_NF.astype(np.float64)
        steps_NTF = np.empty_like(sequences.values)
        for t in range(sequences.n_steps):
            seen_NF = sequences.observed[:, t]
            change_NF = np.where(seen_NF, sequences.values[:, t] - sum_NF, 0).astype(np.float32)
            sum_NF += change_NF
            steps_NTF[:, t] = change_NF
        info = tuple(
            Static(name, unit=unit)
            for name, unit in zip(self.columns, sequences.units, strict=True)
        )
        return add_statics(replace(sequences, values=steps_NTF), start_NF, info)

    def invert(self, sequences: Sequences) -> Sequences:
        check_features(sequences, self.features)
        rest, start_NF = take_statics(sequences, self.columns)
        sum_NF = _filled(start_NF, self.fill).astype(np.float64)
        values_NTF = np.empty_like(rest.values)
        with np.errstate(over="ignore"):  # Sequences names the row of a value beyond float32
            for t in range(rest.n_steps):
                sum_NF += np.where(rest.observed[:, t], rest.values[:, t], 0)
                values_NTF[:, t] = sum_NF
        return replace(rest, values=values_NTF)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the static columns that it adds."""
        return tuple(f"start:{name}" for name in self.features)


def _log_max(sequences: Sequences) -> NDArray[np.float64]:
    """(N, F) logarithm of the largest absolute value; NaN where there is none above 0."""
    top_NF = np.zeros((len(sequences), sequences.n_features))
    for start in range(0, len(sequences), CHUNK):
        part = np.nan_to_num(sequences.values[start : start + CHUNK], nan=0.0)
        top_NF[start : start + CHUNK] = np.abs(part).max(axis=1)
    return np.log(top_NF, where=top_NF > 0, out=np.full_like(top_NF, np.nan))


def _first_observed(sequences: Sequences) -> NDArray[np.float64]:
    """(N, F) first observed value; NaN where nothing is observed."""
    first_NF = sequences.observed.argmax(axis=1)
    # Where nothing is observed argmax gives step 0, whose value is NaN, as it should be.
    return np.take_along_axis(sequences.values, first_NF[:, None, :], axis=1)[:, 0].astype(
        np.float64
    )


def _medians(column_NF: NDArray[np.float64]) -> tuple[float, ...]:
    """Median of the known numbers of each feature; 0 where none is known."""
    known = [column[~np.isnan(column)] for column in column_NF.T]
    return tuple(float(np.median(values)) if len(values) else 0.0 for values in known)


def _filled(column_NF: NDArray[np.float64], fill: tuple[float, ...]) -> NDArray[np.float32]:
    """In float32, as the static column will hold it, so that inverting uses the same number."""
    return np.where(np.isnan(column_NF), np.asarray(fill), column_NF).astype(np.float32)


def _multiplied(sequences: Sequences, factor_NF: NDArray[np.float64]) -> Sequences:
    """The sequences with each series multiplied by its factor, in parts of N."""
    values_NTF = np.empty_like(sequences.values)
    with np.errstate(over="ignore"):  # Sequences names the row of a value beyond float32
        for start in range(0, len(sequences), CHUNK):
            rows = slice(start, start + CHUNK)
            values_NTF[rows] = sequences.values[rows] * factor_NF[rows, None, :]
    return replace(sequences, values=values_NTF)
