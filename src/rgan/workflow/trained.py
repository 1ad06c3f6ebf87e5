"""``Trained``: a generator with all that it needs to give sequences in original units.

Shape letters: N sequences, T steps, D channels, S static columns, C condition columns, A
conditions.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from rgan.errors import InputError
from rgan.nets.base import BaseGenerator
from rgan.nets.batch import Batch
from rgan.sequences import Sequences, concatenate
from rgan.train.randomness import Stream, numpy_random, torch_random
from rgan.transforms.config import TransformConfig
from rgan.transforms.joint import Joint
from rgan.transforms.lattice import Lattice, value_lattice
from rgan.transforms.packing import Packed, Packer
from rgan.transforms.pipeline import Pipeline
from rgan.workflow.asking import Asked, asked_conditions, asked_labels, mixed_labels

BLOCK = 1024
"""Sequences made at once. Each block has random numbers of its own, so the first n of a larger
sample are the sample of n, and memory does not grow with n."""
MOST_WORKERS = 8


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
        packer = Packer.fit(pipeline.apply(train), bounded=pipeline.bounded, conditions=conditions)
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


def _side_by_side(
    block: Callable[[int], Sequences], count: int, workers: int
) -> Iterator[Sequences]:
    """Blocks in order, made by several threads of one core each, which is faster than all cores on
    one block; few are ahead of the reader, so memory stays flat."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(workers) as pool:
            ahead = deque(pool.submit(block, number) for number in range(min(count, workers + 1)))
            for number in range(count):
                done = ahead.popleft().result()
                if number + workers + 1 < count:
                    ahead.append(pool.submit(block, number + workers + 1))
                yield done
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Trained:
    """A generator that samples in original units.

    Args:
        generator: on the device it samples on.
        encoder: fitted to its training data.
    """

    generator: BaseGenerator
    encoder: Encoder

    def sample(
        self,
        n: int,
        labels: ArrayLike | None = None,
        seed: int = 0,
        conditions: Mapping[str, ArrayLike] | None = None,
        label_mix: Mapping[Any, float] | str | None = None,
    ) -> Sequences:
        """n synthetic sequences.

        Args:
            n: how many.
            labels: one label for all of them, or (n,) labels; None draws them as often as in the
                training data.
            seed: the same seed gives the same sequences.
            conditions: name to one value, or (n,) values, of static attributes that are conditions;
                the others are drawn as they occur beside these and the labels.
            label_mix: class to share, or "even": instead of ``labels``.

        Raises:
            InputError: n below 1, labels or conditions that do not fit, or an unknown class.
        """
        return concatenate(list(self.blocks(n, labels, seed, conditions, label_mix)))

    def blocks(
        self,
        n: int,
        labels: ArrayLike | None = None,
        seed: int = 0,
        conditions: Mapping[str, ArrayLike] | None = None,
        label_mix: Mapping[Any, float] | str | None = None,
    ) -> Iterator[Sequences]:
        """The same as ``sample``, in pieces of at most ``BLOCK`` sequences."""
        if seed < 0:
            raise InputError(f"the seed is {seed}", rule="0 or more", repair="--seed 0")
        asked = self.asked(n, labels, conditions, label_mix)

        def block(number: int) -> Sequences:
            size = min(BLOCK, n - number * BLOCK)
            return self._block(number, size, asked.block(number, BLOCK), seed)

        count = -(-n // BLOCK)
        workers = min(count, os.cpu_count() or 1, MOST_WORKERS)
        if workers == 1 or next(self.generator.parameters()).device.type != "cpu":
            yield from map(block, range(count))
            return
        yield from _side_by_side(block, count, workers)

    def asked(
        self,
        n: int,
        labels: ArrayLike | None = None,
        conditions: Mapping[str, ArrayLike] | None = None,
        label_mix: Mapping[Any, float] | str | None = None,
    ) -> Asked:
        """What ``sample`` takes, checked.

        Raises:
            InputError: as ``sample``.
        """
        if n < 1:
            raise InputError(f"{n} sequences are asked for", rule="at least 1", repair="-n 1000")
        packer = self.encoder.packer
        if labels is not None and label_mix is not None:
            raise InputError(
                "labels and a mix of them are asked for",
                rule="one of the two: a label for all, or how often each class comes",
                repair="leave out --label, or --label-mix",
            )
        column = None
        if labels is not None:
            column = asked_labels(packer, labels, n)
        elif label_mix is not None:  # whole blocks, so that a sample has its prefixes
            column = mixed_labels(packer, label_mix, -(-n // BLOCK) * BLOCK)
        given = asked_conditions(self.encoder.joint, conditions or {}, n, packer.label_name)
        return Asked(column, given)

    @torch.no_grad()
    def _block(self, number: int, size: int, asked: Asked, seed: int) -> Sequences:
        # A whole block's numbers are drawn whatever its size, so that a sample has its prefixes.
        rng = numpy_random(seed, Stream.LABELS, number)
        labels, given_NA = self.encoder.draw(rng, BLOCK, asked)
        lengths = self.encoder.packer.draw_lengths(rng, labels, BLOCK)[:size]
        labels = None if labels is None else labels[:size]
        given_NA = None if given_NA is None else given_NA[:size]
        condition = self.encoder.condition(labels, given_NA, size)
        device = next(self.generator.parameters()).device
        random = torch_random(seed, Stream.SAMPLE, number)  # on the CPU: alike on every device
        noise = self.generator.draw_noise(BLOCK, random).take(size).to(device)
        batch = self.generator(
            noise,
            torch.from_numpy(lengths).to(device),
            torch.from_numpy(condition).to(device),
        )
        return self.encoder.decode(to_packed(batch), labels, given_NA)
