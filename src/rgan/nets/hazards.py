"""How often a feature is measured, by how long ago it was last and by its rhythm: where the masks
begin.

Shape letters: N sequences, T steps, M masks, B parts of time, G parts of gaps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from rgan.nets.past import NEVER
from rgan.nets.rhythm import Rhythm

SINGLE = 14
"""Steps that have a part of their own; later ones share longer and longer parts."""
_GROWTH = 1.25
_DOUBT = 10.0
"""Steps' worth of doubt that a part differs from all others."""
_LEAST = 1e-4
_GAPS = (1, 2, 3, 4, 5, 6, 7, 9, 13, 19)
"""Where parts of gaps begin, in steps; below them is the part of no gap yet."""
_FRAILTIES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
_EVEN = 1e9
"""A frailty under which what came before says nothing."""


class Hazards(nn.Module):
    """Logits of being measured at a step: by the steps since the last time and the gap before that,
    or, before the first time, by the steps since the start (a discrete hazard, Cox 1972, with a
    table in place of a curve); and by how much more often than usual the sequence has been measured
    so far, log (a + count) / (a + expected), as the mean of a gamma frailty of variance 1 / a has
    it (Vaupel, Manton & Stallard 1979).

    Fitted by ``fit``; not trained. A network that has to find this out by itself confuses what has
    not been measured for long with what is never measured, and forgets who is measured often: rare
    tests then occur in too many sequences, and sequences are too much alike.
    """

    table: Tensor
    frailty: Tensor
    part: Tensor
    gaps: Tensor
    columns: Tensor

    def __init__(self, steps: int, masks: tuple[int, ...]) -> None:
        super().__init__()
        part = _parts(steps)
        self.parts = int(part.max()) + 1
        self.register_buffer("part", part, False)
        self.register_buffer("gaps", torch.tensor(_GAPS), False)
        self.register_buffer("columns", torch.tensor(masks, dtype=torch.long), False)
        self.register_buffer("table", torch.zeros(len(masks), self.parts * (len(_GAPS) + 2)))
        self.register_buffer("frailty", torch.full((len(masks),), _EVEN))

    def forward(self, age: Tensor, step: Tensor, rhythm: Rhythm) -> Tensor:
        """(..., M) logits.

        Args:
            age: (..., F) as in ``Past``. step: number of the step, of a shape that spreads to it.
            rhythm: of the steps before.
        """
        return self.usual(age, step, rhythm.gap) + self.surprise(rhythm)

    def usual(self, age: Tensor, step: Tensor, gap: Tensor) -> Tensor:
        """(..., M) logits of the table alone."""
        place = self._place(age, step, gap)
        logits_MR = self.table.gather(1, place.flatten(0, -2).T)
        return logits_MR.T.reshape(place.shape)

    def surprise(self, rhythm: Rhythm) -> Tensor:
        """(..., M) what is added to it."""
        return ((self.frailty + rhythm.count) / (self.frailty + rhythm.expected)).log()

    def inputs(self, rhythm: Rhythm) -> list[Tensor]:
        """What networks read of it."""
        return [self.surprise(rhythm), *rhythm.inputs()]

    def after(self, rhythm: Rhythm, masks: Tensor, age: Tensor, step: Tensor) -> Rhythm:
        """After a step at which ``masks`` (..., M) were observed."""
        chance = self.usual(age, step, rhythm.gap).sigmoid()
        return rhythm.next(masks, chance, age.index_select(-1, self.columns))

    @torch.no_grad()
    def rhythm(self, age_NTF: Tensor, masks_NTM: Tensor) -> Rhythm:
        """What is known before each step (N, T, M)."""
        rhythm, steps = Rhythm.none(torch.zeros_like(masks_NTM[:, 0])), []
        for t in range(masks_NTM.shape[1]):
            steps.append(rhythm)
            step = torch.tensor([t], device=age_NTF.device)
            rhythm = self.after(rhythm, masks_NTM[:, t], age_NTF[:, t], step)
        return Rhythm.stacked(steps)

    @torch.no_grad()
    def fit(self, age_NTF: Tensor, masks_NTM: Tensor, valid_NT: Tensor) -> None:
        """Count, in the training sequences, how often each feature is measured in each part; then
        choose each frailty by likelihood."""
        steps_T1 = torch.arange(masks_NTM.shape[1], device=age_NTF.device)[:, None]
        gap_NTM = self.rhythm(age_NTF, masks_NTM).gap
        place_NTM = self._place(age_NTF, steps_T1, gap_NTM)
        for m in range(masks_NTM.shape[2]):
            place_R = place_NTM[..., m].flatten()
            both_2B = torch.zeros(2, self.table.shape[1], device=age_NTF.device)
            both_2B[0].index_add_(0, place_R, valid_NT.flatten())
            both_2B[1].index_add_(0, place_R, (valid_NT * masks_NTM[..., m]).flatten())
            rate_GB = _rates(*both_2B.unflatten(1, (-1, self.parts)))
            self.table[m] = torch.logit(rate_GB.flatten().clamp(_LEAST, 1 - _LEAST))
        rhythm = self.rhythm(age_NTF, masks_NTM)
        usual_NTM = self.usual(age_NTF, steps_T1, rhythm.gap)
        best_M = torch.full_like(self.frailty, torch.inf)
        for frailty in (_EVEN, *_FRAILTIES):
            before_M = self.frailty.clone()
            self.frailty.fill_(frailty)
            logits_NTM = usual_NTM + self.surprise(rhythm)
            loss_NTM = binary_cross_entropy_with_logits(logits_NTM, masks_NTM, reduction="none")
            loss_M = (loss_NTM * valid_NT[..., None]).sum((0, 1), dtype=torch.float64).float()
            self.frailty.copy_(torch.where(loss_M < best_M, self.frailty, before_M))
            best_M = torch.minimum(best_M, loss_M)

    def _place(self, age: Tensor, step: Tensor, gap: Tensor) -> Tensor:
        """(..., M) the place in the table: of those never measured first, then by gaps."""
        age = age.index_select(-1, self.columns)
        known = age < NEVER / 2
        again = self.part[age.clamp(max=len(self.part) - 1).long()]
        row = 1 + torch.bucketize(gap.contiguous(), self.gaps, right=True)
        return torch.where(known, row * self.parts + again, self.part[step.expand_as(age)])


def _rates(all_GB: Tensor, seen_GB: Tensor) -> Tensor:
    """(G, B) how often; where little is known as of all gaps together, and as of all parts."""
    overall = seen_GB.sum() / all_GB.sum()
    first, again = slice(1), slice(1, None)
    rates = []
    for rows in (first, again):
        all_B, seen_B = all_GB[rows].sum(0), seen_GB[rows].sum(0)
        usual = (seen_B.sum() + _DOUBT * overall) / (all_B.sum() + _DOUBT)
        rate_B = (seen_B + _DOUBT * usual) / (all_B + _DOUBT)
        rates.append((seen_GB[rows] + _DOUBT * rate_B) / (all_GB[rows] + _DOUBT))
    return torch.cat(rates)


def _parts(steps: int) -> Tensor:
    """(steps,) which part each number of steps belongs to.

    >>> _parts(20)[-6:].tolist()
    [14, 14, 15, 15, 15, 16]
    """
    begin, width = [*range(min(steps, SINGLE))], 1.0
    while begin[-1] + round(width) < steps:
        begin.append(begin[-1] + round(width))
        width = max(width * _GROWTH, width + 1)
    return torch.searchsorted(torch.tensor(begin), torch.arange(steps), right=True) - 1
