"""The critic: a packed sequence and its condition in, votes out.

Shape letters: N sequences, T steps, F value features, M mask channels, D = F + M, S static columns,
C condition columns, H state size, V votes a sequence (T for ``sequence``, else 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rgan.nets.batch import Batch
from rgan.nets.config import CriticConfig
from rgan.nets.layers import (
    POSITION_CHANNELS,
    Convolutions,
    Fold,
    Recurrence,
    folding,
    full,
    full_precision,
    positions,
    spread_over_steps,
)
from rgan.nets.planes import PlaneReader
from rgan.nets.spec import SequenceSpec
from rgan.nets.whitening import Whitening


@dataclass(frozen=True)
class Votes:
    """What a critic thinks: real is high.

    Args:
        score: (N, V) unbounded scores.
        weight: (N, V) 1 where a vote counts, 0 past the length.
    """

    score: Tensor
    weight: Tensor

    def mean(self) -> Tensor:
        """(N,) one score a sequence: the weighted mean of its votes."""
        return (self.score * self.weight).sum(1) / self.weight.sum(1)

    def split(self, n: int) -> tuple[Votes, Votes]:
        """The first n sequences' votes and the rest's."""
        return Votes(self.score[:n], self.weight[:n]), Votes(self.score[n:], self.weight[n:])


class Critic(nn.Module):
    """RGAN's discriminator (Esteban et al. 2017, section 3): recurrent, with conditions.

    What is not observed, or past the length, is set to zero here once more, so that no content
    there can ever reach a score.

    Attributes:
        total: adds a tensor up over all processes that share a batch, with its gradient; None where
            there is but one.
    """

    total: Callable[[Tensor], Tensor] | None = None

    def __init__(self, spec: SequenceSpec, config: CriticConfig) -> None:
        super().__init__()
        self.spec, self.config = spec, config
        size = spec.channels + spec.static + spec.condition
        size += spec.values if config.differences else 0
        self.whitening = Whitening(spec) if config.whiten else None
        size += spec.values if config.whiten else 0
        size += POSITION_CHANNELS if config.position else 0
        self.convs: Convolutions | PlaneReader
        if config.planar:
            rest = spec.static + spec.condition + (POSITION_CHANNELS if config.position else 0)
            self.convs = PlaneReader(spec, config, rest)
            self.steps_in_one, fold = self.convs.steps, 1
        else:
            self.convs = Convolutions(size, config.channels, config.convs, config.kernel)
            self.steps_in_one = fold = folding(config.compress, spec.steps)
        self.fold = Fold(self.convs.size, config.channels, fold)
        self.recurrence = Recurrence(
            config.cell, self.fold.size, config.hidden, config.layers, config.bidirectional
        )
        state = self.recurrence.size * (2 if config.readout == "pool" else 1)
        if config.readout == "pool":
            self.mix = nn.Sequential(nn.Linear(state, config.hidden), nn.LeakyReLU(0.2))
            state = config.hidden
        if config.batch_statistics:
            state += 1
        self.head = nn.Linear(state, 1)
        if config.projection and spec.condition:
            self.project = nn.Linear(spec.condition, state, bias=False)
            nn.init.normal_(self.project.weight, std=0.02)
        self.register_buffer("mask_columns", torch.tensor(spec.masks, dtype=torch.long), False)

    def forward(self, batch: Batch, groups: int = 1) -> Votes:
        """Votes on each sequence. ``groups``: how many equal parts of the batch stand side by side
        (2 for real and generated), for statistics over a part."""
        valid_NT = batch.valid
        states_NTH = self.recurrence(self.fold(self.convs(self._inputs(batch, valid_NT))))
        valid_NT = valid_NT[:, :: self.steps_in_one]  # a folded step counts if it begins within
        state = full(self._read(states_NTH, batch, valid_NT))  # (N, V, H)
        if self.config.batch_statistics:
            state = torch.cat([state, _group_spread(state, groups, self.total)], dim=2)
        with full_precision(state.device):
            score_NV = self.head(state)[..., 0]
            if self.config.projection and self.spec.condition:
                score_NV = score_NV + (state * self.project(batch.condition)[:, None, :]).sum(2)
        weight_NV = valid_NT if self.config.readout == "sequence" else torch.ones_like(score_NV)
        return Votes(score_NV, weight_NV)

    def moved(self, x_NTD: Tensor, by_NTD: Tensor) -> Tensor:
        """Content moved a little, for penalties; whitened, by so much in innovations."""
        if self.whitening is None:
            return x_NTD + by_NTD
        u_NTF = self.whitening.white(x_NTD)
        return x_NTD + (self.whitening.colour(u_NTF + by_NTD) - self.whitening.colour(u_NTF))

    def fit(self, batch: Batch, like: Whitening | None = None) -> None:
        """Fit the whitening, where there is one, to the packed training sequences; or take over one
        that is fitted to them already."""
        if self.whitening is not None and like is not None:
            self.whitening.load_state_dict(like.state_dict())
        elif self.whitening is not None:
            self.whitening.fit(batch.x)

    def _inputs(self, batch: Batch, valid_NT: Tensor) -> Tensor:
        spec, steps = self.spec, self.spec.steps
        valid_NT1 = valid_NT[..., None]
        masks_NTM = batch.x[..., spec.values :] * valid_NT1
        observed_NTF = valid_NT1.expand(-1, -1, spec.values)
        if spec.masks:
            assert isinstance(self.mask_columns, Tensor)
            # A hard gate: what hides a value must not let it into the mask's slope either. The
            # generator has multiplied its values by its masks itself, so no gradient is lost.
            gate_NTM = (masks_NTM > 0.5).to(masks_NTM.dtype)
            observed_NTF = observed_NTF.index_copy(2, self.mask_columns, gate_NTM)
        values_NTF = batch.x[..., : spec.values] * observed_NTF
        parts = [values_NTF, masks_NTM]
        if self.config.differences:
            both = observed_NTF[:, 1:] * observed_NTF[:, :-1]
            step_NTF = (values_NTF[:, 1:] - values_NTF[:, :-1]) * both
            if self.whitening is not None:
                step_NTF = step_NTF / self.whitening.change
            parts.append(nn.functional.pad(step_NTF, (0, 0, 1, 0)))
        if self.whitening is not None:
            parts.append(self.whitening.white(values_NTF))
        row_NK = torch.cat([batch.static, batch.condition], dim=1)
        parts.append(spread_over_steps(row_NK, steps))
        if self.config.position:
            parts.append(positions(batch.lengths, steps, batch.x.dtype))
        return torch.cat(parts, dim=2)

    def _read(self, states_NTH: Tensor, batch: Batch, valid_NT: Tensor) -> Tensor:
        if self.config.readout == "sequence":
            return states_NTH
        if self.config.readout == "last":
            return self.recurrence.last(states_NTH, valid_NT.sum(1).long())[:, None, :]
        weight_NT1 = valid_NT[..., None]
        mean_NH = (states_NTH * weight_NT1).sum(1) / weight_NT1.sum(1)
        top_NH = (states_NTH - 1e4 * (1 - weight_NT1)).amax(1)
        pooled: Tensor = self.mix(torch.cat([mean_NH, top_NH], dim=1))
        return pooled[:, None, :]


def _group_spread(
    state_NVH: Tensor, groups: int, total: Callable[[Tensor], Tensor] | None
) -> Tensor:
    """(N, V, 1): how much the states vary within each of the groups."""
    spreads = []
    for part in state_NVH.chunk(groups):
        variance = _variance(part, total)
        spreads.append((variance + 1e-8).sqrt().mean(1)[None, :, None].expand(len(part), -1, 1))
    return torch.cat(spreads)


def _variance(part_NVH: Tensor, total: Callable[[Tensor], Tensor] | None) -> Tensor:
    """(V, H): over the sequences, those of all processes included."""
    if total is None:
        return part_NVH.var(dim=0, unbiased=False)
    count = part_NVH.new_full((1,), len(part_NVH))
    sums = total(torch.cat([part_NVH.sum(0).flatten(), count]))
    mean_VH = (sums[:-1] / sums[-1]).view_as(part_NVH[0])
    return total((part_NVH - mean_VH).square().sum(0)) / sums[-1]
