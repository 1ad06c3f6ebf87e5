"""Data moved by less than anybody sees, so that likelihood cannot grow without end.

Shape letters: N sequences, T steps, F features.

Where a value follows exactly from those before it, or stands on a lattice, its density has no
limit. A generator that is taught by it grows so sure of each step that what it has made is soon
unlike anything it has learnt from: its own small faults, read back, are a future that was never
seen. So it learns rounded values from all over what they were rounded from (dequantisation: Uria et
al. 2013, arXiv 1306.0186), and others with a little noise that it makes as well and has learnt to
see through (noise on what a simulator reads back: Sanchez-Gonzalez et al. 2020, arXiv 2002.09405).

Only where it must: a price or a load that moves on its own is never known so well, and noise would
blur what it keeps to other features (``benchmarks/LOG.md``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rgan.nets.autoregression import FEWEST, NORMAL, ROWS, ridge
from rgan.nets.past import history
from rgan.nets.share import Share, drawn

NOISE = 0.05
"""Deviation of the noise, as a share of a typical change from one value to the next."""
MOST = 0.01
"""The same as a share of the feature's deviation, at most."""
FOLLOWS = 0.2
"""Share of a typical change within which a value is said to follow from those before it."""


class Spread(nn.Module):
    """Noise on real values. Features that go on as they went get some at every step, which is read
    back as well, unless their lattice is wider; those on a lattice are moved by up to half its step
    where they are to be foretold.

    Args:
        features: F.
    """

    wide: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("wide", torch.zeros(features))

    @torch.no_grad()
    def fit(
        self,
        values_NTF: Tensor,
        seen_NTF: Tensor,
        some_F: Tensor,
        step_F: Tensor,
        exact_J: Tensor,
    ) -> None:
        """Find out how much noise is little.

        Args:
            values_NTF: real values. seen_NTF: bool, whether there is one.
            some_F: bool, features that may get some: see ``goes_on``.
            step_F: of the features' lattices; 0 where there is none.
            exact_J: features that get none, as they have levels.
        """
        past = history(values_NTF, seen_NTF.float())
        change_F = NORMAL * _mean((values_NTF - past.score).abs(), seen_NTF & past.known)
        away_NTF = (values_NTF - _mean(values_NTF, seen_NTF)).square()
        deviation_F = _mean(away_NTF, seen_NTF).sqrt()
        wide_F = torch.minimum(NOISE * change_F, MOST * deviation_F)
        wide_F = torch.where((step_F > wide_F) | ~some_F, torch.zeros_like(wide_F), wide_F)
        self.wide.copy_(wide_F.index_fill(0, exact_J, 0.0))

    def forward(
        self,
        values_NTF: Tensor,
        step_F: Tensor,
        random: torch.Generator,
        share: Share | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The values as they are read back, and as they are to be foretold.

        Args:
            values_NTF: real values. step_F: of the features' lattices.
            random: which noise; on the values' device. share: see ``drawn``.
        """
        uniform_NTF = drawn("uniform", values_NTF.shape, random, share)
        if bool(self.wide.any()):
            values_NTF = values_NTF + self.wide * drawn("normal", values_NTF.shape, random, share)
        return values_NTF, values_NTF + (uniform_NTF - 0.5) * step_F


def goes_on(values_NTF: Tensor, seen_NTF: Tensor) -> Tensor:
    """(F,) whether a value most often follows from the feature's own past, to within ``FOLLOWS`` of
    a typical change: as the last value, on the line through the last two, or by least squares."""
    past = history(values_NTF, seen_NTF.float())
    later_NTF = seen_NTF & past.known
    found = torch.zeros(values_NTF.shape[2], dtype=torch.bool, device=values_NTF.device)
    for j, where_NT in enumerate(later_NTF.unbind(2)):
        every = 1 + int(where_NT.sum()) // ROWS
        pick = (values_NTF, past.score, past.change)
        value_R, last_R, lag_R = (x[..., j][where_NT][::every].double() for x in pick)
        if len(value_R) < FEWEST:
            continue
        change_R, before_R2 = value_R - last_R, torch.stack([lag_R, last_R - last_R.mean()], 1)
        guesses = (0 * lag_R, lag_R, (before_R2 @ ridge(before_R2, change_R[:, None]))[:, 0])
        missed = min(float((change_R - guess_R).abs().median()) for guess_R in guesses)
        found[j] = missed <= FOLLOWS * float(change_R.abs().mean())
    return found


def _mean(part_NTF: Tensor, where_NTF: Tensor) -> Tensor:
    """(F,) over the steps where it is true."""
    counted_F = where_NTF.sum((0, 1)).clamp(min=1)
    return torch.where(where_NTF, part_NTF, torch.zeros_like(part_NTF)).sum((0, 1)) / counted_F
