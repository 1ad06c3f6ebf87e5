"""How often labels and the static attributes that are conditions occur together, to draw them.

Shape letters: N sequences, A conditions, K = 1 + A coded columns (the label's first), M cells.

Only counts of combinations are kept, a continuous condition in ten parts of equal share, beside
101 quantiles of each: what is drawn are combinations that occur, with values of nobody in
particular. A count of 1 is one person's combination all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rgan.errors import DataError, InputError, nearest
from rgan.sequences import Sequences, Static
from rgan.transforms.conditions import (
    QUANTILES,
    Condition,
    ContinuousCondition,
)
from rgan.transforms.joint_codes import (
    UNKNOWN,
    check_varies,
    codes,
    drawn_labels,
    in_range,
    label_codes,
    uncoded,
)
from rgan.transforms.ranges import decimals_of

BINS = 10
"""Parts of equal share that a continuous condition is counted in."""
_ANY = -2


@dataclass(frozen=True)
class Joint:
    """Conditions beside the label: what they may be, and how often they occur together.

    Args:
        info: the A conditions, as in the data.
        quantiles: of the label and of each condition, at 0, 1, ..., 100 % of the training
            sequences; empty where it has levels.
        decimals: of each condition, None where what is drawn is not rounded.
        cells: (K codes and a count) of each combination that occurs: classes and levels by their
            place, parts of a continuous one from 0, -1 for not known.
        parts: of equal share, that a continuous one is counted in.
    """

    info: tuple[Static, ...]
    quantiles: tuple[tuple[float, ...], ...]
    decimals: tuple[int | None, ...]
    cells: tuple[tuple[int, ...], ...]
    parts: int = BINS

    @classmethod
    def fit(
        cls, train: Sequences, names: tuple[str, ...], labels: Condition, *, rounding: bool
    ) -> Joint:
        """Counts the training sequences' combinations.

        Args:
            train: in original units.
            names: of the static attributes that are conditions, in the data's order.
            labels: how labels are coded.
            rounding: whether what is drawn is to have the data's decimals.

        Raises:
            DataError: a condition has the same value everywhere.
        """
        known = [static.name for static in train.static_info]
        info = tuple(train.static_info[known.index(name)] for name in names)
        assert train.static is not None  # names are those of its columns
        quantiles = [labels.quantiles if isinstance(labels, ContinuousCondition) else ()]
        decimals: list[int | None] = []
        columns = [label_codes(labels, train.labels, len(train), BINS)]
        for static in info:
            column_N = train.static[:, known.index(static.name)]
            seen = column_N[~np.isnan(column_N)]
            check_varies(static, column_N)
            soft = static.kind == "continuous"
            grid = np.quantile(seen.astype(np.float64), np.linspace(0, 1, QUANTILES))
            quantiles.append(tuple(grid.tolist()) if soft else ())
            decimals.append(decimals_of(seen) if soft and rounding else None)
            columns.append(codes(column_N, quantiles[-1], BINS))
        cells, counts = np.unique(np.stack(columns, axis=1), axis=0, return_counts=True)
        rows = np.concatenate([cells, counts[:, None]], axis=1).tolist()
        return cls(info, tuple(quantiles), tuple(decimals), tuple(map(tuple, rows)))

    @property
    def names(self) -> tuple[str, ...]:
        """The conditions' names."""
        return tuple(static.name for static in self.info)

    def values(self, name: str, asked: ArrayLike) -> NDArray[np.float64]:
        """What is asked of one condition as ``Sequences.static`` has it.

        Args:
            name: of the condition.
            asked: one or several: names of levels, or numbers (of a condition with levels: codes).

        Raises:
            InputError: no such condition, a level that training never saw, not a number, or one
                outside the range that was seen.
        """
        if name not in self.names:
            raise InputError(
                f'"{name}" is not a condition of this model',
                rule=f"its conditions are {', '.join(self.names)}",
                reason="other static attributes are generated",
                repair=nearest(name, self.names),
            )
        place = self.names.index(name)
        static, raw = self.info[place], np.atleast_1d(np.asarray(asked))
        if static.kind == "continuous":
            return in_range(static, raw, self.quantiles[1 + place])
        seen = {cell[1 + place] for cell in self.cells}
        levels = dict(enumerate(static.levels or ("0", "1")))
        places = {text: code for code, text in levels.items() if code in seen}
        if raw.dtype.kind in "biuf":
            places = {code: code for code in places.values()}  # type: ignore[misc]
        for one in raw.tolist():
            if one not in places:
                there = [text for code, text in levels.items() if code in seen]
                raise InputError(
                    f'the condition "{name}" is asked to be "{one}"',
                    rule=f"its levels are {', '.join(there)}",
                    reason="the model has only learnt the levels of its training data",
                    repair=nearest(str(one), there),
                )
        return np.array([places[one] for one in raw.tolist()], dtype=np.float64)

    def draw(
        self,
        rng: np.random.Generator,
        n: int,
        condition: Condition,
        labels: NDArray[Any] | None,
        given: Mapping[str, NDArray[np.float64]],
    ) -> tuple[NDArray[Any] | None, NDArray[np.float64]]:
        """n labels and conditions: those given, and the others as they occur beside them.

        What is given picks the combinations that have it; a continuous one those in its part; where
        none has all of it, the nearest.

        Args:
            rng: draws.
            n: how many.
            condition: how labels are coded.
            labels: (n,) or None.
            given: (n,) of some of the conditions, as ``values`` gives them.

        Returns:
            Labels (n,), None where there are none, and conditions (n, A), NaN for not known.
        """
        pick_N, inner_NK = rng.random(n), rng.random((n, len(self.quantiles)))
        asked_NK = np.full(inner_NK.shape, _ANY)
        if labels is not None:
            asked_NK[:, 0] = label_codes(condition, labels, n, self.parts)
        for name, value_N in given.items():
            place = 1 + self.names.index(name)
            asked_NK[:, place] = codes(value_N, self.quantiles[place], self.parts)
        code_NK = self._draw_cells(pick_N, asked_NK)
        values_NA = np.full((n, len(self.info)), np.nan)
        for place, name in enumerate(self.names):
            code_N, grid = code_NK[:, 1 + place], self.quantiles[1 + place]
            drawn_N = uncoded(code_N, inner_NK[:, 1 + place], grid, self.parts)
            if self.decimals[place] is not None:
                drawn_N = np.round(drawn_N, self.decimals[place] or 0)
            values_NA[:, place] = np.where(code_N == UNKNOWN, np.nan, drawn_N)
            values_NA[:, place] = given.get(name, values_NA[:, place])
        if labels is None:
            labels = drawn_labels(condition, code_NK[:, 0], inner_NK[:, 0], self.parts)
        return labels, values_NA

    def _draw_cells(
        self, pick_N: NDArray[np.float64], asked_NK: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """(N, K) codes of a combination for each row, with the frequency that it has."""
        cells_MK, count_M = np.split(np.asarray(self.cells, dtype=np.int64), [-1], axis=1)
        soft_K = np.array([bool(grid) for grid in self.quantiles])
        code_NK = np.empty_like(asked_NK)
        patterns, which_N = np.unique(asked_NK, axis=0, return_inverse=True)
        for number, asked_K in enumerate(patterns):
            apart_MK = np.abs(cells_MK - asked_K)
            level_MK = ~soft_K | (cells_MK == UNKNOWN)  # any two levels are as far as ends
            apart_MK = np.where(level_MK, self.parts * (apart_MK > 0), apart_MK)
            apart_M = np.where(asked_K == _ANY, 0, apart_MK).sum(axis=1)
            total_M = np.cumsum(count_M[:, 0] * (apart_M == apart_M.min()))
            rows = np.flatnonzero(which_N.reshape(-1) == number)
            found = np.searchsorted(total_M, pick_N[rows] * total_M[-1], side="right")
            code_NK[rows] = cells_MK[found]
        return code_NK

    def state(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "info": [{**asdict(s), "levels": list(s.levels)} for s in self.info],
            "quantiles": [list(grid) for grid in self.quantiles],
            "decimals": list(self.decimals),
            "cells": [list(cell) for cell in self.cells],
            "parts": self.parts,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Joint:
        """What ``state`` wrote.

        Raises:
            DataError: a part is missing or not one.
        """
        try:
            return cls(
                tuple(Static(**{**s, "levels": tuple(s["levels"])}) for s in state["info"]),
                tuple(tuple(grid) for grid in state["quantiles"]),
                tuple(state["decimals"]),
                tuple(tuple(int(code) for code in cell) for cell in state["cells"]),
                int(state["parts"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"the conditions' state is damaged: {error}", rule="it is what state() wrote"
            ) from error
