"""From what a network puts out to values that can be measured and levels that exist.

Shape letters: N sequences, T steps, F value features, S static columns.

Decisions are hard, with the gradient of soft ones, so that a critic never sees what no record has.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rgan.nets.layers import full_precision
from rgan.nets.spec import SequenceSpec, StaticOutput


def on_lattice(values_NTF: Tensor, lattice_4F: Tensor) -> Tensor:
    """Values rounded and limited as the data is, with the gradient of the unrounded ones.

    The critic then judges what will be sampled, and cannot tell real data by its whole numbers.
    """
    step_F, origin_F, low_F, high_F = lattice_4F
    free_F = step_F == 0
    width_F = torch.where(free_F, torch.ones_like(step_F), step_F)
    place = values_NTF.detach()
    rounded = torch.round((place - origin_F) / width_F) * width_F + origin_F
    rounded = torch.where(free_F, place, rounded).clamp(low_F, high_F)
    return values_NTF + (rounded - place)


def straight_through_step(logits: Tensor) -> Tensor:
    """1 where the logit is above 0, else 0; its gradient is the sigmoid's (Bengio et al. 2013,
    arXiv 1308.3432)."""
    hard = (logits > 0).to(logits.dtype)
    if not torch.is_grad_enabled():
        return hard
    soft = torch.sigmoid(logits)
    return hard + (soft - soft.detach())


def static_net(around: int, hidden: int, spec: SequenceSpec) -> nn.Sequential | None:
    """From noise and condition (``around`` numbers) to static columns; None where none are."""
    if not spec.static:
        return None
    return nn.Sequential(
        nn.Linear(max(1, around), hidden), nn.LeakyReLU(0.2), nn.Linear(hidden, spec.static)
    )


def make_statics(
    net: nn.Sequential | None, around_NK: Tensor, noise_NS: Tensor, spec: SequenceSpec
) -> Tensor:
    """(N, S) static columns by ``static_net``, where it is unsure by noise."""
    if net is None:
        return around_NK[:, :0]
    seed = around_NK if around_NK.shape[1] else torch.zeros_like(noise_NS[:, :1])
    with full_precision(seed.device):
        free_S = columns_of(spec, "continuous").to(seed.device)
        return decide_statics(net(seed) + noise_NS.masked_fill(free_S, 0.0), spec)


def decide_statics(logits_NS: Tensor, spec: SequenceSpec) -> Tensor:
    """1 for binary columns above 0 and for each categorical attribute's highest, else 0; continuous
    columns stay as they are."""
    parts = []
    for start, stop, kind in static_groups(spec):
        part = logits_NS[:, start:stop]
        if kind == "binary":
            part = straight_through_step(part)
        elif kind == "categorical":
            soft = torch.softmax(part, dim=1)
            hard = nn.functional.one_hot(soft.argmax(1), soft.shape[1]).to(soft.dtype)
            part = hard + soft - soft.detach()
        parts.append(part)
    return torch.cat(parts, dim=1)


def where_observed(masks_NTM: Tensor, valid_NT1: Tensor, spec: SequenceSpec) -> Tensor:
    """(N, T, F): 1 where a value is, from the masks of the features that have one."""
    if len(spec.masks) == spec.values:
        return masks_NTM
    observed_NTF = valid_NT1.expand(-1, -1, spec.values)
    if not spec.masks:
        return observed_NTF
    columns = torch.tensor(spec.masks, device=masks_NTM.device)
    return observed_NTF.index_copy(2, columns, masks_NTM)


def columns_of(spec: SequenceSpec, kind: StaticOutput) -> Tensor:
    """(S,) whether a static column belongs to an attribute of this kind."""
    return torch.tensor([k == kind for k, size in spec.statics for _ in range(size)]).bool()


def static_groups(spec: SequenceSpec) -> list[tuple[int, int, str]]:
    """Start, stop and kind of each static attribute's columns."""
    groups: list[tuple[int, int, str]] = []
    start = 0
    for kind, size in spec.statics:
        groups.append((start, start + size, kind))
        start += size
    return groups
