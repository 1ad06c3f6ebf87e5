"""Further views of a sequence for the critic: averaged over neighbouring steps, and its spectrum.

Shape letters: N sequences, T steps, F value features, M mask channels, R columns that are the same
at each step, S scale, B bands, C channels, H what a view adds to the critic's state.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from rgan.errors import ConfigError
from rgan.nets.config import CriticConfig
from rgan.nets.layers import full, full_precision, spread_over_steps
from rgan.nets.spec import SequenceSpec

BANDS = 24
"""Bands of frequencies a feature, at most: single ones below, wider ones above."""
QUIET = 1e-2
"""Power that counts as none, in scaled units; it bounds the logarithm's slope."""


class Views(nn.Module):
    """What a critic sees beside single steps, as more columns of its state.

    Args:
        spec: of the packed sequences.
        config: ``scales`` and ``spectrum`` are used here.
        row: R.

    Attributes:
        size: how many columns.

    Raises:
        ConfigError: a scale is larger than a sequence.
    """

    def __init__(self, spec: SequenceSpec, config: CriticConfig, row: int) -> None:
        super().__init__()
        for scale in config.scales:
            if not 2 <= scale <= spec.steps:
                raise ConfigError(
                    f"critic.scales has {scale}, and sequences have {spec.steps} steps",
                    rule="a scale is a number of steps, from 2 to all of them",
                    repair="--set critic.scales=2,4" if spec.steps > 3 else "leave it out",
                )
        size = spec.values + len(spec.masks) + row
        self.scales = nn.ModuleList(Scale(size, config.channels, s) for s in config.scales)
        self.spectrum = Spectrum(spec, config.channels) if config.spectrum else None
        self.size = 2 * config.channels * len(config.scales)
        self.size += config.channels if config.spectrum else 0

    def forward(
        self, values_NTF: Tensor, seen_NTF: Tensor, masks_NTM: Tensor, row_NR: Tensor
    ) -> Tensor:
        """(N, H).

        Args:
            values_NTF: zero where nothing is observed.
            seen_NTF: 1 where a value is.
            masks_NTM: the same of features that have a mask, with a slope.
            row_NR: static attributes and conditions.
        """
        parts = [scale(values_NTF, seen_NTF, masks_NTM, row_NR) for scale in self.scales]
        if self.spectrum is not None:
            parts.append(self.spectrum(values_NTF))
        return torch.cat([full(part) for part in parts], dim=1)


class Scale(nn.Module):
    """Means over S steps of what is observed, by two convolutions, pooled over the sequence.

    Critics at several resolutions: Wang et al. 2018 (pix2pixHD, arXiv 1711.11585), section 3.2.
    """

    def __init__(self, size: int, channels: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.net = nn.Sequential(
            nn.Conv1d(size, channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv1d(channels, channels, 3, padding=1),
            nn.SiLU(),
        )

    def forward(
        self, values_NTF: Tensor, seen_NTF: Tensor, masks_NTM: Tensor, row_NR: Tensor
    ) -> Tensor:
        """(N, 2C) mean and maximum."""
        sums_NUF, counts_NUF = self._sums(values_NTF), self._sums(seen_NTF)
        share_NUM = self._sums(masks_NTM) / self.steps
        begun_NU1 = (counts_NUF.amax(2, keepdim=True) > 0).to(values_NTF.dtype)
        row_NUR = spread_over_steps(row_NR, sums_NUF.shape[1])
        x_NUI = torch.cat([sums_NUF / counts_NUF.clamp(min=1), share_NUM, row_NUR], dim=2)
        out_NUC = self.net(x_NUI.transpose(1, 2)).transpose(1, 2)
        mean_NC = (out_NUC * begun_NU1).sum(1) / begun_NU1.sum(1).clamp(min=1)
        return torch.cat([mean_NC, (out_NUC - 1e4 * (1 - begun_NU1)).amax(1)], dim=1)

    def _sums(self, x_NTK: Tensor) -> Tensor:
        """(N, T / S rounded up, K) sums over S steps."""
        padded = nn.functional.pad(x_NTK, (0, 0, 0, -x_NTK.shape[1] % self.steps))
        return padded.unflatten(1, (-1, self.steps)).sum(2)


class Spectrum(nn.Module):
    """Logarithms of each feature's power in bands of frequencies, gaps as zeros, by one layer.

    A generator's spectrum is what a critic of values sees last: Durall et al. 2020 (arXiv
    2003.01826), Schwarz et al. 2021 (arXiv 2111.02447).
    """

    bands: Tensor

    def __init__(self, spec: SequenceSpec, channels: int) -> None:
        super().__init__()
        bands = _bands(spec.steps)
        self.register_buffer("bands", bands, False)
        size = spec.values * bands.shape[1]
        self.net = nn.Sequential(nn.Linear(size, channels), nn.SiLU())

    def forward(self, values_NTF: Tensor) -> Tensor:
        """(N, C)."""
        with full_precision(values_NTF.device):
            wave_NFK = torch.fft.rfft(full(values_NTF).transpose(1, 2), norm="ortho")
            power_NFK = wave_NFK.real.square() + wave_NFK.imag.square()
            out_NC: Tensor = self.net(0.5 * torch.log(QUIET + power_NFK @ self.bands).flatten(1))
        return out_NC


def _bands(steps: int) -> Tensor:
    """(K, B) the mean over each band's frequencies; bands grow by the logarithm.

    >>> _bands(9).shape, _bands(1000).sum(0).allclose(torch.ones(24))
    (torch.Size([5, 5]), True)
    """
    k = steps // 2 + 1
    edges = [0]
    for place in torch.logspace(0, torch.log10(torch.tensor(float(k))).item(), BANDS).tolist():
        edges.append(max(edges[-1] + 1, round(place)))
    edges = [edge for edge in edges if edge < k] + [k]
    bands = torch.zeros(k, len(edges) - 1)
    for i, (start, stop) in enumerate(itertools.pairwise(edges)):
        bands[start:stop, i] = 1 / (stop - start)
    return bands
