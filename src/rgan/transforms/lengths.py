"""How often each sequence length occurs, and drawing lengths for new sequences.

Shape letters: N sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LengthCounts:
    """How many training sequences had each length, in all and by class.

    Args:
        overall: (length, count) pairs, lengths ascending.
        by_class: the same for each class, in the order of ``ClassCondition.classes``; empty where
            labels are no classes.
    """

    overall: tuple[tuple[int, int], ...]
    by_class: tuple[tuple[tuple[int, int], ...], ...] = ()

    @classmethod
    def fit(cls, lengths_N: NDArray[np.int64], class_N: NDArray[np.int64] | None) -> LengthCounts:
        """Counts these lengths; class_N holds the place of each sequence's class, or is None."""
        groups = [] if class_N is None else range(int(class_N.max()) + 1)
        return cls(
            _count(lengths_N), tuple(_count(lengths_N[class_N == group]) for group in groups)
        )

    def draw(
        self, rng: np.random.Generator, class_N: NDArray[np.int64] | None, n: int
    ) -> NDArray[np.int64]:
        """n lengths, each from its own class where class_N is given."""
        if class_N is None or not self.by_class:
            return _draw(rng, self.overall, n)
        lengths_N = np.zeros(n, dtype=np.int64)
        for group in np.unique(class_N):
            rows = np.flatnonzero(class_N == group)
            lengths_N[rows] = _draw(rng, self.by_class[group], len(rows))
        return lengths_N

    def state(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "overall": [list(pair) for pair in self.overall],
            "by_class": [[list(pair) for pair in counts] for counts in self.by_class],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> LengthCounts:
        """What ``state`` wrote."""
        return cls(_pairs(state["overall"]), tuple(_pairs(c) for c in state["by_class"]))


def _pairs(counts: list[list[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((int(length), int(count)) for length, count in counts)


def _count(lengths_N: NDArray[np.int64]) -> tuple[tuple[int, int], ...]:
    values, counts = np.unique(lengths_N, return_counts=True)
    return tuple(zip(values.tolist(), counts.tolist(), strict=True))


def _draw(
    rng: np.random.Generator, counts: tuple[tuple[int, int], ...], n: int
) -> NDArray[np.int64]:
    lengths, weights = np.asarray(counts, dtype=np.int64).T
    return np.asarray(rng.choice(lengths, size=n, p=weights / weights.sum()), dtype=np.int64)
