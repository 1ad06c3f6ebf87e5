"""The head that decides what is observed: each feature in the light of those before it.

Shape letters: N sequences (or sequences times steps), F features, M masks, I inputs, H hidden
units. What is drawn has its sequences last, as in ``stepping``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, silu

from rgan.nets.decisions import straight_through_step
from rgan.nets.stepping import first_of, last_of, linear

SHARP = 10.0
"""Some features are always measured together; their weights have far to go."""


class MaskHead(nn.Module):
    """What is observed: logits, each with weights on the decisions before it, less their rates."""

    order: Tensor
    rate: Tensor

    def __init__(self, size: int, hidden: int, masks: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, masks))
        self.beside = nn.Parameter(torch.zeros(masks, masks))
        self.register_buffer("order", torch.ones(masks, masks).tril(-1), False)
        self.register_buffer("rate", torch.full((masks,), 0.5))
        with torch.no_grad():
            last_of(self.net).weight.mul_(0.1)

    @property
    def _beside(self) -> Tensor:
        return SHARP * self.beside * self.order

    @torch.no_grad()
    def start(self, rate_M: Tensor) -> None:
        """Begin with these rates."""
        self.rate.copy_(rate_M)
        last_of(self.net).bias.copy_(torch.logit(rate_M.clamp(1e-4, 1 - 1e-4)))

    def likelihood(self, x_NTI: Tensor, masks_NTM: Tensor) -> Tensor:
        """(N, T) minus the logarithm of how likely the masks are."""
        logits_NTM = self.net(x_NTI) + (masks_NTM - self.rate) @ self._beside.T
        return binary_cross_entropy_with_logits(logits_NTM, masks_NTM, reduction="none").sum(-1)

    def draw(self, x_IN: Tensor, noise_MN: Tensor) -> Tensor:
        """(M, N) decisions, by logistic noise, with the slopes of soft ones."""
        first, last, beside_MM = first_of(self.net), last_of(self.net), self._beside
        logits_MN = linear(last, silu(linear(first, x_IN))) + noise_MN
        logits_MN = logits_MN - (beside_MM @ self.rate)[:, None]
        _, decided = _in_turn(logits_MN, beside_MM, lambda _, x_N: straight_through_step(x_N))
        return torch.stack(decided)


def _in_turn(
    rows_FN: Tensor, beside_FF: Tensor, weigh: Callable[[int, Tensor], Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """The rows, each moved by what ``weigh`` made of those before it, times weights; and that."""
    moved, weighed = [], []
    for j in range(len(rows_FN)):
        moved.append(rows_FN[0])
        weighed.append(weigh(j, rows_FN[0]))
        rows_FN = torch.addr(rows_FN[1:], beside_FF[j + 1 :, j], weighed[j])
    return moved, weighed
