"""Randomness without hidden state: each draw follows from the seed, what it is for, and a counter.

So a run that stops anywhere goes on with the very draws that it would have made, and nothing random
has to be saved.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

import numpy as np
import torch


class Stream(IntEnum):
    """What a draw is for; streams never share numbers."""

    WEIGHTS = 0
    ORDER = 1
    NOISE = 2
    PENALTY = 3
    SAMPLE = 4
    SPLIT = 5
    LABELS = 6
    AUGMENT = 7


def stream_seed(seed: int, stream: Stream, counter: int = 0) -> int:
    """63 bits that belong to this seed, stream and counter."""
    words = np.random.SeedSequence((seed, int(stream), counter)).generate_state(2, np.uint32)
    return (int(words[0]) << 31) ^ int(words[1])


def torch_random(
    seed: int, stream: Stream, counter: int = 0, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator on a device, seeded for this stream and counter."""
    return torch.Generator(device).manual_seed(stream_seed(seed, stream, counter))


def numpy_random(seed: int, stream: Stream, counter: int = 0) -> np.random.Generator:
    """A numpy generator seeded for this stream and counter."""
    return np.random.default_rng(stream_seed(seed, stream, counter))


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, n: int) -> np.ndarray:
    return numpy_random(seed, Stream.ORDER, epoch).permutation(n)


def batch_rows(seed: int, batch: int, batches_per_epoch: int, size: int, n: int) -> np.ndarray:
    """Rows of the ``batch``-th batch of a training: a new order in each epoch, without repeats."""
    epoch, place = divmod(batch, batches_per_epoch)
    return _order(seed, epoch, n)[place * size : (place + 1) * size]


def weighted_rows(seed: int, batch: int, size: int, weight_N: np.ndarray) -> np.ndarray:
    """Rows of the ``batch``-th batch where rows have weights: systematic draws, so that each row
    comes as evenly as its weight allows."""
    random = numpy_random(seed, Stream.ORDER, batch)
    order = random.permutation(len(weight_N))
    edges = np.cumsum(weight_N[order])
    points = (np.arange(size) + random.random()) / size * edges[-1]
    return order[np.minimum(np.searchsorted(edges, points, side="right"), len(order) - 1)]


def balanced_weights(class_N: np.ndarray, evenness: float) -> np.ndarray:
    """(N,) weights that draw each class with its share, even shares, or in between.

    >>> balanced_weights(np.array([0, 0, 0, 1]), 1.0).tolist()
    [0.16666666666666666, 0.16666666666666666, 0.16666666666666666, 0.5]
    """
    _, class_N, counts = np.unique(class_N, return_inverse=True, return_counts=True)
    shares = (1 - evenness) * counts / counts.sum() + evenness / len(counts)
    return (shares / counts)[class_N]
