"""``Batch``: packed sequences as tensors, what generators make and critics judge.

Shape letters: N sequences, T steps, D channels, S static columns, C condition columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """N packed sequences (``SequenceSpec`` says what the channels are).

    Args:
        x: (N, T, D) scaled values, then mask channels; zero past the length.
        static: (N, S); S may be 0.
        lengths: (N,) int64, 1..T.
        condition: (N, C); C may be 0.
    """

    x: Tensor
    static: Tensor
    lengths: Tensor
    condition: Tensor

    def __len__(self) -> int:
        return self.x.shape[0]

    @property
    def valid(self) -> Tensor:
        """(N, T) of 1 within a sequence's length and 0 past it, in x's dtype."""
        steps = torch.arange(self.x.shape[1], device=self.x.device)
        return (steps[None, :] < self.lengths[:, None]).to(self.x.dtype)

    def take(self, rows: Tensor) -> Batch:
        """The sequences of these rows, an index tensor."""
        return Batch(self.x[rows], self.static[rows], self.lengths[rows], self.condition[rows])

    def detach(self) -> Batch:
        """The same numbers without their history."""
        return Batch(self.x.detach(), self.static.detach(), self.lengths, self.condition.detach())

    def with_content(self, x: Tensor, static: Tensor) -> Batch:
        """The same lengths and conditions around other content."""
        return Batch(x, static, self.lengths, self.condition)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        return Batch(
            self.x.to(device),
            self.static.to(device),
            self.lengths.to(device),
            self.condition.to(device),
        )


def join(parts: Sequence[Batch]) -> Batch:
    """Several batches as one, so that one critic pass serves them all."""
    return Batch(
        torch.cat([p.x for p in parts]),
        torch.cat([p.static for p in parts]),
        torch.cat([p.lengths for p in parts]),
        torch.cat([p.condition for p in parts]),
    )
