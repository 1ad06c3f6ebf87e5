"""Augmentation that does not leak: the critic never sees a sequence, real or generated, but through
the same random changes.

Shape letters: N sequences (two groups of them side by side), T steps, F value features, M mask
channels, D = F + M.

A change that is made with a probability below one can be undone in distribution: only where the
generator's sequences are distributed as the real ones do both look alike through it. So a critic
learns less of the training sequences by heart, and the changes do not show in samples. Karras et
al. 2020 (arXiv 2006.06676), sections 2.2 and B, who find leaks above 0.8; Zhao et al. 2020 (arXiv
2006.10738).
"""

from __future__ import annotations

import torch
from torch import Tensor

from rgan.nets.batch import Batch
from rgan.nets.decisions import where_observed
from rgan.nets.share import Share, drawn
from rgan.nets.spec import SequenceSpec

STRETCH, OFFSET = 0.2, 0.3
"""Deviations of the logarithm of a factor, and of what is added, in scaled units."""
SHIFT, BLOCK = 8, 4
"""The most that is shifted is an 8th of a sequence, the longest block that is hidden a 4th."""


def augment(
    batch: Batch,
    spec: SequenceSpec,
    probability: float,
    random: torch.Generator,
    share: Share | None = None,
    groups: int = 1,
) -> Batch:
    """The same sequences, each with each of four changes at this probability, with slopes.

    - The values of each feature times a factor; plus an offset: where they are observed.
    - Steps moved on or back by a few, around the sequence's ends, their masks with them.
    - A block of steps in which features that have a mask are not observed.

    Args:
        probability: of each change of each sequence; 0 leaves the batch as it is.
        random: the same state gives the same changes.
        share: which sequences of a larger batch these are.
        groups: how many equal parts of the batch stand side by side.
    """
    if not probability:
        return batch
    n, f = len(batch), spec.values

    def draw(kind: str, *shape: int) -> Tensor:
        return drawn(kind, torch.Size((n, *shape)), random, share, groups).to(batch.x.dtype)

    chosen_4N = (draw("uniform", 4) < probability).to(batch.x.dtype).T
    factor_NF, offset_NF = draw("normal", f), draw("normal", f)
    place_3N = draw("uniform", 3).T
    x_NTD = _rolled(batch, (place_3N[0] * 2 - 1) * chosen_4N[2])
    masks_NTM = x_NTD[..., f:]
    seen_NTF = where_observed(masks_NTM.detach(), batch.valid[..., None], spec)
    stretch_N1F = torch.exp(STRETCH * factor_NF * chosen_4N[0, :, None])[:, None]
    offset_N1F = (OFFSET * offset_NF * chosen_4N[1, :, None])[:, None]
    values_NTF = x_NTD[..., :f] * stretch_N1F + offset_N1F * seen_NTF
    if not spec.masks:
        return batch.with_content(values_NTF, batch.static)
    kept_NT1 = _kept(batch, place_3N[1], place_3N[2] * chosen_4N[3])[..., None]
    masks_NTM = masks_NTM * kept_NT1
    hidden_F = torch.zeros(f, device=batch.x.device, dtype=batch.x.dtype)
    hidden_F[list(spec.masks)] = 1
    values_NTF = values_NTF * (1 - hidden_F * (1 - kept_NT1))
    return batch.with_content(torch.cat([values_NTF, masks_NTM], dim=2), batch.static)


def _rolled(batch: Batch, by_N: Tensor) -> Tensor:
    """(N, T, D) moved by this share of the most, -1 to 1; what leaves at one end of a sequence
    comes in at its other end."""
    lengths_N1 = batch.lengths[:, None]
    by_N1 = torch.round(by_N[:, None] * (lengths_N1 / SHIFT)).long()
    steps_1T = torch.arange(batch.x.shape[1], device=batch.x.device)[None]
    source_NT = torch.where(steps_1T < lengths_N1, (steps_1T - by_N1) % lengths_N1, steps_1T)
    return batch.x.gather(1, source_NT[..., None].expand_as(batch.x))


def _kept(batch: Batch, place_N: Tensor, size_N: Tensor) -> Tensor:
    """(N, T): 0 in a block of up to a fourth of the sequence, 1 elsewhere."""
    steps_1T = torch.arange(batch.x.shape[1], device=batch.x.device)[None]
    size_N = torch.round(size_N * (batch.lengths / BLOCK))
    start_N = torch.floor(place_N * (batch.lengths - size_N + 1))
    inside = (steps_1T >= start_N[:, None]) & (steps_1T < (start_N + size_N)[:, None])
    return 1 - inside.to(batch.x.dtype)
