"""A recurrence one step at a time, for networks that read back what they have just made.

Shape letters: N sequences, I inputs, H hidden units, G gates (four or three times H), L layers.
Sequences stand last, so that every gate and every feature is one row of memory.

torch's own recurrences are made for whole sequences. Called for a single step they prepare their
weights anew each time, and an LSTM takes 1.4 times as long as here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def linear(layer: nn.Linear, x_IN: Tensor) -> Tensor:
    """(H, N) what a layer with a bias makes of these inputs."""
    return torch.addmm(layer.bias[:, None], layer.weight, x_IN)


def first_of(net: nn.Sequential) -> nn.Linear:
    """The first layer."""
    first = net[0]
    assert isinstance(first, nn.Linear)
    return first


def last_of(net: nn.Sequential) -> nn.Linear:
    """The last layer."""
    last = net[-1]
    assert isinstance(last, nn.Linear)
    return last


State = tuple[Tensor, Tensor] | Tensor
"""(L, N, H), or both parts of an LSTM's."""


def first_state(found_NP: Tensor, layers: int, parts: int) -> State:
    """A state to begin with, from numbers of any size.

    Args:
        found_NP: P = parts x layers x H. parts: 2 for an LSTM, 1 for a GRU.
    """
    both = found_NP.unflatten(1, (parts * layers, -1)).transpose(0, 1).chunk(parts)
    hidden_LNH = torch.tanh(both[0]).contiguous()
    return hidden_LNH if parts == 1 else (hidden_LNH, both[1].contiguous())


class Stepper:
    """A recurrence in one direction, which takes one more step each time it is called. It computes
    what torch's does, with slopes.

    Args:
        rnn: its weights.
        state: (L, N, H), or both parts of an LSTM's state, to begin with; None: zero.
        n: N.
    """

    def __init__(self, rnn: nn.LSTM | nn.GRU, state: State | None, n: int) -> None:
        self.is_lstm = isinstance(rnn, nn.LSTM)
        weights = [[getattr(rnn, f"{kind}_l{i}") for kind in _KINDS] for i in range(rnn.num_layers)]
        if state is None:
            zero_LNH = weights[0][0].new_zeros(rnn.num_layers, n, rnn.hidden_size)
            state = (zero_LNH, zero_LNH)
        self.weights = [_joined(*layer) for layer in weights] if self.is_lstm else weights
        parts = (state,) if isinstance(state, Tensor) else state
        self.states = list(zip(*(part.transpose(1, 2).unbind() for part in parts), strict=True))

    def __call__(self, x_IN: Tensor) -> Tensor:
        """(H, N) the last layer's output after one more step."""
        cell = _lstm if self.is_lstm else _gru
        for i, (weights, state) in enumerate(zip(self.weights, self.states, strict=True)):
            self.states[i] = cell(x_IN, weights, state)
            x_IN = self.states[i][0]
        return x_IN


_KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _lstm(x_IN: Tensor, weights: list[Tensor], state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (weight_GK, bias_G1), (hidden_HN, cell_HN) = weights, state
    gates_GN = torch.addmm(bias_G1, weight_GK, torch.cat([x_IN, hidden_HN])).sigmoid_()
    write, keep, new, out = gates_GN.chunk(4)
    cell_HN = (keep * cell_HN).addcmul_(write, (2 * new).sub_(1))
    return out * _tanh(cell_HN), cell_HN


def _gru(x_IN: Tensor, weights: list[Tensor], state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    (in_GI, back_GH, in_G, back_G), hidden_HN = weights, state[0]
    read_GN = torch.addmm(in_G[:, None], in_GI, x_IN).chunk(3)
    back_GN = torch.addmm(back_G[:, None], back_GH, hidden_HN).chunk(3)
    reset, keep = (torch.sigmoid(read_GN[i] + back_GN[i]) for i in (0, 1))
    new = _tanh(read_GN[2] + reset * back_GN[2])
    return (new + keep * (hidden_HN - new),)


def _joined(in_GI: Tensor, back_GH: Tensor, in_G: Tensor, back_G: Tensor) -> list[Tensor]:
    """An LSTM's weights for one product, with those of what is new doubled: see ``_tanh``."""
    both = torch.cat([in_GI, back_GH], 1), (in_G + back_G)[:, None]
    parts = (torch.chunk(weight, 4) for weight in both)
    return [torch.cat([write, keep, 2 * new, out]) for write, keep, new, out in parts]


def _tanh(x: Tensor) -> Tensor:
    """By the sigmoid, of which a processor makes three in the time of one of torch's tanh."""
    return (2 * (2 * x).sigmoid_()).sub_(1)
