"""The adversarial loop: from data and a state to a better state, telling listeners what happens.

It knows no progress bar, no file and no figure; see ``events``.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rgan.errors import DivergedError
from rgan.nets.batch import Batch
from rgan.objectives.config import ObjectiveConfig, PenaltyConfig
from rgan.train.config import GFactorConfig, HealthConfig
from rgan.train.events import Ended, Listener, Started, Stepped
from rgan.train.group import ALONE, Group
from rgan.train.health import NETWORKS, Alarm
from rgan.train.oversight import Doctor, Steering
from rgan.train.plan import Meter
from rgan.train.state import TrainState
from rgan.train.updates import Updater

_FIXED = GFactorConfig()
_EXAMINED = HealthConfig()


def train(
    state: TrainState,
    data: Batch,
    objective: ObjectiveConfig,
    penalties: PenaltyConfig,
    listener: Listener,
    should_stop: Callable[[], str] = lambda: "",
    *,
    gfactor: GFactorConfig = _FIXED,
    health: HealthConfig = _EXAMINED,
    group: Group = ALONE,
) -> Ended:
    """Train until the plan's end or until asked to stop.

    Args:
        state: what is trained, in place; begins at ``state.step``.
        data: all training sequences, on the state's device.
        listener: is told every event.
        should_stop: asked after each step; a non-empty reason ends the training there.
        gfactor: how the balance of the two networks is steered.
        health: how often the training is examined, and what is done about alarms.
        group: the processes that train together; the others ``follow``.

    Returns:
        The event that ended it, which the listener has had as well.

    Raises:
        ConfigError: the g-factor cannot be steered so with this objective.
        DivergedError: a loss or weight is not finite, or another alarm is to stop the training;
            says the epoch, the network, what to try, and whether it is to be rolled back. The
            ``Ended`` event with status "failed" has been emitted before.
    """
    plan = state.plan(len(data))
    updater = Updater(state, data, plan, objective, penalties, group)
    steering = Steering(state, gfactor, updater)
    doctor = Doctor(state, health, updater, plan, listener)
    started = time.monotonic()
    listener(
        Started(
            state.step,
            plan.epoch(state.step),
            total_steps=plan.total,
            steps_per_epoch=plan.steps,
            sequences=len(data),
            parameters=state.parameters(),
            device=str(state.device) + (f" and {group.size - 1} more" if group.size > 1 else ""),
        )
    )

    def end(status: str, reason: str) -> Ended:
        seconds = time.monotonic() - started
        ended = Ended(state.step, plan.epoch(state.step), status, reason, seconds)
        listener(ended)
        return ended

    try:
        with updater.precision.training():
            reason = _advance(updater, steering, doctor, listener, should_stop)
        _check_weights(state, doctor)
    except DivergedError as error:
        end("failed", error.found)
        raise
    finally:
        group.halt()
    return end("interrupted" if reason else "finished", reason)


def follow(updater: Updater) -> None:
    """Updates as process 0 asks for them, until it halts; for all other processes."""
    state, group = updater.state, updater.group
    with updater.precision.training():
        while (order := group.order()) is not None:
            if order.step != state.step:
                raise RuntimeError(f"step {state.step} here, {order.step} in process 0")
            state.obey(order)
            updater.update(examined=order.examined)
            state.step += 1


def _advance(
    updater: Updater,
    steering: Steering,
    doctor: Doctor,
    listener: Listener,
    should_stop: Callable[[], str],
) -> str:
    """Updates until the plan's end, or until asked to stop; gives the reason for that, or ""."""
    state, plan = updater.state, updater.plan
    seen = plan.batch * state.config.critic_steps
    state.meter.resume()
    # Reading a loss waits for a GPU; on a CPU it is free.
    interval = 1 if state.device.type == "cpu" else 10
    while state.step < plan.total:
        rates = state.set_rates(plan.total)
        probe = doctor.probe()
        with updater.group.update(state.order(rates, probe is not None)):
            losses = updater.update(probe)
        state.step += 1
        state.meter.steps += 1
        steering.look()
        epoch, whole = plan.epoch(state.step), plan.ends_epoch(state.step)
        if state.step % interval == 0 or whole or probe is not None:
            # Where not every step is read, the penalty's own rhythm must not hide it.
            shown = losses if interval == 1 else updater.last_penalty | losses
            numbers = {name: float(value) for name, value in shown.items()}
            _check_losses(numbers, doctor)
            doctor.examine(probe, numbers)
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


def _check_weights(state: TrainState, doctor: Doctor) -> None:
    """The last update's own result: no later loss would show it."""
    if not state.is_finite():
        doctor.act(Alarm("nan", "a weight is not finite", ""))


def _check_losses(losses: dict[str, float], doctor: Doctor) -> None:
    bad = [name for name, value in losses.items() if not abs(value) < float("inf")]
    if bad:
        found = f"the loss of the {bad[0]} is {losses[bad[0]]}"
        # Else the critic judged these very sequences soundly before its update.
        networks = NETWORKS if "critic" in bad else ("critic",)
        doctor.act(Alarm("nan", found, "", networks))
