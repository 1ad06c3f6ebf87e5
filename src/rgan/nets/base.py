"""What all generators share: their noise, the values that data can take, and the masks.

Shape letters: N sequences, T steps, F value features, M mask channels, D = F + M, S static columns,
C condition columns, G global and E per-step noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rgan.nets.batch import Batch
from rgan.nets.config import GeneratorConfig
from rgan.nets.decisions import (
    columns_of,
    on_lattice,
    straight_through_step,
    where_observed,
)
from rgan.nets.spec import SequenceSpec
from rgan.nets.whitening import Whitening


@dataclass(frozen=True)
class Noise:
    """All that is random in a sample, so that the same noise always gives the same sequence.

    Args:
        whole: (N, G) normal, shared by all steps.
        steps: (N, T, E) normal, one for each step.
        masks: (N, T, M) logistic, decides between observed and not where the generator is unsure;
            of one that ends sequences by itself, one more channel decides on that.
        static: (N, S) Gumbel or logistic, the same for binary and categorical attributes.
    """

    whole: Tensor
    steps: Tensor
    masks: Tensor
    static: Tensor

    def take(self, rows: Tensor) -> Noise:
        """The noise of these sequences, an index tensor."""
        return Noise(*(part[rows] for part in vars(self).values()))

    def to(self, device: torch.device | str) -> Noise:
        """The same noise on another device."""
        return Noise(*(part.to(device) for part in vars(self).values()))


@dataclass(frozen=True)
class NoiseSizes:
    """How much noise of each kind a generator takes: G, E, M and S of ``Noise``."""

    whole: int
    steps: int
    masks: int
    static: int


class BaseGenerator(nn.Module, ABC):
    """Noise and a condition in, a packed sequence out.

    Args:
        spec: what is to be made.
        config: the section ``[generator]``.
        sizes: of the noise.
    """

    lattice: Tensor
    whitening: Whitening | None

    def __init__(self, spec: SequenceSpec, config: GeneratorConfig, sizes: NoiseSizes) -> None:
        super().__init__()
        self.spec, self.config, self.sizes = spec, config, sizes
        self.whitening = None

    @abstractmethod
    def forward(self, noise: Noise, lengths_N: Tensor, condition_NC: Tensor) -> Batch:
        """A batch of sequences of these lengths under these conditions."""

    @abstractmethod
    def start(self, batch: Batch) -> None:
        """Take from the packed training sequences what need not be learnt from a critic."""

    @property
    def reads_labels(self) -> bool:
        """Whether a label is drawn after the sequence, in place of one that is asked for."""
        return False

    @property
    def ends(self) -> bool:
        """Whether it ends sequences by itself, where a length of 0 is asked for."""
        return False

    def asked(self, lengths_N: Tensor) -> Tensor:
        """(N,) the lengths to ask for in place of lengths as in the data."""
        return torch.zeros_like(lengths_N) if self.ends else lengths_N

    def set_lattice(self, step: Tensor, origin: Tensor, low: Tensor, high: Tensor) -> None:
        """Say which values each feature can take; it is saved with the weights.

        Args:
            step: (F,) distance between neighbouring values, 0 where any may be.
            origin: (F,) one of the values.
            low, high: (F,) the smallest and the largest, infinite where there is none.
        """
        self.lattice.copy_(torch.stack([step, origin, low, high]))

    def draw_noise(self, n: int, random: torch.Generator) -> Noise:
        """Noise for n sequences from this random state, on its device."""
        return self.shape_noise(self.draw_plain(n, random))

    def draw_plain(self, n: int, random: torch.Generator) -> Noise:
        """What ``shape_noise`` makes noise of, as any library can draw it: ``whole`` and ``steps``
        normal, ``masks`` and ``static`` uniform in [0, 1)."""
        sizes, t, device = self.sizes, self.spec.steps, random.device
        masks = torch.rand(n, t, sizes.masks, generator=random, device=device)
        static = torch.rand(n, sizes.static, generator=random, device=device)
        whole = torch.randn(n, sizes.whole, generator=random, device=device)
        steps = torch.randn(n, t, sizes.steps, generator=random, device=device)
        return Noise(whole, steps, masks, static)

    def shape_noise(self, plain: Noise) -> Noise:
        """Uniform numbers as logistic and Gumbel noise; the normal ones stay as they are."""
        masks = torch.logit(plain.masks.clamp(1e-6, 1 - 1e-6))
        uniform = plain.static.clamp(1e-6, 1 - 1e-6)
        gumbel_S = columns_of(self.spec, "categorical")[: uniform.shape[1]].to(uniform.device)
        static = torch.where(gumbel_S, -torch.log(-torch.log(uniform)), uniform.logit())
        return Noise(plain.whole, plain.steps, masks, static)

    def _add_lattice(self) -> None:
        """Any value may be, until ``set_lattice`` says otherwise."""
        self.register_buffer("lattice", torch.zeros(4, self.spec.values))
        self.lattice[2], self.lattice[3] = -torch.inf, torch.inf

    def _finish(
        self, out_NTD: Tensor, static_NS: Tensor, noise: Noise, lengths: Tensor, condition: Tensor
    ) -> Batch:
        """Values and masks from the head's output, zero where nothing is observed."""
        spec = self.spec
        values_NTF, logits_NTM = out_NTD[..., : spec.values], out_NTD[..., spec.values :]
        if spec.bounded and self.whitening is None:
            values_NTF = torch.tanh(values_NTF)
        values_NTF = on_lattice(values_NTF, self.lattice)
        batch = Batch(values_NTF, static_NS, lengths, condition)
        return self._hide(batch, logits_NTM + noise.masks)

    def _observed(self, masks_NTM: Tensor, valid_NT1: Tensor) -> Tensor:
        """(N, T, F): 1 where a value is, from the masks of the features that have one."""
        return where_observed(masks_NTM, valid_NT1, self.spec)

    def _hide(self, batch: Batch, logits_NTM: Tensor) -> Batch:
        """Decide on what is observed, and put zero where nothing is."""
        valid_NT1 = batch.valid[..., None]
        masks_NTM = straight_through_step(logits_NTM) * valid_NT1
        values_NTF = batch.x * self._observed(masks_NTM, valid_NT1)
        return batch.with_content(torch.cat([values_NTF, masks_NTM], dim=2), batch.static)
