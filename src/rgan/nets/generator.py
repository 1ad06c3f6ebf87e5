"""The generator: noise and a condition in, a packed sequence out.

Shape letters: N sequences, T steps, F value features, M mask channels, D = F + M, S static columns,
C condition columns, G global and E per-step noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rgan.nets.batch import Batch
from rgan.nets.config import GeneratorConfig
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


@dataclass(frozen=True)
class Noise:
    """All that is random in a sample, so that the same noise always gives the same sequence.

    Args:
        whole: (N, G) normal, shared by all steps.
        steps: (N, T, E) normal, one for each step.
        masks: (N, T, M) logistic, decides between observed and not where the generator is unsure.
        static: (N, S) Gumbel or logistic, the same for binary and categorical attributes.
    """

    whole: Tensor
    steps: Tensor
    masks: Tensor
    static: Tensor

    def take(self, n: int) -> Noise:
        """The noise of the first n sequences."""
        return Noise(*(part[:n] for part in vars(self).values()))

    def to(self, device: torch.device | str) -> Noise:
        """The same noise on another device."""
        return Noise(*(part.to(device) for part in vars(self).values()))


class Generator(nn.Module):
    """RGAN's generator (Esteban et al. 2017, section 3), with what clinical data need beside it.

    Static attributes are drawn first, from the global noise and the condition; the recurrence reads
    the noise of each step together with all of these; a linear head makes the values and the logits
    of what is observed. The mask is a hard 0/1 decision with a straight-through gradient (Bengio et
    al. 2013, arXiv 1308.3432), so that the critic never sees a soft mask.
    """

    lattice: Tensor

    def __init__(self, spec: SequenceSpec, config: GeneratorConfig) -> None:
        super().__init__()
        self.spec, self.config = spec, config
        around = config.noise_global + spec.condition
        if spec.static:
            self.static_net = nn.Sequential(
                nn.Linear(max(1, around), config.hidden),
                nn.LeakyReLU(0.2),
                nn.Linear(config.hidden, spec.static),
            )
        # Whitened, each value has a noise of its own, so that the untrained generator already makes
        # sequences with the means and covariances of the data.
        self.noise_step = max(config.noise_step, spec.values if config.whiten else 0)
        size = self.noise_step + around + spec.static
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
        late = self.noise_step if self.unfold.steps > 1 else 0
        self.after = Convolutions(
            self.unfold.size + late, config.hidden, config.convs_after, config.kernel
        )
        self.whitening = Whitening(spec) if config.whiten else None
        self.head = nn.Linear(self.after.size, spec.channels * (2 if config.whiten else 1))
        if config.whiten:
            nn.init.zeros_(self.head.bias)
            with torch.no_grad():
                self.head.weight.mul_(0.1)
        self.register_buffer("lattice", torch.zeros(4, spec.values))  # see set_lattice
        self.lattice[2], self.lattice[3] = -torch.inf, torch.inf

    def set_lattice(self, step: Tensor, origin: Tensor, low: Tensor, high: Tensor) -> None:
        """Say which values each feature can take; it is saved with the weights.

        Args:
            step: (F,) distance between neighbouring values, 0 where any may be.
            origin: (F,) one of the values.
            low, high: (F,) the smallest and the largest, infinite where there is none.
        """
        self.lattice.copy_(torch.stack([step, origin, low, high]))

    @torch.no_grad()
    def start_at_rates(self, batch: Batch) -> None:
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

    def draw_noise(self, n: int, random: torch.Generator) -> Noise:
        """Noise for n sequences from this random state, on its device."""
        return self.shape_noise(self.draw_plain(n, random))

    def draw_plain(self, n: int, random: torch.Generator) -> Noise:
        """What ``shape_noise`` makes noise of, as any library can draw it: ``whole`` and ``steps``
        normal, ``masks`` and ``static`` uniform in [0, 1)."""
        spec, config, device = self.spec, self.config, random.device
        masks = torch.rand(n, spec.steps, len(spec.masks), generator=random, device=device)
        static = torch.rand(n, spec.static, generator=random, device=device)
        whole = torch.randn(n, config.noise_global, generator=random, device=device)
        steps = torch.randn(n, spec.steps, self.noise_step, generator=random, device=device)
        return Noise(whole, steps, masks, static)

    def shape_noise(self, plain: Noise) -> Noise:
        """Uniform numbers as logistic and Gumbel noise; the normal ones stay as they are."""
        masks = torch.logit(plain.masks.clamp(1e-6, 1 - 1e-6))
        uniform = plain.static.clamp(1e-6, 1 - 1e-6)
        parts = []
        for start, stop, kind in _groups(self.spec):
            part = uniform[:, start:stop]
            parts.append(-torch.log(-torch.log(part)) if kind == "categorical" else part.logit())
        static = torch.cat(parts, dim=1) if parts else uniform
        return Noise(plain.whole, plain.steps, masks, static)

    def forward(self, noise: Noise, lengths_N: Tensor, condition_NC: Tensor) -> Batch:
        """A batch of sequences of these lengths under these conditions."""
        spec, config, steps = self.spec, self.config, self.spec.steps
        around_NK = torch.cat([noise.whole, condition_NC], dim=1)
        static_NS = condition_NC[:, :0]
        if spec.static:
            seed = around_NK if around_NK.shape[1] else torch.zeros_like(noise.static[:, :1])
            with full_precision(seed.device):
                static_NS = self._decide_static(self.static_net(seed), noise.static)
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

    def _finish(
        self, out_NTD: Tensor, static_NS: Tensor, noise: Noise, lengths: Tensor, condition: Tensor
    ) -> Batch:
        """Values and masks from the head's output, zero where nothing is observed."""
        spec = self.spec
        values_NTF, logits_NTM = out_NTD[..., : spec.values], out_NTD[..., spec.values :]
        if spec.bounded and self.whitening is None:
            values_NTF = torch.tanh(values_NTF)
        values_NTF = on_lattice(values_NTF, self.lattice)
        batch = Batch(out_NTD, static_NS, lengths, condition)
        valid_NT1 = batch.valid[..., None]
        if not spec.masks:
            return batch.with_content(values_NTF * valid_NT1, static_NS)
        masks_NTM = straight_through_step(logits_NTM + noise.masks) * valid_NT1
        observed_NTF = valid_NT1.expand(-1, -1, spec.values)
        if len(spec.masks) == spec.values:
            observed_NTF = masks_NTM
        else:
            columns = torch.tensor(spec.masks, device=out_NTD.device)
            observed_NTF = observed_NTF.index_copy(2, columns, masks_NTM)
        return batch.with_content(torch.cat([values_NTF * observed_NTF, masks_NTM], 2), static_NS)

    def _decide_static(self, out_NS: Tensor, noise_NS: Tensor) -> Tensor:
        parts = []
        for start, stop, kind in _groups(self.spec):
            part, random = out_NS[:, start:stop], noise_NS[:, start:stop]
            if kind == "binary":
                part = straight_through_step(part + random)
            elif kind == "categorical":
                soft = torch.softmax(part + random, dim=1)
                hard = nn.functional.one_hot(soft.argmax(1), soft.shape[1]).to(soft.dtype)
                part = hard + soft - soft.detach()
            parts.append(part)
        return torch.cat(parts, dim=1)


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
    """1 where the logit is above 0, else 0; its gradient is the sigmoid's."""
    soft = torch.sigmoid(logits)
    return (logits > 0).to(soft.dtype) + soft - soft.detach()


def _groups(spec: SequenceSpec) -> list[tuple[int, int, str]]:
    """Start, stop and kind of each static attribute's columns."""
    groups: list[tuple[int, int, str]] = []
    start = 0
    for kind, size in spec.statics:
        groups.append((start, start + size, kind))
        start += size
    return groups
