"""Stays that lie in a folder, a file each: from time-stamped events to ``Sequences``.

Shape letters: N stays, T steps, F features, V values of one stay or of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from rgan.data.bins import GAP, binned
from rgan.data.config import BinRule
from rgan.data.plausible import Judge
from rgan.errors import DataError

HOURS = 48.0
"""What both layouts hold of a stay."""

EPSILON = 1e-6
"""Hours within which a time counts as being on a bin's edge."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Stay:
    """What was measured in one stay, in the order of time.

    Args:
        hour_V: hours since admission.
        feature_V: which feature.
        value_V: the value.
    """

    hour_V: NDArray[np.float64]
    feature_V: NDArray[np.int64]
    value_V: NDArray[np.float64]

    def where(self, chosen_V: NDArray[np.bool_]) -> Stay:
        """These values only."""
        return Stay(self.hour_V[chosen_V], self.feature_V[chosen_V], self.value_V[chosen_V])


@dataclass(frozen=True)
class Grid:
    """How events become steps.

    Args:
        rule: what stands for the values of a bin; "gaps" makes each moment a step.
        width: of a bin, in hours.
        closed: which end of a bin belongs to it. "right": bin h holds (h, h+1], and the first one
            also 0; "left": bin h holds [h, h+1), and the last one also its end.
    """

    rule: BinRule = "last"
    width: float = 1.0
    closed: Literal["left", "right"] = "left"

    @property
    def bins(self) -> int:
        """T of a grid."""
        return int(np.ceil(HOURS / self.width - EPSILON))

    def places(self, hour_V: NDArray[np.float64]) -> NDArray[np.int64]:
        """(V,) the bin of each time, which is within 0 and 48 hours."""
        shift = -EPSILON if self.closed == "right" else EPSILON
        bin_V = np.floor(hour_V / self.width + shift).astype(np.int64)
        return np.clip(bin_V, 0, self.bins - 1)


@dataclass(frozen=True)
class Gridded:
    """Values (N, T, F), what is observed, lengths (N,), the features, their units, and notes."""

    values: NDArray[np.float32]
    observed: NDArray[np.bool_]
    lengths: NDArray[np.int64]
    names: tuple[str, ...]
    units: tuple[str, ...]
    notes: tuple[str, ...]

    def fields(self) -> dict[str, Any]:
        """As ``Sequences`` calls them."""
        return {
            "values": self.values,
            "observed": self.observed,
            "lengths": self.lengths,
            "feature_names": self.names,
            "units": self.units,
        }


def gridded(
    stays: Sequence[Stay],
    names: tuple[str, ...],
    units: tuple[str, ...],
    grid: Grid,
    judge: Judge,
    whole: frozenset[str] = frozenset(),
) -> Gridded:
    """All stays on one grid, or as events. What is impossible is judged before values are binned,
    so that it neither hides a good value nor goes into a mean.

    Args:
        stays: N of them.
        names, units: of the F features.
        grid: how events become steps.
        judge: of values that are impossible.
        whole: features that are categories or points, of which the mean is none: they take the
            last value of a bin where the others take the mean.

    Raises:
        DataError: no stay has a value within the 48 hours, or the judge refuses a feature's.
    """
    row_V, kept = _joined(stays)
    inside_V = (kept.hour_V >= -EPSILON) & (kept.hour_V <= HOURS + EPSILON)
    outside = int((~inside_V).sum())
    notes = [f"{outside:,} values before 0 or after {HOURS:g} hours: left out"] if outside else []
    row_V, kept = row_V[inside_V], kept.where(inside_V)
    if not len(row_V):
        raise DataError("no stay has a value in its first 48 hours", rule="at least one value")
    n = len(stays)
    possible_V = np.ones(len(row_V), dtype=np.bool_)
    for f, name in enumerate(names):
        of_V = kept.feature_V == f
        possible_V[of_V], note = judge.judge(name, kept.value_V[of_V])
        notes += [note] if note else []
    row_V, kept = row_V[possible_V], kept.where(possible_V)
    empty = n - len(np.unique(row_V))
    if empty:
        notes.append(f"{empty:,} stays hold no value at all: kept, with nothing observed")
    if grid.rule == "gaps":
        step_V, gaps_NT, lengths_N = _moments(row_V, kept.hour_V, n)
        steps = gaps_NT.shape[1]
    else:
        step_V, steps = grid.places(kept.hour_V), grid.bins
        lengths_N = np.full(n, steps, dtype=np.int64)
    values = np.zeros((n, steps, len(names)), dtype=np.float32)
    observed = np.zeros(values.shape, dtype=np.bool_)
    for f, name in enumerate(names):
        of_V = kept.feature_V == f
        rule = "last" if grid.rule == "mean" and name in whole else grid.rule
        values[:, :, f], observed[:, :, f] = binned(
            row_V[of_V], step_V[of_V], kept.value_V[of_V], (n, steps), rule
        )
    if grid.rule == "count":
        units = ("count",) * len(names)
    if grid.rule == "gaps":
        values = np.concatenate([values, gaps_NT[:, :, None]], axis=2)
        observed = np.concatenate([observed, np.ones_like(observed[:, :, :1])], axis=2)
        names, units = (*names, GAP), (*units, "h")
    return Gridded(values, observed, lengths_N, names, units, tuple(notes))


def _joined(stays: Sequence[Stay]) -> tuple[NDArray[np.int64], Stay]:
    row_V = np.repeat(np.arange(len(stays)), [len(stay.hour_V) for stay in stays])
    return row_V, Stay(
        np.concatenate([stay.hour_V for stay in stays]),
        np.concatenate([stay.feature_V for stay in stays]),
        np.concatenate([stay.value_V for stay in stays]),
    )


def _moments(
    row_V: NDArray[np.int64], hour_V: NDArray[np.float64], n: int
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Each value's step where every moment is one; (N, T) hours since the moment before, the first
    since admission; and (N,) lengths, 1 where a stay has no moment."""
    anew_V = np.ones(len(row_V), dtype=np.bool_)
    anew_V[1:] = (np.diff(row_V) != 0) | (np.diff(hour_V) > EPSILON)
    moment_V = np.cumsum(anew_V) - 1
    row_M, hour_M = row_V[anew_V], hour_V[anew_V]
    count_N = np.bincount(row_M, minlength=n)
    start_N = np.cumsum(count_N) - count_N
    step_M = np.arange(len(row_M)) - start_N[row_M]
    gap_M = np.diff(hour_M, prepend=0.0)
    gap_M[step_M == 0] = hour_M[step_M == 0]
    gaps_NT = np.zeros((n, int(count_N.max())), dtype=np.float32)
    gaps_NT[row_M, step_M] = gap_M
    return step_M[moment_V], gaps_NT, np.maximum(count_N, 1)


def draw(n: int, limit: int, seed: int) -> NDArray[np.int64]:
    """Which of n stays to read, ascending: as many as ``limit``, or all where it is 0."""
    if not 0 < limit < n:
        return np.arange(n)
    rows = np.random.default_rng([seed, 0x7417]).choice(n, limit, replace=False)
    return np.sort(rows)


def read_all(items: Iterable[Item], read: Callable[[Item], Stay], quiet: bool) -> list[Stay]:
    """Every item read, with a bar on a terminal where that takes its time."""
    todo = list(items)
    with _bar(len(todo), quiet) as advance:
        stays = []
        for item in todo:
            stays.append(read(item))
            advance()
    return stays


@contextmanager
def _bar(total: int, quiet: bool) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal or total < 500
    with Progress(console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task("reading stays", total=total)
        yield lambda: progress.advance(task)
