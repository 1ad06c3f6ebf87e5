"""A short training by likelihood, for tests of what is learnt."""

from __future__ import annotations

import torch

from rgan.nets.base import BaseGenerator
from rgan.nets.batch import Batch
from rgan.nets.feedback import FeedbackGenerator


def teach(
    generator: BaseGenerator,
    data: Batch,
    steps: int,
    rate: float,
    first: int = 0,
    *,
    falls: bool = False,
) -> None:
    """So many steps of 64 sequences; step i draws with the seed ``first`` + i.

    Args:
        falls: whether the rate goes down to zero.
    """
    assert isinstance(generator, FeedbackGenerator)
    generator.train()
    optimizer = torch.optim.Adam(generator.parameters(), lr=rate)
    for i in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - i / steps if falls else 1)
        random = torch.Generator().manual_seed(first + i)
        rows = torch.randint(len(data), (64,), generator=random)
        optimizer.zero_grad()
        generator.likelihood(data.take(rows), random).mean().backward()
        optimizer.step()
    generator.eval()
