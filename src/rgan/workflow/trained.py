"""``Trained``: a generator with all that it needs to give sequences in original units.

Shape letters: N sequences, T steps, D channels, S static columns, C condition columns, A
conditions.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from rgan.errors import InputError
from rgan.nets.base import BaseGenerator
from rgan.nets.batch import Batch, join
from rgan.sequences import Sequences, concatenate
from rgan.train.randomness import Stream, numpy_random, torch_random
from rgan.workflow.asking import Asked, asked_conditions, asked_labels, mixed_labels
from rgan.workflow.encoder import Encoder, to_packed

BLOCK = 1024
"""Sequences made at once. Each block has random numbers of its own, so the first n of a larger
sample are the sample of n, and memory does not grow with n."""
MOST_WORKERS = 8
MOST_TURNS = 1000
"""Blocks that are made at the most to find one block's worth of a label that is asked for."""


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
        workers = min(count, _cores(), MOST_WORKERS)
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

    def _block(self, number: int, size: int, asked: Asked, seed: int) -> Sequences:
        # A whole block's numbers are drawn whatever its size, so that a sample has its prefixes.
        rng = numpy_random(seed, Stream.LABELS, number)
        labels, given_NA = self.encoder.draw(rng, BLOCK, asked)
        lengths = self.encoder.packer.draw_lengths(rng, labels, BLOCK)
        condition = self.encoder.condition(labels, given_NA, BLOCK)
        lengths_N = self.generator.asked(torch.from_numpy(lengths))
        batch = Batch(torch.empty(0), torch.empty(0), lengths_N, torch.from_numpy(condition))
        reads = self.generator.reads_labels
        if reads and asked.labels is not None:
            made = self._found(number, size, batch, seed)
        else:
            made = self._made(number, torch.arange(size), batch, seed)
        # Labels that are read stand in the condition of what was made.
        labels = None if reads or labels is None else labels[:size]
        given_NA = None if given_NA is None else given_NA[:size]
        return self.encoder.decode(to_packed(made), labels, given_NA)

    def _found(self, number: int, size: int, asked: Batch, seed: int) -> Batch:
        """Sequences whose label, read off them, is the one asked for: each is made anew until it
        is."""
        classes = self.generator.spec.classes
        label_N = asked.condition[:, :classes].argmax(1)
        open_rows, parts, places = torch.arange(size), [], []
        for turn in range(MOST_TURNS):
            made = self._made(number, open_rows, asked, seed, turn).to("cpu")
            right = made.condition[:, :classes].argmax(1) == label_N[open_rows]
            parts.append(made.take(right))
            places.append(open_rows[right])
            open_rows = open_rows[~right]
            if not len(open_rows):
                return join(parts).take(torch.cat(places).argsort())
        raise InputError(
            f"in {MOST_TURNS:,} tries {len(open_rows):,} sequences had not the label asked for",
            rule="this model reads labels off what it has made, and this one is too rare",
            repair="leave --label out, and pick from a larger sample",
        )

    @torch.inference_mode()
    def _made(self, number: int, rows: Tensor, asked: Batch, seed: int, turn: int = 0) -> Batch:
        """These rows of a block."""
        device = next(self.generator.parameters()).device
        # on the CPU: alike on every device
        random = torch_random(seed, Stream.SAMPLE, number + (turn << 32))
        noise = self.generator.draw_noise(BLOCK, random).take(rows).to(device)
        made: Batch = self.generator(
            noise, asked.lengths[rows].to(device), asked.condition[rows].to(device)
        )
        return made
