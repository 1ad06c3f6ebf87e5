"""Tables of quantiles: normal numbers to a distribution of any shape, and back.

Shape letters: N sequences, T steps, F features, K columns with a table each, Q points of a table.

The table of a column holds what stands at -3, -2.9 ... 3 deviations of a normal distribution;
between points it is straight, and past the ends it goes on straight.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from torch import Tensor
from torch.nn.functional import pad

WIDTH, POINTS = 3.0, 61
STEP = 2 * WIDTH / (POINTS - 1)


def shares() -> Tensor:
    """(Q,) the share of a normal distribution below each point, float64."""
    return torch.special.ndtr(torch.linspace(-WIDTH, WIDTH, POINTS, dtype=torch.float64))


def straight_table(columns: int) -> Tensor:
    """(K, Q) a table that changes nothing."""
    return torch.linspace(-WIDTH, WIDTH, POINTS).repeat(columns, 1)


def fit_tables(table_FQ: Tensor, values_NTF: Tensor, seen_NTF: Tensor) -> None:
    """Put the quantiles of each feature's observed values into its table."""
    for j in range(len(table_FQ)):
        column = values_NTF[..., j][seen_NTF[..., j]].cpu().numpy()
        # numpy's, as torch's refuses more than 16 million numbers
        table_FQ[j] = torch.from_numpy(np.quantile(column, shares().numpy()))


def from_normal(u_NK: Tensor, table_KQ: Tensor) -> Tensor:
    """(N, K) normal numbers to what the tables say."""
    along_NK = (u_NK + WIDTH) / STEP
    begin_NK = along_NK.detach().floor().clamp(0, POINTS - 2)
    place_NK, share_NK = begin_NK.long(), along_NK - begin_NK
    low_NK, high_NK = (_at(table_KQ, place_NK + i) for i in (0, 1))
    return low_NK + share_NK * (high_NK - low_NK)


def to_normal(x_NK: Tensor, table_KQ: Tensor) -> Tensor:
    """The way back, limited to twice the table's width; 0 for a column that never varies."""
    place_NK = points_below(x_NK.detach().T, table_KQ).T
    low_NK, high_NK = (_at(table_KQ, place_NK + i) for i in (0, 1))
    wide_NK = high_NK - low_NK
    flat_NK = wide_NK < 1e-9
    share_NK = (x_NK - low_NK) / torch.where(flat_NK, torch.ones_like(wide_NK), wide_NK)
    u_NK = (place_NK + torch.where(flat_NK, torch.full_like(wide_NK, 0.5), share_NK)) * STEP - WIDTH
    limit = 2 * math.ceil(WIDTH)
    return u_NK.clamp(-limit, limit) * (table_KQ[:, -1] > table_KQ[:, 0])


def at_steps(change: Callable[[Tensor, Tensor], Tensor], x_NTF: Tensor, table_FQ: Tensor) -> Tensor:
    """``from_normal`` or ``to_normal`` of (..., F), each feature by its table at every step."""
    return change(x_NTF.flatten(0, -2), table_FQ).view_as(x_NTF)


def normal_scores(values: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Ranks as normal numbers; equal values in an order drawn by lot."""
    order = np.lexsort((rng.random(len(values)), values))
    scores = np.empty(len(values))
    scores[order] = ndtri((np.arange(len(values)) + 0.5) / len(values))
    return scores


def _at(table_KQ: Tensor, place_NK: Tensor) -> Tensor:
    return table_KQ.gather(1, place_NK.T).T


def points_below(x_KN: Tensor, table_KQ: Tensor) -> Tensor:
    """The place of the last point that is not above each number, within the ends that can be gone
    on from. All numbers halve what is left of their table at once, in half the time that
    ``torch.searchsorted`` takes for one by one; and other runtimes know each part of it."""
    halves = [1 << i for i in reversed(range(POINTS.bit_length()))]
    table_KQ = pad(table_KQ, (0, 2 * halves[0] - POINTS), value=math.inf)
    place_KN = torch.zeros(x_KN.shape, dtype=torch.long, device=x_KN.device)
    for half in halves:
        above_KN = x_KN >= table_KQ.gather(1, place_KN + half)
        place_KN = torch.add(place_KN, above_KN, alpha=half)
    return place_KN.clamp(max=POINTS - 2)
