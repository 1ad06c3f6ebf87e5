"""The head that draws values: mixtures around a linear guess, in units of what it leaves.

Shape letters: N sequences (or sequences times steps), F features, I inputs, P of them known before
the step, H hidden units, K parts of a mixture. What is drawn has its sequences last, as in
``stepping``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from rgan.nets.autoregression import Guess
from rgan.nets.between import Between
from rgan.nets.stepping import first_of, last_of, linear

NEAR, FAR = 3, 2
"""Parts of a mixture around the guess, and wider ones."""
PARTS = NEAR + FAR
FINEST = 0.02
"""Least deviation of a part, in units."""
_BEGIN = (-2.0, 0.0, 2.0, -0.5, 0.3)
"""Deviations to begin with, before softplus."""
_SHARE = (0.0, 0.0, -2.0, 0.0, 0.0)
"""Logits to begin with."""
_PLACE = (0.0, 0.0, 0.0, -0.6, 0.6)
"""Means to begin with, in units."""
HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class ValueHead(nn.Module):
    """Values as mixtures of normal distributions, each moved by how far those before it at the same
    step are from their guesses.

    What is learnt is counted in units of the deviation that a linear guess leaves (``start``), so
    that it is as fine for prices that nearly agree as for labs that hardly do. Where a guess is
    good, wide parts are rare and only as wide as the root of the unit; where there is none, they
    cover all that a feature can be.

    Args:
        size: I. hidden: H. features: F.
        before: which of the inputs are known before the step.
    """

    begin: Tensor
    share: Tensor
    place: Tensor
    order: Tensor
    slopes: Tensor
    known: Tensor
    unit: Tensor

    def __init__(self, size: int, hidden: int, features: int, before: slice) -> None:
        super().__init__()
        self.features, self.before = features, before
        self.net = nn.Sequential(
            nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, features * 3 * PARTS)
        )
        self.straight = nn.Linear(size, features, bias=False)
        self.between = Between(size, features, 3 * PARTS) if features > 1 else None
        self.beside = nn.Parameter(torch.zeros(2, features, features))
        self.register_buffer("order", torch.ones(features, features).tril(-1), False)
        parts = {"begin": _BEGIN, "share": _SHARE, "place": _PLACE}
        for name, part in parts.items():
            self.register_buffer(name, torch.tensor(part)[:, None, None], False)
        self.register_buffer("slopes", torch.zeros(features, before.stop - before.start))
        self.register_buffer("known", torch.zeros(2, features, features))
        self.register_buffer("unit", torch.ones(2, features))
        nn.init.zeros_(self.straight.weight)
        with torch.no_grad():
            last_of(self.net).weight.mul_(0.1)

    @torch.no_grad()
    def start(self, guess: Guess) -> None:
        """Begin with this linear guess."""
        self.slopes.copy_(guess.slopes)
        self.known.copy_(guess.beside)
        self.unit.copy_(guess.unit)

    @property
    def _beside(self) -> Tensor:
        """(2, F, F) in normal scores."""
        in_units = self.beside * self.order
        return self.known + in_units * (self.unit[:, :, None] / self.unit[:, None])

    def _mixture(
        self,
        plain: Tensor,
        straight_FN: Tensor,
        guess_FN: Tensor,
        later_FN: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(K, F, N) logits, means, what softplus makes deviations of, and (2, F, N) the units of
        near and of far parts.

        Args:
            plain: (3, K, F, N) from the network.
            straight_FN: what moves all parts, in units.
            guess_FN: the linear guess.
            later_FN: whether there was a value before.
        """
        logit, mean, spread = plain
        unit_FN = torch.where(later_FN, self.unit[1, :, None], self.unit[0, :, None])
        wide_FN = unit_FN.sqrt()
        centre_FN = guess_FN + unit_FN * straight_FN
        mean = mean + self.place
        near = centre_FN + unit_FN * mean[:NEAR]
        far = (1 - unit_FN) * centre_FN + wide_FN * mean[NEAR:]
        logit = logit + self.share
        logit = torch.cat([logit[:NEAR], logit[NEAR:] + 2 * unit_FN.log()])
        units = torch.stack([unit_FN, wide_FN])
        return logit, torch.cat([near, far]), spread + self.begin, units

    def likelihood(
        self,
        x: Tensor,
        target: Tensor,
        seen: Tensor,
        last: Tensor,
        later: Tensor,
        kept: Tensor | float = 1.0,
    ) -> Tensor:
        """(N, T) minus the logarithm of the density of the observed values' normal scores.

        Args:
            x: (N, T, I).
            target: (N, T, F) the values; seen: 1 where there is one.
            last: the last ones, 0 where there was none; later: where there was one.
            kept: (N, T, H) what hidden units are multiplied with, so that some are left out.
        """
        guess = last + later * (x[..., self.before] @ self.slopes.T)
        flat = (part.flatten(0, -2).T for part in (target, seen, self.straight(x), guess, later))
        target_FN, seen_FN, straight_FN, guess_FN, later_FN = flat
        hidden = silu(first_of(self.net)(x)) * kept
        plain = last_of(self.net)(hidden).flatten(0, -2)
        if self.between is not None:
            unit_FN = torch.where(later_FN, self.unit[1, :, None], self.unit[0, :, None])
            away_FN = (target_FN - guess_FN) / unit_FN
            plain = plain + self.between(x.flatten(0, -2), target_FN, away_FN, seen_FN).flatten(1)
        plain = plain.unflatten(-1, (self.features, 3, PARTS)).permute(2, 3, 1, 0).contiguous()
        logit, mean, spread, units = self._mixture(plain, straight_FN, guess_FN, later_FN)
        unit = torch.cat([units[:1].expand(NEAR, -1, -1), units[1:].expand(FAR, -1, -1)])
        spread = (FINEST + softplus(spread)) * unit
        away_FN = (target_FN - guess_FN) * seen_FN
        moved_FN = torch.where(later_FN, self._beside[1] @ away_FN, self._beside[0] @ away_FN)
        z = (target_FN - moved_FN - mean) / spread
        log_share = torch.log_softmax(logit, 0)
        log = torch.logsumexp(log_share - 0.5 * z.square() - torch.log(spread), 0) - HALF_LOG_TAU
        return -(log * seen_FN).sum(0).view(target.shape[:-1])

    def draw(
        self,
        x_IN: Tensor,
        noise_KN: Tensor,
        seen_FN: Tensor | None,
        last_FN: Tensor,
        later_FN: Tensor,
    ) -> Tensor:
        """(F, N) normal scores.

        Args:
            noise_KN: 2 F normal numbers: one to choose a part, one within it.
            seen_FN: 1 where a value is observed, else 0; None: everywhere.
            last_FN: the last value of each feature, 0 where there was none.
            later_FN: where there was one.
        """
        guess_FN = last_FN + later_FN * (self.slopes @ x_IN[self.before])
        hidden_HN = silu(linear(first_of(self.net), x_IN))
        logit, mean, spread, units = self._mixture(
            self._plain(hidden_HN), self.straight.weight @ x_IN, guess_FN, later_FN
        )
        scale = torch.cat([units[:1].expand(NEAR, -1, -1), units[1:].expand(FAR, -1, -1)])
        chance_FN = torch.special.ndtr(noise_KN[: self.features])
        within_FN = noise_KN[self.features :]
        sums_HN = None if self.between is None else self.between.begin(x_IN)
        beside_2FF, shift_2FN = self._beside, guess_FN.new_zeros(2, *guess_FN.shape)
        values: list[Tensor] = []
        for j in range(self.features):
            parts = torch.stack([logit[:, j], mean[:, j], spread[:, j]])
            if self.between is not None and sums_HN is not None:
                moved = self.between.part(sums_HN, j).unflatten(0, (3, PARTS))
                parts = parts + torch.stack([moved[0], moved[1] * scale[:, j], moved[2]])
            own_N = _drawn(parts, scale[:, j], chance_FN[j], within_FN[j])
            value_N = own_N + torch.where(later_FN[j], shift_2FN[1, 0], shift_2FN[0, 0])
            away_N = value_N - guess_FN[j]
            if seen_FN is not None:
                away_N = away_N * seen_FN[j]
            shift_2FN = torch.addcmul(shift_2FN[:, 1:], beside_2FF[:, j + 1 :, j, None], away_N)
            values.append(value_N)
            if self.between is not None and sums_HN is not None and j < self.features - 1:
                score_N = value_N if seen_FN is None else value_N * seen_FN[j]
                sums_HN = self.between.after(sums_HN, j, score_N, away_N / units[0, j])
        return torch.stack(values)

    def _plain(self, hidden_HN: Tensor) -> Tensor:
        """(3, K, F, N) from the network's last layer, whose weights stand in another order: they
        are fewer to permute than what they give."""
        last, sizes = last_of(self.net), (self.features, 3, PARTS)
        weight_PH = last.weight.unflatten(0, sizes).permute(1, 2, 0, 3).flatten(0, 2)
        bias_P = last.bias.unflatten(0, sizes).permute(1, 2, 0).flatten()
        plain_PN = torch.addmm(bias_P[:, None], weight_PH, hidden_HN)
        return plain_PN.unflatten(0, (3, PARTS, self.features))


def _drawn(parts_3KN: Tensor, unit_KN: Tensor, chance_N: Tensor, within_N: Tensor) -> Tensor:
    """(N,) from mixtures with these logits, means and spreads: a part by ``chance_N``, uniform, and
    within it by a normal number."""
    logit_KN, mean_KN, spread_KN = parts_3KN
    below_KN = torch.softmax(logit_KN.detach(), 0).cumsum(0)[:-1]
    part_1N = (below_KN < chance_N).sum(0, keepdim=True)
    mean_N, spread_N, unit_N = (x.gather(0, part_1N)[0] for x in (mean_KN, spread_KN, unit_KN))
    return mean_N + (FINEST + softplus(spread_N)) * unit_N * within_N
