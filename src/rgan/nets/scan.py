"""A gated linear recurrence whose steps need not wait for each other.

Shape letters: N sequences, T steps, I inputs, H hidden units, L layers, C chunks of K steps.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

LONGEST = 256.0
"""Steps that the slowest units remember to begin with; what they learn has no such limit."""


class Scan(nn.Module):
    """h_t = a_t h_{t-1} + (1 - a_t) u_t, put out as o_t h_t; a, u and o know the inputs only.

    minGRU (Feng et al. 2024, arXiv 2410.01201) with an LSTM's output gate and bounded u, so that
    states stay within [-1, 1] however long a sequence is; linear surrogates of recurrences: Martin
    & Cundy 2018 (arXiv 1709.04057). A layer that is as wide as its input adds on to it.

    Called as torch's own recurrences are, and its weights are named as theirs. Units begin with
    memories of one step to ``LONGEST``, evenly by the logarithm.

    Args:
        size: I. hidden_size: H. num_layers: L.
        batch_first: must be true; sequences come as (N, T, I).
        bidirectional: whether each layer also reads backwards.
    """

    def __init__(
        self,
        size: int,
        hidden_size: int,
        num_layers: int = 1,
        batch_first: bool = True,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        self.hidden_size, self.num_layers = hidden_size, num_layers
        self.suffixes = ("", "_reverse") if bidirectional else ("",)
        memory_H = torch.exp(torch.linspace(0, 1, hidden_size) * math.log(LONGEST))
        for i in range(num_layers):
            for suffix in self.suffixes:
                weight = nn.Parameter(torch.empty(3 * hidden_size, size))
                nn.init.xavier_uniform_(weight)
                bias = nn.Parameter(torch.zeros(3 * hidden_size))
                bias.data[:hidden_size] = torch.log(memory_H)  # a = m / (1 + m)
                self.register_parameter(f"weight_ih_l{i}{suffix}", weight)
                self.register_parameter(f"bias_ih_l{i}{suffix}", bias)
            size = hidden_size * len(self.suffixes)

    def layer(self, i: int, suffix: str = "") -> tuple[Tensor, Tensor]:
        """(3H, I) weights and (3H,) bias of a layer: what is kept, what is new, what is put out."""
        return getattr(self, f"weight_ih_l{i}{suffix}"), getattr(self, f"bias_ih_l{i}{suffix}")

    def forward(self, x_NTI: Tensor, begin: Tensor | None = None) -> tuple[Tensor, None]:
        """(N, T, H) for each direction, side by side.

        Args:
            begin: (L, N, H) states before the first step, of the forward direction; None: zero.
        """
        x_TNI = x_NTI.transpose(0, 1)
        for i in range(self.num_layers):
            first_NH = None if begin is None else begin[i]
            parts = [self._read(x_TNI, i, suffix, first_NH) for suffix in self.suffixes]
            out_TNH = torch.cat(parts, dim=2)
            x_TNI = x_TNI + out_TNH if x_TNI.shape == out_TNH.shape else out_TNH
        return x_TNI.transpose(0, 1), None

    def _read(self, x_TNI: Tensor, i: int, suffix: str, first_NH: Tensor | None) -> Tensor:
        gates_TNG = nn.functional.linear(x_TNI, *self.layer(i, suffix))
        # In 16 bits, what a slow unit loses at a step would be rounded to nothing.
        fine = torch.promote_types(gates_TNG.dtype, torch.float32)
        keep, new, out = gates_TNG.to(fine).chunk(3, dim=2)
        keep_TNH = torch.sigmoid(keep)
        add_TNH = (1 - keep_TNH) * torch.tanh(new)
        if first_NH is not None:
            first_1NH = add_TNH[:1] + keep_TNH[:1] * first_NH
            add_TNH = torch.cat([first_1NH, add_TNH[1:]])
        return torch.sigmoid(out) * scan(keep_TNH, add_TNH, bool(suffix))


def scan(keep_TNH: Tensor, add_TNH: Tensor, backwards: bool = False) -> Tensor:
    """(T, N, H) h_t = keep_t h_{t-1} + add_t, from zero; backwards: from h_{t+1}.

    Nothing is divided and no logarithm taken, so it is as exact as step by step, whatever is kept.
    It has slopes of any order: those of a scan are a scan the other way.
    """
    if torch.is_grad_enabled() and (keep_TNH.requires_grad or add_TNH.requires_grad):
        states: Tensor = _Scan.apply(keep_TNH, add_TNH, backwards)
        return states
    return _scanned(keep_TNH, add_TNH, backwards)


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, keep: Tensor, add: Tensor, backwards: bool) -> Tensor:
        states = _scanned(keep, add, backwards)
        ctx.save_for_backward(keep, states)
        ctx.backwards = backwards
        return states

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, None]:
        keep, states = ctx.saved_tensors
        # What a state adds to the loss reaches it from the next one, times what that one keeps.
        after = _moved(keep, not ctx.backwards)
        slope = scan(after, slope, not ctx.backwards)
        return slope * _moved(states, ctx.backwards), slope, None


def _moved(x_TNH: Tensor, after: bool) -> Tensor:
    """Each step's neighbour, the one before it or the one after; zero at an end."""
    zero_1NH = torch.zeros_like(x_TNH[:1])
    return torch.cat([x_TNH[1:], zero_1NH] if after else [zero_1NH, x_TNH[:-1]])


def _scanned(keep_TNH: Tensor, add_TNH: Tensor, backwards: bool) -> Tensor:
    if backwards:
        return _scanned(keep_TNH.flip(0), add_TNH.flip(0), False).flip(0)
    if keep_TNH.device.type == "cpu" and not torch.compiler.is_compiling():
        return in_turn(keep_TNH, add_TNH)
    return in_chunks(keep_TNH, add_TNH)


def in_turn(keep_TNH: Tensor, add_TNH: Tensor) -> Tensor:
    """Step by step, in one pass over memory: on a core it is twice as fast as ``in_chunks``."""
    states_TNH = torch.empty_like(add_TNH)
    states_TNH[0] = add_TNH[0]
    steps = states_TNH.unbind()
    for t, (keep_NH, add_NH) in enumerate(zip(keep_TNH[1:], add_TNH[1:], strict=True)):
        torch.addcmul(add_NH, keep_NH, steps[t], out=steps[t + 1])
    return states_TNH


def in_chunks(keep_TNH: Tensor, add_TNH: Tensor) -> Tensor:
    """All chunks side by side, step by step; then from chunk to chunk: 2 sqrt(T) operations follow
    one another instead of T."""
    t = len(keep_TNH)
    k = math.isqrt(max(0, t - 1)) + 1
    padding = (0, 0, 0, 0, 0, -t % k)
    keep_CKNH, add_CKNH = (
        nn.functional.pad(x, padding).unflatten(0, (-1, k)) for x in (keep_TNH, add_TNH)
    )
    kept, states = [keep_CKNH[:, 0]], [add_CKNH[:, 0]]
    for keep_CNH, add_CNH in zip(keep_CKNH.unbind(1)[1:], add_CKNH.unbind(1)[1:], strict=True):
        states.append(torch.addcmul(add_CNH, keep_CNH, states[-1]))
        kept.append(keep_CNH * kept[-1])
    before = [torch.zeros_like(add_TNH[0])]
    for keep_NH, state_NH in zip(kept[-1].unbind()[:-1], states[-1].unbind()[:-1], strict=True):
        before.append(torch.addcmul(state_NH, keep_NH, before[-1]))
    all_CKNH = torch.stack(states, 1) + torch.stack(kept, 1) * torch.stack(before)[:, None]
    return all_CKNH.flatten(0, 1)[:t]
