"""What values are counted in while they are generated: normal scores, or units of the data.

Shape letters: N sequences, T steps, F features, Q points of a table.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rgan.nets.layers import full
from rgan.nets.quantiles import (
    STEP,
    at_steps,
    fit_tables,
    from_normal,
    points_below,
    straight_table,
    to_normal,
)

LIMIT = 4.0
"""Deviations that a score is kept within."""
_FARTHEST = 3.9
"""Where the farthest value of a straight table stands at most."""


class Scores(nn.Module):
    """Each feature by a table: of its quantiles, which makes its scores normal; or straight, so
    that they go up and down as its values do, and what lies on a line still does.

    Args:
        features: F.
    """

    table: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("table", straight_table(features))

    @torch.no_grad()
    def bend(self, values_NTF: Tensor, seen_NTF: Tensor) -> None:
        """Take the quantiles of what is observed."""
        fit_tables(self.table, values_NTF, seen_NTF)

    @torch.no_grad()
    def straighten(self, values_NTF: Tensor, seen_NTF: Tensor) -> None:
        """Take the mean and deviation of what is observed, or wider units where the farthest value
        would be out of reach."""
        for j, row_Q in enumerate(straight_table(len(self.table)).to(self.table)):
            column = values_NTF[..., j][seen_NTF[..., j]]
            centre = column.mean()
            reach = (column - centre).abs().max() / _FARTHEST
            wide = torch.maximum(column.std(), reach).clamp(min=1e-9)
            self.table[j] = centre + wide * row_Q

    def forward(self, values_NTF: Tensor) -> Tensor:
        """(..., F) scores."""
        scores_NTF = at_steps(to_normal, full(values_NTF), self.table)
        return scores_NTF.clamp(-LIMIT, LIMIT)

    def values(self, scores_NF: Tensor, columns_J: Tensor | None = None) -> Tensor:
        """(N, F) values of these scores, or of those of some of the features."""
        table_FQ = self.table if columns_J is None else self.table[columns_J]
        return from_normal(scores_NF.clamp(-LIMIT, LIMIT), table_FQ)

    def stretch(self, values_NTF: Tensor) -> Tensor:
        """(..., F) the logarithm of how much faster scores change than values: what a density of
        scores falls short of one of values by."""
        table_FQ = self.table.to(values_NTF.dtype)
        place_FN = points_below(values_NTF.flatten(0, -2).T, table_FQ)
        wide_FN = table_FQ.gather(1, place_FN + 1) - table_FQ.gather(1, place_FN)
        return torch.log(STEP / wide_FN.clamp(min=1e-9)).T.reshape(values_NTF.shape)
