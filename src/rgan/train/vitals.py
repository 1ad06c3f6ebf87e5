"""What a training's health is read from: measured in one update out of many.

Shape letters: N sequences, T steps, H units.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from rgan.nets.batch import Batch
from rgan.nets.layers import Convolutions, Fold, Recurrence, Unfold

TWIN = 0.05
"""Two sequences are twins that are nearer than this share of the mean distance."""
_SAME = 1e-5
"""A unit whose output varies less than this over a batch is dead."""


@dataclass(frozen=True)
class Vitals:
    """One measurement.

    Args:
        losses: of this update, by name.
        gradient: norm by network, and by group of layers ("generator.recurrence").
        update: norm of the weights' change over the norm of the weights, by the same names.
        weight: norm of the weights before the update, by the same names.
        dead: share of units that give the same number for every sequence and step, by network.
        accuracy: share of real sequences on the real side of the critic's border.
        margin: mean score of real sequences less that of generated ones.
        logit: root mean square of all scores.
        diversity: mean distance between the generated sequences of a batch that have one
            condition, over that of the real ones.
        twins: share of such pairs of generated sequences that are next to the same, less three
            times what it is among real ones.
    """

    losses: dict[str, float] = field(default_factory=dict)
    gradient: dict[str, float] = field(default_factory=dict)
    update: dict[str, float] = field(default_factory=dict)
    weight: dict[str, float] = field(default_factory=dict)
    dead: dict[str, float] = field(default_factory=dict)
    accuracy: float = 0.5
    margin: float = 0.0
    logit: float = 0.0
    diversity: float = 1.0
    twins: float = 0.0


class Probe:
    """Measures one update of both networks.

    Args:
        networks: "generator" and "critic".
    """

    def __init__(self, networks: dict[str, nn.Module]) -> None:
        self.networks = networks
        self.gradient: dict[str, float] = {}
        self.update: dict[str, float] = {}
        self.weight: dict[str, float] = {}
        self.diversity, self.twins = 1.0, 0.0
        self._dead: dict[str, dict[str, float]] = {name: {} for name in networks}

    @property
    def dead(self) -> dict[str, float]:
        """Share of dead units by network."""
        return {
            name: sum(shares.values()) / len(shares) if shares else 0.0
            for name, shares in self._dead.items()
        }

    @contextmanager
    def watching(self) -> Iterator[Probe]:
        """Watches what the layers give meanwhile."""
        hooks = [
            module.register_forward_hook(self._hook(network, name))
            for network, whole in self.networks.items()
            for name, module in whole.named_children()
            if isinstance(module, Recurrence | Convolutions | Fold | Unfold | nn.Sequential)
        ]
        try:
            yield self
        finally:
            for hook in hooks:
                hook.remove()

    @contextmanager
    def step(self, network: str) -> Iterator[None]:
        """Measures gradients and the change of weights around an optimiser's step."""
        parameters = dict(self.networks[network].named_parameters())
        graded = {n: p.grad for n, p in parameters.items() if p.grad is not None}
        self.gradient |= _norms(network, graded)
        before = {n: parameters[n].detach().clone() for n in graded}
        yield
        moved = {n: parameters[n].detach() - old for n, old in before.items()}
        sizes = _norms(network, before)
        changes = _norms(network, moved)
        self.weight |= sizes
        self.update |= {name: changes[name] / max(size, 1e-12) for name, size in sizes.items()}

    def compare(self, real: Batch, fake: Batch, labels: int | None = None) -> None:
        """Measures how much generated sequences differ among themselves.

        Args:
            labels: how many of the condition's columns, the first ones, are the label's; None: all.
        """
        apart = [_apart(batch, batch.condition[:, :labels]) for batch in (real, fake)]
        spread_real, spread_fake = (float(d.mean()) if len(d) else 0.0 for d in apart)
        self.diversity = spread_fake / spread_real if spread_real > 0 else 1.0
        # On their own scale, or a generator that is not diverse yet would seem to have clusters.
        limits = TWIN * spread_real, TWIN * min(spread_real, spread_fake)
        shares = [float((d < limit).float().mean()) if len(d) else 0.0
                  for d, limit in zip(apart, limits, strict=True)]  # fmt: skip
        self.twins = max(0.0, shares[1] - 3 * shares[0])

    def _hook(self, network: str, name: str):  # type: ignore[no-untyped-def]
        def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
            units = output.detach().flatten(0, -2)
            # The first pass only: later ones are of weights that this update has moved.
            if len(units) > 1 and name not in self._dead[network]:
                low_H, high_H = torch.aminmax(units, dim=0)
                self._dead[network][name] = float((high_H - low_H < _SAME).float().mean())

        return hook


def _norms(network: str, tensors: dict[str, Tensor]) -> dict[str, float]:
    """Norms of a network's tensors and of each group of its layers."""
    groups: dict[str, list[Tensor]] = {}
    for name, tensor in tensors.items():
        groups.setdefault(f"{network}.{name.partition('.')[0]}", []).append(tensor)
    squares = {name: _square(group) for name, group in groups.items()}
    total = sum(squares.values())
    return {network: total**0.5} | {name: square**0.5 for name, square in squares.items()}


def _square(tensors: list[Tensor]) -> float:
    return float(torch.stack(torch._foreach_norm(tensors)).square().sum())


def _apart(batch: Batch, label_NC: Tensor) -> Tensor:
    """Distances between the sequences of a batch under one label, statics included.

    Where no two have the same label, between all of them.
    """
    flat_NK = torch.cat([batch.x.detach().flatten(1), batch.static.detach()], dim=1)
    distance_P = torch.pdist(flat_NK)
    alike_P = torch.pdist(label_NC) == 0 if label_NC.shape[1] else distance_P >= 0
    return distance_P[alike_P] if bool(alike_P.any()) else distance_P
