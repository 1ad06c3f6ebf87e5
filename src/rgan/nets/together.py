"""Heads that decide one thing in the light of those before it at a step: what they share, and the
one that decides what is observed.

Shape letters: N sequences (or sequences times steps), F features, M masks, K logits, I inputs,
H hidden units. What is drawn has its sequences last, as in ``stepping``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, silu

from rgan.nets.decisions import straight_through_step
from rgan.nets.hazards import Hazards
from rgan.nets.rhythm import Rhythm
from rgan.nets.stepping import first_of, last_of, linear

SHARP = 10.0
"""Some features are always measured together; their weights have far to go."""
RHYTHM = 5
"""What ``Hazards.inputs`` gives for each mask."""


class TurnHead(nn.Module):
    """Logits by a network and a straight part beside it, and weights on what has been decided
    before at the same step. All begin near nothing, so that a head begins as its table.

    Args:
        size: numbers that it reads. hidden: H. order: (K, K) 1 where the second is decided before
            the first, for K logits.
    """

    order: Tensor

    def __init__(self, size: int, hidden: int, order: Tensor) -> None:
        super().__init__()
        k = len(order)
        self.net = nn.Sequential(nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, k))
        self.straight = nn.Linear(size, k, bias=False)
        self.beside = nn.Parameter(torch.zeros(k, k))
        self.register_buffer("order", order, False)
        with torch.no_grad():
            last_of(self.net).weight.mul_(0.1)
            last_of(self.net).bias.zero_()
            self.straight.weight.zero_()

    @property
    def _beside(self) -> Tensor:
        return SHARP * self.beside * self.order

    def _logits(self, x_IN: Tensor) -> Tensor:
        """(K, N) before anything is decided, less the table."""
        hidden_HN = silu(linear(first_of(self.net), x_IN))
        return linear(last_of(self.net), hidden_HN) + self.straight.weight @ x_IN


class MaskHead(TurnHead):
    """What is observed: logits that begin as ``Hazards``, each with weights on the decisions before
    it, less how likely those were by their hazards.

    It reads the rhythm of each feature instead of the recurrence's states: those know training
    sequences by heart, and so tell who is measured often by other signs than that they have been.

    Args:
        size: I. hidden: H. steps: T. masks: which features have one.
    """

    def __init__(self, size: int, hidden: int, steps: int, masks: tuple[int, ...]) -> None:
        m = len(masks)
        super().__init__(size + RHYTHM * m, hidden, torch.ones(m, m).tril(-1))
        self.hazards = Hazards(steps, masks)

    def likelihood(self, x_NTI: Tensor, masks_NTM: Tensor, age_NTF: Tensor) -> Tensor:
        """(N, T) minus the logarithm of how likely the masks are.

        Args:
            age_NTF: steps since each feature was observed, as in ``Past``.
        """
        steps_T1 = torch.arange(x_NTI.shape[1], device=x_NTI.device)[:, None]
        rhythm = self.hazards.rhythm(age_NTF, masks_NTM)
        usual_NTM = self.hazards(age_NTF, steps_T1, rhythm)
        x_NTI = torch.cat([x_NTI, *self.hazards.inputs(rhythm)], dim=2)
        logits_NTM = usual_NTM + self.net(x_NTI) + self.straight(x_NTI)
        logits_NTM = logits_NTM + (masks_NTM - usual_NTM.sigmoid()) @ self._beside.T
        return binary_cross_entropy_with_logits(logits_NTM, masks_NTM, reduction="none").sum(-1)

    def draw(
        self, x_IN: Tensor, noise_MN: Tensor, age_FN: Tensor, step: int, rhythm: Rhythm
    ) -> tuple[Tensor, Rhythm]:
        """(M, N) decisions at a step, by logistic noise, with the slopes of soft ones; and the
        rhythm after it.

        Args:
            rhythm: (N, M) before it.
        """
        beside_MM = self._beside
        when = age_FN.T, torch.tensor([step], device=age_FN.device)
        usual_MN = self.hazards(*when, rhythm).T
        x_IN = torch.cat([x_IN, *(part.T for part in self.hazards.inputs(rhythm))])
        logits_MN = self._logits(x_IN) + usual_MN + noise_MN - beside_MM @ usual_MN.sigmoid()
        masks_MN = _in_turn(logits_MN, beside_MM)
        return masks_MN, self.hazards.after(rhythm, masks_MN.detach().T, *when)


def _in_turn(logits_MN: Tensor, beside_MM: Tensor) -> Tensor:
    """(M, N) decisions, each by its logit moved by those before it, times weights."""
    decided: list[Tensor] = []
    for j in range(len(logits_MN)):
        decided.append(straight_through_step(logits_MN[0]))
        logits_MN = torch.addr(logits_MN[1:], beside_MM[j + 1 :, j], decided[j])
    return torch.stack(decided)
