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
from rgan.nets.hazards import Hazards
from rgan.nets.rhythm import Rhythm
from rgan.nets.stepping import first_of, last_of, linear

SHARP = 10.0
"""Some features are always measured together; their weights have far to go."""
RHYTHM = 5
"""What ``Hazards.inputs`` gives for each mask."""


class MaskHead(nn.Module):
    """What is observed: logits that begin as ``Hazards``, each with weights on the decisions before
    it, less how likely those were by their hazards.

    It reads the rhythm of each feature instead of the recurrence's states: those know training
    sequences by heart, and so tell who is measured often by other signs than that they have been.

    Args:
        size: I. hidden: H. steps: T. masks: which features have one.
    """

    order: Tensor

    def __init__(self, size: int, hidden: int, steps: int, masks: tuple[int, ...]) -> None:
        super().__init__()
        m = len(masks)
        self.hazards = Hazards(steps, masks)
        size += RHYTHM * m
        self.net = nn.Sequential(nn.Linear(size, hidden), nn.SiLU(), nn.Linear(hidden, m))
        self.straight = nn.Linear(size, m, bias=False)
        self.beside = nn.Parameter(torch.zeros(m, m))
        self.register_buffer("order", torch.ones(m, m).tril(-1), False)
        with torch.no_grad():
            last_of(self.net).weight.mul_(0.1)
            last_of(self.net).bias.zero_()
            self.straight.weight.zero_()

    @property
    def _beside(self) -> Tensor:
        return SHARP * self.beside * self.order

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
        first, last, beside_MM = first_of(self.net), last_of(self.net), self._beside
        when = age_FN.T, torch.tensor([step], device=age_FN.device)
        usual_MN = self.hazards(*when, rhythm).T
        x_IN = torch.cat([x_IN, *(part.T for part in self.hazards.inputs(rhythm))])
        logits_MN = linear(last, silu(linear(first, x_IN))) + self.straight.weight @ x_IN
        logits_MN = logits_MN + usual_MN + noise_MN - beside_MM @ usual_MN.sigmoid()
        _, decided = _in_turn(logits_MN, beside_MM, lambda _, x_N: straight_through_step(x_N))
        masks_MN = torch.stack(decided)
        return masks_MN, self.hazards.after(rhythm, masks_MN.detach().T, *when)


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
