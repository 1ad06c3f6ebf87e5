"""How many threads of the processor a training takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rgan.config import Config

WORTH = 2**20
"""Multiplications in one step of a recurrence that make up for what one more thread costs."""


def worth(config: Config, most: int, processes: int = 1) -> int:
    """Threads for one process: ``train.threads``, or as many as the networks are worth.

    A recurrence is a long row of small products, and threads meet after each of them. On two free
    cores, 32 sequences at 64 units take a fifth less time with two threads than with one; 128
    sequences, 40 % less. Beside neighbours the small one takes three times as long with two. The
    number follows from sizes alone, and not from a trial, so that two runs of one seed are equal.

    Args:
        config: of the training.
        most: threads that there are.
        processes: that share a batch.
    """
    if config.train.threads:
        return config.train.threads
    units = max(config.generator.hidden, config.critic.hidden)
    sequences = config.train.batch_size / processes
    return max(1, min(most, int(4 * units**2 * sequences / WORTH)))


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Hold torch to so many threads, and put it back after."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
