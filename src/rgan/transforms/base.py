"""The interface of a transform: fitted from data, applied, and undone.

Shape letters: N sequences, T steps, F features, A static attributes.

A transform is frozen plain data, so it goes into a model's JSON and two equal ones compare equal.
There is no unfitted state: ``fit`` is a class method that returns the fitted transform.

What every transform keeps, and the contract tests prove:

- ``invert(apply(x))`` is x within float32's precision, for any x of the fitted description;
- what is not observed stays so (NaN) and has no influence on what is fitted;
- ``from_state(state())`` is equal to the transform, also through JSON.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from rgan.errors import DataError
from rgan.sequences import Sequences, Static

CHUNK = 256
"""Sequences worked on at a time: few enough to stay in a processor's cache, in float64 too."""


@dataclass(frozen=True)
class Transform(ABC):
    """One step between original units and what networks read."""

    name: ClassVar[str]
    """How settings and states call it."""

    bounded: ClassVar[bool] = False
    """Whether the training data's values lie in [-1, 1] after it."""

    @classmethod
    @abstractmethod
    def fit(cls, sequences: Sequences) -> Self:
        """A transform fitted to what is observed in these sequences.

        Raises:
            DataError: the data cannot be transformed this way; the feature is named.
        """

    @abstractmethod
    def apply(self, sequences: Sequences) -> Sequences:
        """Towards the networks.

        Raises:
            DataError: the sequences have other features than those fitted.
        """

    @abstractmethod
    def invert(self, sequences: Sequences) -> Sequences:
        """Towards original units; undoes ``apply``.

        Raises:
            DataError: the sequences have other features than those fitted.
        """

    def state(self) -> dict[str, Any]:
        """Plain JSON data: the name and every field."""
        fields = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        return {"name": self.name, **fields}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The transform that ``state`` wrote.

        Raises:
            DataError: a field is missing or not known.
        """
        fields = {k: tuple(v) if isinstance(v, list) else v for k, v in state.items()}
        fields.pop("name", None)
        try:
            return cls(**fields)
        except TypeError as error:
            raise DataError(
                f'the state of the transform "{cls.name}" is damaged: {error}',
                rule="it is what state() wrote",
            ) from error


def check_features(sequences: Sequences, fitted: tuple[str, ...]) -> None:
    """Raises where the sequences' features are not those that were fitted."""
    if sequences.feature_names != fitted:
        raise DataError(
            f"features are {', '.join(sequences.feature_names)}",
            rule=f"as in the data that was fitted: {', '.join(fitted)}",
            reason="another feature would be scaled with the wrong numbers",
        )


def check_ever_observed(sequences: Sequences) -> None:
    """Raises where a feature is never observed."""
    ever_F = sequences.observed.any(axis=(0, 1))
    if not ever_F.all():
        name = sequences.feature_names[int(np.argmin(ever_F))]
        raise DataError(
            f'the feature "{name}" is never observed',
            rule="each feature is observed at least once",
            reason="there is nothing to learn about it",
            repair=f'--drop "{name}"',
        )


def map_values(
    sequences: Sequences, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> Sequences:
    """The sequences with ``change`` done to their values, in float64 and in parts of N.

    In parts, which is faster and never holds a large data set in double precision as a whole.
    """
    values_NTF = np.empty_like(sequences.values)
    with np.errstate(over="ignore"):  # Sequences names the row of a value beyond float32
        for start in range(0, len(sequences), CHUNK):
            part = sequences.values[start : start + CHUNK].astype(np.float64)
            values_NTF[start : start + CHUNK] = change(part)
    return replace(sequences, values=values_NTF)


def add_statics(
    sequences: Sequences, columns_NK: NDArray[Any], info: tuple[Static, ...]
) -> Sequences:
    """The sequences with K more static columns at the end.

    Raises:
        DataError: a static attribute of that name is there already.
    """
    taken = {s.name for s in sequences.static_info}
    for static in info:
        if static.name in taken:
            raise DataError(
                f'there is a static attribute "{static.name}" already',
                rule="this transform adds one of that name",
                repair="rename the attribute, or apply the transform only once",
            )
    old = sequences.static
    parts = ([] if old is None else [old]) + [columns_NK.astype(np.float32)]
    return replace(
        sequences,
        static=np.concatenate(parts, axis=1),
        static_info=(*sequences.static_info, *info),
    )


def take_statics(
    sequences: Sequences, names: tuple[str, ...]
) -> tuple[Sequences, NDArray[np.float64]]:
    """The sequences without these static columns, and the columns (N, K).

    Raises:
        DataError: an attribute is not there.
    """
    places = {s.name: i for i, s in enumerate(sequences.static_info)}
    missing = [name for name in names if name not in places]
    if missing or sequences.static is None:
        raise DataError(
            f'there is no static attribute "{missing[0] if missing else names[0]}"',
            rule="inverting needs the attributes that applying has added",
        )
    taken = [places[name] for name in names]
    kept = [i for i in range(len(places)) if i not in set(taken)]
    rest = replace(
        sequences,
        static=sequences.static[:, kept] if kept else None,
        static_info=tuple(sequences.static_info[i] for i in kept),
    )
    return rest, sequences.static[:, taken].astype(np.float64)
