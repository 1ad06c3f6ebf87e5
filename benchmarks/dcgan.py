"""A plain DCGAN (Radford et al. 2016, arXiv 1511.06434), the rival in ``images.py``.

Transposed convolutions of 4 x 4 and stride 2 with batch statistics, ReLU and tanh at the end;
strided convolutions, leaky ReLU and batch statistics in the critic; cross-entropy; Adam at 2e-4
with beta1 0.5; weights from N(0, 0.02): all as in the paper but for the batches of 64 (there 128),
and for the widths, which are chosen so that both networks together have about as many parameters as
the model they rival. Images of 64 pixels grow from 4 x 4 in four stages, those of 28 from 7 x 7 in
two. With classes, one-hot codes stand beside the noise, and as constant maps
beside the image (Mirza & Osindero 2014, arXiv 1411.1784).

Shape letters: N images, H, W height, width, L classes, Z noise.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import one_hot

NOISE, BATCH, RATE, BETAS = 100, 64, 2e-4, (0.5, 0.999)


def stages(side: int) -> int:
    """How often the side is halved: down to 4, or to 7 where it is 28."""
    found = 0
    while side % 2 == 0 and side > 7:
        side, found = side // 2, found + 1
    return found


class Maker(nn.Module):
    """Noise and classes to images from -1 to 1."""

    def __init__(self, side: int, width: int, classes: int) -> None:
        super().__init__()
        k = stages(side)
        self.base, self.first = side // 2**k, width * 2 ** (k - 1)
        self.dense = nn.Linear(NOISE + classes, self.first * self.base**2)
        layers: list[nn.Module] = [nn.BatchNorm2d(self.first), nn.ReLU()]
        channels = self.first
        for _ in range(k - 1):
            layers.append(nn.ConvTranspose2d(channels, channels // 2, 4, 2, 1, bias=False))
            channels //= 2
            layers += [nn.BatchNorm2d(channels), nn.ReLU()]
        layers += [nn.ConvTranspose2d(channels, 1, 4, 2, 1), nn.Tanh()]
        self.body = nn.Sequential(*layers)

    def forward(self, noise_NZ: Tensor, hot_NL: Tensor) -> Tensor:
        """(N, 1, H, W) images."""
        x = self.dense(torch.cat([noise_NZ, hot_NL], 1))
        out: Tensor = self.body(x.view(len(x), self.first, self.base, self.base))
        return out


class Critic(nn.Module):
    """Images and classes to logits."""

    def __init__(self, side: int, width: int, classes: int) -> None:
        super().__init__()
        k, channels = stages(side), width
        layers: list[nn.Module] = [nn.Conv2d(1 + classes, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for _ in range(k - 1):
            layers.append(nn.Conv2d(channels, 2 * channels, 4, 2, 1, bias=False))
            channels *= 2
            layers += [nn.BatchNorm2d(channels), nn.LeakyReLU(0.2)]
        base = side // 2**k
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * base**2, 1))

    def forward(self, x_N1HW: Tensor, hot_NL: Tensor) -> Tensor:
        """(N,) logits."""
        maps = hot_NL[:, :, None, None].expand(-1, -1, *x_N1HW.shape[2:])
        out: Tensor = self.body(torch.cat([x_N1HW, maps], 1))[:, 0]
        return out


@dataclass(frozen=True)
class Pair:
    """Both networks."""

    maker: Maker
    critic: Critic
    classes: int

    @property
    def parameters(self) -> int:
        """Of both together."""
        return sum(p.numel() for net in (self.maker, self.critic) for p in net.parameters())

    @torch.no_grad()
    def sample(self, labels_N: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
        """(N, H, W) images from 0 to 1 of these classes; only their number counts without any."""
        random = torch.Generator().manual_seed(seed)
        self.maker.eval()
        found = []
        for part in torch.from_numpy(labels_N).split(500):
            noise_NZ = torch.randn(len(part), NOISE, generator=random)
            found.append(self.maker(noise_NZ, self.hot(part))[:, 0])
        return ((torch.cat(found) + 1) / 2).numpy()

    def hot(self, labels_N: Tensor) -> Tensor:
        """(N, L) one-hot codes."""
        if not self.classes:
            return torch.zeros(len(labels_N), 0)
        return one_hot(labels_N, self.classes).float()


def pair_of(side: int, classes: int, parameters: int) -> Pair:
    """Networks whose number of parameters is nearest to the one asked for; their widths differ by a
    sixth at most."""
    makers, critics = (_sizes(kind, side, classes, parameters) for kind in (Maker, Critic))
    _, maker, critic = min(
        (abs(own + other - parameters), w, c)
        for w, own in makers.items()
        for c, other in critics.items()
        if abs(w - c) <= max(1, w // 6)
    )
    return Pair(Maker(side, maker, classes), Critic(side, critic, classes), classes)


def _sizes(kind: type[Maker] | type[Critic], side: int, classes: int, most: int) -> dict[int, int]:
    """Width to number of parameters, until there are more than ``most``."""
    found: dict[int, int] = {}
    while not found or found[len(found)] <= most:
        width = len(found) + 1
        with torch.device("meta"):  # shapes alone, to be counted
            found[width] = sum(p.numel() for p in kind(side, width, classes).parameters())
    return found


def _begin(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def train(
    images_NHW: NDArray[np.float32],
    labels_N: NDArray[np.int64] | None,
    parameters: int,
    seconds: float,
    seed: int,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Pair, dict[str, Any]]:
    """A DCGAN trained for so many seconds of processor time.

    Args:
        images_NHW: square images from 0 to 1.
        labels_N: their classes 0 to L - 1, or None for a model without classes.
        parameters: about how many both networks are to have together.
        seconds: of this process's processor time.
        seed: of weights, noise and batches.
        say: is told how far it is, about once in ten seconds.
    """
    torch.manual_seed(seed)
    pair = pair_of(images_NHW.shape[1], 0 if labels_N is None else int(labels_N.max()) + 1,
                   parameters)  # fmt: skip
    nets = (pair.maker, pair.critic)
    for net in nets:
        _begin(net)
        net.train()
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a fifth faster
    optimizers = [torch.optim.Adam(net.parameters(), RATE, BETAS, fused=True) for net in nets]
    x_N1HW = torch.from_numpy(images_NHW)[:, None] * 2 - 1
    class_N = torch.zeros(len(x_N1HW), dtype=torch.long)
    if labels_N is not None:
        class_N = torch.from_numpy(labels_N)
    began = last = time.process_time()
    steps = 0
    while time.process_time() - began < seconds:
        rows = torch.randint(len(x_N1HW), (BATCH,))
        _step(pair, optimizers, x_N1HW[rows], pair.hot(class_N[rows]))
        steps += 1
        if time.process_time() - last > 10:
            last = time.process_time()
            say(f"DCGAN: {steps:,} steps, {last - began:.0f} of {seconds:.0f} s")
    return pair, {"steps": steps, "train_cpu_seconds": time.process_time() - began}


def _step(pair: Pair, optimizers: list[torch.optim.Adam], real: Tensor, hot: Tensor) -> None:
    """One update of the critic and one of the maker."""
    ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
    made = pair.maker(torch.randn(len(real), NOISE), hot)
    # two passes, so that each batch has statistics of its own
    loss = cross_entropy(pair.critic(real, hot), ones)
    loss = loss + cross_entropy(pair.critic(made.detach(), hot), zeros)
    optimizers[1].zero_grad()
    loss.backward()
    optimizers[1].step()
    pair.critic.requires_grad_(False)
    optimizers[0].zero_grad()
    cross_entropy(pair.critic(made, hot), ones).backward()
    optimizers[0].step()
    pair.critic.requires_grad_(True)
