"""Everything that training changes, in one place, so that it can be saved and taken up again."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from rgan.errors import RunError
from rgan.nets.config import CriticConfig, GeneratorConfig
from rgan.nets.critic import Critic
from rgan.nets.generator import Generator
from rgan.nets.spec import SequenceSpec
from rgan.train.config import OptimizerConfig, TrainConfig
from rgan.train.randomness import Stream, stream_seed


def build_networks(
    spec: SequenceSpec, generator: GeneratorConfig, critic: CriticConfig, seed: int
) -> tuple[Generator, Critic]:
    """New networks with the initial weights of this seed; torch's own random state is untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, Stream.WEIGHTS))
        return Generator(spec, generator), Critic(spec, critic)


def build_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimiser of one network; Adam fused, which saves a fifth of a small step on a CPU."""
    if config.kind == "sgd":
        return torch.optim.SGD(network.parameters(), lr=config.rate, momentum=config.beta1)
    fused = next(network.parameters()).device.type in ("cpu", "cuda")
    betas = (config.beta1, config.beta2)
    return torch.optim.Adam(network.parameters(), lr=config.rate, betas=betas, fused=fused)


_KEPT: dict[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: {"momentum_buffer"},
}
"""What each optimiser remembers of a parameter."""


class TrainState:
    """Networks, averaged weights, optimisers and counters.

    Args:
        generator, critic: already on the device they train on.
        config: its ``average`` and schedule are used here.
        optimizers: settings of the generator's and of the critic's optimiser.
    """

    def __init__(
        self,
        generator: Generator,
        critic: Critic,
        config: TrainConfig,
        optimizers: tuple[OptimizerConfig, OptimizerConfig],
    ) -> None:
        self.generator, self.critic, self.config = generator, critic, config
        self.average = copy.deepcopy(generator).requires_grad_(False)
        self.rates = tuple(o.rate for o in optimizers)
        self.generator_optimizer = build_optimizer(generator, optimizers[0])
        self.critic_optimizer = build_optimizer(critic, optimizers[1])
        self.step = 0

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.generator.parameters()).device

    @property
    def sampler(self) -> Generator:
        """The generator that samples: averaged weights, or the last ones where none are kept."""
        return self.average if self.config.average else self.generator

    def parameters(self) -> dict[str, int]:
        """Trainable parameters by network."""
        return {
            name: sum(p.numel() for p in network.parameters())
            for name, network in (("generator", self.generator), ("critic", self.critic))
        }

    def set_rates(self, total: int) -> dict[str, float]:
        """Set both learning rates for the coming step; gives them by network."""
        factor = rate_factor(self.step, total, self.config)
        rates = {}
        optimizers = (self.generator_optimizer, self.critic_optimizer)
        for name, base, optimizer in zip(
            ("generator", "critic"), self.rates, optimizers, strict=True
        ):
            rates[name] = base * factor
            for group in optimizer.param_groups:
                group["lr"] = rates[name]
        return rates

    @torch.no_grad()
    def update_average(self) -> None:
        """One step of the averaged weights; early on the average is short, so that the random
        initial weights are soon forgotten."""
        decay = min(self.config.average, (1 + self.step) / (10 + self.step))
        mine: list[Tensor] = list(self.average.parameters())
        torch._foreach_lerp_(mine, list(self.generator.parameters()), 1 - decay)

    def is_finite(self) -> bool:
        """Whether every weight of all networks is a finite number."""
        networks = (self.generator, self.critic, self.average)
        return all(bool(torch.isfinite(p).all()) for n in networks for p in n.parameters())

    # -- saving ------------------------------------------------------------------------------

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """All tensors by file: "model" and "optimizer", names with the network in front."""
        model: dict[str, Tensor] = {}
        for name in ("generator", "critic", "average"):
            for key, value in getattr(self, name).state_dict().items():
                model[f"{name}.{key}"] = value.detach()
        optimizer: dict[str, Tensor] = {}
        for name in ("generator", "critic"):
            network, optim = getattr(self, name), getattr(self, f"{name}_optimizer")
            for key, parameter in network.named_parameters():
                for what, value in optim.state.get(parameter, {}).items():
                    if isinstance(value, Tensor):
                        optimizer[f"{name}.{key}/{what}"] = value.detach()
        return {"model": model, "optimizer": optimizer}

    def load_tensors(self, tensors: dict[str, dict[str, Tensor]]) -> None:
        """Take up what ``tensors`` gave.

        Raises:
            RunError: the tensors are not those of these networks; names the first that differs.
        """
        load_networks(
            {"generator": self.generator, "critic": self.critic, "average": self.average},
            tensors["model"],
        )
        saved = tensors.get("optimizer", {})
        for name in ("generator", "critic"):
            network, optim = getattr(self, name), getattr(self, f"{name}_optimizer")
            for key, parameter in network.named_parameters():
                prefix = f"{name}.{key}/"
                entries = {
                    k.removeprefix(prefix): v for k, v in saved.items() if k.startswith(prefix)
                }
                # Another kind of optimiser, chosen on resume, begins anew. The fused step counter
                # lives where the parameter does.
                if entries.keys() == _KEPT[type(optim)]:
                    optim.state[parameter] = {
                        what: value.to(parameter.device).clone() for what, value in entries.items()
                    }

    def counters(self) -> dict[str, Any]:
        """What is not a tensor, as plain JSON data."""
        return {"step": self.step}


def load_networks(networks: dict[str, nn.Module], model: dict[str, Tensor]) -> None:
    """Put saved tensors into networks, by the network's name in front of each.

    Raises:
        RunError: a tensor is missing, unknown, or of another shape.
    """
    for name, network in networks.items():
        own = network.state_dict()
        prefix = f"{name}."
        saved = {k.removeprefix(prefix): v for k, v in model.items() if k.startswith(prefix)}
        for key in sorted(own.keys() | saved.keys()):
            if key not in saved or key not in own or own[key].shape != saved[key].shape:
                have = tuple(saved[key].shape) if key in saved else "not there"
                want = tuple(own[key].shape) if key in own else "not there"
                raise RunError(
                    f"{name}.{key} is {have} in the checkpoint and {want} in the model",
                    rule="a checkpoint fits the configuration it was trained with",
                )
        network.load_state_dict(saved)


def rate_factor(step: int, total: int, config: TrainConfig) -> float:
    """What the learning rates are multiplied by at a step, between 0 and 1."""
    factor = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    if config.schedule == "cosine":
        done = min(1.0, step / max(1, total))
        factor *= 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))
    return factor
