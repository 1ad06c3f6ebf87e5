"""A training that is ill is seen, named, and helped; one that is well is left alone."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from rgan.errors import DivergedError
from rgan.objectives.config import ObjectiveConfig, PenaltyConfig
from rgan.runs.checkpoint import CheckpointStore
from rgan.train.config import HealthConfig, TrainConfig
from rgan.train.events import Event, Examined, Noted, Stepped
from rgan.train.health import Alarm, examine
from rgan.train.loop import train
from rgan.train.vitals import Vitals
from rgan.workflow.fit import fit
from test_loop import new_state, of, watched
from test_resume import events, tiny

LOG2 = math.log(2)
WELL = {
    "losses": {"critic": 0.6, "generator": 0.8},
    "gradient": {"critic": 0.3, "generator": 0.1},
    "update": {"critic": 0.01, "generator": 0.01},
    "weight": {"critic": 9.0, "generator": 10.0},
    "diversity": 0.8,
}


def told(course: list[dict[str, object]]) -> list[Alarm]:
    """All alarms of a course of measurements, each a change of one that is well."""
    memory: dict[str, object] = {}
    alarms: list[Alarm] = []
    for change in course:
        new, memory = examine(Vitals(**{**WELL, **change}), memory, (LOG2, LOG2))
        memory = json.loads(json.dumps(memory))
        alarms += new
    return alarms


# -- the rules -------------------------------------------------------------------------------


def test_nothing_is_said_of_a_training_that_is_well():
    rng = np.random.default_rng(0)
    course = [
        {
            "losses": {"critic": LOG2 * rng.uniform(0.3, 1.3), "generator": rng.uniform(0.5, 3)},
            "gradient": {n: float(rng.lognormal(-1, 1)) for n in ("critic", "generator")},
            "diversity": rng.uniform(0.3, 1.2),
            "accuracy": rng.uniform(0.5, 1.0),
        }
        for _ in range(500)
    ]
    assert told(course) == []


@pytest.mark.parametrize(
    ("kind", "sick", "looks"),
    [
        ("nan", {"gradient": {"critic": math.nan, "generator": 0.1}}, 1),
        ("nan", {"losses": {"critic": 0.5, "generator": math.inf}}, 1),
        ("explosion", {"gradient": {"critic": 90.0, "generator": 0.1}}, 5),
        ("explosion", {"update": {"critic": 0.01, "generator": 0.3}}, 1),
        ("explosion", {"weight": {"critic": 9.0, "generator": 50.0}}, 1),
        ("vanishing", {"gradient": {"critic": 0.3, "generator": 1e-5}}, 8),
        ("vanishing", {"dead": {"critic": 0.4, "generator": 0.0}}, 5),
        ("saturation", {"losses": {"critic": 0.001, "generator": 9.0}, "accuracy": 1.0}, 8),
        ("collapse", {"diversity": 0.02}, 5),
    ],
)
def test_each_illness_is_seen_after_its_looks_and_told_once(kind, sick, looks):
    before = [{}] * 10
    assert told([*before, *[sick] * (looks - 1), *[{}] * 10]) == []
    alarms = told([*before, *[sick] * 20])
    assert [a.kind for a in alarms][:1] == [kind] and len(alarms) == 1
    assert [a.kind for a in told([*before, *[sick] * (looks + 1), {}, *[sick] * looks])][-1] == kind


def test_samples_that_keep_to_a_few_modes_are_told_once_and_chance_is_not():
    rng = np.random.default_rng(0)
    # Twelve pairs a look, as of ten classes in batches of sixteen: of five modes, and by chance.
    few = [{"twins": rng.binomial(12, 0.2) / 12} for _ in range(60)]
    chance = [{"twins": rng.binomial(12, 0.02) / 12} for _ in range(500)]
    (alarm,) = told([{}] * 9 + few)
    assert alarm.kind == "collapse" and "a few modes" in alarm.found
    assert told([{}] * 9 + few[:3] + [{}] * 20) == [] and told(chance) == []


def test_the_network_to_blame_is_named():
    (alarm,) = told([{}] * 9 + [{"gradient": {"critic": 0.3, "generator": 90.0}}] * 6)
    assert alarm.networks == ("generator",) and "generator" in alarm.found


def test_samples_that_are_alike_are_told_before_the_units_that_makes_dead():
    course = [{}] * 9 + [{"diversity": 0.01, "dead": {"generator": 0.5}}] * 5
    assert [alarm.kind for alarm in told(course)] == ["collapse", "vanishing"]


def test_a_generator_that_begins_to_learn_does_not_explode():
    weak = {"gradient": {"critic": 0.3, "generator": 0.005}}
    assert told([weak] * 9 + [{"gradient": {"critic": 0.3, "generator": 2.2}}] * 20) == []


def test_an_untrained_generator_that_gets_better_is_no_collapse():
    assert told([{"diversity": 0.001 * 1.1**k} for k in range(60)]) == []


# -- trainings that are ill ------------------------------------------------------------------


def trained(steps: int = 300, rates: tuple[float, float] = (1e-3, 1e-3), spoil=None, **policy):
    """A small training, with something done to it after each step."""
    data = watched(96)
    config = TrainConfig(steps=steps, batch_size=16, warmup=0, schedule="constant")
    state, heard = new_state(data, config, rates), []

    def listen(event: Event) -> None:
        heard.append(event)
        if isinstance(event, Stepped) and spoil is not None:
            spoil(state, event.step)

    health = HealthConfig(every=10, **policy)
    train(state, data, ObjectiveConfig(), PenaltyConfig(), listen, health=health)
    return state, heard


def notes(heard: list[Event]) -> list[str]:
    return [event.text for event in of(heard, Noted)]


def test_a_small_training_that_is_well_raises_no_alarm():
    _, heard = trained()
    assert notes(heard) == []
    seen = of(heard, Examined)
    assert [event.step for event in seen] == list(range(10, 301, 10))
    last = seen[-1]
    assert {"generator", "critic", "generator.head", "critic.recurrence"} <= last.gradient.keys()
    assert all(0 < value < 0.5 for value in last.update.values())
    assert 0.2 < last.diversity < 2 and 0 <= last.accuracy <= 1


def test_measuring_changes_nothing():
    one, _ = trained(steps=60)
    other, heard = trained(steps=60)
    data = watched(96)
    config = TrainConfig(steps=60, batch_size=16, warmup=0, schedule="constant")
    blind = new_state(data, config)
    off = HealthConfig(every=0)
    train(blind, data, ObjectiveConfig(), PenaltyConfig(), heard.append, health=off)
    for name, tensor in one.tensors()["model"].items():
        assert torch.equal(tensor, other.tensors()["model"][name])
        assert torch.equal(tensor, blind.tensors()["model"][name])


def test_a_rate_that_is_a_hundred_times_too_high():
    with pytest.raises(DivergedError) as caught:
        trained(rates=(0.3, 0.3))
    assert caught.value.rollback and "docs/health.md" in caught.value.message


def kill_noise(state, step: int) -> None:
    """From step 100 on, the generator no longer hears its noise."""
    if step >= 100:
        with torch.no_grad():
            state.generator.head.weight.zero_()


def test_a_generator_that_gives_one_thing():
    _, heard = trained(spoil=kill_noise)
    (text,) = (note for note in notes(heard) if note.startswith("collapse"))
    assert "batch_statistics" in text
    (first,) = (e.step for e in of(heard, Noted) if e.text == text)
    assert 100 < first <= 200


@pytest.mark.parametrize("modes", [2, 6])
def test_a_generator_that_keeps_to_a_few_modes(modes: int):
    def few(state, step: int) -> None:
        if step != 100:
            return
        draw = state.generator.draw_noise
        known = draw(modes, torch.Generator().manual_seed(0))

        def from_them(n: int, random: torch.Generator):
            rows = torch.randint(modes, (n,), generator=random)
            parts = {name: part[rows] for name, part in vars(known).items()}
            return dataclasses.replace(known, **parts)

        state.generator.draw_noise = from_them

    _, heard = trained(spoil=few)
    (note,) = of(heard, Noted)
    assert "a few modes" in note.text and 100 < note.step <= 260
    twins = [event.twins for event in of(heard, Examined)]
    assert max(twins[:10]) < 0.05 and np.mean(twins[-10:]) == pytest.approx(1 / modes, abs=0.07)


def test_lowering_halves_the_rates_of_those_to_blame():
    state, heard = trained(spoil=kill_noise, collapse="lower")
    assert state.lowered == {"generator": 0.5, "critic": 0.5}
    rates = [event.rates["generator"] for event in of(heard, Stepped)]
    assert rates[-1] == pytest.approx(rates[0] / 2)


def test_stopping_is_an_error_that_is_not_rolled_back():
    with pytest.raises(DivergedError, match="nearly all alike") as caught:
        trained(spoil=kill_noise, collapse="stop")
    assert not caught.value.rollback


def test_dead_units_are_counted():
    def cut(state, step: int) -> None:
        state.critic.convs.first.weight.data[:4] = 0
        state.critic.convs.first.bias.data[:4] = 0

    _, heard = trained(steps=20, spoil=cut)
    _, sound = trained(steps=20)
    assert of(heard, Examined)[-1].dead["critic"] > of(sound, Examined)[-1].dead["critic"]


# -- rolled back -----------------------------------------------------------------------------


def test_a_training_that_fails_once_is_rolled_back_and_goes_on(tmp_path):
    broken: list[int] = []
    texts: list[str] = []

    class Broken:
        """Breaks a weight once, at step 19."""

        def __call__(self, event: Event) -> None:
            if isinstance(event, Noted):
                texts.append(event.text)
            if isinstance(event, Stepped) and event.step == 19 and not broken:
                broken.append(event.step)
                sessions[-1].state.generator.head.bias.data.fill_(math.nan)

    import rgan.workflow.fit as module

    sessions: list = []
    opened = module.open_session
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            module, "open_session", lambda *a, **k: sessions.append(opened(*a, **k)) or sessions[-1]
        )
        config = tiny(train__epochs=5, train__checkpoint_minutes=1e-9)
        outcome = fit(config, runs=tmp_path, listeners=(Broken(),))
    run = outcome.run
    assert outcome.ended.status == "finished" and broken == [19]
    first, second = run.info["segments"]
    assert (first["status"], first["to_step"], second["from_step"]) == ("failed", 16, 16)
    assert second["changed"]["generator_optimizer.rate"] == [0.002, pytest.approx(0.0004)]
    assert "is nan" in second["rolled_back"] and second["to_step"] == 40
    assert [e["epoch"] for e in events(run.path, "epoch")] == [1, 2, 3, 4, 5]
    (text,) = texts
    assert "Rolled back to step 16" in text and "generator_optimizer.rate 0.002 -> 0.0004" in text
    assert [e["text"] for e in events(run.path, "note")] == [text]


def test_a_training_that_fails_again_and_again_fails(tmp_path):
    with pytest.raises(DivergedError) as caught:
        fit(tiny(critic_optimizer__rate=1e30, health__retries=2), runs=tmp_path)
    assert "--set critic_optimizer.rate=8e+27" in str(caught.value)
    (run,) = tmp_path.iterdir()
    info = json.loads((run / "run.json").read_text())
    assert [s["status"] for s in info["segments"]] == ["failed"] * 3
    assert CheckpointStore(run / "checkpoints").load().step == 0
