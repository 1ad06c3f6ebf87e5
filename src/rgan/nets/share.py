"""``Share``: the part of a batch that one of several processes works on.

Shape letters: N sequences of the whole batch, n of the part, G groups that stand side by side.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Share:
    """Rows ``start`` to ``stop`` of a batch of ``whole`` sequences.

    Random numbers are drawn for the whole batch and cut, so that no two processes have the same and
    all of them together have those of one process.
    """

    start: int
    stop: int
    whole: int

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def weight(self) -> float:
        """What a mean over the part is multiplied by, to add up to the mean over the whole."""
        return len(self) / self.whole

    def of(self, whole_N: Tensor, groups: int = 1) -> Tensor:
        """(G n, ...): this part's rows of what was drawn for the whole, (G N, ...)."""
        parts = whole_N.unflatten(0, (groups, self.whole))[:, self.start : self.stop]
        return parts.flatten(0, 1)

    def placed(self, part_n: Tensor) -> Tensor:
        """(N, ...): the part's rows in their place, and zeros elsewhere; the sum over all processes
        is the whole."""
        whole = part_n.new_zeros((self.whole, *part_n.shape[1:]))
        whole[self.start : self.stop] = part_n
        return whole


def cut(whole: int, parts: int) -> list[Share]:
    """Shares that differ by one sequence at most, the larger ones first.

    >>> [len(share) for share in cut(8, 3)]
    [3, 3, 2]
    """
    size, more = divmod(whole, parts)
    starts = [i * size + min(i, more) for i in range(parts + 1)]
    return [Share(start, stop, whole) for start, stop in itertools.pairwise(starts)]


def drawn(
    kind: str, shape: torch.Size, random: torch.Generator, share: Share | None, groups: int = 1
) -> Tensor:
    """Random numbers for the rows that are worked on here.

    Args:
        kind: "normal", or "uniform" in [0, 1).
        shape: (G n, ...).
        random: its device is where they are made.
        share: which rows of the whole these are; None where they are all.
        groups: how many equal parts of the batch stand side by side.
    """
    draw = {"normal": torch.randn, "uniform": torch.rand}[kind]
    if share is None:
        return draw(shape, generator=random, device=random.device)
    whole = (groups * share.whole, *shape[1:])
    return share.of(draw(whole, generator=random, device=random.device), groups)
