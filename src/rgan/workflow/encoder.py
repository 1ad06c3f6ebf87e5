"""``Encoder``: sequences in original units to what networks read, and back.

Shape letters: N sequences, A conditions that are static attributes, C condition columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from rgan.nets.batch import Batch
from rgan.sequences import Sequences
from rgan.transforms.config import TransformConfig
from rgan.transforms.joint import Joint
from rgan.transforms.lattice import Lattice, value_lattice, value_levels
from rgan.transforms.packed import Packed
from rgan.transforms.packing import Packer
from rgan.transforms.pipeline import Pipeline
from rgan.workflow.asking import Asked


@dataclass(frozen=True)
class Encoder:
    """Sequences in original units to what networks read, and back.

    Args:
        pipeline: scaling.
        packer: packing.
        config: whether generated values are limited and rounded as the data is.
        joint: how often labels and conditions occur together; None without conditions.
    """

    pipeline: Pipeline
    packer: Packer
    config: TransformConfig
    joint: Joint | None = None

    @classmethod
    def fit(
        cls, train: Sequences, config: TransformConfig, conditions: tuple[str, ...] = ()
    ) -> Encoder:
        """Fitted to training sequences.

        Args:
            conditions: names of static attributes that are not to be generated.

        Raises:
            DataError: a feature or attribute cannot be scaled, or a condition never varies.
        """
        pipeline = Pipeline.fit(tuple(config.scale), train, limits=config.clip)
        scaled = pipeline.apply(train)
        packer = Packer.fit(
            scaled,
            bounded=pipeline.bounded,
            conditions=conditions,
            levels=value_levels(pipeline, train, scaled),
        )
        if not packer.conditions:
            return cls(pipeline, packer, config)
        joint = Joint.fit(train, packer.conditions, packer.labels, rounding=config.round)
        return cls(pipeline, packer, config, joint)

    def encode(self, sequences: Sequences) -> Packed:
        """Packed and scaled."""
        return self.packer.pack(self.pipeline.apply(sequences))

    def draw(
        self, rng: np.random.Generator, n: int, asked: Asked
    ) -> tuple[NDArray[Any] | None, NDArray[np.float64] | None]:
        """n labels and values of the conditions (n, A), what is asked for and the rest drawn; None
        where the training data had none."""
        if self.joint is not None:
            return self.joint.draw(rng, n, self.packer.labels, asked.labels, asked.given)
        drawn = self.packer.draw_labels(rng, n)
        return (drawn if asked.labels is None else asked.labels), None

    def condition(
        self, labels: NDArray[Any] | None, given_NA: NDArray[Any] | None, n: int
    ) -> NDArray[np.float32]:
        """(n, C) condition columns of what ``draw`` gave."""
        if given_NA is not None:
            given_NA = self.pipeline.scale_statics(self.packer.conditions, given_NA)
        return self.packer.condition(labels, given_NA, n)

    def decode(
        self,
        packed: Packed,
        labels: ArrayLike | None = None,
        given_NA: NDArray[Any] | None = None,
    ) -> Sequences:
        """Generated arrays as sequences in original units.

        Args:
            labels: (N,) to put in; None: those of the condition.
            given_NA: (N, A) values of the conditions to put in; None: those of the condition.
        """
        sequences = self.pipeline.invert(self.packer.unpack(packed, labels=labels))
        sequences = self.pipeline.like_data(
            sequences, clip=self.config.clip, rounding=self.config.round
        )
        if given_NA is None or sequences.static is None:
            return sequences
        # As they were asked for, with more decimals than the data have too.
        static_NA = sequences.static.copy()
        names = [static.name for static in sequences.static_info]
        static_NA[:, [names.index(name) for name in self.packer.conditions]] = given_NA
        return replace(sequences, static=static_NA)

    def lattice(self, train: Sequences) -> Lattice | None:
        """Which values the networks' features can take; None where that is not fixed."""
        return value_lattice(
            self.pipeline, train, clip=self.config.clip, rounding=self.config.round
        )

    def state(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "pipeline": self.pipeline.state(),
            "packer": self.packer.state(),
            "clip": self.config.clip,
            "round": self.config.round,
            **({} if self.joint is None else {"joint": self.joint.state()}),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Encoder:
        """The encoder that ``state`` wrote.

        Raises:
            DataError: a part is missing or damaged.
        """
        pipeline = Pipeline.from_state(state.get("pipeline", {}))
        packer = Packer.from_state(state.get("packer", {}))
        config = TransformConfig(clip=bool(state.get("clip")), round=bool(state.get("round")))
        joint = Joint.from_state(state["joint"]) if packer.conditions else None
        return cls(pipeline, packer, config, joint)


def to_batch(packed: Packed, device: torch.device | str = "cpu") -> Batch:
    """Packed arrays as tensors on a device."""
    return Batch(
        torch.from_numpy(packed.x_NTD),
        torch.from_numpy(packed.static_NS),
        torch.from_numpy(packed.lengths_N),
        torch.from_numpy(packed.condition_NC),
    ).to(device)


def to_packed(batch: Batch) -> Packed:
    """Tensors as arrays."""
    return Packed(
        batch.x.cpu().numpy(),
        batch.static.cpu().numpy(),
        batch.lengths.cpu().numpy(),
        batch.condition.cpu().numpy(),
    )
