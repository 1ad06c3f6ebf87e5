"""Parts that generators and critics share.

Shape letters: N sequences, T steps, I input and H output channels.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from rgan.nets.config import Cell

POSITION_CHANNELS = 7


class Recurrence(nn.Module):
    """A stack of recurrent layers, (N, T, I) to (N, T, H), H = hidden times directions.

    On a CPU this is torch's own LSTM (its oneDNN path is faster than a loop of cells by 1.5 to 3x)
    or GRU.
    """

    def __init__(self, cell: Cell, size: int, hidden: int, layers: int, both_ways: bool) -> None:
        super().__init__()
        kinds: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}
        self.rnn = kinds[cell](size, hidden, layers, batch_first=True, bidirectional=both_ways)
        self.hidden = hidden
        self.both_ways = both_ways
        self.size = hidden * (2 if both_ways else 1)
        for name, parameter in self.rnn.named_parameters():
            if name.startswith("weight_hh"):
                for gate in parameter.data.chunk(parameter.shape[0] // hidden):
                    nn.init.orthogonal_(gate)
            elif name.startswith("weight_ih"):
                nn.init.xavier_uniform_(parameter.data)
            else:
                nn.init.zeros_(parameter.data)
                if cell == "lstm" and name.startswith("bias_ih"):
                    parameter.data[hidden : 2 * hidden] = 1.0  # remember by default

    def forward(self, x_NTI: Tensor) -> Tensor:
        states: Tensor = self.rnn(x_NTI)[0]
        return states

    def last(self, states_NTH: Tensor, lengths_N: Tensor) -> Tensor:
        """(N, H): the state after the whole sequence, in each direction."""
        rows = torch.arange(len(lengths_N), device=lengths_N.device)
        forward = states_NTH[rows, lengths_N - 1, : self.hidden]
        if not self.both_ways:
            return forward
        return torch.cat([forward, states_NTH[:, 0, self.hidden :]], dim=-1)


class Convolutions(nn.Module):
    """Convolutions over time with leaky ReLU, (N, T, I) to (N, T, H); each but the first adds on.

    The residual form lets several be stacked without slowing the first steps of training.
    """

    def __init__(self, size: int, channels: int, count: int, kernel: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(size, channels, kernel, padding="same") if count else None
        self.rest = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, padding="same") for _ in range(count - 1)
        )
        self.size = channels if count else size

    def forward(self, x_NTI: Tensor) -> Tensor:
        if self.first is None:
            return x_NTI
        x_NHT = nn.functional.leaky_relu(self.first(x_NTI.transpose(1, 2)), 0.2)
        for conv in self.rest:
            x_NHT = (x_NHT + nn.functional.leaky_relu(conv(x_NHT), 0.2)) * math.sqrt(0.5)
        return x_NHT.transpose(1, 2)


class Fold(nn.Module):
    """(N, T, I) to (N, ceil(T/k), H): k neighbouring steps become one, so that the recurrence has
    fewer, richer steps. k = 1 changes nothing."""

    def __init__(self, size: int, channels: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.linear = nn.Linear(size * steps, channels) if steps > 1 else None
        self.size = channels if steps > 1 else size

    def forward(self, x_NTI: Tensor) -> Tensor:
        if self.linear is None:
            return x_NTI
        n, t, size = x_NTI.shape
        x_NTI = nn.functional.pad(x_NTI, (0, 0, 0, -t % self.steps))
        folded = self.linear(x_NTI.reshape(n, -1, size * self.steps))
        return nn.functional.leaky_relu(folded, 0.2)


class Unfold(nn.Module):
    """(N, ceil(T/k), I) to (N, T, H): the way back from ``Fold``."""

    def __init__(self, size: int, channels: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.linear = nn.Linear(size, channels * steps) if steps > 1 else None
        self.size = channels if steps > 1 else size

    def forward(self, x_NTI: Tensor, steps: int) -> Tensor:
        if self.linear is None:
            return x_NTI
        spread = nn.functional.leaky_relu(self.linear(x_NTI), 0.2)
        return spread.reshape(len(x_NTI), -1, self.size)[:, :steps]


def folding(compress: int, steps: int) -> int:
    """How many steps become one: as set, or for 0 so many that about 16 to 31 are left."""
    return compress or max(1, steps // 16)


def positions(lengths_N: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """(N, T, 7): where each step stands: time from start, to the end, within, and three waves."""
    t_T = torch.arange(steps, device=lengths_N.device, dtype=dtype)
    start_NT = (t_T / steps).expand(len(lengths_N), steps)
    left_NT = (lengths_N[:, None].to(dtype) - t_T) / steps
    within_NT = (left_NT > 0).to(dtype)
    waves = [torch.cos(math.pi * k * start_NT) for k in (1, 2, 4, 8)]
    return torch.stack([start_NT, left_NT.clamp(min=0), within_NT, *waves], dim=-1)


def spread_over_steps(row_NK: Tensor, steps: int) -> Tensor:
    """(N, K) to (N, T, K), the same at each step."""
    return row_NK[:, None, :].expand(-1, steps, -1)


def full_precision(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Inside, nothing is rounded to 16 bits, whatever is so around it: what leaves a network."""
    if not torch.is_autocast_enabled(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def full(x: Tensor) -> Tensor:
    """Numbers of 16 bits as such of 32; others as they are."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


@contextlib.contextmanager
def double_backward() -> Iterator[None]:
    """Recurrences inside can be differentiated twice.

    Neither oneDNN's nor cuDNN's recurrent kernels have a second derivative; torch's own do.
    """
    with warnings.catch_warnings():  # setting the flag speaks of an Intel GPU that nobody has
        warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")
        with torch.backends.mkldnn.flags(enabled=False), torch.backends.cudnn.flags(enabled=False):
            yield


@torch.no_grad()
def limit_spectral_norm(network: nn.Module, limit: float = 1.0) -> None:
    """Scale each weight matrix whose largest singular value is above ``limit`` down to it.

    Miyato et al. 2018 (arXiv 1802.05957) divide by the value in each forward pass; projecting after
    each update keeps the same bound, needs no state that a resume could lose, and serves recurrent
    weights, of which each gate counts as a matrix of its own.
    """
    for name, parameter in network.named_parameters():
        if parameter.ndim < 2 or not parameter.requires_grad:
            continue
        gates = 1
        if "weight_hh" in name or "weight_ih" in name:
            gates = max(1, parameter.shape[0] // _hidden_of(network, name))
        for part in parameter.data.chunk(gates):
            top = torch.linalg.matrix_norm(part.flatten(1), ord=2)
            part.mul_(limit / torch.clamp(top, min=limit))


def _hidden_of(network: nn.Module, name: str) -> int:
    module = network.get_submodule(name.rsplit(".", 1)[0])
    assert isinstance(module, nn.RNNBase)
    return int(module.hidden_size)
