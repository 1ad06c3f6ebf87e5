"""The values of features that have no levels: from the head at every step, or, where nothing is
missing, by ``Opening`` at the first.

Shape letters: N sequences, T steps, F all features, J those without levels, K what is known, G
columns of classes and levels, E twice F normal numbers. What is drawn has its sequences last.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rgan.nets.autoregression import ROWS, Guess, fit
from rgan.nets.levels import LevelCode
from rgan.nets.opening import Opening
from rgan.nets.past import Past, history
from rgan.nets.values import ValueHead


class FreeValues(nn.Module):
    """Normal scores of the features without levels.

    Args:
        size: K. hidden: units of the head.
        code: which features have levels; some have none.
        before: which of what is known are the last scores and changes.
        levels: G, of what a sequence opens with; None where ``Opening`` does not apply.
    """

    def __init__(
        self, size: int, hidden: int, code: LevelCode, before: slice, levels: int | None
    ) -> None:
        super().__init__()
        self.code = code
        self.head = ValueHead(size, hidden, code.free, before)
        self.opening: Opening | None = None
        if levels is not None and Opening.suits(code.free):
            self.opening = Opening(code.free, levels)

    def own(self, part: Tensor, dim: int = -1) -> Tensor:
        """Of the features along ``dim`` those without levels."""
        return part.index_select(dim, self.code.others) if self.code.size else part

    def guess(
        self, read_NTF: Tensor, target_NTF: Tensor, seen_NTF: Tensor, valid_NT: Tensor
    ) -> Guess:
        """A linear guess, which levels have no part in.

        Args:
            read_NTF: scores as they are read back; target_NTF: as they are to be foretold.
            seen_NTF: bool. valid_NT: bool, steps within the sequence.
        """
        n, t, _ = read_NTF.shape
        few = slice(None, None, -(-n * t // ROWS))  # windows stand in order of time
        past = history(read_NTF[few], seen_NTF[few].float())
        before = [part.index_fill(2, self.code.columns, 0.0) for part in (past.score, past.change)]
        parts = map(self.own, (past.score, target_NTF[few], seen_NTF[few], past.known))
        return fit(*(part[valid_NT[few]] for part in (torch.cat(before, dim=2), *parts)))

    def start(self, guess: Guess, hot_NG: Tensor, first_NF: Tensor) -> None:
        """Start from this guess, and fit the opening to the normal scores of first steps."""
        self.head.start(guess)
        if self.opening is not None:
            self.opening.fit(hot_NG, self.own(first_NF))

    def likelihood(
        self,
        x_NTK: Tensor,
        target_NTF: Tensor,
        seen_NTF: Tensor,
        past: Past,
        kept_NTH: Tensor | float = 1.0,
    ) -> Tensor:
        """(N, T) minus the logarithm of the density of the observed values' scores.

        Args:
            target_NTF: the scores. seen_NTF: 1 where there is one.
            past: what is known before each step.
            kept_NTH: what the head's hidden units are multiplied with, so that some are left out.
        """
        target, seen, last, later = map(self.own, (target_NTF, seen_NTF, past.score, past.known))
        return self.head.likelihood(x_NTK, target, seen, last, later, kept_NTH)

    def opened(self, loss_NT: Tensor, hot_NG: Tensor, first_NF: Tensor) -> Tensor:
        """The same with the opening's first step, where it fits.

        Args:
            hot_NG: the classes and levels that each sequence opens with.
            first_NF: normal scores of first steps.
        """
        assert self.opening is not None
        first_N = self.opening.likelihood(hot_NG, self.own(first_NF))
        first_N = torch.where(self.opening.fits, first_N, loss_NT[:, 0])
        return torch.cat([first_N[:, None], loss_NT[:, 1:]], dim=1)

    def draw(self, x_KN: Tensor, normal_EN: Tensor, seen_FN: Tensor | None, past: Past) -> Tensor:
        """(J, N) scores.

        Args:
            normal_EN: one number for each feature to choose a part, one within it.
            seen_FN: 1 where a value is observed; None: everywhere.
            past: what is known.
        """
        both_EN = torch.cat([self.own(part, 0) for part in normal_EN.chunk(2)])
        gaps_JN = None if seen_FN is None else self.own(seen_FN, 0)
        last_JN, later_JN = self.own(past.score, 0), self.own(past.known, 0)
        return self.head.draw(x_KN, both_EN, gaps_JN, last_JN, later_JN)

    def draw_first(self, normal_EN: Tensor, hot_GN: Tensor) -> Tensor:
        """(J, N) normal scores of first steps, by the opening.

        Args:
            hot_GN: the classes and levels there.
        """
        assert self.opening is not None
        choose_JN, within_JN = (self.own(part, 0) for part in normal_EN.chunk(2))
        return self.opening.draw(hot_GN, torch.special.ndtr(choose_JN[0]), within_JN)
