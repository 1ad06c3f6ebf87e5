"""``Trained``: a generator with all that it needs to give sequences in original units.

Shape letters: N sequences, T steps, D channels, S static columns, C condition columns.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
from rgan.transforms.lattice import Lattice, value_lattice
from rgan.transforms.packing import Packed, Packer
from rgan.transforms.pipeline import Pipeline

BLOCK = 1024
"""Sequences made at once. Each block has random numbers of its own, so the first n of a larger
sample are the sample of n, and memory does not grow with n."""
MOST_WORKERS = 8
MOST_TURNS = 1000
"""Blocks that are made at the most to find one block's worth of a label that is asked for."""


@dataclass(frozen=True)
class Encoder:
    """Sequences in original units to what networks read, and back.

    Args:
        pipeline: scaling.
        packer: packing.
        config: whether generated values are limited and rounded as the data is.
    """

    pipeline: Pipeline
    packer: Packer
    config: TransformConfig

    @classmethod
    def fit(cls, train: Sequences, config: TransformConfig) -> Encoder:
        """Fitted to training sequences.

        Raises:
            DataError: a feature or attribute cannot be scaled.
        """
        pipeline = Pipeline.fit(tuple(config.scale), train, limits=config.clip)
        packer = Packer.fit(pipeline.apply(train), bounded=pipeline.bounded)
        return cls(pipeline, packer, config)

    def encode(self, sequences: Sequences) -> Packed:
        """Packed and scaled."""
        return self.packer.pack(self.pipeline.apply(sequences))

    def decode(self, packed: Packed, labels: ArrayLike | None = None) -> Sequences:
        """Generated arrays as sequences in original units."""
        sequences = self.pipeline.invert(self.packer.unpack(packed, labels=labels))
        return self.pipeline.like_data(sequences, clip=self.config.clip, rounding=self.config.round)

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
        return cls(pipeline, packer, config)


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


def _cores() -> int:
    """Those that this process may use, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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

    def sample(self, n: int, labels: ArrayLike | None = None, seed: int = 0) -> Sequences:
        """n synthetic sequences.

        Args:
            n: how many.
            labels: one label for all of them, or (n,) labels; None draws them as often as in the
                training data.
            seed: the same seed gives the same sequences.

        Raises:
            InputError: n below 1, labels that do not fit, or an unknown class.
        """
        return concatenate(list(self.blocks(n, labels, seed)))

    def blocks(self, n: int, labels: ArrayLike | None = None, seed: int = 0) -> Iterator[Sequences]:
        """The same as ``sample``, in pieces of at most ``BLOCK`` sequences."""
        if seed < 0:
            raise InputError(f"the seed is {seed}", rule="0 or more", repair="--seed 0")
        column = self._labels(n, labels)

        def block(number: int) -> Sequences:
            rows = slice(number * BLOCK, min(n, (number + 1) * BLOCK))
            part = None if column is None else column[rows]
            return self._block(number, rows.stop - rows.start, part, seed)

        count = -(-n // BLOCK)
        workers = min(count, _cores(), MOST_WORKERS)
        if workers == 1 or next(self.generator.parameters()).device.type != "cpu":
            yield from map(block, range(count))
            return
        yield from _side_by_side(block, count, workers)

    def check_labels(self, labels: ArrayLike | None) -> None:
        """Refuse labels that this model cannot be asked for.

        Raises:
            InputError: the model has no labels, or did not see these.
        """
        if labels is not None:
            self._labels(np.size(labels), labels)

    def _labels(self, n: int, labels: ArrayLike | None) -> NDArray[Any] | None:
        if n < 1:
            raise InputError(f"{n} sequences are asked for", rule="at least 1", repair="-n 1000")
        if labels is None:
            return None
        if not self.encoder.packer.spec.condition:
            raise InputError(
                "this model was trained without labels",
                rule="a label can be asked of an RCGAN only",
                repair="leave --label out, or train with --model rcgan",
            )
        column = np.asarray(labels)
        if column.ndim == 0:
            column = np.full(n, column)
        if column.shape != (n,):
            raise InputError(f"{column.shape} labels for {n} sequences", rule="one label each")
        self.encoder.packer.condition(column)  # refuse unknown ones
        return column

    def _block(self, number: int, size: int, labels: NDArray[Any] | None, seed: int) -> Sequences:
        if labels is None or not self.generator.reads_labels:
            return self._make(number, size, labels, seed)
        # The k-th sequence of a label that is asked for is the k-th that is found to have it.
        place = self.encoder.packer.condition(labels).argmax(1)
        parts, rows, open_N = [], [], np.ones(size, dtype=bool)
        for turn in range(MOST_TURNS):
            made = self._make(number, BLOCK, None, seed, turn)
            assert made.labels is not None
            there = self.encoder.packer.condition(made.labels).argmax(1)
            for k in np.unique(place[open_N]):
                asked, found = np.flatnonzero(open_N & (place == k)), np.flatnonzero(there == k)
                asked, found = asked[: len(found)], found[: len(asked)]
                parts.append(made[found])
                rows.append(asked)
                open_N[asked] = False
            if not open_N.any():
                return concatenate(parts)[np.argsort(np.concatenate(rows))]
        raise InputError(
            f"of {MOST_TURNS * BLOCK:,} sequences too few have the label {labels[open_N][0]}",
            rule="this model reads labels off what it has made, and these are too rare",
            repair="leave --label out, and pick from a larger sample",
        )

    @torch.inference_mode()
    def _make(
        self, number: int, size: int, labels: NDArray[Any] | None, seed: int, turn: int = 0
    ) -> Sequences:
        packer = self.encoder.packer
        number += turn << 32
        # A whole block's numbers are drawn whatever its size, so that a sample has its prefixes.
        rng = numpy_random(seed, Stream.LABELS, number)
        drawn = packer.draw_labels(rng, BLOCK)
        if labels is not None:
            drawn = np.concatenate([labels, np.repeat(labels[:1], BLOCK - size)])
        lengths = packer.draw_lengths(rng, drawn, BLOCK)[:size]
        condition = np.zeros((size, 0), np.float32)
        if drawn is not None:
            drawn = drawn[:size]
            condition = packer.condition(drawn)
        device = next(self.generator.parameters()).device
        random = torch_random(seed, Stream.SAMPLE, number)  # on the CPU: alike on every device
        noise = self.generator.draw_noise(BLOCK, random).take(size).to(device)
        batch = self.generator(
            noise,
            torch.from_numpy(lengths).to(device),
            torch.from_numpy(condition).to(device),
        )
        if self.generator.reads_labels:
            drawn = packer.labels.decode(batch.condition.cpu().numpy())
        return self.encoder.decode(to_packed(batch), drawn)
