"""What sequences are conditioned on: labels to condition columns and back, and drawing new ones.

Shape letters: N sequences, C condition columns, K classes.

Only counts and quantiles are kept, never a list of single labels, since this goes into the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rgan.errors import DataError, InputError, nearest

QUANTILES = 101


class Condition(ABC):
    """Labels as condition columns. Made by ``fit_condition``, plain data in its fields."""

    @property
    @abstractmethod
    def columns(self) -> int:
        """C."""

    @abstractmethod
    def encode(self, labels: ArrayLike) -> NDArray[np.float32]:
        """Labels (N,) to condition_NC.

        Raises:
            InputError: a label that the training data did not have, or not a number.
        """

    @abstractmethod
    def decode(self, condition_NC: NDArray[Any]) -> NDArray[Any] | None:
        """condition_NC to labels (N,), in the type that the training labels had."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, n: int) -> NDArray[Any] | None:
        """n labels from the distribution of the training labels."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Plain JSON data."""


@dataclass(frozen=True)
class Unconditional(Condition):
    """The training data had no labels: C = 0."""

    @property
    def columns(self) -> int:
        return 0

    def encode(self, labels: ArrayLike) -> NDArray[np.float32]:
        raise InputError(
            f"the label {_one(np.atleast_1d(np.asarray(labels)))!r} was asked for",
            rule="this model was trained without labels, so it cannot be told which to make",
            repair="leave the label out, or train with labels (--model rcgan)",
        )

    def decode(self, condition_NC: NDArray[Any]) -> NDArray[Any] | None:
        return None

    def draw(self, rng: np.random.Generator, n: int) -> NDArray[Any] | None:
        return None

    def state(self) -> dict[str, Any]:
        return {"kind": "none"}


@dataclass(frozen=True)
class ClassCondition(Condition):
    """Classes, one-hot: C = K.

    Args:
        classes: the K classes in ascending order.
        dtype: numpy's name of their type, "<i8".
        counts: how many training sequences each class had.
    """

    classes: tuple[Any, ...]
    dtype: str
    counts: tuple[int, ...]

    @property
    def columns(self) -> int:
        return len(self.classes)

    def indices(self, labels: ArrayLike) -> NDArray[np.int64]:
        """The place of each label in ``classes``. "1" finds the class 1, as a shell has only text.

        Raises:
            InputError: a label that is none of the classes.
        """
        labels_N = np.atleast_1d(np.asarray(labels))
        place: dict[Any, int] = {str(value): k for k, value in enumerate(self.classes)}
        place.update({value: k for k, value in enumerate(self.classes)})
        found: list[int] = []
        for label in labels_N.tolist():
            if label not in place:
                raise InputError(
                    f"the class {label!r} is not known",
                    rule=f"the classes are {', '.join(map(str, self.classes))}",
                    reason="the model has only learnt the classes of its training data",
                    repair=nearest(str(label), map(str, self.classes)),
                )
            found.append(place[label])
        return np.asarray(found, dtype=np.int64)

    def encode(self, labels: ArrayLike) -> NDArray[np.float32]:
        return np.eye(self.columns, dtype=np.float32)[self.indices(labels)]

    def decode(self, condition_NC: NDArray[Any]) -> NDArray[Any] | None:
        classes_K = np.asarray(self.classes, dtype=self.dtype)
        return np.asarray(classes_K[np.argmax(condition_NC, axis=1)])

    def draw(self, rng: np.random.Generator, n: int) -> NDArray[Any] | None:
        classes_K = np.asarray(self.classes, dtype=self.dtype)
        share_K = np.asarray(self.counts) / sum(self.counts)
        return np.asarray(classes_K[rng.choice(len(classes_K), size=n, p=share_K)])

    def state(self) -> dict[str, Any]:
        return {
            "kind": "classes",
            "classes": list(self.classes),
            "dtype": self.dtype,
            "counts": list(self.counts),
        }


@dataclass(frozen=True)
class ContinuousCondition(Condition):
    """A continuous label, standardised: C = 1.

    Args:
        mean, std: of the training labels.
        quantiles: at 0, 1, ..., 100 % of the training labels, to draw new ones from.
        dtype: numpy's name of the labels' type.
    """

    mean: float
    std: float
    quantiles: tuple[float, ...]
    dtype: str

    @property
    def columns(self) -> int:
        return 1

    def encode(self, labels: ArrayLike) -> NDArray[np.float32]:
        raw = np.atleast_1d(np.asarray(labels))
        try:
            labels_N = raw.astype(np.float64)
        except ValueError as error:
            raise InputError(
                f"the label {_one(raw)!r} is not a number",
                rule="this model was trained on a continuous label",
            ) from error
        if not np.isfinite(labels_N).all():
            raise InputError("a label is NaN or infinite", rule="continuous labels are finite")
        return ((labels_N - self.mean) / self.std).astype(np.float32)[:, None]

    def decode(self, condition_NC: NDArray[Any]) -> NDArray[Any] | None:
        labels_N = condition_NC[:, 0].astype(np.float64) * self.std + self.mean
        return np.asarray(labels_N.astype(self.dtype))

    def draw(self, rng: np.random.Generator, n: int) -> NDArray[Any] | None:
        grid = np.linspace(0.0, 1.0, len(self.quantiles))
        return np.interp(rng.random(n), grid, self.quantiles).astype(self.dtype)

    def state(self) -> dict[str, Any]:
        return {
            "kind": "continuous",
            "mean": self.mean,
            "std": self.std,
            "quantiles": list(self.quantiles),
            "dtype": self.dtype,
        }


def fit_condition(labels: NDArray[Any] | None) -> Condition:
    """The condition that these training labels call for: floats are continuous, others classes.

    Raises:
        DataError: continuous labels that are all equal.
    """
    if labels is None:
        return Unconditional()
    if labels.dtype.kind != "f":
        classes_K, counts_K = np.unique(labels, return_counts=True)
        return ClassCondition(tuple(classes_K.tolist()), labels.dtype.str, tuple(counts_K.tolist()))
    labels_N = labels.astype(np.float64)
    if labels_N.min() == labels_N.max():
        raise DataError(
            f"every label is {labels_N[0]}",
            rule="a continuous label takes at least two values",
            reason="a condition that never changes teaches nothing",
            repair="leave the label out, or pass whole numbers or text if it is a class",
        )
    quantiles = np.quantile(labels_N, np.linspace(0.0, 1.0, QUANTILES))
    return ContinuousCondition(
        float(labels_N.mean()), float(labels_N.std()), tuple(quantiles.tolist()), labels.dtype.str
    )


def condition_from_state(state: dict[str, Any]) -> Condition:
    """The condition that ``state()`` wrote.

    Raises:
        DataError: the kind is not known.
    """
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in state.items()}
    kinds: dict[str, type[Condition]] = {
        "none": Unconditional,
        "classes": ClassCondition,
        "continuous": ContinuousCondition,
    }
    try:
        return kinds[str(fields.pop("kind"))](**fields)
    except (KeyError, TypeError) as error:
        raise DataError(
            f"the condition {state!r} is not one", rule=f"a kind of {list(kinds)}"
        ) from (error)


def _one(labels: NDArray[Any]) -> Any:
    return labels.tolist()[0] if labels.size else None
