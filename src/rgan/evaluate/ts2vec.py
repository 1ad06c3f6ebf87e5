"""TS2Vec: an encoder of sequences learnt without labels, for distances between encodings.

Shape letters: N sequences, T steps, D inputs of a step, H hidden channels, K outputs, B sequences
of a batch, G groups of M pairs that are told apart.

Yue et al. 2022, "TS2Vec: Towards Universal Representation of Time Series" (AAAI, arXiv 2106.10466):
each step is projected, steps are masked at random, and residual blocks of dilated convolutions
follow. Two crops of one sequence overlap; encodings of a step that both crops hold shall be alike,
and unlike those of other steps (temporal contrast) and of other sequences (instance contrast), on
every scale that max-pooling by two gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, linear, pad
from torch.optim.swa_utils import AveragedModel, get_swa_multi_avg_fn

from rgan.evaluate.threads import one_thread

Floats = NDArray[np.float32]
MANY_NUMBERS = 100_000  # above which the paper's program trains for three times as many steps


@dataclass(frozen=True)
class TS2VecSettings:
    """Sizes and training. The values are the published ones, batches of 8 as Context-FID has them.

    Args:
        outputs: K. hidden: H.
        depth: hidden blocks, the dilation doubling from one to the next; one more gives K.
        batch: B. rate: of AdamW.
        steps: updates; 0: 200, or 600 where the sequences hold more than 100,000 numbers.
    """

    outputs: int = 320
    hidden: int = 64
    depth: int = 10
    batch: int = 8
    rate: float = 1e-3
    steps: int = 0


class DilatedConv(nn.Linear):
    """Convolution of three taps that keeps the length, zeros beyond the ends.

    One matrix product of each step and the two that lie ``dilation`` away from it, which on a CPU
    takes half the time of ``nn.Conv1d`` here. Where the dilation reaches over the whole sequence,
    the outer taps see zeros only, and are left out.
    """

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__(3 * inputs, outputs)
        self.dilation = dilation

    def forward(self, x_NTH: Tensor) -> Tensor:
        """(N, T, outputs)."""
        _, t, h = x_NTH.shape
        d = self.dilation
        if d >= t:
            return linear(x_NTH, self.weight[:, h : 2 * h], self.bias)
        wide = pad(x_NTH, (0, 0, d, d))
        return linear(torch.cat([wide[:, :t], x_NTH, wide[:, 2 * d :]], 2), self.weight, self.bias)


class Block(nn.Module):
    """Two convolutions, each after a GELU, around a skip connection."""

    def __init__(self, inputs: int, outputs: int, dilation: int, *, project: bool) -> None:
        super().__init__()
        self.first = DilatedConv(inputs, outputs, dilation)
        self.second = DilatedConv(outputs, outputs, dilation)
        self.skip = nn.Linear(inputs, outputs) if project else nn.Identity()

    def forward(self, x_NTH: Tensor) -> Tensor:
        """(N, T, outputs)."""
        inner: Tensor = self.second(gelu(self.first(gelu(x_NTH))))
        return inner + self.skip(x_NTH)


class Encoder(nn.Module):
    """Projection, mask, dilated convolutions.

    Args:
        inputs: D.
        settings: sizes.
    """

    def __init__(self, inputs: int, settings: TS2VecSettings) -> None:
        super().__init__()
        h = settings.hidden
        self.project = nn.Linear(inputs, h)
        hidden = [Block(h, h, 2**i, project=False) for i in range(settings.depth)]
        last = Block(h, settings.outputs, 2**settings.depth, project=True)
        self.blocks = nn.Sequential(*hidden, last)
        self.drop = nn.Dropout(0.1)

    def forward(self, x_NTD: Tensor, keep_NT: Tensor | None = None) -> Tensor:
        """(N, T, K) an encoding of each step; steps that are not kept are hidden from it."""
        h_NTH = self.project(x_NTD)
        if keep_NT is not None:
            h_NTH = h_NTH * keep_NT[:, :, None]
        out: Tensor = self.drop(self.blocks(h_NTH))
        return out


def contrast(a_GMK: Tensor, b_GMK: Tensor) -> Tensor:
    """Cross-entropy of finding each row's partner among the other 2M - 1 rows of its group.

    Args:
        a_GMK, b_GMK: partners have the same place in both.
    """
    m = a_GMK.shape[1]
    rows = torch.cat([a_GMK, b_GMK], 1)
    alike = rows @ rows.transpose(1, 2)
    alike = alike.masked_fill(torch.eye(2 * m, dtype=torch.bool), float("-inf"))
    partner = torch.arange(2 * m).roll(m).expand(len(rows), -1)
    return cross_entropy(alike.flatten(0, 1), partner.flatten())


def hierarchical_loss(a_BTK: Tensor, b_BTK: Tensor) -> Tensor:
    """Half instance and half temporal contrast, the mean over scales (the paper's algorithm 1).

    Args:
        a_BTK, b_BTK: encodings of the same steps seen in two crops.
    """
    total, scales = a_BTK.new_zeros(()), 0
    while True:
        if len(a_BTK) > 1:
            total = total + 0.5 * contrast(a_BTK.transpose(0, 1), b_BTK.transpose(0, 1))
        if a_BTK.shape[1] > 1:
            total = total + 0.5 * contrast(a_BTK, b_BTK)
        scales += 1
        if a_BTK.shape[1] == 1:
            return total / scales
        a_BTK, b_BTK = _pool(a_BTK), _pool(b_BTK)


def _pool(x_BTK: Tensor) -> Tensor:
    """The greater of each two steps; a last odd step is dropped."""
    even = x_BTK.shape[1] // 2 * 2
    return torch.maximum(x_BTK[:, 0:even:2], x_BTK[:, 1:even:2])


def _crops(x_BTD: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor, int]:
    """Two crops, and how many steps they share: the first's last and the second's first.

    Each sequence is shifted by its own offset, so that crops fall on all of it.
    """
    t = x_BTD.shape[1]
    shared = int(rng.integers(2, t + 1))
    left = int(rng.integers(t - shared + 1))
    right = left + shared
    begin, end = int(rng.integers(left + 1)), int(rng.integers(right, t + 1))
    shift_B = torch.from_numpy(rng.integers(-begin, t - end + 1, size=len(x_BTD)))

    def cut(low: int, high: int) -> Tensor:
        steps_BS = shift_B[:, None] + torch.arange(low, high)[None, :]
        return x_BTD.gather(1, steps_BS[:, :, None].expand(-1, -1, x_BTD.shape[2]))

    return cut(begin, right), cut(left, end), shared


@one_thread()
def fit_encoder(x_NTD: Floats, *, seed: int, settings: TS2VecSettings | None = None) -> Encoder:
    """An encoder trained on these sequences, its weights the mean over all updates.

    Args:
        x_NTD: at least 2 sequences of at least 2 steps, values of about unit size.
        seed: of weights, batches, crops, masks and dropout; the global generator is left as it was.
        settings: None: the published ones.
    """
    settings = settings or TS2VecSettings()
    steps = settings.steps or (200 if x_NTD.size <= MANY_NUMBERS else 600)
    rng, batch = np.random.default_rng(seed), min(settings.batch, len(x_NTD))
    x = torch.from_numpy(np.ascontiguousarray(x_NTD, dtype=np.float32))
    order: list[int] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(x.shape[2], settings)
        averaged = AveragedModel(encoder, multi_avg_fn=get_swa_multi_avg_fn())
        averaged.update_parameters(encoder)
        optimiser = torch.optim.AdamW(encoder.parameters(), lr=settings.rate, fused=True)
        for _ in range(steps):
            if len(order) < batch:  # an epoch drops what does not fill a batch
                order = rng.permutation(len(x)).tolist()
            rows, order = order[:batch], order[batch:]
            first, second, shared = _crops(x[rows], rng)
            kept = [torch.rand(part.shape[:2]) < 0.5 for part in (first, second)]
            a, b = encoder(first, kept[0]), encoder(second, kept[1])
            optimiser.zero_grad(set_to_none=True)
            hierarchical_loss(a[:, -shared:], b[:, :shared]).backward()
            optimiser.step()
            averaged.update_parameters(encoder)
    found = averaged.module
    assert isinstance(found, Encoder)
    return found.eval().requires_grad_(False)


@one_thread()
def encode(encoder: Encoder, x_NTD: Floats, numbers: int = 2**16) -> Floats:
    """(N, K) encodings of whole sequences, the greatest value over the steps.

    Args:
        encoder: fitted.
        x_NTD: sequences of as many inputs as it was fitted to.
        numbers: most steps encoded at once, which bounds memory.
    """
    size = max(1, numbers // (8 * x_NTD.shape[1]))
    with torch.no_grad():
        parts = torch.from_numpy(np.ascontiguousarray(x_NTD, dtype=np.float32)).split(size)
        return torch.cat([encoder(part).amax(1) for part in parts]).numpy()
