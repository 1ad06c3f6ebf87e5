"""How often a feature is measured, by how long ago it was last: where the masks begin.

Shape letters: N sequences, T steps, M masks, B parts of time.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rgan.nets.past import NEVER

SINGLE = 14
"""Steps that have a part of their own; later ones share longer and longer parts."""
_GROWTH = 1.25
_DOUBT = 3.0
"""Steps' worth of doubt that a part differs from all others."""
_LEAST = 1e-4


class Hazards(nn.Module):
    """Logits of being measured at a step: by the steps since the last time, or, before the first,
    by the steps since the start (a discrete hazard, Cox 1972, with a table in place of a curve).

    Fitted by ``fit``; not trained. A network that has to find this out by itself confuses what has
    not been measured for long with what is never measured: rare tests then occur in too many
    sequences, and too rarely once more in the same one.
    """

    table: Tensor
    part: Tensor
    columns: Tensor

    def __init__(self, steps: int, masks: tuple[int, ...]) -> None:
        super().__init__()
        part = _parts(steps)
        self.parts = int(part.max()) + 1
        self.register_buffer("part", part, False)
        self.register_buffer("columns", torch.tensor(masks, dtype=torch.long), False)
        self.register_buffer("table", torch.zeros(len(masks), 2 * self.parts))

    def forward(self, age: Tensor, step: Tensor) -> Tensor:
        """(..., M) logits.

        Args:
            age: (..., F) as in ``Past``. step: number of the step, of a shape that spreads to it.
        """
        place = self._place(age, step)
        logits_MR = self.table.gather(1, place.flatten(0, -2).T)
        return logits_MR.T.reshape(place.shape)

    @torch.no_grad()
    def fit(self, age_NTF: Tensor, masks_NTM: Tensor, valid_NT: Tensor) -> None:
        """Count, in the training sequences, how often each feature is measured in each part."""
        steps_T1 = torch.arange(masks_NTM.shape[1], device=age_NTF.device)[:, None]
        place_NTM = self._place(age_NTF, steps_T1)
        for m in range(masks_NTM.shape[2]):
            place_R = place_NTM[..., m].flatten()
            both_2B = torch.zeros(2, 2 * self.parts, device=age_NTF.device)
            both_2B[0].index_add_(0, place_R, valid_NT.flatten())
            both_2B[1].index_add_(0, place_R, (valid_NT * masks_NTM[..., m]).flatten())
            overall = both_2B[1].sum() / both_2B[0].sum()
            for half in (slice(self.parts), slice(self.parts, None)):  # again, and the first time
                all_B, seen_B = both_2B[:, half]
                usual = (seen_B.sum() + _DOUBT * overall) / (all_B.sum() + _DOUBT)
                rate_B = (seen_B + _DOUBT * usual) / (all_B + _DOUBT)
                self.table[m, half] = torch.logit(rate_B.clamp(_LEAST, 1 - _LEAST))

    def _place(self, age: Tensor, step: Tensor) -> Tensor:
        """(..., M) the place in the table."""
        age = age.index_select(-1, self.columns)
        known = age < NEVER / 2
        again = self.part[age.clamp(max=len(self.part) - 1).long()]
        return torch.where(known, again, self.parts + self.part[step.expand_as(age)])


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
