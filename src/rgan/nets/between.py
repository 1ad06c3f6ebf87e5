"""What the values of a step say of one another, beyond straight lines.

Shape letters: R rows (sequences, or sequences times steps), F features, I inputs, H hidden units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from rgan.nets.stepping import linear

UNITS = 32
"""Hidden units between the features of a step."""


class Between(nn.Module):
    """How each feature's mixture changes with the values before it at the same step, by hidden
    units that sum them up (NADE: Larochelle & Murray 2011; of mixtures, Uria et al. 2013, arXiv
    1306.0186).

    Args:
        size: I. features: F. out: numbers that a feature's mixture has.
    """

    order: Tensor

    def __init__(self, size: int, features: int, out: int) -> None:
        super().__init__()
        self.context = nn.Linear(size, UNITS)
        self.score = nn.Parameter(torch.randn(features, UNITS) / features**0.5)
        self.away = nn.Parameter(torch.randn(features, UNITS) / features**0.5)
        self.own = nn.Parameter(torch.zeros(features, UNITS))
        self.out = nn.Parameter(0.01 * torch.randn(features, UNITS, out))
        self.register_buffer("order", torch.ones(features, features).tril(-1), False)

    def forward(self, x_RI: Tensor, score_FR: Tensor, away_FR: Tensor, seen_FR: Tensor) -> Tensor:
        """(R, F, out) for R rows.

        Args:
            away_FR: how far values are from their guess, in units.
        """
        known_RK = torch.cat([score_FR * seen_FR, torch.asinh(away_FR) * seen_FR]).T
        weights = [self.order[:, :, None] * part for part in (self.score, self.away)]
        weight_KP = torch.cat(weights, 1).transpose(0, 1).flatten(1)
        sums_RP = known_RK @ weight_KP
        sums_FRH = sums_RP.unflatten(1, self.own.shape).transpose(0, 1) + self.context(x_RI)
        return torch.bmm(silu(sums_FRH + self.own[:, None]), self.out).transpose(0, 1)

    def begin(self, x_IN: Tensor) -> Tensor:
        """(H, N) sums before the first feature."""
        return linear(self.context, x_IN)

    def part(self, sums_HN: Tensor, j: int) -> Tensor:
        """(out, N) for feature j."""
        return self.out[j].T @ silu(sums_HN + self.own[j, :, None])

    def after(self, sums_HN: Tensor, j: int, score_N: Tensor, away_N: Tensor) -> Tensor:
        """The sums with feature j's value, 0 where there is none."""
        sums_HN = torch.addr(sums_HN, self.score[j], score_N)
        return torch.addr(sums_HN, self.away[j], torch.asinh(away_N))
