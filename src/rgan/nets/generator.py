"""The generator: noise and a condition in, a packed sequence out.

Shape letters: N sequences, T steps, F value features, M mask channels, D = F + M, S static columns,
C condition columns, G global and E per-step noise.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rgan.nets.base import BaseGenerator, Noise, NoiseSizes
from rgan.nets.batch import Batch
from rgan.nets.config import GeneratorConfig
from rgan.nets.decisions import make_statics, static_net
from rgan.nets.layers import (
    POSITION_CHANNELS,
    Convolutions,
    Fold,
    Recurrence,
    Unfold,
    folding,
    full,
    full_precision,
    positions,
    spread_over_steps,
)
from rgan.nets.spec import SequenceSpec
from rgan.nets.whitening import Whitening


class Generator(BaseGenerator):
    """RGAN's generator (Esteban et al. 2017, section 3), with what clinical data need beside it.

    Static attributes are drawn first, from the global noise and the condition; the recurrence reads
    the noise of each step together with all of these; a linear head makes the values and the logits
    of what is observed. The mask is a hard 0/1 decision with a straight-through gradient (Bengio et
    al. 2013, arXiv 1308.3432), so that the critic never sees a soft mask.
    """

    def __init__(self, spec: SequenceSpec, config: GeneratorConfig) -> None:
        # Whitened, each value has a noise of its own, so that the untrained generator already makes
        # sequences with the means and covariances of the data.
        each = max(config.noise_step, spec.values if config.whiten else 0)
        sizes = NoiseSizes(config.noise_global, each, len(spec.masks), spec.static)
        super().__init__(spec, config, sizes)
        around = config.noise_global + spec.condition
        self.static_net = static_net(around, config.hidden, spec)
        size = each + around + spec.static
        size += POSITION_CHANNELS if config.position else 0
        self.before = Convolutions(max(1, size), config.hidden, config.convs_before, config.kernel)
        steps = folding(config.compress, spec.steps)
        self.fold = Fold(self.before.size, config.hidden, steps)
        self.recurrence = Recurrence(
            config.cell, self.fold.size, config.hidden, config.layers, config.bidirectional
        )
        self.unfold = Unfold(self.recurrence.size, config.hidden, steps)
        # The steps' noise enters again here: where the recurrence is coarser than the steps, what
        # happens together at one step (three pressures read from one line) needs noise of its own.
        late = each if self.unfold.steps > 1 else 0
        self.after = Convolutions(
            self.unfold.size + late, config.hidden, config.convs_after, config.kernel
        )
        self.whitening = Whitening(spec) if config.whiten else None
        self.head = nn.Linear(self.after.size, spec.channels * (2 if config.whiten else 1))
        if config.whiten:
            nn.init.zeros_(self.head.bias)
            with torch.no_grad():
                self.head.weight.mul_(0.1)
        self._add_lattice()

    @torch.no_grad()
    def start(self, batch: Batch) -> None:
        """Set the masks' bias so that an untrained generator observes each feature as often as the
        data do; the critic then has to teach patterns only, not rates. And fit the whitening.

        Args:
            batch: the packed training sequences.
        """
        f = self.spec.values
        if self.spec.masks:
            seen = batch.x[..., f:].sum(dim=(0, 1)) / batch.lengths.sum()
            self.head.bias[f:] = torch.logit(seen.clamp(1e-4, 1 - 1e-4))
        if self.whitening is not None:
            self.whitening.fit(batch.x)

    def forward(self, noise: Noise, lengths_N: Tensor, condition_NC: Tensor) -> Batch:
        """A batch of sequences of these lengths under these conditions."""
        spec, config, steps = self.spec, self.config, self.spec.steps
        around_NK = torch.cat([noise.whole, condition_NC], dim=1)
        static_NS = make_statics(self.static_net, around_NK, noise.static, spec)
        row_NK = torch.cat([around_NK, static_NS], dim=1)
        parts = [noise.steps, spread_over_steps(row_NK, steps)]
        if config.position:
            parts.append(positions(lengths_N, steps, noise.steps.dtype))
        x_NTI = torch.cat(parts, dim=2)
        if x_NTI.shape[2] == 0:  # no noise, no condition, no position: still a network
            x_NTI = noise.steps.new_zeros(len(lengths_N), steps, 1)
        states_NTH = self.unfold(self.recurrence(self.fold(self.before(x_NTI))), steps)
        if self.unfold.steps > 1:
            states_NTH = torch.cat([states_NTH, noise.steps], dim=2)
        states_NTH = self.after(states_NTH)
        with full_precision(states_NTH.device):
            out_NTD = self.head(full(states_NTH))
        if self.whitening is not None:
            shift_NTF, scale_NTF = out_NTD.chunk(2, dim=2)
            own_NTF = noise.steps[..., : spec.values]
            out_NTD = self.whitening.colour(
                own_NTF * torch.exp(2 * torch.tanh(scale_NTF / 2)) + shift_NTF
            )
        return self._finish(out_NTD, static_NS, noise, lengths_N, condition_NC)
