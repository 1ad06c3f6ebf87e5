"""Scaling of values by one offset and one factor for each feature, static column or image.

Shape letters: N sequences, T steps, F features, A static attributes.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from rgan.errors import DataError
from rgan.layouts import ImageLayout
from rgan.sequences import Sequences
from rgan.transforms.base import Transform, check_ever_observed, check_features, map_values


@dataclass(frozen=True)
class Affine(Transform):
    """``(x - offset) / factor`` for each feature; what the leaves differ in is how both are found.

    A constant feature is only shifted if it has gaps, and refused if it has none.

    Args:
        features: the names of the F features.
        offset, factor: F numbers, in the features' units.
    """

    features: tuple[str, ...]
    offset: tuple[float, ...]
    factor: tuple[float, ...]

    @staticmethod
    @abstractmethod
    def coefficients(values: NDArray[np.float64]) -> tuple[float, float]:
        """Offset and factor from the observed values of one feature, which are not all equal."""

    @classmethod
    def fit(cls, sequences: Sequences) -> Self:
        check_ever_observed(sequences)
        pairs: list[tuple[float, float]] = []
        for column, name in enumerate(sequences.feature_names):
            values = sequences.values[:, :, column][sequences.observed[:, :, column]]
            if values.min() == values.max():
                if not sequences.observed[:, :, column][sequences.valid].all():
                    # Its gaps are learnt, as whether somebody is on a ventilator is.
                    pairs.append((float(values[0]), 1.0))
                    continue
                raise DataError(
                    f'the feature "{name}" is constant: every observed value is {values[0]:g}',
                    rule=f'"{cls.name}" divides by how much a feature varies',
                    reason="a feature that never varies teaches nothing",
                    repair=f'--drop "{name}"',
                )
            pairs.append(cls.coefficients(values.astype(np.float64)))
        offset, factor = zip(*pairs, strict=True)
        return cls(sequences.feature_names, tuple(offset), tuple(factor))

    def apply(self, sequences: Sequences) -> Sequences:
        check_features(sequences, self.features)
        offset_F, factor_F = np.asarray(self.offset), np.asarray(self.factor)
        return map_values(sequences, lambda x_NTF: (x_NTF - offset_F) / factor_F)

    def invert(self, sequences: Sequences) -> Sequences:
        check_features(sequences, self.features)
        offset_F, factor_F = np.asarray(self.offset), np.asarray(self.factor)
        return map_values(sequences, lambda x_NTF: x_NTF * factor_F + offset_F)


class ZScore(Affine):
    """Mean 0 and standard deviation 1 for each feature."""

    name: ClassVar[str] = "zscore"

    @staticmethod
    def coefficients(values: NDArray[np.float64]) -> tuple[float, float]:
        return float(values.mean()), float(values.std())


class MinMax(Affine):
    """The observed range of each feature to [0, 1]."""

    name: ClassVar[str] = "minmax"
    bounded: ClassVar[bool] = True

    @staticmethod
    def coefficients(values: NDArray[np.float64]) -> tuple[float, float]:
        return float(values.min()), float(values.max() - values.min())


class Symmetric(Affine):
    """The observed range of each feature to [-1, 1]."""

    name: ClassVar[str] = "symmetric"
    bounded: ClassVar[bool] = True

    @staticmethod
    def coefficients(values: NDArray[np.float64]) -> tuple[float, float]:
        low, high = float(values.min()), float(values.max())
        return (low + high) / 2, (high - low) / 2


@dataclass(frozen=True)
class PixelRange(Transform):
    """The range of a pixel to [-1, 1], the same for all pixels, so that constant ones are fine.

    Args:
        low, high: the range, from the image layout and not from the images.
    """

    name: ClassVar[str] = "pixels"
    bounded: ClassVar[bool] = True
    low: float
    high: float

    @classmethod
    def fit(cls, sequences: Sequences) -> Self:
        layout = sequences.layout
        if not isinstance(layout, ImageLayout):
            raise DataError(
                '"pixels" was asked for, and the sequences are not images',
                rule="only an image has a range of pixels",
                repair="--set transform.scale=zscore",
            )
        if not layout.low < layout.high:
            raise DataError(
                f"the image layout's pixels range from {layout.low:g} to {layout.high:g}",
                rule="low is below high",
            )
        return cls(float(layout.low), float(layout.high))

    def apply(self, sequences: Sequences) -> Sequences:
        half = (self.high - self.low) / 2
        return map_values(sequences, lambda x_NTF: (x_NTF - self.low) / half - 1)

    def invert(self, sequences: Sequences) -> Sequences:
        half = (self.high - self.low) / 2
        return map_values(sequences, lambda x_NTF: (x_NTF + 1) * half + self.low)


@dataclass(frozen=True)
class Identity(Transform):
    """Leaves everything as it is."""

    name: ClassVar[str] = "none"

    @classmethod
    def fit(cls, sequences: Sequences) -> Self:
        check_ever_observed(sequences)
        return cls()

    def apply(self, sequences: Sequences) -> Sequences:
        return sequences

    def invert(self, sequences: Sequences) -> Sequences:
        return sequences


@dataclass(frozen=True)
class StaticScale(Transform):
    """Mean 0 and standard deviation 1 for each continuous static attribute.

    An attribute that never varies is only shifted, since it does no harm: the columns that other
    transforms add may be constant.

    Args:
        attributes: the names of all A static attributes.
        offset, factor: A numbers, in the attributes' units; 0 and 1 for those that are codes.
    """

    name: ClassVar[str] = "static"
    attributes: tuple[str, ...]
    offset: tuple[float, ...]
    factor: tuple[float, ...]

    @classmethod
    def fit(cls, sequences: Sequences) -> Self:
        pairs: list[tuple[float, float]] = []
        for column, attribute in enumerate(sequences.static_info):
            if attribute.kind != "continuous" or sequences.static is None:
                pairs.append((0.0, 1.0))
                continue
            values = sequences.static[:, column].astype(np.float64)
            values = values[~np.isnan(values)]
            if not len(values):
                raise DataError(
                    f'static "{attribute.name}" (column {column}) is never known',
                    rule="a static attribute is known for at least one sequence",
                    repair=f'leave "{attribute.name}" out of the static columns',
                )
            varies = values.min() < values.max()
            pairs.append((float(values.mean()), float(values.std()) if varies else 1.0))
        return cls(
            tuple(s.name for s in sequences.static_info),
            tuple(offset for offset, _ in pairs),
            tuple(factor for _, factor in pairs),
        )

    def apply(self, sequences: Sequences) -> Sequences:
        offset_A, factor_A = np.asarray(self.offset), np.asarray(self.factor)
        return self._changed(sequences, lambda static_NA: (static_NA - offset_A) / factor_A)

    def invert(self, sequences: Sequences) -> Sequences:
        offset_A, factor_A = np.asarray(self.offset), np.asarray(self.factor)
        return self._changed(sequences, lambda static_NA: static_NA * factor_A + offset_A)

    def _changed(self, sequences: Sequences, change: Any) -> Sequences:
        names = tuple(s.name for s in sequences.static_info)
        if names != self.attributes:
            raise DataError(
                f"static attributes are {names}",
                rule=f"as in the data that was fitted: {self.attributes}",
            )
        if sequences.static is None:
            return sequences
        changed_NA = change(sequences.static.astype(np.float64)).astype(np.float32)
        return replace(sequences, static=changed_NA)
