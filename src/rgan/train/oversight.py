"""Who looks after a training while it runs: one steers the balance, one examines the health."""

from __future__ import annotations

from rgan.errors import DivergedError
from rgan.train.config import GFactorConfig, HealthConfig
from rgan.train.events import Examined, Listener, Noted
from rgan.train.gfactor import Decision, Signals, make_controller
from rgan.train.health import NETWORKS, Alarm, examine
from rgan.train.plan import Plan
from rgan.train.state import TrainState
from rgan.train.updates import Updater
from rgan.train.vitals import Probe, Vitals


class Steering:
    """Looks at the balance now and then, and lets the controller decide.

    Raises:
        ConfigError: the g-factor cannot be steered so with this objective.
    """

    def __init__(self, state: TrainState, config: GFactorConfig, updater: Updater) -> None:
        self.state, self.config, self.updater = state, config, updater
        ideal = updater.objective.ideal
        self.controller = make_controller(config, ideal, state.config.critic_steps)
        state.balance = state.balance or self.controller.init()
        if config.steer == "fixed":  # whatever steered before a resume
            state.decision = Decision(critic_steps=state.config.critic_steps)

    def look(self) -> None:
        """Called after each step."""
        state, losses = self.state, self.updater.losses
        if self.config.steer == "fixed" or state.step % self.config.every:
            return
        critic, generator = float(losses["critic"]), float(losses["generator"])
        signals = Signals(critic, generator, self.updater.accuracy())
        state.decision, state.balance = self.controller.adapt(state.balance, signals)


class Doctor:
    """Measures an update now and then, applies the rules, and acts on alarms.

    Args:
        state: what is trained; its rates may be lowered.
        config: how often, and what is done.
        updater: makes the updates.
        plan: tells the epoch.
        listener: is told measurements and alarms.
    """

    def __init__(
        self,
        state: TrainState,
        config: HealthConfig,
        updater: Updater,
        plan: Plan,
        listener: Listener,
    ) -> None:
        self.state, self.config, self.updater = state, config, updater
        self.plan, self.listener = plan, listener

    def probe(self) -> Probe | None:
        """To measure the coming update with, if it is one of those."""
        if not self.config.every or (self.state.step + 1) % self.config.every:
            return None
        return Probe({name: getattr(self.state, name) for name in NETWORKS})

    def examine(self, probe: Probe | None, losses: dict[str, float]) -> None:
        """Judge what was measured, and act.

        Raises:
            DivergedError: the training is to stop, or to be rolled back.
        """
        if probe is None:
            return
        state = self.state
        vitals = self._vitals(probe, losses)
        epoch = self.plan.epoch(state.step)
        self.listener(Examined(state.step, epoch, **vars(vitals)))
        ideal = self.updater.objective.ideal
        alarms, state.health = examine(vitals, state.health, ideal)
        for alarm in alarms:
            self.act(alarm)

    def act(self, alarm: Alarm) -> None:
        """Do what the policy says.

        Raises:
            DivergedError: the training is to stop, or to be rolled back.
        """
        state, policy = self.state, getattr(self.config, alarm.kind)
        epoch = self.plan.epoch(state.step)
        if policy in ("rollback", "stop"):
            rates = dict(zip(NETWORKS, state.rates, strict=True))
            error = DivergedError(
                f"epoch {epoch}, step {state.step}: {alarm.found}",
                rule="losses and weights are finite, and a training is well by the rules of "
                "docs/health.md",
                reason="a learning rate is too high, or the penalty too weak, for this data",
                repair=" ".join(
                    f"--set {n}_optimizer.rate={rates[n] / 5:.0e}" for n in alarm.networks
                ),
            )
            error.networks, error.rollback = alarm.networks, policy == "rollback"
            raise error
        text = f"{alarm.kind}: {alarm.found}"
        if policy == "lower":
            for network in alarm.networks:
                state.lowered[network] = state.lowered.get(network, 1.0) / 2
            text += f"; the rate of the {' and the '.join(alarm.networks)} is halved"
        else:
            text += f"; try {alarm.advice}"
        self.listener(Noted(state.step, epoch, text))

    def _vitals(self, probe: Probe, losses: dict[str, float]) -> Vitals:
        real_N, fake_N = self.updater.scores
        both = (real_N.square().mean() + fake_N.square().mean()) / 2
        return Vitals(
            losses=losses,
            gradient=probe.gradient,
            update=probe.update,
            weight=probe.weight,
            dead=probe.dead,
            accuracy=self.updater.accuracy(),
            margin=float(real_N.mean() - fake_N.mean()),
            logit=float(both.sqrt()),
            diversity=probe.diversity,
            twins=probe.twins,
        )
