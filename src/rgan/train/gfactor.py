"""The g-factor, the generator's learning rate over the critic's, fixed or steered.

A controller is plain data and two functions: ``init`` gives a state, ``adapt`` takes a state and
what has been seen, and gives a decision and the next state. So it resumes with the checkpoint and
can be tested without a network. Each decision is bounded.

What steers, ``gfactor.steer``:

    fixed         nothing
    loss-ratio    the generator's loss over the critic's, each over its value in balance
    accuracy      the share of real sequences that the critic takes for real, held at a target
                  (the heuristic r_t of StyleGAN2-ADA, Karras et al. 2020, section 2.2)
    gap           how far the critic's loss is from that of an ideal critic (Hazimeh & Ponomareva,
                  AISTATS 2023, arXiv 2302.00089, section 4)
    critic-steps  the same share, held by the number of critic updates for each generator update
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rgan.errors import ConfigError
from rgan.train.config import GFactorConfig

MEMORY = 0.95
"""How much of the running means is kept at each look."""


@dataclass(frozen=True)
class Signals:
    """What a controller looks at.

    Args:
        critic_loss, generator_loss: without penalties.
        accuracy: share of real sequences on the real side of the critic's border, 0 to 1.
    """

    critic_loss: float
    generator_loss: float
    accuracy: float


@dataclass(frozen=True)
class Decision:
    """What is to be done until the next look.

    Args:
        generator, critic: factors on the learning rates.
        critic_steps: critic updates for each generator update.
    """

    generator: float = 1.0
    critic: float = 1.0
    critic_steps: int = 1


State = dict[str, Any]


class Controller(Protocol):
    """Decides on the balance of the two networks."""

    def init(self) -> State:
        """The state before anything has been seen, as JSON data."""

    def adapt(self, state: State, signals: Signals) -> tuple[Decision, State]:
        """What to do after these signals, and the next state."""


def make_controller(
    config: GFactorConfig, ideal: tuple[float, float], critic_steps: int
) -> Controller:
    """The controller that a configuration asks for.

    Args:
        config: section [gfactor].
        ideal: losses of critic and generator where the critic cannot tell; see ``Objective``.
        critic_steps: critic updates for each generator update where nothing steers them.

    Raises:
        ConfigError: losses are to steer that are not above zero in balance.
    """
    if config.steer == "loss-ratio" and min(ideal) <= 0:
        raise ConfigError(
            "gfactor.steer is loss-ratio, with an objective whose losses in balance are "
            f"{ideal[0]:.2g} and {ideal[1]:.2g}",
            rule="both are above zero, as with relativistic, bce or least-squares",
            reason="else their ratio says nothing",
            repair="--set gfactor.steer=accuracy",
        )
    makers: dict[str, type[_Steered]] = {
        "fixed": Fixed,
        "loss-ratio": LossRatio,
        "accuracy": Accuracy,
        "gap": Gap,
        "critic-steps": CriticSteps,
    }
    return makers[config.steer](config, ideal, critic_steps)


class _Steered:
    """What all controllers share: running means of the signals, and a place that they move."""

    def __init__(
        self, config: GFactorConfig, ideal: tuple[float, float], critic_steps: int
    ) -> None:
        self.config, self.ideal, self.critic_steps = config, ideal, critic_steps

    def init(self) -> State:
        """Nothing seen, in the middle."""
        return {"steer": self.config.steer, "looks": 0, "place": 0.0, "means": {}}

    def adapt(self, state: State, signals: Signals) -> tuple[Decision, State]:
        """Takes in the signals, moves, and decides."""
        if state.get("steer") != self.config.steer:  # another one steered before the resume
            state = self.init()
        looks = int(state["looks"]) + 1
        keep = min(MEMORY, 1 - 1 / looks)  # a plain mean at first
        seen = {name: value for name, value in vars(signals).items() if math.isfinite(value)}
        means = dict(state["means"])
        for name, value in seen.items():
            means[name] = keep * means.get(name, value) + (1 - keep) * value
        place = float(state["place"])
        if len(means) == len(vars(signals)):
            place += self.config.speed * self.push(means)
        place = max(-self.reach, min(self.reach, place))
        decision = self.decide(place, means)
        return decision, {**state, "looks": looks, "place": place, "means": means}

    @property
    def reach(self) -> float:
        """How far the place may go either way."""
        return math.log(self.config.limit)

    def push(self, means: Mapping[str, float]) -> float:
        """Where to move: above 0 where the critic is ahead; at most 1 either way."""
        return 0.0

    def decide(self, place: float, means: Mapping[str, float]) -> Decision:
        """Both rates move, in opposite directions, so that their product stays."""
        return Decision(math.exp(place / 2), math.exp(-place / 2), self.critic_steps)


class Fixed(_Steered):
    """Leaves everything as it is."""


class LossRatio(_Steered):
    """Gives the generator more where its loss is above the critic's, as seen from balance."""

    def push(self, means: Mapping[str, float]) -> float:
        critic, generator = self.ideal
        ratio = (means["generator_loss"] / generator) / max(means["critic_loss"] / critic, 1e-6)
        return max(-1.0, min(1.0, math.log(max(ratio, 1e-6))))


class Accuracy(_Steered):
    """Gives the generator more where the critic takes too many real sequences for real."""

    def push(self, means: Mapping[str, float]) -> float:
        return means["accuracy"] - self.config.target


class Gap(_Steered):
    """Slows the critic where its loss is below that of an ideal one, and hurries it above.

    The paper's f and h, with its constants: at a gap of a tenth of the ideal loss (of log 4 where
    that is 0) the factor has reached a tenth, or two.
    """

    LOWEST, HIGHEST = 0.1, 2.0

    def decide(self, place: float, means: Mapping[str, float]) -> Decision:
        ideal = self.ideal[0]
        gap = (means.get("critic_loss", ideal) - ideal) / (0.1 * (ideal or math.log(4)))
        bound = self.HIGHEST if gap >= 0 else self.LOWEST
        factor = bound ** min(1.0, abs(gap))
        limit = self.config.limit
        return Decision(1.0, max(1 / limit, min(limit, factor)), self.critic_steps)


class CriticSteps(_Steered):
    """More critic updates where the critic is behind, fewer where it is ahead."""

    @property
    def reach(self) -> float:
        return math.log(self.config.most_critic_steps)

    def push(self, means: Mapping[str, float]) -> float:
        return self.config.target - means["accuracy"]

    def decide(self, place: float, means: Mapping[str, float]) -> Decision:
        steps = round(self.critic_steps * math.exp(place))
        return Decision(1.0, 1.0, max(1, min(self.config.most_critic_steps, steps)))
