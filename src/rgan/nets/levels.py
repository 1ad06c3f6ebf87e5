"""The head that draws features of few levels: a category's, a switch's, a coarse score's.

Shape letters: N sequences (or sequences times steps), T steps, F features, J of them with levels,
L levels of all of these side by side, I inputs, H hidden units. What is drawn has its sequences
last, as in ``stepping``.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from rgan.nets.spec import Levels
from rgan.nets.together import TurnHead

DOUBT = 1.0
"""Steps' worth of doubt that what follows a level differs from what is usual."""


class LevelCode(nn.Module):
    """Values as one-hot levels and back. Nothing in it is trained or saved; L may be 0.

    Args:
        levels: of the spec.
        features: F.
    """

    columns: Tensor
    others: Tensor
    back: Tensor
    owner: Tensor
    codes: Tensor
    low: Tensor
    high: Tensor
    same: Tensor

    def __init__(self, levels: Levels, features: int) -> None:
        super().__init__()
        columns = [feature for feature, _ in levels]
        others = [f for f in range(features) if f not in columns]
        order = [*others, *columns]
        self.sizes = [len(values) for _, values in levels]
        self.size, self.free = sum(self.sizes), len(others)
        owner = [j for j, (_, values) in enumerate(levels) for _ in values]
        # a value between two levels, which training data have none of, belongs to the nearer one
        middles = [[(a + b) / 2 for a, b in pairwise(values)] for _, values in levels]
        for name, whole in (("columns", columns), ("others", others), ("owner", owner),
                            ("back", sorted(range(features), key=order.__getitem__))):  # fmt: skip
            self.register_buffer(name, torch.tensor(whole, dtype=torch.long), False)
        for name, part in (
            ("codes", [x for _, values in levels for x in values]),
            ("low", [x for inner in middles for x in (-torch.inf, *inner)]),
            ("high", [x for inner in middles for x in (*inner, torch.inf)]),
        ):
            self.register_buffer(name, torch.tensor(part, dtype=torch.float32), False)
        same = self.owner[:, None] == self.owner
        self.register_buffer("same", same.float(), False)

    def hot(self, values_NTF: Tensor, seen_NTF: Tensor) -> Tensor:
        """(N, T, L) one-hot levels of observed values, zero where there is none."""
        place = self.columns.index_select(0, self.owner)
        x_NTL, seen_NTL = values_NTF.index_select(-1, place), seen_NTF.index_select(-1, place)
        return ((x_NTL > self.low) & (x_NTL <= self.high) & (seen_NTL > 0.5)).to(values_NTF.dtype)

    def before(self, hot_NTL: Tensor) -> Tensor:
        """(N, T, L) the last levels before each step, zero where there was none."""
        time_T1 = torch.arange(hot_NTL.shape[1], device=hot_NTL.device)[:, None]
        last_NTL = torch.where(hot_NTL @ self.same > 0.5, time_T1, -1).cummax(1).values
        last_NTL = pad(last_NTL[:, :-1], (0, 0, 1, 0), value=-1)
        return hot_NTL.gather(1, last_NTL.clamp(min=0)) * (last_NTL >= 0)

    def after(self, hot: Tensor, last: Tensor, dim: int) -> Tensor:
        """The last levels, those of this step included; levels along ``dim``."""
        known = hot @ self.same if dim else self.same @ hot
        return torch.where(known > 0.5, hot, last)

    def values(self, hot_LN: Tensor, free_FN: Tensor | None) -> Tensor:
        """(F, N) the values of all features.

        Args:
            free_FN: those of features without levels, where there are any.
        """
        if not self.size:
            assert free_FN is not None
            return free_FN
        # no product of matrices, which a GPU may round: a level is exactly its value
        parts_LN = self.codes[:, None] * hot_LN
        own_JN = torch.stack([part.sum(0) for part in parts_LN.split(self.sizes)])
        both_FN = own_JN if free_FN is None else torch.cat([free_FN, own_JN])
        return both_FN.index_select(0, self.back)


class LevelHead(TurnHead):
    """Levels by softmax, one feature in the light of those before it at the same step.

    Logits begin as the logarithm of how often each level follows each in the training sequences,
    counted by ``fit`` and not trained, as ``Hazards`` are for masks; a network adds to them. A rare
    switch is then as rare from the first step on, and levels without an order are not drawn between
    two others, as a mixture of normal distributions would. The categorical case of a fully visible
    belief network: Bengio & Bengio 2000 (Modeling high-dimensional discrete data, NIPS 12).

    Args:
        size: I. hidden: H. code: which features, and their levels.
    """

    table: Tensor

    def __init__(self, size: int, hidden: int, code: LevelCode) -> None:
        super().__init__(size, hidden, (code.owner[:, None] > code.owner).float())
        self.code = code
        # of first values, then of those that follow each level
        self.register_buffer("table", torch.zeros(1 + code.size, code.size))

    @torch.no_grad()
    def fit(self, hot_NTL: Tensor, last_NTL: Tensor) -> None:
        """Count, in the training sequences, how often each level follows each."""
        hot_RL, last_RL = hot_NTL.flatten(0, -2).double(), last_NTL.flatten(0, -2).double()
        same_LL = self.code.same.double()
        first_RL = hot_RL * (1 - last_RL @ same_LL)
        count_LL = torch.cat([first_RL.sum(0)[None], (last_RL.T @ hot_RL) * same_LL])
        all_L = hot_RL.sum(0)
        usual_L = (all_L + DOUBT / same_LL.sum(0)) / (all_L @ same_LL + DOUBT)
        share_LL = (count_LL + DOUBT * usual_L) / (count_LL @ same_LL + DOUBT)
        own_LL = torch.cat([torch.ones_like(same_LL[:1]), same_LL])
        self.table.copy_(torch.log(share_LL) * own_LL)

    def likelihood(self, x_NTI: Tensor, hot_NTL: Tensor, last_NTL: Tensor) -> Tensor:
        """(N, T) minus the logarithm of how likely the observed levels are.

        Args:
            hot_NTL: as ``LevelCode.hot`` gives them. last_NTL: those before each step.
        """
        first_NTL = 1 - last_NTL @ self.code.same
        logit_NTL = last_NTL @ self.table[1:] + first_NTL * self.table[0]
        logit_NTL = logit_NTL + self.net(x_NTI) + self.straight(x_NTI) + hot_NTL @ self._beside.T
        parts = logit_NTL.split(self.code.sizes, dim=-1)
        log_NTL = torch.cat([torch.log_softmax(part, -1) for part in parts], -1)
        return -(log_NTL * hot_NTL).sum(-1)

    def draw(self, x_IN: Tensor, noise_JN: Tensor, seen_JN: Tensor, last_LN: Tensor) -> Tensor:
        """(L, N) one-hot levels, zero where nothing is observed, with the slopes of soft ones.

        Args:
            noise_JN: normal numbers.
            seen_JN: 1 where a value is observed, else 0. last_LN: the last levels.
        """
        beside_LL = self._beside
        logit_LN = self._logits(x_IN) + self.table[1:].T @ last_LN
        logit_LN = logit_LN + self.table[0][:, None] * (1 - self.code.same @ last_LN)
        chance_JN, drawn, start = torch.special.ndtr(noise_JN), [], 0
        for j, size in enumerate(self.code.sizes):
            hot_KN = _decided(logit_LN[:size], chance_JN[j]) * seen_JN[j]
            drawn.append(hot_KN)
            own, start = slice(start, start + size), start + size
            logit_LN = logit_LN[size:] + beside_LL[start:, own] @ hot_KN
        return torch.cat(drawn)


def _decided(logit_KN: Tensor, chance_N: Tensor) -> Tensor:
    """(K, N) 1 for the level that a uniform number falls to, else 0; its slope is the softmax's."""
    soft_KN = torch.softmax(logit_KN, 0)
    above_KN = chance_N > soft_KN.detach().cumsum(0)[:-1]
    hard_KN = torch.cat([torch.ones_like(above_KN[:1]), above_KN]).to(soft_KN.dtype)
    hard_KN = hard_KN - pad(hard_KN[1:], (0, 0, 0, 1))
    if not torch.is_grad_enabled():
        return hard_KN
    return hard_KN + (soft_KN - soft_KN.detach())
