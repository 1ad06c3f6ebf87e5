"""Training, validation and test sequences that share no subject and no step of time.

Shape letters: N sequences, U units (subjects, or single sequences).

A random split of overlapping windows puts the same measurements into training and test, and every
score then looks better than it is. So windows are split by subject, or by time with the windows
across a boundary left out; at random only where that is asked for by name.
"""

from __future__ import annotations

import logging
import shlex
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.data.config import DataConfig
from rgan.errors import DataError
from rgan.sequences import Sequences

logger = logging.getLogger(__name__)

FEW_SUBJECTS = 10
"""Windows of fewer subjects than this are split by time: too few people to hold some out."""

_REPAIR = "--set data.validation=0.2 --set data.test=0.2, or more sequences"


@dataclass(frozen=True)
class Splits:
    """Three disjoint sets of sequences.

    Args:
        train: to learn from.
        validation: to choose by (early stopping, checkpoints).
        test: for the final numbers only.
        kind: how they were made: "official", "subject", "time", "row" or "random".
    """

    train: Sequences
    validation: Sequences
    test: Sequences
    kind: str


def split(sequences: Sequences, config: DataConfig, seed: int = 0) -> Splits:
    """Split by ``config.split``; "auto" takes the strictest that fits.

    - official: test is the source's own, and so is validation where it names one; else validation
      comes from the rest, as "auto" splits it.
    - time: windows of few subjects; earlier for training, then validation, then test.
    - subject: where subjects have several sequences; nobody is in two sets.
    - row: otherwise; each sequence is its own unit, and classes keep their shares.

    Args:
        sequences: all of them.
        config: ``split`` and the shares ``validation`` and ``test``.
        seed: draws the units; the same seed gives the same split.

    Raises:
        DataError: the kind does not fit the data, a set would be empty, or a feature is never
            measured in the training set.
    """
    kind = _resolve(sequences, config.split)
    if kind == "random" and _overlap(sequences):
        logger.warning(
            "windows that overlap are split at random: the same measurements stand in training, "
            "validation and test, and every score on held-out windows is better than it should be; "
            "--set data.split=auto keeps them apart"
        )
    shares = (1 - config.validation - config.test, config.validation, config.test)
    if kind == "official":
        assert sequences.part is not None
        rest = np.flatnonzero(sequences.part == "train")
        held_out = np.flatnonzero(sequences.part == "test")
        sets = [rest, np.flatnonzero(sequences.part == "validation"), held_out]
    if kind == "official" and not len(sets[1]):
        inner = _resolve(sequences[rest], "auto", official=False)
        two = _assign(sequences[rest], inner, (1 - config.validation, config.validation), seed)
        sets = [rest[two == 0], rest[two == 1], held_out]
    elif kind != "official":
        three = _assign(sequences, kind, shares, seed)
        sets = [np.flatnonzero(three == i) for i in range(3)]
    names = ("training", "validation", "test")
    for name, rows in zip(names, sets, strict=True):
        if not len(rows):
            raise DataError(
                f"the {name} set is empty ({len(sequences)} sequences, split by {kind})",
                rule="each of training, validation and test has at least one sequence",
                repair="a smaller --window or other shares" if kind == "time" else _REPAIR,
            )
    train, validation, test = (sequences[rows] for rows in sets)
    _check_measured(train)
    return Splits(train=train, validation=validation, test=test, kind=kind)


def _overlap(sequences: Sequences) -> bool:
    """Whether any two windows share a step of one series."""
    if sequences.starts is None:
        return False
    of = np.zeros(len(sequences), np.int64)
    if sequences.subjects is not None:
        of = np.unique(sequences.subjects, return_inverse=True)[1]
    order = np.lexsort((sequences.starts, of))
    near = np.diff(sequences.starts[order]) < sequences.n_steps
    return bool((near & (of[order][1:] == of[order][:-1])).any())


def drop_line(names: list[str]) -> str:
    """What leaves these features out.

    >>> drop_line(["HR", "heart rate"])
    "--drop HR --drop 'heart rate'"
    """
    return " ".join(f"--drop {shlex.quote(name)}" for name in names)


def _check_measured(train: Sequences) -> None:
    """Refuse features that only what is held out has measurements of, all of them at once."""
    seen_F = np.asarray(train.observed.any(axis=(0, 1)))
    never = [name for name, some in zip(train.feature_names, seen_F, strict=True) if not some]
    if never:
        raise DataError(
            f'feature "{never[0]}" is never measured in the training set '
            f"({len(never)} such features)",
            rule="each feature is observed at least once where it is to be learnt",
            repair=drop_line(never),
        )


def _resolve(sequences: Sequences, asked: str, official: bool = True) -> str:
    """The kind of split that "auto" means here, or the one asked for if it fits."""
    parts = set() if sequences.part is None else set(sequences.part.tolist())
    unique = 0 if sequences.subjects is None else len(np.unique(sequences.subjects))
    own = {"train", "test"} <= parts <= {"train", "validation", "test"}
    if asked == "auto":
        if official and own:
            return "official"
        if sequences.starts is not None and unique < FEW_SUBJECTS:
            return "time"
        return "subject" if 0 < unique < len(sequences) else "row"
    if asked == "official" and not own:
        raise _no_fit("official", f"parts {sorted(parts)}", 'the source names "train" and "test"')
    if asked == "time" and sequences.starts is None:
        raise _no_fit("time", "no windows", "windows of longer series, which know when they start")
    if asked == "subject" and not unique:
        raise _no_fit("subject", "no subjects", "each sequence has a subject")
    return asked


def _no_fit(kind: str, found: str, rule: str) -> DataError:
    return DataError(
        f'split "{kind}" is asked for, and the data has {found}',
        rule=f'split "{kind}" needs: {rule}',
        repair="--set data.split=auto",
    )


def _assign(
    sequences: Sequences, kind: str, shares: tuple[float, ...], seed: int
) -> NDArray[np.int64]:
    """(N,) the set of each sequence, 0 for training; -1 where it is left out."""
    if kind == "time":
        return _by_time(sequences, shares)
    if kind == "subject":
        assert sequences.subjects is not None
        _, first_U, unit_N = np.unique(sequences.subjects, return_index=True, return_inverse=True)
    else:
        first_U = unit_N = np.arange(len(sequences))
    classes = _unit_classes(sequences, first_U, unit_N)
    return _by_unit(classes, shares, seed)[unit_N]


def _by_time(sequences: Sequences, shares: tuple[float, ...]) -> NDArray[np.int64]:
    """Cut each subject's span of time by the shares; windows across a cut belong to no set.

    A cut moves on to where the next window starts, so that no more windows are lost than must be.
    """
    assert sequences.starts is not None
    begin_N = sequences.starts.astype(np.int64)
    end_N = begin_N + sequences.lengths
    subjects = sequences.subjects if sequences.subjects is not None else np.zeros(len(sequences))
    sets_N = np.full(len(sequences), -1, dtype=np.int64)
    for subject in np.unique(subjects):
        rows = np.flatnonzero(subjects == subject)
        low, high = begin_N[rows].min(), end_N[rows].max()
        cuts = low + np.round(np.cumsum((0.0, *shares)) * (high - low)).astype(np.int64)
        starts = np.append(np.unique(begin_N[rows]), high)
        cuts = starts[np.searchsorted(starts, np.minimum(cuts, high))]
        for index in range(len(shares)):
            inside = (begin_N[rows] >= cuts[index]) & (end_N[rows] <= cuts[index + 1])
            sets_N[rows[inside]] = index
    return sets_N


def _unit_classes(
    sequences: Sequences, first_U: NDArray[Any], unit_N: NDArray[Any]
) -> NDArray[np.int64]:
    """(U,) the class of each unit, all 0 where units mix classes or there are none."""
    plain = np.zeros(len(first_U), dtype=np.int64)
    if not sequences.has_classes or sequences.labels is None:
        return plain
    _, codes_N = np.unique(sequences.labels, return_inverse=True)
    pure = (codes_N[first_U][unit_N] == codes_N).all()
    return codes_N[first_U].astype(np.int64) if pure else plain


def _by_unit(
    classes_U: NDArray[np.int64], shares: tuple[float, ...], seed: int
) -> NDArray[np.int64]:
    """(U,) the set of each unit, drawn within each class so that sets keep the classes' shares.

    A class gives each held-out set at least one unit where it has one for every set, and training
    always at least one. What rounding leaves over is carried to the next class, so that the sets'
    sizes fit the shares on the whole.
    """
    generator = np.random.default_rng([seed, 0x5B117])
    sets_U = np.zeros(len(classes_U), dtype=np.int64)
    seen, given = 0, np.zeros(len(shares), dtype=np.int64)
    held_out = range(1, len(shares))
    for value in np.unique(classes_U):
        units = generator.permutation(np.flatnonzero(classes_U == value))
        seen += len(units)
        room, at = len(units) - 1, 0
        least = 1 if len(units) >= len(shares) else 0
        for index in held_out:
            wanted = max(least, 0, round(shares[index] * seen) - int(given[index]))
            reserved = least * (len(shares) - 1 - index)
            count = min(wanted, room - reserved)
            sets_U[units[at : at + count]] = index
            at, room = at + count, room - count
            given[index] += count
    return sets_U
