"""What values may be at all: the range and the decimals of each feature in the training data.

Shape letters: N sequences, T steps, F features, A static attributes.

A generator makes any real number. A Glasgow coma score of 16 or of 7.31, or an age of 63.2 where
ages are whole, gives synthetic data away at a glance, to any reader and to the cheapest judge. So
what is generated is limited to the observed range and rounded as the data is.

The smallest and the largest value of a feature belong to somebody. Whoever may not share these two
numbers sets ``transform.clip=false``: then they are not kept (``without_limits``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rgan.errors import DataError
from rgan.sequences import Sequences
from rgan.transforms.base import CHUNK

MOST_ZEROS, MAX_DECIMALS = 6, 4
_LOOK = 1000
Range = tuple[float | None, float | None, int | None]


@dataclass(frozen=True)
class Ranges:
    """Ranges and decimals, seen in the training data, in original units.

    Args:
        values: (low, high, decimals) of each of the F features. Decimals: the fewest of -6 to 4
            that write every observed value (-1: tens), None where 4 do not suffice.
        static: the same of each of the A static attributes; None for those that are codes.
    """

    values: tuple[Range, ...]
    static: tuple[Range | None, ...] = ()

    @classmethod
    def fit(cls, sequences: Sequences) -> Self:
        """Reads ranges and decimals from what is observed; each feature is at least once."""
        values = tuple(
            _range(sequences.values[:, :, f][sequences.observed[:, :, f]])
            for f in range(sequences.n_features)
        )
        static: list[Range | None] = []
        for column, attribute in enumerate(sequences.static_info):
            assert sequences.static is not None  # Sequences checks that both come together
            known = sequences.static[:, column][~np.isnan(sequences.static[:, column])]
            static.append(_range(known) if attribute.kind == "continuous" else None)
        return cls(values, tuple(static))

    def without_limits(self) -> Self:
        """The same decimals, and no smallest and largest values."""
        return replace(
            self,
            values=tuple((None, None, decimals) for _, _, decimals in self.values),
            static=tuple(None if span is None else (None, None, span[2]) for span in self.static),
        )

    def limit(self, sequences: Sequences, *, clip: bool = True, rounding: bool = True) -> Sequences:
        """The sequences with every value in the range and with the decimals of its feature.

        Args:
            sequences: in original units.
            clip: whether to limit to the range.
            rounding: whether to round to the decimals.
        """
        static_NA = None if sequences.static is None else sequences.static.copy()
        for column, span in enumerate(self.static):
            if static_NA is not None and span is not None:
                static_NA[:, column] = _limited(
                    static_NA[:, column], [span], clip=clip, rounding=rounding
                )
        values_NTF = np.empty_like(sequences.values)
        for start in range(0, len(sequences), CHUNK):
            part = slice(start, start + CHUNK)
            values_NTF[part] = _limited(
                sequences.values[part], self.values, clip=clip, rounding=rounding
            )
        return replace(sequences, values=values_NTF, static=static_NA)

    def state(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "values": [list(span) for span in self.values],
            "static": [None if span is None else list(span) for span in self.static],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """What ``state`` wrote.

        Raises:
            DataError: a part is missing or not one.
        """
        try:
            return cls(
                tuple((low, high, decimals) for low, high, decimals in state["values"]),
                tuple(None if span is None else (*span,) for span in state["static"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"the ranges' state is damaged: {error}", rule="it is what state() wrote"
            ) from error


def decimals_of(values: NDArray[np.float32]) -> int | None:
    """The fewest decimals, -6 to 4, that write all these values; None where 4 do not suffice.

    Where there are no three different values, they are not taken for tens or hundreds.

    >>> decimals_of(np.array([36.5, 37.25], np.float32))
    2
    >>> decimals_of(np.array([20, 50, 110], np.float32))
    -1
    """
    few = len(np.unique(values[:_LOOK])) < 3 and len(np.unique(values)) < 3
    for decimals in range(0 if few else -MOST_ZEROS, MAX_DECIMALS + 1):
        span = [(0.0, 0.0, decimals)]
        # A look at a few values settles most features without rounding all of them.
        if all(
            np.array_equal(_limited(part, span, clip=False, rounding=True), part)
            for part in (values[:_LOOK], values)
        ):
            return decimals
    return None


def _limited(
    values: NDArray[np.float32], spans: Sequence[Range], *, clip: bool, rounding: bool
) -> NDArray[np.float32]:
    """Values (..., K) within these K ranges, or a single one for all."""
    if clip:
        low_K, high_K = (np.asarray([span[i] for span in spans], np.float32) for i in (0, 1))
        values = np.clip(values, low_K, high_K)
    decimals = [span[2] for span in spans]
    if not rounding or all(d is None for d in decimals):
        return values
    ten_K = 10.0 ** np.asarray([d or 0 for d in decimals])
    # In float64: 36.6 in float32 times 10 is not 366 otherwise. + 0 makes 0 of -0.
    rounded = (np.rint(values.astype(np.float64) * ten_K) / ten_K + 0.0).astype(np.float32)
    free_K = np.asarray([d is None for d in decimals])
    return np.where(free_K, values, rounded) if free_K.any() else rounded


def _range(values: NDArray[np.float32]) -> Range:
    return float(values.min()), float(values.max()), decimals_of(values)
