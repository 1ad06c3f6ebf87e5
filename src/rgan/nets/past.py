"""What a generator knows of the steps that it has made.

Shape letters: N sequences, T steps, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LONG = 3.0
"""Steps after which the memory of a value's age has faded to a third."""
LONGER = 12.0
"""The same for what is measured a few times a day, where steps are hours."""
NEVER = 1e4
"""The age of what has not been."""


@dataclass(frozen=True)
class Past:
    """What is known before a step, of each feature (..., F).

    Args:
        score: the last observed value's normal score, 0 before the first.
        change: how it differed from the one before.
        age: steps since, from 0; far above T before the first.
    """

    score: Tensor
    change: Tensor
    age: Tensor

    @classmethod
    def none(cls, zero: Tensor) -> Past:
        """Before the first step."""
        return cls(zero, zero, torch.full_like(zero, NEVER))

    @property
    def known(self) -> Tensor:
        """Whether there is a last value."""
        return self.age < NEVER / 2

    def inputs(self) -> list[Tensor]:
        """As networks read it."""
        return [self.score, self.change, torch.exp(-self.age / LONG), (self.age < 0.5).float()]

    def gaps(self) -> list[Tensor]:
        """What networks read beside it where not everything is observed."""
        return [torch.exp(-self.age / LONGER), self.known.to(self.score.dtype)]

    def next(self, score: Tensor, seen: Tensor) -> Past:
        """After one more step."""
        change = torch.where(self.known, score - self.score, torch.zeros_like(score))
        pick = seen > 0.5
        return Past(
            torch.where(pick, score, self.score),
            torch.where(pick, change, self.change),
            torch.where(pick, torch.zeros_like(self.age), self.age + 1),
        )


def history(score_NTF: Tensor, seen_NTF: Tensor) -> Past:
    """What is known before each step (N, T, F), from what was observed."""
    zero_NF = torch.zeros_like(score_NTF[:, 0])
    past = Past.none(zero_NF)
    steps = []
    for t in range(score_NTF.shape[1]):
        steps.append(past)
        past = past.next(score_NTF[:, t], seen_NTF[:, t])
    return Past(
        *(torch.stack([getattr(p, n) for p in steps], 1) for n in ("score", "change", "age"))
    )
