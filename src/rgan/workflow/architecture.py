"""The networks of a run from its configuration alone, without any checkpoint.

Shape letters: N sequences, T steps, D channels, S static columns, C condition columns.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rgan.config import Config, from_sections
from rgan.errors import ConfigError, RunError
from rgan.nets.base import BaseGenerator
from rgan.nets.critic import Critic
from rgan.nets.feedback import FeedbackGenerator
from rgan.nets.spec import SequenceSpec
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run
from rgan.train.build import build_generator, build_networks
from rgan.workflow.sizes import MOST_NUMBERS, read_spec

if TYPE_CHECKING:
    from rich.table import Table

MOST_PARAMETERS, MOST_LAYERS = 2**30, 1000
"""Of both networks, and on top of each other: beyond it a description is taken to be damaged."""
_BATCH = 2


@dataclass(frozen=True)
class Layer:
    """One layer of a network.

    Args:
        name: with the network's in front, as in a checkpoint: "generator.recurrence.rnn".
        kind: "LSTM", "Linear", ...
        shape: of its output; "N" stands for the number of sequences.
        parameters: how many numbers are trained in it.
    """

    name: str
    kind: str
    shape: tuple[str | int, ...]
    parameters: int


@dataclass(frozen=True, eq=False)
class Architecture:
    """The networks of a run, untrained, with the very weights that its training began with, but
    for what is set from data: the masks' bias and the lattice of values.

    Args:
        config: the run's configuration.
        spec: sizes and kinds of its packed data.
        source: where the spec was found: "run.json", or the checkpoint.
        generator, critic: on the CPU, with the initial weights of the run's seed.
        layers: of both, in the order in which they are used.
    """

    config: Config
    spec: SequenceSpec
    source: str
    generator: BaseGenerator
    critic: Critic
    layers: tuple[Layer, ...]

    @property
    def parameters(self) -> dict[str, int]:
        """How many numbers are trained in each network."""
        networks: dict[str, nn.Module] = {"generator": self.generator, "critic": self.critic}
        return {name: _count(network) for name, network in networks.items()}


def rebuild(run: Run) -> Architecture:
    """The networks that a run trains, from ``config.toml`` and ``run.json``.

    Where ``run.json`` does not say what the data look like, as in runs of older versions, the
    newest checkpoint is asked.

    Raises:
        RunError: neither says it, or what they say is damaged.
        ConfigError: the configuration breaks a rule.
    """
    config = from_sections(run.read_config())
    source, data = _find_spec(run)
    spec = read_spec(data, source)
    _check_size(spec, config, run)
    generator, critic = build_networks(spec, config.generator, config.critic, config.train.seed)
    layers = _trace(generator, critic)
    return Architecture(config, spec, source, generator, critic, layers)


def describe(architecture: Architecture) -> Table:
    """The layers as a table for ``rich``: name, kind, shape of the output, parameters."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_footer=True)
    counts = architecture.parameters
    table.add_column("layer", footer="\n".join([*counts, "together"]), overflow="fold")
    table.add_column("kind")
    table.add_column("output")
    totals = [*counts.values(), sum(counts.values())]
    footer = "\n".join(f"{total:,}" for total in totals)
    table.add_column("parameters", justify="right", footer=footer)
    before = ""
    for layer in architecture.layers:
        network = layer.name.partition(".")[0]
        if before and network != before:
            table.add_section()
        before = network
        shape = ", ".join(map(str, layer.shape))
        count = f"{layer.parameters:,}" if layer.parameters else ""
        table.add_row(layer.name, layer.kind, f"({shape})", count)
    return table


def as_text(architecture: Architecture, width: int = 100) -> str:
    """``describe`` as plain lines of text."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, no_color=True)
    console.print(describe(architecture))
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def _find_spec(run: Run) -> tuple[str, Any]:
    """Where the sizes of the data stand, and what stands there."""
    data = run.info.get("spec")
    if data is not None:
        return "run.json", data
    advice = RunError(
        f"{run.path} does not say what its data look like: run.json has no sizes, and no "
        "checkpoint is there to ask",
        rule='run.json has "spec"; versions before wrote none',
        reason="the sizes of the networks follow from the configuration and from the data",
        repair=f'put a checkpoint of the run back into "{run.checkpoints}"',
    )
    store = CheckpointStore(run.checkpoints)
    if not store.steps():
        raise advice
    saved = store.load("latest")
    encoder = saved.state.get("encoder")
    packer = encoder.get("packer") if isinstance(encoder, dict) else None
    if not isinstance(packer, dict) or "spec" not in packer:
        raise advice
    return f"checkpoint {saved.step}", packer["spec"]


def _check_size(spec: SequenceSpec, config: Config, run: Run) -> None:
    """Refuse sizes that no machine has room for, by counting without making anything.

    Raises:
        ConfigError: there are too many parameters, or too many numbers in a sequence.
    """
    g, c = config.generator, config.critic
    width = spec.channels + spec.static + spec.condition + max(g.hidden, c.hidden, c.channels)
    too_big = spec.steps * width > MOST_NUMBERS
    too_big |= max(g.layers, g.convs_before, g.convs_after, c.layers, c.convs) > MOST_LAYERS
    if not too_big:
        try:
            with torch.device("meta"):
                too_big = (
                    _count(build_generator(spec, g)) + _count(Critic(spec, c)) > MOST_PARAMETERS
                )
        except (RuntimeError, OverflowError):  # a product beyond 64 bits
            too_big = True
    if too_big:
        raise ConfigError(
            f"the networks of {run.path} would not fit into any machine",
            rule=f"at most {MOST_PARAMETERS:,} parameters, {MOST_LAYERS:,} layers, and "
            f"{MOST_NUMBERS:,} numbers in a sequence",
            reason="run.json or config.toml is damaged, or was never trained",
        )


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _trace(generator: BaseGenerator, critic: Critic) -> tuple[Layer, ...]:
    """The layers of both in the order of use, with the shapes that a real pass of N = 2 shows."""
    layers: list[Layer] = []
    hooks = []

    def watch(name: str, module: nn.Module) -> Callable[..., None]:
        def note(_: nn.Module, given: Any, made: Any) -> None:
            if any(layer.name == name for layer in layers):
                return  # called before
            tensor = made[0] if isinstance(made, tuple) else made
            shape = ("N", *tensor.shape[1:])
            layers.append(Layer(name, type(module).__name__, shape, _count(module)))

        return note

    for network_name, network in (("generator", generator), ("critic", critic)):
        for name, module in network.named_modules():
            # Own parts are frames around torch's layers, and empty where one is left out, but for
            # those with weights of their own.
            is_layer = type(module).__module__.startswith("torch.")
            is_layer |= any(True for _ in module.parameters(recurse=False))
            if is_layer and not list(module.children()):
                path = f"{network_name}.{name}"
                hooks.append(module.register_forward_hook(watch(path, module)))
    spec = generator.spec
    try:
        with torch.no_grad():
            noise = generator.draw_noise(_BATCH, torch.Generator().manual_seed(0))
            lengths_N = torch.full((_BATCH,), spec.steps)
            made = generator(noise, lengths_N, torch.zeros(_BATCH, spec.condition))
            if isinstance(generator, FeedbackGenerator):  # its steps go past torch's layers
                generator.likelihood(made, torch.Generator().manual_seed(0))
            critic(made)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(layers)
