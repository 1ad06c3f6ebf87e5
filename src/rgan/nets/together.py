"""Heads that decide on what happens together at a step: each feature in the light of those before.

Shape letters: N sequences (or sequences times steps), F features, M masks, I inputs, H hidden
units, K parts of a mixture.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, softplus

from rgan.nets.decisions import straight_through_step

PARTS = 4
FINEST = 2e-3
"""Least deviation of a mixture's part, in normal scores."""
SHARP = 10.0
"""Some features are always measured together; their weights have far to go."""
_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


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
            _last(self.net).weight.mul_(0.1)

    @property
    def _beside(self) -> Tensor:
        return SHARP * self.beside * self.order

    @torch.no_grad()
    def start(self, rate_M: Tensor) -> None:
        """Begin with these rates."""
        self.rate.copy_(rate_M)
        _last(self.net).bias.copy_(torch.logit(rate_M.clamp(1e-4, 1 - 1e-4)))

    def likelihood(self, x_NTI: Tensor, masks_NTM: Tensor) -> Tensor:
        """(N, T) minus the logarithm of how likely the masks are."""
        logits_NTM = self.net(x_NTI) + (masks_NTM - self.rate) @ self._beside.T
        return binary_cross_entropy_with_logits(logits_NTM, masks_NTM, reduction="none").sum(-1)

    def draw(self, x_NI: Tensor, noise_NM: Tensor) -> Tensor:
        """(N, M) decisions, by logistic noise, with the slopes of soft ones."""
        beside_MM, decided = self._beside, []
        left_MN = (self.net(x_NI) + noise_NM - self.rate @ beside_MM.T).T
        for j in range(len(beside_MM)):
            bit_N = straight_through_step(left_MN[0])
            decided.append(bit_N)
            left_MN = left_MN[1:] + beside_MM[j + 1 :, j, None] * bit_N
        return torch.stack(decided, 1)


class ValueHead(nn.Module):
    """Values: mixtures of normal distributions, moved by how those before differ from their means.

    Half of a mixture's parts are centred on the last value of the feature.
    """

    order: Tensor

    def __init__(self, size: int, hidden: int, features: int) -> None:
        super().__init__()
        self.features = features
        self.net = nn.Sequential(
            nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, features * 3 * PARTS)
        )
        self.straight = nn.Linear(size, features, bias=False)
        self.beside = nn.Parameter(torch.zeros(features, features))
        self.register_buffer("order", torch.ones(features, features).tril(-1), False)
        nn.init.zeros_(self.straight.weight)
        with torch.no_grad():
            _last(self.net).weight.mul_(0.1)

    def _mixture(self, x: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., F, K) logits, means and deviations."""
        logit, mean, spread = self.net(x).unflatten(-1, (self.features, 3, PARTS)).unbind(-2)
        near = PARTS // 2
        place = torch.linspace(-0.6, 0.6, PARTS, device=x.device)
        begin = torch.linspace(-2.5, 0.3, PARTS, device=x.device)
        moved = (last + self.straight(x))[..., None]
        mean = mean + torch.cat(
            [(moved + place[:near] * 0.1), place[near:].expand_as(mean[..., near:])], -1
        )
        return logit, mean, FINEST + softplus(spread + begin)

    def likelihood(self, x: Tensor, target: Tensor, seen: Tensor, last: Tensor) -> Tensor:
        """(N, T) minus the logarithm of the density of the observed values' normal scores."""
        logit, mean, spread = self._mixture(x, last)
        share = torch.log_softmax(logit, -1)
        away = (target - (share.exp() * mean).sum(-1)) * seen
        shift = away @ (self.beside * self.order).T
        z = ((target - shift)[..., None] - mean) / spread
        log = torch.logsumexp(share - 0.5 * z.square() - torch.log(spread), -1) - _HALF_LOG_TAU
        return -(log * seen).sum(-1)

    def draw(self, x_NI: Tensor, noise_NK: Tensor, seen_NF: Tensor, last_NF: Tensor) -> Tensor:
        """(N, F) normal scores, from 2 F normal numbers: one to choose a part, one within it."""
        logit, mean, spread = self._mixture(x_NI, last_NF)
        choose_NF, within_NF = noise_NK.chunk(2, dim=1)
        share = torch.softmax(logit, -1)
        below = share.detach().cumsum(-1)[..., :-1]
        part = (torch.special.ndtr(choose_NF)[..., None] > below).sum(-1, keepdim=True)
        own_NF = mean.gather(-1, part)[..., 0] + spread.gather(-1, part)[..., 0] * within_NF
        # What differs from its mean moves those behind it: a triangle of equations.
        start_NF = (own_NF - (share * mean).sum(-1)) * seen_NF
        beside_FF = self.beside * self.order
        left_FN, away = start_NF.T, []
        for j in range(self.features):
            away.append(left_FN[0])
            moved = beside_FF[j + 1 :, j, None] * left_FN[0]
            left_FN = left_FN[1:] + moved * seen_NF.T[j + 1 :]
        away_NF = torch.stack(away, 1)
        return own_NF + away_NF @ beside_FF.T


def _last(net: nn.Sequential) -> nn.Linear:
    last = net[-1]
    assert isinstance(last, nn.Linear)
    return last
