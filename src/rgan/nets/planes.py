"""Pictures painted from rows of a recurrence, and read into rows of one, by convolutions in 2-d.

The steps of an image that is read by rows (or by columns) are the lines of a plane. Both networks
keep their recurrence over lines, over coarser ones: each stands for 2^k lines and is as many times
narrower. Between the coarse plane and the pixels there are k stages of convolutions over both axes.

Shape letters: N sequences, T steps = lines of the plane, W places across a line, C channels of a
place, F = W · C value features, M mask channels; t and w the same of the coarse plane, I channels
there; K what a whole sequence has in common (noise, condition, static attributes).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, leaky_relu, pad

from rgan.errors import ConfigError
from rgan.nets.config import CriticConfig, GeneratorConfig
from rgan.nets.spec import SequenceSpec

MOST_LINES = 9
"""Lines of the coarse plane where ``compress`` is 0: 7 of 28, 8 of 64."""
LEAST_CHANNELS = 16
"""Fewer cost as much time on a CPU."""
_GAIN = math.sqrt(2 / (1 + 0.2**2))


def check_planes(spec: SequenceSpec, config: GeneratorConfig | CriticConfig) -> None:
    """Refuse ``planar`` where steps are no lines of a picture, or are not to be halved.

    Raises:
        ConfigError: which rule is broken.
    """
    section = "generator" if isinstance(config, GeneratorConfig) else "critic"
    if not spec.across:
        raise ConfigError(
            f"{section}.planar is true, and these data are no images read by rows or columns",
            rule="planar is for images whose layout is rows or columns",
            reason="its convolutions need neighbours on both axes",
            repair=f"--set {section}.planar=false, or for images --set data.layout=rows",
        )
    k = config.compress
    if k & (k - 1) or k > spec.steps:
        raise ConfigError(
            f"{section}.compress is {k}, and {section}.planar is true",
            rule=f"1, 2, 4, 8, ... up to the {spec.steps} lines of these images, or 0",
            reason="each stage of its convolutions halves both sides of the picture",
            repair=f"--set {section}.compress=0",
        )
    for name in ("feedback", "whiten"):
        if getattr(config, name, False):
            raise ConfigError(
                f"{section}.planar and {section}.{name} are both true",
                rule="at most one of them: each says how a step is made or read",
                repair=f"--set {section}.{name}=false",
            )


def halvings(compress: int, lines: int) -> int:
    """k: how often both sides are halved; 2^k is ``compress``, or the least that leaves few lines.

    >>> halvings(0, 28), halvings(0, 64), halvings(8, 28)
    (2, 3, 3)
    """
    if compress:
        return compress.bit_length() - 1
    k = 1
    while -(-lines // 2**k) > MOST_LINES:
        k += 1
    return k


def coarse(size: int, k: int) -> int:
    """A side after k halvings, rounded up."""
    return -(-size // 2**k)


def widths(channels: int, k: int) -> list[int]:
    """Channels from the coarse plane to the pixels' own, k + 1 numbers: halved at each stage."""
    return [max(min(channels, LEAST_CHANNELS), channels >> i) for i in range(k + 1)]


def _begin(conv: nn.Conv2d | nn.Linear) -> None:
    """He et al. 2015 for leaky ReLU: signals neither grow nor fade from layer to layer."""
    nn.init.kaiming_normal_(conv.weight, a=0.2)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


class Grow(nn.Module):
    """Twice as large by nearest neighbours, then a 3 x 3 convolution, in one operation.

    Both are linear, so together they are one transposed convolution with stride 2, whose 4 x 4
    kernel is the 3 x 3 kernel summed over a window of 2 x 2 (Karras et al. 2019, arXiv 1812.04948,
    "fused scale"). It costs 4 products a pixel instead of 9, and, unlike a free kernel of a
    transposed convolution, cannot make a checkerboard of an even plane.
    """

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size, channels, 3, 3) * _GAIN / math.sqrt(9 * size))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x_NItw: Tensor) -> Tensor:
        wide = pad(self.weight, (1, 1, 1, 1))
        wide = wide[..., 1:] + wide[..., :-1]
        kernel = wide[..., 1:, :] + wide[..., :-1, :]
        return conv_transpose2d(x_NItw, kernel, self.bias, stride=2, padding=1)


class Style(nn.Module):
    """Channels of one size at each pixel, then moved and stretched by what a sequence has in common
    (pixel norm, Karras et al. 2018, arXiv 1710.10196; FiLM, Perez et al. 2018, arXiv 1709.07871).

    No statistics of a batch: the same noise always paints the same picture.
    """

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, 2 * channels)
        nn.init.normal_(self.linear.weight, std=0.5 / math.sqrt(size))
        nn.init.zeros_(self.linear.bias)

    def forward(self, x_NIHW: Tensor, row_NK: Tensor) -> Tensor:
        scale_NI, shift_NI = self.linear(row_NK).chunk(2, dim=1)
        size_N1HW = torch.rsqrt(x_NIHW.square().mean(1, keepdim=True) + 1e-6)
        styled = x_NIHW * size_N1HW * (1 + scale_NI[:, :, None, None])
        return leaky_relu(styled + shift_NI[:, :, None, None], 0.2)


class Painter(nn.Module):
    """Strips of a coarse plane (N, t, w · I) to features of pixels, two by two: (N, I', T/2, W/2)
    rounded up, or (N, I', T, W) where nothing is halved."""

    def __init__(self, channels: int, k: int, row: int, convs: int) -> None:
        super().__init__()
        self.channels = channels
        sizes = widths(channels, max(0, k - 1))
        self.size = sizes[-1]
        self.first = Style(row, channels)
        self.convs = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(convs)
        )
        self.grow = nn.ModuleList(Grow(a, b) for a, b in pairwise(sizes))
        self.styles = nn.ModuleList(Style(row, size) for size in sizes[:1] * convs + sizes[1:])
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d)
            _begin(conv)

    def forward(self, strips_NtX: Tensor, row_NK: Tensor) -> Tensor:
        n, t, _ = strips_NtX.shape
        # Channels last in memory: on a CPU these convolutions take half the time so.
        x_NItw = strips_NtX.reshape(n, t, -1, self.channels).permute(0, 3, 1, 2)
        x = self.first(x_NItw, row_NK)
        styles = iter(self.styles)
        for conv in self.convs:
            x = (x + next(styles)(conv(x), row_NK)) * math.sqrt(0.5)
        for grow in self.grow:
            x = next(styles)(grow(x), row_NK)
        return x


class PlaneReader(nn.Module):
    """What a critic sees at each step (N, T, size) to lines of a coarse plane (N, t, I).

    The first columns are values, masks and differences, and become planes; the last ``rest`` are
    what is no picture (conditions, positions), and are read at the first step of each line.
    """

    mask_columns: Tensor

    def __init__(self, spec: SequenceSpec, config: CriticConfig, rest: int) -> None:
        super().__init__()
        check_planes(spec, config)
        k = halvings(config.compress, spec.steps)
        self.spec, self.rest, self.steps = spec, rest, 2**k
        self.channels = spec.values // spec.across
        self.maps = 1 + bool(spec.masks) + config.differences
        sizes = [self.maps * self.channels, *reversed(widths(config.channels, k)[:-1])]
        self.shrink = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairwise(sizes)
        )
        self.convs = nn.ModuleList(
            nn.Conv2d(sizes[-1], sizes[-1], 3, padding=1) for _ in range(config.convs)
        )
        self.size = 2 * config.hidden
        self.linear = nn.Linear(sizes[-1] * coarse(spec.across, k) + rest, self.size)
        for layer in (*self.shrink, *self.convs, self.linear):
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            _begin(layer)
        self.register_buffer("mask_columns", torch.tensor(spec.masks, dtype=torch.long), False)

    def forward(self, seen_NTS: Tensor) -> Tensor:
        x = self._planes(seen_NTS[..., : seen_NTS.shape[2] - self.rest])
        for conv in self.shrink:
            x = leaky_relu(conv(x), 0.2)
        for conv in self.convs:
            x = (x + leaky_relu(conv(x), 0.2)) * math.sqrt(0.5)
        lines_NtX = x.permute(0, 2, 3, 1).flatten(2)
        rest_NtR = seen_NTS[:, :: self.steps, seen_NTS.shape[2] - self.rest :]
        return leaky_relu(self.linear(torch.cat([lines_NtX, rest_NtR], dim=2)), 0.2)

    def _planes(self, x_NTS: Tensor) -> Tensor:
        """(N, planes, lines, across), both sides padded with zeros to multiples of 2^k."""
        f, m = self.spec.values, len(self.spec.masks)
        parts = [x_NTS[..., :f]]
        if m:
            masks_NTF = torch.ones_like(parts[0])
            masks_NTF = masks_NTF.index_copy(2, self.mask_columns, x_NTS[..., f : f + m])
            parts.append(masks_NTF)
        if x_NTS.shape[2] > f + m:
            parts.append(x_NTS[..., f + m :])
        n, t, _ = x_NTS.shape
        parts = [part.reshape(n, t, self.spec.across, self.channels) for part in parts]
        planes_NTWC = torch.cat(parts, dim=3) if len(parts) > 1 else parts[0]
        by = (0, 0, 0, -self.spec.across % self.steps, 0, -t % self.steps)
        if any(by):
            planes_NTWC = pad(planes_NTWC, by)
        return planes_NTWC.permute(0, 3, 1, 2)
