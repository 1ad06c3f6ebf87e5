"""Categories without an order as an imputer sees them: one column for each level.

Shape letters: N sequences, T steps, F features, C columns of an imputer, K draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.layouts import is_nominal
from rgan.transforms.packing import Packer


@dataclass(frozen=True)
class Columns:
    """From features to an imputer's columns and back. Between two levels without an order lies
    nothing, so a draw of such a feature is the level whose column is highest.

    Args:
        levels: of each feature: its scaled levels, ascending; none where it is a number.
    """

    levels: tuple[tuple[float, ...], ...]

    @classmethod
    def of(cls, packer: Packer) -> Columns:
        """Those of a run's data, with the levels that its training split has."""
        seen = dict(packer.spec.levels)
        return cls(
            tuple(
                seen.get(f, ()) if is_nominal(packer.layout, name) else ()
                for f, name in enumerate(packer.feature_names)
            )
        )

    @property
    def nominal(self) -> list[int]:
        """The features without an order."""
        return [f for f, levels in enumerate(self.levels) if levels]

    @property
    def owner(self) -> tuple[int, ...]:
        """(C,) the feature of each column; empty where columns are features."""
        if not self.nominal:
            return ()
        return tuple(f for f, levels in enumerate(self.levels) for _ in levels or (0.0,))

    @property
    def count(self) -> int:
        """C."""
        return len(self.owner) or len(self.levels)

    def spread(self, scaled_NTF: NDArray[Any]) -> NDArray[np.float32]:
        """(N, T, C) with 1 in the column of the nearest level, else 0."""
        parts: list[NDArray[Any]] = []
        for f, levels in enumerate(self.levels):
            column_NT1 = scaled_NTF[:, :, f, None]
            if levels:
                near_NT = np.abs(column_NT1 - np.array(levels)).argmin(axis=2)
                column_NT1 = np.eye(len(levels))[near_NT]
            parts.append(column_NT1)
        return np.concatenate(parts, axis=2, dtype=np.float32)

    def gathered(self, drawn_NTC: NDArray[Any]) -> NDArray[np.float32]:
        """(N, T, F) scaled values of what was drawn."""
        parts: list[NDArray[Any]] = []
        start = 0
        for levels in self.levels:
            stop = start + (len(levels) or 1)
            part_NTC = drawn_NTC[:, :, start:stop]
            parts.append(np.array(levels)[part_NTC.argmax(axis=2)] if levels else part_NTC[:, :, 0])
            start = stop
        return np.stack(parts, axis=2).astype(np.float32)

    def middle(self, drawn_KNTF: NDArray[Any]) -> NDArray[Any]:
        """(N, T, F) the median of the draws, of levels without an order the most frequent."""
        middle_NTF = np.asarray(np.median(drawn_KNTF, axis=0))
        for f in self.nominal:
            middle_NTF[:, :, f] = most_frequent(drawn_KNTF[:, :, :, f])
        return middle_NTF


def most_frequent(draws_K: NDArray[Any]) -> NDArray[Any]:
    """The value that most of K draws (K, ...) have; of several the least."""
    levels_L = np.unique(draws_K)
    count_L = np.stack([(draws_K == level).sum(axis=0) for level in levels_L])
    return np.asarray(levels_L[count_L.argmax(axis=0)])
