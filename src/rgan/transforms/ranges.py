"""What values may be at all: the range and the decimals of each feature in the training data.

Shape letters: N sequences, T steps, F features, A static attributes.

A generator makes any real number. A Glasgow coma score of 16 or of 7.31, or an age of 63.2 where
ages are whole, gives synthetic data away at a glance, to any reader and to the cheapest judge. So
what is generated is limited to the observed range and rounded as the data is.

The smallest and the largest value of a feature belong to somebody. Whoever may not share these two
numbers turns ``clip`` off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rgan.errors import DataError
from rgan.sequences import Sequences

MAX_DECIMALS = 4
Range = tuple[float, float, int | None]


@dataclass(frozen=True)
class Ranges:
    """Ranges and decimals, seen in the training data, in original units.

    Args:
        values: (low, high, decimals) of each of the F features. Decimals: the fewest of 0 to 4 that
            write every observed value, None where 4 do not suffice.
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

    def clip(self, sequences: Sequences) -> Sequences:
        """The sequences with every value inside the range of its feature."""
        low_F, high_F = (np.asarray([r[i] for r in self.values], np.float32) for i in (0, 1))
        static_NA = None if sequences.static is None else sequences.static.copy()
        for column, span in enumerate(self.static):
            if static_NA is not None and span is not None:
                static_NA[:, column] = np.clip(static_NA[:, column], span[0], span[1])
        values_NTF = np.clip(sequences.values, low_F, high_F)
        return replace(sequences, values=values_NTF, static=static_NA)

    def round(self, sequences: Sequences) -> Sequences:
        """The sequences with every value rounded to the decimals of its feature."""
        values_NTF = sequences.values.copy()
        static_NA = None if sequences.static is None else sequences.static.copy()
        for column, span in enumerate(self.values):
            values_NTF[:, :, column] = _rounded(values_NTF[:, :, column], span[2])
        for column, optional in enumerate(self.static):
            if static_NA is not None and optional is not None:
                static_NA[:, column] = _rounded(static_NA[:, column], optional[2])
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
    """The fewest decimals, 0 to 4, that write all these values; None where 4 do not suffice.

    >>> decimals_of(np.array([36.5, 37.25], np.float32))
    2
    """
    for decimals in range(MAX_DECIMALS + 1):
        # A look at a few values settles most features without rounding all of them.
        if all(np.array_equal(_rounded(part, decimals), part) for part in (values[:1000], values)):
            return decimals
    return None


def _rounded(values: NDArray[np.float32], decimals: int | None) -> NDArray[np.float32]:
    """In float64, since 0.1 in float32 is not the float32 nearest to a rounded 0.1 otherwise."""
    if decimals is None:
        return values
    # + 0 makes 0 of -0, which a table would show.
    return (np.round(values.astype(np.float64), decimals) + 0.0).astype(np.float32)


def _range(values: NDArray[np.float32]) -> Range:
    return float(values.min()), float(values.max()), decimals_of(values)
