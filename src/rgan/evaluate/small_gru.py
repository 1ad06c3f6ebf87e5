"""Many small GRUs of one shape, trained side by side, for the legacy protocols.

Shape letters: P networks, T steps, F inputs, H hidden units, B sequences of a batch.

The legacy protocols train a GRU of a few units for thousands of steps, once for each trial. Time
goes into walking over the steps, not into arithmetic, so all trials walk together. The batch is
the last axis, which keeps each operation on long contiguous rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rgan.evaluate.trial import Tick

BATCH = 128


class SmallGRUs(nn.Module):
    """P single-layer GRUs with a linear head of one output, each with its own weights.

    Args:
        seeds: one for each network's initial weights; uniform in ±1/√H.
        inputs: F.
        hidden: H.
    """

    def __init__(self, seeds: Sequence[int], inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        sizes = ((3 * hidden, inputs), (3 * hidden, hidden), (3 * hidden, 1), (3 * hidden, 1),
                 (1, hidden), (1, 1))  # fmt: skip
        stacks: list[list[Tensor]] = [[] for _ in sizes]
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            for stack, size in zip(stacks, sizes, strict=True):
                stack.append((2 * torch.rand(size, generator=generator) - 1) / hidden**0.5)
        (self.w_in, self.w_state, self.b_in, self.b_state, self.w_out, self.b_out) = (
            nn.Parameter(torch.stack(stack)) for stack in stacks
        )

    def forward(self, x_TPFB: Tensor) -> Tensor:
        """(T, P, B) the head's output at every step."""
        h = self.hidden
        gates_TPGB = self.w_in @ x_TPFB + self.b_in
        state_PHB = x_TPFB.new_zeros(x_TPFB.shape[1], h, x_TPFB.shape[3])
        states = []
        for gates_PGB in gates_TPGB.unbind(0):
            inner_PGB = torch.baddbmm(self.b_state, self.w_state, state_PHB)
            reset_update = torch.sigmoid(gates_PGB[:, : 2 * h] + inner_PGB[:, : 2 * h])
            reset, update = reset_update[:, :h], reset_update[:, h:]
            new = torch.tanh(torch.addcmul(gates_PGB[:, 2 * h :], reset, inner_PGB[:, 2 * h :]))
            state_PHB = torch.lerp(new, state_PHB, update)
            states.append(state_PHB)
        return (self.w_out @ torch.stack(states) + self.b_out).squeeze(2)


def as_steps(batches: Sequence[NDArray[np.float32]]) -> Tensor:
    """P arrays (B, T, F) as one tensor (T, P, F, B)."""
    return torch.from_numpy(np.stack(batches).transpose(2, 0, 3, 1).copy())


def train_side_by_side(
    networks: SmallGRUs,
    loss: Callable[[int], Tensor],
    steps: int,
    tick: Tick,
) -> None:
    """Adam at its usual rate on the sum of the networks' losses, which share no weights.

    Args:
        networks: P of them.
        loss: step number to the sum of P losses.
        steps: how many updates.
        tick: called P times in all, evenly.
    """
    optimiser = torch.optim.Adam(networks.parameters(), lr=1e-3)
    copies, told = networks.w_in.shape[0], 0
    for step in range(steps):
        optimiser.zero_grad(set_to_none=True)
        loss(step).backward()
        optimiser.step()
        while told < copies * (step + 1) // steps:
            tick()
            told += 1
