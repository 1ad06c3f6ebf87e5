"""Everything that training changes, in one place, so that it can be saved and taken up again."""

from __future__ import annotations

import copy
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from rgan.nets.base import BaseGenerator
from rgan.nets.critic import Critic
from rgan.train.build import build_optimizer, frozen_names, load_networks
from rgan.train.config import OptimizerConfig, TrainConfig
from rgan.train.gfactor import Decision
from rgan.train.group import Order
from rgan.train.plan import Meter, Plan, make_plan, rate_factor

_KEPT: dict[type[torch.optim.Optimizer], set[str]] = {
    torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"},
    torch.optim.SGD: {"momentum_buffer"},
}
"""What each optimiser remembers of a parameter."""


class TrainState:
    """Networks, averaged weights, optimisers and counters.

    Args:
        generator, critic: already on the device they train on.
        config: its ``average``, ``freeze`` and schedule are used here.
        optimizers: settings of the generator's and of the critic's optimiser.

    Attributes:
        step: generator updates made.
        drawn: batches drawn, one for each critic update.
        fresh_from: the step at which weights were last begun anew, as a branch does; the warm-up
            and the short average of the first steps are counted from there.
        meter: the losses of the epoch so far.
        balance: the state of the controller that steers the g-factor, as JSON data.
        decision: what it has decided last.
        health: what the examinations remember, as JSON data.
        monitor: what the looks at similarity remember, as JSON data that holds times, and so is
            none of the counters.
        lowered: factors on the learning rates by network, where an alarm has lowered them.
        scales: what losses are multiplied by before they go back, by network; see ``precision``.
        frozen: names of parameters that are not trained.

    Raises:
        ConfigError: ``freeze`` names no weight.
    """

    def __init__(
        self,
        generator: BaseGenerator,
        critic: Critic,
        config: TrainConfig,
        optimizers: tuple[OptimizerConfig, OptimizerConfig],
    ) -> None:
        self.generator, self.critic, self.config = generator, critic, config
        self.average = copy.deepcopy(generator).requires_grad_(False)
        self.rates = tuple(o.rate for o in optimizers)
        self.generator_optimizer = build_optimizer(generator, optimizers[0])
        self.critic_optimizer = build_optimizer(critic, optimizers[1])
        self.frozen = frozen_names({"generator": generator, "critic": critic}, config.freeze)
        self.unfreeze("generator")
        self.unfreeze("critic")
        self.step = self.drawn = self.fresh_from = 0
        self.meter = Meter()
        self.balance: dict[str, Any] = {}
        self.health: dict[str, Any] = {}
        self.monitor: dict[str, Any] = {}
        self.lowered: dict[str, float] = {}
        self.scales: dict[str, dict[str, Any]] = {}
        self.decision = Decision(critic_steps=config.critic_steps)
        self._origin, self._epoch_steps = (0, 0, 0), 0

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.generator.parameters()).device

    @property
    def sampler(self) -> BaseGenerator:
        """The generator that samples: averaged weights, or the last ones where none are kept."""
        return self.average if self.config.average else self.generator

    def parameters(self) -> dict[str, int]:
        """Trainable parameters by network."""
        return {
            name: sum(p.numel() for p in getattr(self, name).parameters() if p.requires_grad)
            for name in ("generator", "critic")
        }

    def freeze(self, network: str) -> None:
        """Keep gradients from all of a network's parameters for now."""
        getattr(self, network).requires_grad_(False)

    def unfreeze(self, network: str) -> None:
        """Let gradients reach a network's parameters again, but for those of ``train.freeze``."""
        for name, parameter in getattr(self, network).named_parameters():
            parameter.requires_grad_(f"{network}.{name}" not in self.frozen)

    def plan(self, n: int) -> Plan:
        """The plan for n training sequences.

        Where a resume has changed how many steps make an epoch, epochs are counted on from here,
        and the one that was broken off begins again.
        """
        plan = make_plan(self.config, n, self._origin)
        if self._epoch_steps not in (0, plan.steps):
            step, epoch, _ = self._origin
            epoch += (self.step - step) // self._epoch_steps
            self._origin = self.step, epoch, self.drawn
            self.meter = Meter()
            plan = make_plan(self.config, n, self._origin)
        self._epoch_steps = plan.steps
        return plan

    def set_rates(self, total: int) -> dict[str, float]:
        """Set both learning rates for the coming step; gives them by network."""
        factor = rate_factor(self.step, total, self.config, self.fresh_from)
        steered = {"generator": self.decision.generator, "critic": self.decision.critic}
        rates = {}
        for (name, own), base in zip(steered.items(), self.rates, strict=True):
            rates[name] = base * factor * own * self.lowered.get(name, 1.0)
            for group in getattr(self, f"{name}_optimizer").param_groups:
                group["lr"] = rates[name]
        return rates

    def order(self, rates: dict[str, float], examined: bool) -> Order:
        """The coming update, as other processes have to make it too."""
        steps = self.decision.critic_steps
        return Order(self.step, steps, (rates["generator"], rates["critic"]), examined)

    def obey(self, order: Order) -> None:
        """Make ready for an update that another process has decided on."""
        self.decision = Decision(critic_steps=order.critic_steps)
        for name, rate in zip(("generator", "critic"), order.rates, strict=True):
            for group in getattr(self, f"{name}_optimizer").param_groups:
                group["lr"] = rate

    @torch.no_grad()
    def update_average(self) -> None:
        """One step of the averaged weights; early on the average is short, so that the random
        initial weights are soon forgotten."""
        age = self.step - self.fresh_from
        decay = min(self.config.average, (1 + age) / (10 + age))
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
        self._load_optimizers(tensors.get("optimizer", {}))

    @torch.no_grad()
    def load_fitting(self, tensors: dict[str, dict[str, Tensor]]) -> dict[str, str]:
        """Take up every weight that fits, with what its optimiser remembers of it.

        Buffers, which describe the data, stay as they are. Where a weight of the generator does not
        fit, the average begins anew at the generator as it is then.

        Returns:
            For each weight that stays new, by name, why.
        """
        model, new = tensors["model"], {}
        for network in ("generator", "critic"):
            for key, parameter in getattr(self, network).named_parameters():
                name = f"{network}.{key}"
                saved = model.get(name)
                if saved is not None and saved.shape == parameter.shape:
                    parameter.copy_(saved)
                else:
                    was = "not there" if saved is None else str(tuple(saved.shape))
                    new[name] = f"{tuple(parameter.shape)}, was {was}"
        averaged = {f"average.{key}": p for key, p in self.average.named_parameters()}
        whole = all(n in model and model[n].shape == p.shape for n, p in averaged.items())
        for name, parameter in averaged.items():
            own = self.generator.get_parameter(name.removeprefix("average."))
            parameter.copy_(model[name] if whole else own)
        self._load_optimizers(tensors.get("optimizer", {}))
        return new

    def _load_optimizers(self, saved: dict[str, Tensor]) -> None:
        for name in ("generator", "critic"):
            network, optim = getattr(self, name), getattr(self, f"{name}_optimizer")
            for key, parameter in network.named_parameters():
                prefix = f"{name}.{key}/"
                entries = {
                    k.removeprefix(prefix): v for k, v in saved.items() if k.startswith(prefix)
                }
                # Another kind of optimiser, chosen on resume, begins anew. The fused step counter
                # lives where the parameter does.
                fits = all(v.ndim == 0 or v.shape == parameter.shape for v in entries.values())
                if fits and entries.keys() == _KEPT[type(optim)]:
                    optim.state[parameter] = {
                        what: value.to(parameter.device).clone() for what, value in entries.items()
                    }

    def counters(self) -> dict[str, Any]:
        """What is not a tensor, as plain JSON data."""
        return {
            "step": self.step,
            "drawn": self.drawn,
            "fresh_from": self.fresh_from,
            "origin": list(self._origin),
            "epoch_steps": self._epoch_steps,
            "meter": self.meter.state(),
            "balance": self.balance,
            "decision": asdict(self.decision),
            "health": self.health,
            "lowered": self.lowered,
            "scales": self.scales,
        }

    def load_counters(self, counters: dict[str, Any]) -> None:
        """Take up what ``counters`` gave."""
        self.step = int(counters["step"])
        self.fresh_from = int(counters.get("fresh_from", 0))
        self.drawn = int(counters.get("drawn", self.step * self.config.critic_steps))
        step, epoch, drawn = counters.get("origin", (0, 0, 0))
        self._origin = int(step), int(epoch), int(drawn)
        self.balance = dict(counters.get("balance", {}))
        self.health = dict(counters.get("health", {}))
        self.lowered = dict(counters.get("lowered", {}))
        self.scales = dict(counters.get("scales", {}))
        if "decision" in counters:
            self.decision = Decision(**counters["decision"])
        self._epoch_steps = int(counters.get("epoch_steps", 0))
        self.meter = Meter.from_state(counters.get("meter", {}))
