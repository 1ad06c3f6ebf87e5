"""A training put together in memory: data split and packed, networks and optimisers made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from rgan.config import Config
from rgan.data.load import check_trainable
from rgan.data.split import Splits, split
from rgan.errors import RunError
from rgan.nets.batch import Batch
from rgan.runs.sealed import Checkpoint, taking_up
from rgan.sequences import Sequences
from rgan.train.build import build_networks, load_networks
from rgan.train.config import OptimizerConfig
from rgan.train.device import resolve_device, resolve_devices
from rgan.train.events import Ended, Listener
from rgan.train.group import ALONE, Group, launched
from rgan.train.loop import train
from rgan.train.precision import check
from rgan.train.randomness import Stream, stream_seed
from rgan.train.state import TrainState
from rgan.workflow.checks import (
    check_classes,
    check_conditions,
    check_objective,
    resolve_batch,
    resolve_kind,
)
from rgan.workflow.encoder import Encoder, to_batch
from rgan.workflow.threads import threads, worth
from rgan.workflow.trained import Trained


@dataclass(frozen=True)
class Session:
    """All that a training needs, and what it changes.

    Args:
        config: with ``model.kind`` resolved to rgan or rcgan, and the batch to a number.
        splits: real sequences, without labels for an RGAN.
        encoder: fitted to ``splits.train``.
        state: networks and optimisers on their device.
        batch: the packed training sequences on the same device.
        new_weights: those that a checkpoint had nothing for, by name, and why.
        devices: to train on, this process's own first; see ``processes.team``.
        group: the processes that train together.
    """

    config: Config
    splits: Splits
    encoder: Encoder
    state: TrainState
    batch: Batch
    new_weights: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[torch.device, ...] = ()
    group: Group = ALONE

    @property
    def trained(self) -> Trained:
        """The generator as it is now, ready to sample."""
        return Trained(self.state.sampler, self.encoder)

    @property
    def processes(self) -> tuple[int, int]:
        """How many processes train together, and how many of them on this machine."""
        launch = launched()
        if launch is not None:
            return launch.size, launch.local_size
        return max(1, len(self.devices)), max(1, len(self.devices))

    @property
    def is_complete(self) -> bool:
        """Whether no step is left to train."""
        return self.state.step >= self.state.plan(len(self.batch)).total

    def run(self, listener: Listener, should_stop: Callable[[], str] = lambda: "") -> Ended:
        """Train to the end, or until asked to stop.

        Raises:
            DivergedError: a loss is not finite.
            TrainingError: another process that trains with this one has failed.
        """
        config, state = self.config, self.state
        try:
            if self.group.size > 1:
                self.group.send(*self._job())
            with threads(worth(config, torch.get_num_threads(), self.group.size)):
                return train(
                    state,
                    self.batch,
                    config.objective,
                    config.penalty,
                    listener,
                    should_stop,
                    gfactor=config.gfactor,
                    health=config.health,
                    group=self.group,
                )
        except (RuntimeError, MemoryError) as error:
            told = self.group.explained(error)
            if told is error:
                raise
            raise told from error

    def _job(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """All that another process needs to train along, but for the data."""
        message = {
            "do": "train",
            "config": self.config.to_sections(),
            "spec": self.encoder.packer.spec.to_dict(),
            "counters": self.state.counters(),
        }
        groups = self.state.tensors().items()
        return message, {f"{g}|{name}": t for g, named in groups for name, t in named.items()}

    def checkpoint_state(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors, as JSON data."""
        return {
            "counters": self.state.counters(),
            "monitor": self.state.monitor,
            "encoder": self.encoder.state(),
            "config": self.config.to_sections(),
        }


def open_session(
    config: Config,
    sequences: Sequences,
    checkpoint: Checkpoint | None = None,
    *,
    fitting: bool = False,
    own_scaling: bool = False,
) -> Session:
    """Split, scale and pack the sequences, and make the networks, or take up a checkpoint's.

    Args:
        config: the configuration.
        sequences: all of them, before the split.
        checkpoint: to go on from.
        fitting: take what fits of the checkpoint's weights, instead of refusing others.
        own_scaling: fit the scaling to these sequences in spite of a checkpoint.

    Raises:
        DataError: the sequences cannot be trained on; nothing has been written.
        ConfigError: the configuration does not fit the data, or the device is not there.
        RunError: the checkpoint does not fit the configuration.
    """
    check_trainable(sequences)
    config.evaluate.check()  # better now than after an hour of training
    check_objective(config)
    config, sequences = resolve_kind(config, sequences)
    config = resolve_batch(config, sequences)
    check_conditions(config.model.condition, sequences)
    devices = resolve_devices(config.train.device, launched())
    device = devices[0]
    check(config.train.precision, device)
    splits = split(sequences, config.data, stream_seed(config.train.seed, Stream.SPLIT))
    check_classes(splits)
    if checkpoint is None or own_scaling:
        encoder = Encoder.fit(splits.train, config.transform, config.model.condition)
    else:
        with taking_up(checkpoint.path):
            encoder = Encoder.from_state(checkpoint.state["encoder"])
    spec = encoder.packer.spec
    generator, critic = build_networks(spec, config.generator, config.critic, config.train.seed)
    batch = to_batch(encoder.encode(splits.train))
    lattice = encoder.lattice(splits.train)
    if lattice is not None:
        generator.set_lattice(*(torch.from_numpy(part) for part in lattice.parts))
    if checkpoint is None or fitting:  # else all of it is the checkpoint's
        generator.start(batch)
        critic.fit(batch, generator.whitening)
    optimizers = optimizers_of(config)
    state = TrainState(generator.to(device), critic.to(device), config.train, optimizers)
    new: dict[str, str] = {}
    if checkpoint is not None:
        with taking_up(checkpoint.path):
            new = _take_up(state, checkpoint, fitting)
    return Session(config, splits, encoder, state, batch.to(device), new, devices)


def optimizers_of(config: Config) -> tuple[OptimizerConfig, OptimizerConfig]:
    """Settings of both optimisers, the generator's first, rates as ``gfactor.value`` has them."""
    generator, critic = config.generator_optimizer, config.critic_optimizer
    if config.gfactor.value:
        generator = dataclasses.replace(generator, rate=config.gfactor.value * critic.rate)
    return generator, critic


def _take_up(state: TrainState, checkpoint: Checkpoint, fitting: bool) -> dict[str, str]:
    """Put a checkpoint into a state; gives the weights that begin anew."""
    state.load_counters(checkpoint.state["counters"])
    if not fitting:  # a branch has no best checkpoint yet, and may have other data
        state.monitor = dict(checkpoint.state.get("monitor", {}))
    new: dict[str, str] = {}
    if fitting:
        new = state.load_fitting(checkpoint.tensors)
    else:
        state.load_tensors(checkpoint.tensors)
    if state.config.average and not checkpoint.state["config"]["train"]["average"]:
        # Averaging is switched on now: what stood there so far are the first random weights.
        state.average.load_state_dict(state.generator.state_dict())
        state.fresh_from = state.step
    if new:
        state.fresh_from = state.step
    return new


def trained_from_checkpoint(checkpoint: Checkpoint, device: str = "cpu") -> Trained:
    """The sampling generator of a checkpoint.

    Raises:
        RunError: the checkpoint's state is not one of ours.
        ConfigError: the device is not there.
    """
    from rgan.config import from_sections

    state = checkpoint.state
    if not isinstance(state.get("encoder"), dict) or not isinstance(state.get("config"), dict):
        raise RunError(
            f"{checkpoint.path} does not hold a trained model",
            rule="a checkpoint's state has the parts encoder and config",
        )
    with taking_up(checkpoint.path):
        config = from_sections(state["config"])
        encoder = Encoder.from_state(state["encoder"])
        generator, _ = build_networks(encoder.packer.spec, config.generator, config.critic, 0)
        name = "average" if config.train.average else "generator"
        model = checkpoint.tensors["model"]
        wanted = {key: value for key, value in model.items() if key.startswith(f"{name}.")}
        load_networks({name: generator}, wanted)
        generator.to(resolve_device(device)).requires_grad_(False)
        return Trained(generator, encoder)
