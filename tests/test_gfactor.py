"""The balance of the networks: controllers alone, and what they do to a training."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from rgan.errors import ConfigError
from rgan.objectives.config import ObjectiveConfig, PenaltyConfig
from rgan.objectives.losses import OBJECTIVES
from rgan.runs.checkpoint import CheckpointStore
from rgan.train.config import GFactorConfig, TrainConfig
from rgan.train.events import Stepped
from rgan.train.gfactor import Decision, Signals, make_controller
from rgan.train.loop import train
from rgan.workflow.fit import fit, resume
from test_loop import new_state, of, watched
from test_resume import latest, tiny

STEERED = ("loss-ratio", "accuracy", "gap", "critic-steps")
LOG2 = math.log(2)
AHEAD = Signals(critic_loss=0.1, generator_loss=2.5, accuracy=0.99)
BEHIND = Signals(critic_loss=0.9, generator_loss=0.4, accuracy=0.5)
EVEN = Signals(critic_loss=LOG2, generator_loss=LOG2, accuracy=0.8)


def after(steer: str, signals: Signals, looks: int = 400, **more: object) -> Decision:
    """What is decided when the same is seen all the time."""
    controller = make_controller(GFactorConfig(steer=steer, **more), (LOG2, LOG2), 1)
    state = controller.init()
    for _ in range(looks):
        decision, state = controller.adapt(state, signals)
        state = json.loads(json.dumps(state))
    return decision


def g(decision: Decision) -> float:
    return decision.generator / decision.critic


@pytest.mark.parametrize("steer", ["loss-ratio", "accuracy", "gap"])
def test_the_one_that_is_behind_is_helped_within_bounds(steer):
    assert 1.5 < g(after(steer, AHEAD)) <= 8.0 * (1 + 1e-9)
    assert 1 / 8.0 * (1 - 1e-9) <= g(after(steer, BEHIND)) < 0.8
    assert g(after(steer, EVEN)) == pytest.approx(1.0)
    assert g(after(steer, AHEAD, limit=1.5)) <= 1.5 * (1 + 1e-9)


def test_critic_steps_follow_how_far_the_critic_is():
    assert after("critic-steps", BEHIND).critic_steps == 5
    assert after("critic-steps", AHEAD).critic_steps == 1
    assert after("critic-steps", BEHIND, most_critic_steps=3).critic_steps == 3
    assert after("critic-steps", EVEN) == Decision(1.0, 1.0, 1)


def test_fixed_decides_nothing():
    assert after("fixed", AHEAD) == Decision(1.0, 1.0, 1)


def test_the_gap_is_the_papers():
    """Hazimeh & Ponomareva 2023: at x_max above the ideal loss twice the rate, at x_min below it a
    tenth, and the geometric mean halfway."""
    above, below = (Signals(LOG2 * f, LOG2, 0.8) for f in (1.1, 0.9))
    assert after("gap", above).critic == pytest.approx(2.0)
    assert after("gap", below, limit=20).critic == pytest.approx(0.1)
    halfway = Signals(LOG2 * 0.95, LOG2, 0.8)
    assert after("gap", halfway).critic == pytest.approx(0.1**0.5)


@pytest.mark.parametrize("steer", STEERED)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_what_is_not_finite_moves_nothing_out_of_bounds(steer, value):
    decision = after(steer, Signals(value, value, 0.9), looks=50)
    assert math.isfinite(g(decision)) and 1 / 8.1 < g(decision) < 8.1
    assert 1 <= decision.critic_steps <= 5


def test_another_controller_begins_anew_after_a_resume():
    first = make_controller(GFactorConfig(steer="accuracy"), (LOG2, LOG2), 1)
    state = first.init()
    for _ in range(100):
        _, state = first.adapt(state, AHEAD)
    second = make_controller(GFactorConfig(steer="loss-ratio"), (LOG2, LOG2), 1)
    decision, state = second.adapt(state, EVEN)
    assert g(decision) == pytest.approx(1.0) and state["steer"] == "loss-ratio"


@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_ideal_losses_are_those_of_a_critic_that_cannot_tell(name):
    objective = OBJECTIVES[name]
    score = torch.full((1,), objective.border or 0.0)
    critic, generator = objective.ideal
    assert float(objective.critic(score, score, 0.0)) == pytest.approx(critic)
    assert float(objective.generator(score, score)) == pytest.approx(generator)


def test_a_ratio_of_losses_that_may_be_negative_is_refused(tmp_path):
    for name in ("hinge", "wasserstein", "saturating"):
        with pytest.raises(ConfigError, match="loss-ratio"):
            make_controller(GFactorConfig(steer="loss-ratio"), OBJECTIVES[name].ideal, 1)
    with pytest.raises(ConfigError, match="loss-ratio"):
        fit(tiny(gfactor__steer="loss-ratio", objective__name="hinge"), runs=tmp_path)
    assert list(tmp_path.iterdir()) == []


# -- in a training ---------------------------------------------------------------------------


def test_a_critic_that_is_too_fast_is_slowed():
    """Both begin at a tenth of what is right for the generator: the g-factor has to rise."""
    data, heard = watched(64), []
    config = TrainConfig(steps=300, batch_size=16, warmup=0, schedule="constant")
    state = new_state(data, config, rates=(1e-5, 1e-2))
    steering = GFactorConfig(steer="accuracy", every=5, speed=0.3)
    none = PenaltyConfig(name="none")
    train(state, data, ObjectiveConfig(), none, heard.append, gfactor=steering)
    rates = [e.rates for e in of(heard, Stepped)]
    assert rates[-1]["generator"] / rates[-1]["critic"] > 2 * 1e-3
    product = [r["generator"] * r["critic"] for r in rates]
    assert np.allclose(product, 1e-7), "what one is given, the other loses"


def test_a_given_value_is_the_ratio_of_the_rates(tmp_path):
    run = fit(tiny(gfactor__value=0.25, train__epochs=1, train__warmup=0), runs=tmp_path).run
    rates = [e["rates"] for e in run.history.read() if e["event"] == "epoch"][-1]
    assert rates["generator"] / rates["critic"] == pytest.approx(0.25)


@pytest.mark.parametrize("steer", STEERED)
def test_a_steered_training_resumes_to_the_same_bytes(tmp_path, steer):
    more = {"gfactor__steer": steer, "gfactor__every": 1, "gfactor__speed": 0.5}
    six = fit(tiny(train__epochs=6, **more), runs=tmp_path).run
    three = fit(tiny(train__epochs=3, **more), runs=tmp_path).run
    resume(three, settings={"train.epochs": 6})
    assert latest(six.path)[:2] == latest(three.path)[:2]
    counters = CheckpointStore(six.checkpoints).load().state["counters"]
    assert counters["balance"]["looks"] == counters["step"]
    plain = fit(tiny(train__epochs=6), runs=tmp_path).run
    assert latest(plain.path)[0] != latest(six.path)[0]
