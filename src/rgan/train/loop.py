"""The adversarial loop: from data and a state to a better state, telling listeners what happens.

It knows no progress bar, no file and no figure; see ``events``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rgan.errors import DivergedError
from rgan.nets.batch import Batch, join
from rgan.nets.layers import limit_spectral_norm
from rgan.objectives.config import ObjectiveConfig, PenaltyConfig
from rgan.objectives.losses import OBJECTIVES, Objective, weighted_mean
from rgan.objectives.penalties import penalty
from rgan.train.config import GFactorConfig
from rgan.train.events import Ended, Listener, Started, Stepped
from rgan.train.gfactor import Decision, Signals, make_controller
from rgan.train.plan import Meter, Plan
from rgan.train.randomness import (
    Stream,
    balanced_weights,
    batch_rows,
    torch_random,
    weighted_rows,
)
from rgan.train.state import TrainState

_FIXED = GFactorConfig()


def train(
    state: TrainState,
    data: Batch,
    objective: ObjectiveConfig,
    penalties: PenaltyConfig,
    listener: Listener,
    should_stop: Callable[[], str] = lambda: "",
    *,
    gfactor: GFactorConfig = _FIXED,
) -> Ended:
    """Train until the plan's end or until asked to stop.

    Args:
        state: what is trained, in place; begins at ``state.step``.
        data: all training sequences, on the state's device.
        listener: is told every event.
        should_stop: asked after each step; a non-empty reason ends the training there.
        gfactor: how the balance of the two networks is steered.

    Returns:
        The event that ended it, which the listener has had as well.

    Raises:
        ConfigError: the g-factor cannot be steered so with this objective.
        DivergedError: a loss or weight is not finite; says the epoch, the network and what to try.
            The ``Ended`` event with status "failed" has been emitted before.
    """
    plan = state.plan(len(data))
    updater = _Updater(state, data, plan, OBJECTIVES[objective.name], objective, penalties)
    steering = _Steering(state, gfactor, updater)
    started = time.monotonic()
    listener(
        Started(
            state.step,
            plan.epoch(state.step),
            total_steps=plan.total,
            steps_per_epoch=plan.steps,
            sequences=len(data),
            parameters=state.parameters(),
            device=str(state.device),
        )
    )

    def end(status: str, reason: str) -> Ended:
        seconds = time.monotonic() - started
        ended = Ended(state.step, plan.epoch(state.step), status, reason, seconds)
        listener(ended)
        return ended

    try:
        reason = _advance(updater, steering, plan, listener, should_stop)
        _check_weights(state, plan)
    except DivergedError as error:
        end("failed", error.found)
        raise
    return end("interrupted" if reason else "finished", reason)


def _advance(
    updater: _Updater,
    steering: _Steering,
    plan: Plan,
    listener: Listener,
    should_stop: Callable[[], str],
) -> str:
    """Updates until the plan's end, or until asked to stop; gives the reason for that, or ""."""
    state = updater.state
    seen = plan.batch * state.config.critic_steps
    state.meter.resume()
    # Reading a loss waits for a GPU; on a CPU it is free.
    interval = 1 if state.device.type == "cpu" else 10
    while state.step < plan.total:
        rates = state.set_rates(plan.total)
        losses = updater.update()
        state.step += 1
        state.meter.steps += 1
        steering.look()
        epoch, whole = plan.epoch(state.step), plan.ends_epoch(state.step)
        if state.step % interval == 0 or whole:
            # Where not every step is read, the penalty's own rhythm must not hide it.
            shown = losses if interval == 1 else updater.last_penalty | losses
            numbers = {name: float(value) for name, value in shown.items()}
            _check_losses(numbers, state, plan)
            state.meter.add(numbers)
            listener(Stepped(state.step, epoch, losses=numbers, rates=rates))
        if whole:
            ended, state.meter = state.meter.finish(state.step, epoch, rates, seen), Meter()
            listener(ended)
        reason = should_stop()
        if reason:
            state.meter.pause()
            return reason
    return ""


class _Steering:
    """Looks at the balance now and then, and lets the controller decide."""

    def __init__(self, state: TrainState, config: GFactorConfig, updater: _Updater) -> None:
        self.state, self.config, self.updater = state, config, updater
        ideal = updater.objective.ideal
        self.controller = make_controller(config, ideal, state.config.critic_steps)
        state.balance = state.balance or self.controller.init()
        if config.steer == "fixed":  # whatever steered before a resume
            state.decision = Decision(critic_steps=state.config.critic_steps)

    def look(self) -> None:
        """Called after each step."""
        state = self.state
        if self.config.steer != "fixed" and state.step % self.config.every == 0:
            signals = self.updater.signals()
            state.decision, state.balance = self.controller.adapt(state.balance, signals)


class _Updater:
    """One update of critic and generator."""

    def __init__(
        self,
        state: TrainState,
        data: Batch,
        plan: Plan,
        objective: Objective,
        config: ObjectiveConfig,
        penalties: PenaltyConfig,
    ) -> None:
        self.state, self.data, self.plan = state, data, plan
        self.objective, self.config, self.penalties = objective, config, penalties
        self.last_penalty: dict[str, Tensor] = {}
        self.losses: dict[str, Tensor] = {}
        self.weight_N = _class_weights(data, state.config.balance)

    def update(self) -> dict[str, Tensor]:
        """Critic updates, then a generator update that reuses the last batch they made."""
        state, k = self.state, self.state.decision.critic_steps
        losses: dict[str, Tensor] = {}
        for i in range(k):
            real, fake = self._batches(state.drawn, with_history=i == k - 1)
            losses |= self._update_critic(real, fake.detach(), state.drawn)
            state.drawn += 1
        losses["generator"] = self._update_generator(real, fake)
        self.losses = losses
        if state.config.average:
            state.update_average()
        return losses

    def signals(self) -> Signals:
        """What the last update says of the balance."""
        real_N, fake_N = self.scores
        border = self.objective.border
        if border is None:  # only differences count: between the two means
            border = float((real_N.mean() + fake_N.mean()) / 2)
        accuracy = float((real_N > border).float().mean())
        losses = self.losses
        return Signals(float(losses["critic"]), float(losses["generator"]), accuracy)

    def _batches(self, number: int, with_history: bool) -> tuple[Batch, Batch]:
        """Real sequences, and as many generated under their conditions and lengths.

        Args:
            number: the batch's number among all that this training has drawn.
            with_history: whether the generator is to learn from them.
        """
        seed, plan, device = self.state.config.seed, self.plan, self.state.device
        if self.weight_N is None:
            place = plan.place(number)
            rows = batch_rows(seed, place, plan.batches, plan.batch, len(self.data))
        else:
            rows = weighted_rows(seed, number, plan.batch, self.weight_N)
        real = self.data.take(torch.from_numpy(rows).to(device))
        random = torch_random(seed, Stream.NOISE, number, device)
        with torch.set_grad_enabled(with_history):
            noise = self.state.generator.draw_noise(len(real), random)
            return real, self.state.generator(noise, real.lengths, real.condition)

    def _update_critic(self, real: Batch, fake: Batch, number: int) -> dict[str, Tensor]:
        state, critic = self.state, self.state.critic
        on_real, on_fake = critic(join([real, fake]), 2).split(len(real))
        weight = on_real.weight
        per_vote = self.objective.critic(on_real.score, on_fake.score, self.config.smooth_real)
        loss = weighted_mean(per_vote, weight)
        losses = {"critic": loss.detach()}
        self.scores = on_real.mean().detach(), on_fake.mean().detach()
        if self.penalties.name != "none" and number % self.penalties.every == 0:
            random = torch_random(state.config.seed, Stream.PENALTY, number, state.device)
            scores = on_real.mean(), on_fake.mean()
            extra = penalty(self.penalties, critic, real, fake, scores, random)
            losses["penalty"] = extra.detach()
            self.last_penalty = {"penalty": losses["penalty"]}
            loss = loss + extra
        state.critic_optimizer.zero_grad(set_to_none=True)
        if loss.requires_grad:  # else all of it is frozen
            loss.backward()
            state.critic_optimizer.step()
        if critic.config.spectral_norm:
            limit_spectral_norm(critic)
        return losses

    def _update_generator(self, real: Batch, fake: Batch) -> Tensor:
        state, critic = self.state, self.state.critic
        state.freeze("critic")  # its weights' gradients would be thrown away
        votes = critic(fake)
        score_real = votes.score
        if self.objective.needs_real:
            with torch.no_grad():
                score_real = critic(real).score
        per_vote = self.objective.generator(score_real, votes.score)
        loss = weighted_mean(per_vote, votes.weight)
        state.generator_optimizer.zero_grad(set_to_none=True)
        if loss.requires_grad:
            loss.backward()
            state.generator_optimizer.step()
        state.unfreeze("critic")
        return loss.detach()


def _class_weights(data: Batch, evenness: float) -> np.ndarray | None:
    """Row weights that even out classes; None where all are drawn alike anyway."""
    condition_NC = data.condition.cpu().numpy()
    one_hot = condition_NC.shape[1] > 1 and bool(((condition_NC == 0) | (condition_NC == 1)).all())
    if not evenness or not one_hot:
        return None
    class_N = condition_NC.argmax(1)
    counts = np.bincount(class_N)
    counts = counts[counts > 0]
    if counts.max() < 1.25 * counts.min():  # even already: go through the data in epochs
        return None
    return balanced_weights(class_N, evenness)


def _check_weights(state: TrainState, plan: Plan) -> None:
    """The last update's own result: no later loss would show it."""
    if not state.is_finite():
        reason = "a learning rate is too high, or the penalty too weak, for this data"
        raise _diverged(state, plan, "a weight is not finite", reason, ("critic", "generator"))


def _check_losses(losses: dict[str, float], state: TrainState, plan: Plan) -> None:
    bad = [name for name, value in losses.items() if not abs(value) < float("inf")]
    if not bad:
        return
    found = f"the loss of the {bad[0]} is {losses[bad[0]]}"
    if "critic" in bad:
        reason = "a learning rate is too high for this data"
        raise _diverged(state, plan, found, reason, ("critic", "generator"))
    # The critic judged these very sequences soundly before its update.
    reason = "the critic's rate is too high, or its penalty too weak"
    raise _diverged(state, plan, found, reason, ("critic",))


def _diverged(
    state: TrainState, plan: Plan, found: str, reason: str, networks: tuple[str, ...]
) -> DivergedError:
    rates = dict(zip(("generator", "critic"), state.rates, strict=True))
    return DivergedError(
        f"epoch {plan.epoch(state.step)}, step {state.step}: {found}",
        rule="losses and weights are finite",
        reason=reason,
        repair=" ".join(f"--set {n}_optimizer.rate={rates[n] / 5:.0e}" for n in networks),
    )
