"""Heads that decide on what happens together at a step: each feature in the light of those before.

Shape letters: N sequences (or sequences times steps), F features, M masks, I inputs, H hidden
units, K parts of a mixture. What is drawn has its sequences last, as in ``stepping``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, silu, softplus

from rgan.nets.decisions import straight_through_step
from rgan.nets.stepping import linear

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

    def draw(self, x_IN: Tensor, noise_MN: Tensor) -> Tensor:
        """(M, N) decisions, by logistic noise, with the slopes of soft ones."""
        first, last, beside_MM = _first(self.net), _last(self.net), self._beside
        logits_MN = linear(last, silu(linear(first, x_IN))) + noise_MN
        logits_MN = logits_MN - (beside_MM @ self.rate)[:, None]
        _, decided = _in_turn(logits_MN, beside_MM, lambda _, x_N: straight_through_step(x_N))
        return torch.stack(decided)


class ValueHead(nn.Module):
    """Values: mixtures of normal distributions, moved by how those before differ from their means.

    Half of a mixture's parts are centred on the last value of the feature.
    """

    order: Tensor
    near: Tensor
    place: Tensor
    begin: Tensor

    def __init__(self, size: int, hidden: int, features: int) -> None:
        super().__init__()
        self.features = features
        self.net = nn.Sequential(
            nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, features * 3 * PARTS)
        )
        self.straight = nn.Linear(size, features, bias=False)
        self.beside = nn.Parameter(torch.zeros(features, features))
        self.register_buffer("order", torch.ones(features, features).tril(-1), False)
        near_K = (torch.arange(PARTS) < PARTS // 2).float()
        place_K = torch.linspace(-0.6, 0.6, PARTS) * torch.where(near_K > 0, 0.1, 1.0)
        begin_K = torch.linspace(-2.5, 0.3, PARTS)
        for name, part_K in (("near", near_K), ("place", place_K), ("begin", begin_K)):
            self.register_buffer(name, part_K[:, None, None], False)
        nn.init.zeros_(self.straight.weight)
        with torch.no_grad():
            _last(self.net).weight.mul_(0.1)

    @property
    def _beside(self) -> Tensor:
        return self.beside * self.order

    def _mixture(self, plain: Tensor, moved_FN: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(K, F, N) logits, means, and what softplus makes deviations of.

        Args:
            plain: (3, K, F, N) from the network.
            moved_FN: the last values, and how they move.
        """
        logit, mean, spread = plain
        return logit, mean + self.place + self.near * moved_FN, spread + self.begin

    def likelihood(self, x: Tensor, target: Tensor, seen: Tensor, last: Tensor) -> Tensor:
        """(N, T) minus the logarithm of the density of the observed values' normal scores."""
        moved = last + self.straight(x)
        target_FN, seen_FN, moved_FN = (part.flatten(0, -2).T for part in (target, seen, moved))
        plain = self.net(x).unflatten(-1, (self.features, 3, PARTS)).flatten(0, -4)
        logit, mean, spread = self._mixture(plain.permute(2, 3, 1, 0).contiguous(), moved_FN)
        spread = FINEST + softplus(spread)
        share = torch.log_softmax(logit, 0)
        away_FN = (target_FN - (share.exp() * mean).sum(0)) * seen_FN
        z = (target_FN - self._beside @ away_FN - mean) / spread
        log = torch.logsumexp(share - 0.5 * z.square() - torch.log(spread), 0) - _HALF_LOG_TAU
        return -(log * seen_FN).sum(0).view(target.shape[:-1])

    def draw(
        self, x_IN: Tensor, noise_KN: Tensor, seen_FN: Tensor | None, last_FN: Tensor
    ) -> Tensor:
        """(F, N) normal scores.

        Args:
            noise_KN: 2 F normal numbers: one to choose a part, one within it.
            seen_FN: 1 where a value is observed, else 0; None: everywhere.
            last_FN: the last value of each feature.
        """
        moved_FN = last_FN + self.straight.weight @ x_IN
        hidden_HN = silu(linear(_first(self.net), x_IN))
        logit, mean, spread = self._mixture(self._plain(hidden_HN), moved_FN)
        choose_FN, within_FN = noise_KN.chunk(2)
        share = torch.softmax(logit, 0)
        chance_FN, below_FN = torch.special.ndtr(choose_FN), share[0].detach()
        mean_FN, spread_FN = mean[0], spread[0]
        for k in range(1, PARTS):
            later_FN = chance_FN > below_FN
            mean_FN = torch.where(later_FN, mean[k], mean_FN)
            spread_FN = torch.where(later_FN, spread[k], spread_FN)
            below_FN = below_FN + share[k].detach()
        own_FN = mean_FN + (FINEST + softplus(spread_FN)) * within_FN
        expected_FN, beside_FF = (share * mean).sum(0), self._beside
        if seen_FN is None:
            eye_FF = torch.eye(self.features, device=x_IN.device)
            away_FN = torch.linalg.solve_triangular(
                eye_FF - beside_FF, own_FN - expected_FN, upper=False, unitriangular=True
            )
            return expected_FN + away_FN
        moved, _ = _in_turn(own_FN, beside_FF, lambda j, x_N: (x_N - expected_FN[j]) * seen_FN[j])
        return torch.stack(moved)

    def _plain(self, hidden_HN: Tensor) -> Tensor:
        """(3, K, F, N) from the network's last layer, whose weights stand in another order: they
        are fewer to permute than what they give."""
        last, sizes = _last(self.net), (self.features, 3, PARTS)
        weight_PH = last.weight.unflatten(0, sizes).permute(1, 2, 0, 3).flatten(0, 2)
        bias_P = last.bias.unflatten(0, sizes).permute(1, 2, 0).flatten()
        plain_PN = torch.addmm(bias_P[:, None], weight_PH, hidden_HN)
        return plain_PN.unflatten(0, (3, PARTS, self.features))


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


def _first(net: nn.Sequential) -> nn.Linear:
    first = net[0]
    assert isinstance(first, nn.Linear)
    return first


def _last(net: nn.Sequential) -> nn.Linear:
    last = net[-1]
    assert isinstance(last, nn.Linear)
    return last
