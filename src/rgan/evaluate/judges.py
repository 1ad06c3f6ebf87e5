"""Strong classifiers that try to tell real sequences from synthetic ones.

Shape letters: N sequences, T steps, D channels (values, masks, and whether a step is valid),
H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rgan.evaluate.threads import one_thread

Floats = NDArray[np.float32]
Judge = Callable[[Floats], NDArray[np.float64]]


class ConvBiLSTM(nn.Module):
    """Convolution over time, a bidirectional LSTM, mean and max over valid steps, one score.

    From 16 steps on the convolution moves two steps at a time, which halves the recurrence. (On
    CPU, LSTM layers are two to three times as fast as GRU layers in PyTorch.)

    Args:
        inputs: D; the last channel says whether a step is valid.
        steps: T.
        hidden: H.
    """

    def __init__(self, inputs: int, steps: int, hidden: int = 32) -> None:
        super().__init__()
        self.stride = 2 if steps >= 16 else 1
        self.conv = nn.Conv1d(2 * inputs, hidden, 2 * self.stride + 1, self.stride, self.stride)
        self.rnn = nn.LSTM(hidden, hidden, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(4 * hidden, 1)

    def forward(self, x_NTD: Tensor) -> Tensor:
        """(N,) logits of being real."""
        # First differences beside the values: local smoothness is where generators err first.
        change = torch.diff(x_NTD, dim=1, prepend=x_NTD[:, :1])
        both = torch.cat([x_NTD, change], 2).transpose(1, 2)
        local = torch.nn.functional.leaky_relu(self.conv(both), 0.1).transpose(1, 2)
        states = self.rnn(local)[0]
        valid = x_NTD[:, :: self.stride, -1:]  # the step in the middle of each kernel
        mean = (states * valid).sum(1) / valid.sum(1).clamp(min=1)
        top = states.masked_fill(valid == 0, -1).amax(1)
        logits: Tensor = self.head(self.drop(torch.cat([mean, top], 1))).squeeze(1)
        return logits


@dataclass(frozen=True)
class Examples:
    """Sequences with what they are: x (N, T, D), y (N,) 1 = real, 0 = synthetic."""

    x: Floats
    y: NDArray[np.int64]


@one_thread()
def fit_network(train: Examples, valid: Examples, *, seed: int, epochs: int) -> Judge:
    """Train a ``ConvBiLSTM`` and keep the weights with the least validation loss.

    Stops after 5 epochs without a lower validation loss. AdamW at 3e-3, batches of 64, the two
    sides weighted equally.

    Args:
        train, valid: disjoint examples.
        seed: of weights, order and dropout; the global generator is left as it was.
        epochs: at most.

    Returns:
        A judge: x (N, T, D) to the probability of being real (N,).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ConvBiLSTM(train.x.shape[2], train.x.shape[1])
        optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
        x, y = torch.from_numpy(train.x), torch.from_numpy(train.y).float()
        balance = (1 - y).sum() / y.sum().clamp(min=1)
        criterion = nn.BCEWithLogitsLoss(pos_weight=balance)
        y_valid = torch.from_numpy(valid.y).float()
        best, best_loss, waited = _weights(network), np.inf, 0
        for _ in range(epochs):
            network.train()
            for rows in torch.randperm(len(x)).split(64):
                optimiser.zero_grad(set_to_none=True)
                criterion(network(x[rows]), y[rows]).backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
            loss = float(criterion(_logits(network, valid.x), y_valid))
            if loss < best_loss:
                best, best_loss, waited = _weights(network), loss, 0
            else:
                waited += 1
            if waited >= 5:
                break
        network.load_state_dict(best)
    return lambda data: torch.sigmoid(_logits(network, data)).double().numpy()


def _weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in network.state_dict().items()}


@one_thread()
def _logits(network: nn.Module, x_NTD: Floats) -> Tensor:
    network.eval()
    with torch.no_grad():
        return torch.cat([network(part) for part in torch.from_numpy(x_NTD).split(256)])
