"""``Imputer``: what may stand in the gaps of a sequence, drawn at random, given what was observed.

Shape letters: N sequences, T steps, F features, S static columns, H states, Z noise channels.

A recurrent network reads the observed values in both directions, once for each sequence. A second,
smaller one turns what it read and noise into values, once for each draw. So the noise of
neighbouring steps hangs together, and twenty draws cost little more than one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rgan.nets.layers import (
    POSITION_CHANNELS,
    Recurrence,
    positions,
    spread_over_steps,
)

NOISE = 8


@dataclass(frozen=True)
class ImputerSizes:
    """Sizes of an imputer.

    Args:
        values: F.
        static: S.
        hidden: units in each direction of the network that reads.
        drawing: units of the one that draws.
    """

    values: int
    static: int
    hidden: int = 64
    drawing: int = 32

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Partial:
    """N partly observed sequences, scaled.

    Args:
        values_NTF: 0 where not visible.
        visible_NTF: 1 where a value may be seen, else 0.
        static_NS: S may be 0.
        lengths_N: int64, 1..T.
    """

    values_NTF: Tensor
    visible_NTF: Tensor
    static_NS: Tensor
    lengths_N: Tensor

    def to(self, device: torch.device | str) -> Partial:
        """The same on another device."""
        parts = (self.values_NTF, self.visible_NTF, self.static_NS, self.lengths_N)
        return Partial(*(part.to(device) for part in parts))


@dataclass(frozen=True)
class Reading:
    """What was read of N sequences, from which any number of draws is made.

    Args:
        states_NTH: what the network that reads tells the one that draws.
        middle_NTF: where draws lie around.
        spread_NTF: how far they scatter, each value on its own.
    """

    states_NTH: Tensor
    middle_NTF: Tensor
    spread_NTF: Tensor

    def twice(self) -> Reading:
        """The same, one after the other, for two draws in one pass."""
        parts = (self.states_NTH, self.middle_NTF, self.spread_NTF)
        return Reading(*(torch.cat([part, part]) for part in parts))


@dataclass(frozen=True)
class ImputerNoise:
    """Noise of one draw: for a sequence as a whole, for each step, and for each value."""

    whole_NZ: Tensor
    step_NTZ: Tensor
    value_NTF: Tensor

    def take(self, n: int) -> ImputerNoise:
        """The noise of the first n sequences."""
        return ImputerNoise(self.whole_NZ[:n], self.step_NTZ[:n], self.value_NTF[:n])

    def to(self, device: torch.device | str) -> ImputerNoise:
        """The same noise on another device."""
        return ImputerNoise(
            self.whole_NZ.to(device), self.step_NTZ.to(device), self.value_NTF.to(device)
        )


class Imputer(nn.Module):
    """Draws values for every step and feature of partly observed sequences.

    Args:
        sizes: of data and layers.
    """

    def __init__(self, sizes: ImputerSizes) -> None:
        super().__init__()
        self.sizes = sizes
        f, hidden = sizes.values, sizes.hidden
        # values, mask, and before and after each step: the nearest visible value and its distance
        self.enter = nn.Linear(6 * f + sizes.static + POSITION_CHANNELS, hidden)
        self.reader = Recurrence("lstm", hidden, hidden, 1, both_ways=True)
        width = self.reader.size + hidden
        self.middle = nn.Linear(width, f)
        self.trust = nn.Linear(width, 2 * f)
        self.spread = nn.Linear(width, f)
        self.tell = nn.Linear(width, sizes.drawing)
        entering = sizes.drawing + 2 * NOISE
        self.drawer = Recurrence("lstm", entering, sizes.drawing, 1, both_ways=True)
        self.shift = nn.Linear(self.drawer.size, f)
        with torch.no_grad():  # begin as a mean of the two nearest values, with some scatter
            for layer in (self.middle, self.trust, self.spread):
                layer.weight.mul_(0.1)
                layer.bias.zero_()
            self.trust.bias.fill_(-0.4)
            self.spread.bias.fill_(-1.0)

    def draw_noise(self, n: int, steps: int, random: torch.Generator) -> ImputerNoise:
        """Noise for one draw of n sequences, on the generator's device."""
        shapes = ((n, NOISE), (n, steps, NOISE), (n, steps, self.sizes.values))
        return ImputerNoise(
            *(torch.randn(s, generator=random, device=random.device) for s in shapes)
        )

    def read(self, partial: Partial) -> Reading:
        """Read the visible values, in both directions."""
        x_NTF, visible_NTF = partial.values_NTF, partial.visible_NTF
        steps = x_NTF.shape[1]
        before_NTF, since_NTF = carried(x_NTF, visible_NTF)
        after_NTF, until_NTF = (
            part.flip(1) for part in carried(x_NTF.flip(1), visible_NTF.flip(1))
        )
        parts = [x_NTF, visible_NTF, before_NTF, since_NTF, after_NTF, until_NTF]
        parts += [
            positions(partial.lengths_N, steps, x_NTF.dtype),
            spread_over_steps(partial.static_NS, steps),
        ]
        entered_NTI = nn.functional.leaky_relu(self.enter(torch.cat(parts, dim=-1)), 0.2)
        states_NTH = torch.cat([self.reader(entered_NTI), entered_NTI], dim=-1)
        trust_NTF, other_NTF = torch.sigmoid(self.trust(states_NTH)).chunk(2, dim=-1)
        middle_NTF = self.middle(states_NTH) + trust_NTF * before_NTF + other_NTF * after_NTF
        spread_NTF = nn.functional.softplus(self.spread(states_NTH))
        return Reading(self.tell(states_NTH), middle_NTF, spread_NTF)

    def draw(self, reading: Reading, noise: ImputerNoise) -> Tensor:
        """(N, T, F): values at every place, those that were visible included."""
        steps = reading.states_NTH.shape[1]
        noise_NTZ = torch.cat([spread_over_steps(noise.whole_NZ, steps), noise.step_NTZ], dim=-1)
        drawn_NTH = self.drawer(torch.cat([reading.states_NTH, noise_NTZ], dim=-1))
        own_NTF = reading.spread_NTF * noise.value_NTF
        return reading.middle_NTF + self.shift(drawn_NTH) + own_NTF


def carried(x_NTF: Tensor, visible_NTF: Tensor) -> tuple[Tensor, Tensor]:
    """The last visible value before or at each step, 0 where there is none; and how long ago it
    was, 1 / (1 + steps), 0 where there is none."""
    step_1T1 = torch.arange(x_NTF.shape[1], device=x_NTF.device)[None, :, None]
    last_NTF = torch.where(visible_NTF > 0, step_1T1, -1).cummax(dim=1).values
    there_NTF = (last_NTF >= 0).to(x_NTF.dtype)
    value_NTF = x_NTF.gather(1, last_NTF.clamp(min=0)) * there_NTF
    return value_NTF, there_NTF / (1 + step_1T1 - last_NTF)
