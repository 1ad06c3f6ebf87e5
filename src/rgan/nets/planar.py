"""The generator of images: a recurrence draws coarse lines, convolutions make them a picture.

Shape letters: N sequences, T steps = lines, W pixels across a line, C channels of a pixel,
F = W · C value features, M mask channels, S static columns; t lines of the coarse picture.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_shuffle

from rgan.nets.base import BaseGenerator, Noise, NoiseSizes
from rgan.nets.batch import Batch
from rgan.nets.config import GeneratorConfig
from rgan.nets.decisions import make_statics, static_net
from rgan.nets.layers import (
    POSITION_CHANNELS,
    Recurrence,
    full,
    full_precision,
    positions,
    spread_over_steps,
)
from rgan.nets.planes import Painter, check_planes, coarse, halvings
from rgan.nets.spec import SequenceSpec


class PlanarGenerator(BaseGenerator):
    """A recurrence over lines of a coarse picture, from noise and conditions as in ``Generator``;
    each of its states becomes a strip of it, and a ``Painter`` brings the strips to pixels.

    What one line is to hold follows from the recurrence alone: the convolutions see only
    neighbouring lines.
    """

    mask_columns: Tensor

    def __init__(self, spec: SequenceSpec, config: GeneratorConfig) -> None:
        sizes = NoiseSizes(config.noise_global, config.noise_step, len(spec.masks), spec.static)
        super().__init__(spec, config, sizes)
        check_planes(spec, config)
        k = halvings(config.compress, spec.steps)
        self.steps_in_one, self.lines = 2**k, coarse(spec.steps, k)
        around = config.noise_global + spec.condition
        self.static_net = static_net(around, config.hidden, spec)
        row = max(1, around + spec.static)
        size = row + config.noise_step * self.steps_in_one
        size += POSITION_CHANNELS if config.position else 0
        self.recurrence = Recurrence(
            config.cell, size, config.hidden, config.layers, config.bidirectional
        )
        strip = coarse(spec.across, k) * config.channels
        self.strips = nn.Linear(self.recurrence.size, strip)
        self.painter = Painter(config.channels, k, row, config.convs_after)
        # Four pixels at each place of half the size (Shi et al. 2016, arXiv 1609.05158): a layer at
        # full size would cost more than all others together.
        self.pixels = 2 if k else 1
        maps = spec.values // spec.across * (2 if spec.masks else 1)
        self.head = nn.Conv2d(self.painter.size, maps * self.pixels**2, 3, padding=1)
        if spec.masks:
            self.rates = nn.Parameter(torch.zeros(len(spec.masks)))
        self.register_buffer("mask_columns", torch.tensor(spec.masks, dtype=torch.long), False)
        self._add_lattice()

    @torch.no_grad()
    def start(self, batch: Batch) -> None:
        """Set the masks' bias so that an untrained generator observes each feature as often as the
        data do.

        Args:
            batch: the packed training sequences.
        """
        if self.spec.masks:
            seen = batch.x[..., self.spec.values :].sum(dim=(0, 1)) / batch.lengths.sum()
            self.rates.copy_(torch.logit(seen.clamp(1e-4, 1 - 1e-4)))

    def forward(self, noise: Noise, lengths_N: Tensor, condition_NC: Tensor) -> Batch:
        """A batch of sequences of these lengths under these conditions."""
        around_NK = torch.cat([noise.whole, condition_NC], dim=1)
        static_NS = make_statics(self.static_net, around_NK, noise.static, self.spec)
        row_NK = torch.cat([around_NK, static_NS], dim=1)
        if row_NK.shape[1] == 0:  # no noise that is shared, no condition: still a network
            row_NK = row_NK.new_zeros(len(row_NK), 1)
        strips_NtX = self.strips(self.recurrence(self._inputs(noise, row_NK, lengths_N)))
        x_NIHW = self.painter(strips_NtX, row_NK)
        with full_precision(x_NIHW.device):
            out_NCTW = pixel_shuffle(self.head(full(x_NIHW)), self.pixels)
        out_NTD = self._channels(out_NCTW.permute(0, 2, 3, 1))
        return self._finish(out_NTD, static_NS, noise, lengths_N, condition_NC)

    def _inputs(self, noise: Noise, row_NK: Tensor, lengths_N: Tensor) -> Tensor:
        """What the recurrence reads at each coarse line: all noise of the steps that it stands for,
        what the sequence has in common, and where it is."""
        each, n, k = self.config.noise_step, len(row_NK), self.steps_in_one
        parts = [spread_over_steps(row_NK, self.lines)]
        if each:
            steps_NTE = pad(noise.steps, (0, 0, 0, -self.spec.steps % k))
            parts.append(steps_NTE.reshape(n, self.lines, each * k))
        if self.config.position:
            where_NT = positions(lengths_N, self.spec.steps, row_NK.dtype)
            parts.append(where_NT[:, ::k])
        return torch.cat(parts, dim=2)

    def _channels(self, out_NTWC: Tensor) -> Tensor:
        """(N, T, D) from the head's maps: values, and a logit for each feature with a mask."""
        out_NTWC = out_NTWC[:, : self.spec.steps, : self.spec.across]
        n, t, _, maps = out_NTWC.shape
        if not self.spec.masks:
            return out_NTWC.reshape(n, t, self.spec.values)
        values, logits = (part.reshape(n, t, -1) for part in out_NTWC.split(maps // 2, dim=3))
        return torch.cat([values, logits[..., self.mask_columns] + self.rates], dim=2)
