"""Transforms one after the other, chosen by name, with the ranges that the data had before them.

The pipeline belongs to the model: sampling inverts it, then limits and rounds as the data is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.errors import ConfigError, DataError, nearest
from rgan.sequences import Sequences
from rgan.transforms.base import Transform, check_ever_observed
from rgan.transforms.config import AUTO
from rgan.transforms.ranges import Ranges
from rgan.transforms.scale import Identity, MinMax, PixelRange, StaticScale, Symmetric, ZScore
from rgan.transforms.sequence import Differences, LocalMax

TRANSFORMS: dict[str, type[Transform]] = {
    transform.name: transform
    for transform in (ZScore, MinMax, Symmetric, LocalMax, Differences, PixelRange, Identity)
}
"""What can be chosen by name."""


@dataclass(frozen=True)
class Pipeline:
    """Fitted transforms in order. Made by ``fit``.

    Args:
        steps: the transforms; the last one scales the static attributes.
        ranges: ranges and decimals of the training data in original units.
    """

    steps: tuple[Transform, ...]
    ranges: Ranges

    @classmethod
    def fit(cls, names: tuple[str, ...], sequences: Sequences, *, limits: bool = True) -> Pipeline:
        """Fits each transform to what the ones before it make of the training data.

        Args:
            names: of ``TRANSFORMS``, in order; or ("auto",).
            sequences: the training data in original units.
            limits: whether to keep each feature's smallest and largest value, for ``clip``.

        Raises:
            ConfigError: a name is not known.
            DataError: a feature is never observed, or constant where a transform divides by how
                much it varies.
        """
        check_ever_observed(sequences)
        steps: list[Transform] = []
        transformed = sequences
        chosen: list[type[Transform]] = [*_chosen(names, sequences), StaticScale]
        for transform in chosen:
            steps.append(transform.fit(transformed))
            transformed = steps[-1].apply(transformed)
        ranges = Ranges.fit(sequences)
        return cls(tuple(steps), ranges if limits else ranges.without_limits())

    @property
    def names(self) -> tuple[str, ...]:
        """The chosen transforms, "auto" resolved."""
        return tuple(step.name for step in self.steps if step.name in TRANSFORMS)

    @property
    def bounded(self) -> bool:
        """Whether the training data's values lie in [-1, 1] afterwards."""
        deciding = [step for step in self.steps if not isinstance(step, StaticScale | Identity)]
        return bool(deciding) and deciding[-1].bounded

    def apply(self, sequences: Sequences) -> Sequences:
        """From original units to what networks read.

        Raises:
            DataError: features or static attributes differ from those fitted.
        """
        return reduce(lambda data, step: step.apply(data), self.steps, sequences)

    def scale_statics(self, names: tuple[str, ...], static_NA: NDArray[Any]) -> NDArray[np.float32]:
        """Some static attributes (N, A) of original units as ``apply`` scales them."""
        scale = self.steps[-1]
        assert isinstance(scale, StaticScale)  # ``fit`` puts it last
        places = [scale.attributes.index(name) for name in names]
        offset_A, factor_A = (np.asarray(part)[places] for part in (scale.offset, scale.factor))
        return ((static_NA - offset_A) / factor_A).astype(np.float32)

    def invert(self, sequences: Sequences) -> Sequences:
        """Back to original units; undoes ``apply`` for any data, so it neither limits nor rounds.

        Raises:
            DataError: features or static attributes differ from those fitted.
        """
        return reduce(lambda data, step: step.invert(data), reversed(self.steps), sequences)

    def like_data(
        self, sequences: Sequences, *, clip: bool = True, rounding: bool = True
    ) -> Sequences:
        """``clip`` and ``round_like_data`` in one pass, each only if asked for.

        Args:
            sequences: what ``invert`` gave, in original units.
            clip, rounding: as ``clip`` and ``round`` of ``TransformConfig``.
        """
        return self.ranges.limit(sequences, clip=clip, rounding=rounding)

    def clip(self, sequences: Sequences) -> Sequences:
        """Sequences in original units, limited to the range of each feature in training."""
        return self.ranges.limit(sequences, rounding=False)

    def round_like_data(self, sequences: Sequences) -> Sequences:
        """Sequences in original units, rounded to the decimals of each feature in training.

        Scores, counts and pixels are whole numbers, and a cheap judge spots a fractional one.
        """
        return self.ranges.limit(sequences, clip=False)

    def state(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"steps": [step.state() for step in self.steps], "ranges": self.ranges.state()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Pipeline:
        """The pipeline that ``state`` wrote.

        Raises:
            DataError: a part is missing, or a transform is not known.
        """
        known: dict[str, type[Transform]] = {**TRANSFORMS, StaticScale.name: StaticScale}
        try:
            steps = tuple(known[step["name"]].from_state(step) for step in state["steps"])
            return cls(steps, Ranges.from_state(state["ranges"]))
        except (KeyError, TypeError) as error:
            raise DataError(
                f"the pipeline's state is damaged: {error}",
                rule=f"it is what Pipeline.state() wrote; transforms are {', '.join(known)}",
            ) from error


def _chosen(names: tuple[str, ...], sequences: Sequences) -> list[type[Transform]]:
    """The transforms of these names, "auto" resolved."""
    if tuple(names) == (AUTO,):
        return [PixelRange if sequences.is_image else ZScore]
    if not names:
        raise ConfigError(
            "no transform is named", rule="at least one name", repair="--set transform.scale=none"
        )
    for name in names:
        if name not in TRANSFORMS:
            raise ConfigError(
                f'transform "{name}" is not known',
                rule=f'one of {", ".join(TRANSFORMS)}; or "auto" alone',
                repair=nearest(name, TRANSFORMS),
            )
    return [TRANSFORMS[name] for name in names]
