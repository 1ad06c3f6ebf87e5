"""A linear guess of each value from what is known before it, by least squares.

Shape letters: R rows (steps of sequences), P predictors, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 50_000
"""Steps that a guess is made from, at most."""
FEWEST = 50
"""Rows below which nothing is guessed."""
LEAST = 1e-3
"""Smallest deviation that a guess is said to have, in normal scores."""
_DOUBT = 2.0
"""Rows' worth of doubt that a predictor helps."""
NORMAL = 1.2533
"""The deviation of a normal distribution whose mean distance from its centre is 1."""


@dataclass(frozen=True)
class Guess:
    """What a value's linear guess is made of; all in normal scores.

    Args:
        slopes: (F, P) how far a value lies from the feature's last one, by what is known before.
        beside: (2, F, F) how far from its guess, by how far those of earlier features at the same
            step are from theirs; below the diagonal. First for a feature's first value of a
            sequence, whose guess is 0; then for all later ones.
        unit: (2, F) the deviation of what is left, likewise.
    """

    slopes: Tensor
    beside: Tensor
    unit: Tensor


def fit(before: Tensor, last: Tensor, target: Tensor, seen: Tensor, known: Tensor) -> Guess:
    """By least squares.

    Args:
        before: (R, P) what is known before each step.
        last: (R, F) each feature's last value, 0 where there was none.
        target: (R, F) its value.
        seen: (R, F) bool: there is a value. known: there was one before.
    """
    before, last, target = before.double(), last.double(), target.double()
    later = seen & known
    change_RF = torch.where(later, target - last, 0)
    if bool((later == later[:, :1]).all()):
        slopes_FP = ridge(before[later[:, 0]], change_RF[later[:, 0]]).T
    else:
        columns = zip(later.T, change_RF.T, strict=True)
        slopes_FP = torch.cat([ridge(before[r], y_R[r, None]).T for r, y_R in columns])
    error_RF = torch.where(later, change_RF - before @ slopes_FP.T, torch.where(seen, target, 0))
    f = target.shape[1]
    beside_2FF, unit_2F = before.new_zeros(2, f, f), before.new_ones(2, f)
    for i, part in enumerate((seen & ~known, later)):
        for j in range(f):
            error = error_RF[part[:, j]]
            beside_2FF[i, j, :j] = ridge(error[:, :j], error[:, j : j + 1])[:, 0]
            if len(error) >= FEWEST:
                left_R = error[:, j] - error[:, :j] @ beside_2FF[i, j, :j]
                unit_2F[i, j] = (NORMAL * left_R.abs().mean()).clamp(LEAST, 1.0)
    return Guess(slopes_FP.float(), beside_2FF.float(), unit_2F.float())


def ridge(x_RP: Tensor, y_RF: Tensor) -> Tensor:
    """(P, F) slopes, shrunk where rows are few."""
    n, p = x_RP.shape
    if n < FEWEST or not p:
        return x_RP.new_zeros(p, y_RF.shape[1])
    scale_P = x_RP.square().mean(0).sqrt().clamp(min=1e-9)
    x_RP = x_RP / scale_P
    held_PP = _DOUBT * torch.eye(p, dtype=x_RP.dtype, device=x_RP.device)
    found_PF = torch.linalg.solve(x_RP.T @ x_RP + held_PP, x_RP.T @ y_RF) / scale_P[:, None]
    return found_PF * max(0.0, 1 - 2 * p / n)
