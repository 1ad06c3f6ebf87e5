"""New networks and optimisers, and saved weights put into them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rgan.errors import ConfigError, RunError, nearest
from rgan.nets.base import BaseGenerator
from rgan.nets.config import CriticConfig, GeneratorConfig
from rgan.nets.critic import Critic
from rgan.nets.feedback import FeedbackGenerator
from rgan.nets.generator import Generator
from rgan.nets.planar import PlanarGenerator
from rgan.nets.spec import SequenceSpec
from rgan.train.config import OptimizerConfig
from rgan.train.randomness import Stream, stream_seed


def build_networks(
    spec: SequenceSpec, generator: GeneratorConfig, critic: CriticConfig, seed: int
) -> tuple[BaseGenerator, Critic]:
    """New networks with the initial weights of this seed; torch's own random state is untouched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, Stream.WEIGHTS))
        return build_generator(spec, generator), Critic(spec, critic)


def build_generator(spec: SequenceSpec, config: GeneratorConfig) -> BaseGenerator:
    """A generator of the kind that the settings ``feedback`` and ``planar`` say."""
    if config.planar:
        return PlanarGenerator(spec, config)
    return FeedbackGenerator(spec, config) if config.feedback else Generator(spec, config)


def build_optimizer(network: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """The optimiser of one network; Adam fused, which saves a fifth of a small step on a CPU."""
    if config.kind == "sgd":
        return torch.optim.SGD(network.parameters(), lr=config.rate, momentum=config.beta1)
    fused = next(network.parameters()).device.type in ("cpu", "cuda")
    betas = (config.beta1, config.beta2)
    return torch.optim.Adam(network.parameters(), lr=config.rate, betas=betas, fused=fused)


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
                    reason="another configuration, or a version of rgan with other networks, made "
                    "it",
                    repair="train anew, or use the version that the run's run.json names",
                )
        network.load_state_dict(saved)


def frozen_names(networks: dict[str, nn.Module], patterns: tuple[str, ...]) -> set[str]:
    """The names of the parameters that ``train.freeze`` means.

    Raises:
        ConfigError: an entry means none.
    """
    names = [
        f"{n}.{key}" for n, network in networks.items() for key, _ in network.named_parameters()
    ]
    frozen: set[str] = set()
    for pattern in patterns:
        meant = {name for name in names if name == pattern or name.startswith(f"{pattern}.")}
        if not meant:
            parts = {name.rpartition(".")[0] for name in names} | set(names)
            raise ConfigError(
                f'train.freeze has "{pattern}", which no weight is called',
                rule="an entry is the beginning of weights' names",
                repair=nearest(pattern, parts),
            )
        frozen |= meant
    return frozen
