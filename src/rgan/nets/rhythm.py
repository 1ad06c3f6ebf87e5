"""How a sequence has been measured so far, which tells how it will be.

Shape letters: N sequences, T steps, M masks.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from rgan.nets.past import LONG, LONGER, NEVER

KEEP = 0.88
"""What is left of a recent count after a step: of hours, a half after five."""
_SURE = 2.0


@dataclass(frozen=True)
class Rhythm:
    """What is known before a step, of each mask (..., M).

    Args:
        gap: steps between the last two times; 0 where there were none.
        earlier: the gap before that one.
        count: how often measured so far.
        expected: how often that would be in a usual sequence: the sum of its hazards.
        recent, due: both, faded by ``KEEP`` at each step.
    """

    gap: Tensor
    earlier: Tensor
    count: Tensor
    expected: Tensor
    recent: Tensor
    due: Tensor

    @classmethod
    def none(cls, zero: Tensor) -> Rhythm:
        """Before the first step."""
        return cls(zero, zero, zero, zero, zero, zero)

    @classmethod
    def stacked(cls, steps: list[Rhythm]) -> Rhythm:
        """(N, T, M) of one after the other."""
        names = [field.name for field in fields(cls)]
        return cls(*(torch.stack([getattr(step, name) for step in steps], 1) for name in names))

    def inputs(self) -> list[Tensor]:
        """As networks read it."""
        return [
            ((_SURE + self.recent) / (_SURE + self.due)).log(),
            _faded(self.gap, LONG),
            _faded(self.gap, LONGER),
            _faded(self.earlier, LONGER),
        ]

    def next(self, masks: Tensor, chance: Tensor, age: Tensor) -> Rhythm:
        """After a step.

        Args:
            masks: 1 where it was measured. chance: its hazard.
            age: steps since the last time, before this one.
        """
        again = (masks > 0.5) & (age < NEVER / 2)
        return Rhythm(
            torch.where(again, age + 1, self.gap),
            torch.where(again, self.gap, self.earlier),
            self.count + masks,
            self.expected + chance,
            KEEP * self.recent + masks,
            KEEP * self.due + chance,
        )


def _faded(gap: Tensor, memory: float) -> Tensor:
    return torch.where(gap > 0, torch.exp(-gap / memory), torch.zeros_like(gap))
