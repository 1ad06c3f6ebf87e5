"""The training loop: how long it is, what it draws, what it tells, and what it leaves alone."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import Tensor

from rgan.errors import ConfigError
from rgan.nets.batch import Batch
from rgan.nets.config import CriticConfig, GeneratorConfig
from rgan.nets.spec import SequenceSpec
from rgan.objectives.config import ObjectiveConfig, PenaltyConfig
from rgan.train.build import build_networks
from rgan.train.config import OptimizerConfig, TrainConfig
from rgan.train.events import Ended, EpochEnded, Event, Started, Stepped
from rgan.train.loop import train
from rgan.train.plan import make_plan, rate_factor
from rgan.train.randomness import (
    Stream,
    balanced_weights,
    batch_rows,
    numpy_random,
    stream_seed,
    torch_random,
    weighted_rows,
)
from rgan.train.state import TrainState

SMALL = GeneratorConfig(hidden=4, noise_global=2, noise_step=2), CriticConfig(hidden=4, channels=4)


@dataclass(frozen=True)
class Watched(Batch):
    """Real sequences that note which rows were drawn."""

    drawn: list[np.ndarray] = field(default_factory=list)

    def take(self, rows: Tensor) -> Batch:
        self.drawn.append(rows.numpy().copy())
        return super().take(rows)


def watched(n: int = 22, classes: tuple[int, ...] = ()) -> Watched:
    """Noise of n sequences; or of so many sequences of each class."""
    class_N = np.repeat(np.arange(len(classes)), classes)
    n = len(class_N) or n
    condition = torch.eye(max(1, len(classes)))[class_N] if classes else torch.zeros(n, 0)
    x = torch.randn(n, 6, 2, generator=torch.Generator().manual_seed(0))
    return Watched(x, torch.zeros(n, 0), torch.full((n,), 6), condition)


def new_state(
    data: Batch, config: TrainConfig, rates: tuple[float, float] = (1e-3, 1e-3)
) -> TrainState:
    spec = SequenceSpec(6, 2, condition=data.condition.shape[1])
    generator, critic = build_networks(spec, *SMALL, config.seed)
    optimizers = OptimizerConfig(rate=rates[0]), OptimizerConfig(rate=rates[1])
    return TrainState(generator, critic, config, optimizers)


def run(
    data: Batch, penalty: str = "r1r2-fd", every: int = 1, **settings: object
) -> tuple[TrainState, list[Event]]:
    """Train, and all that was told."""
    state = new_state(data, TrainConfig(**{"steps": 8, "batch_size": 5, **settings}))
    heard: list[Event] = []
    train(state, data, ObjectiveConfig(), PenaltyConfig(name=penalty, every=every), heard.append)
    return state, heard


def of(heard: list[Event], kind: type) -> list:
    return [event for event in heard if isinstance(event, kind)]


# -- the plan --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "settings", "plan"),
    [
        (100, {"batch_size": 32, "steps": 10}, (32, 3, 3, 12)),  # whole epochs
        (100, {"batch_size": 32, "steps": 9}, (32, 3, 3, 9)),
        (100, {"batch_size": 32, "epochs": 2, "steps": 999}, (32, 3, 3, 6)),
        (10, {"batch_size": 32, "steps": 4}, (10, 1, 1, 4)),  # fewer sequences than a batch
        (32, {"batch_size": 32, "steps": 4}, (32, 1, 1, 4)),
        (100, {"batch_size": 10, "critic_steps": 3, "steps": 4}, (10, 10, 3, 6)),
        (100, {"batch_size": 50, "critic_steps": 5, "epochs": 7}, (50, 2, 1, 7)),
        (2, {"batch_size": 1, "steps": 3}, (1, 2, 2, 4)),
    ],
)
def test_the_plan(n, settings, plan):
    made = make_plan(TrainConfig(**settings), n)
    assert (made.batch, made.batches, made.steps, made.total) == plan


# -- what is drawn ---------------------------------------------------------------------------


def test_an_epoch_draws_no_row_twice_and_all_are_drawn_alike():
    epochs = 25
    data = watched(22)
    run(data, epochs=epochs)
    rows = np.stack(data.drawn).reshape(epochs, 4 * 5)
    for epoch in rows:
        assert len(np.unique(epoch)) == 20
    # each epoch leaves 2 of 22 out, so a row is left out 2.3 times, with a spread of 1.4
    left_out = epochs - np.bincount(rows.ravel(), minlength=22)
    assert left_out.sum() == 2 * epochs and left_out.max() <= 8
    assert len({tuple(epoch) for epoch in rows}) == epochs, "a new order each time"


def test_critic_steps_draw_on():
    data = watched(20)
    state, heard = run(data, critic_steps=2, epochs=5)
    rows = np.stack(data.drawn).reshape(5, 20)
    assert all(len(np.unique(epoch)) == 20 for epoch in rows)
    assert state.step == 10
    first = next(iter(state.critic.parameters())), next(iter(state.generator.parameters()))
    assert int(state.critic_optimizer.state[first[0]]["step"]) == 20
    assert int(state.generator_optimizer.state[first[1]]["step"]) == 10
    assert len(of(heard, EpochEnded)) == 5


@pytest.mark.parametrize(("balance", "share"), [(0.0, 0.1), (0.5, 0.3), (1.0, 0.5)])
def test_a_rare_class_is_drawn_as_the_balance_says(balance, share):
    data = watched(classes=(36, 4))
    run(data, balance=balance, steps=60, batch_size=10)
    rows = np.concatenate(data.drawn)
    assert np.mean(rows >= 36) == pytest.approx(share, abs=0.03)
    for low, high in ((0, 36), (36, 40)):  # and within a class all alike
        counts = np.bincount(rows[(rows >= low) & (rows < high)] - low, minlength=high - low)
        mean = counts.mean()
        assert abs(counts - mean).max() < 5 * math.sqrt(mean) + 1


def test_even_classes_go_through_the_data_in_epochs():
    data = watched(classes=(10, 10))
    run(data, balance=1.0, epochs=3)
    for epoch in np.stack(data.drawn).reshape(3, 20):
        assert sorted(epoch) == list(range(20))


def test_weighted_rows_are_even_within_a_batch():
    weights = balanced_weights(np.repeat([0, 1], [90, 10]), 1.0)
    assert weights.sum() == pytest.approx(1.0)
    for batch in range(20):
        rows = weighted_rows(3, batch, 20, weights)
        assert len(rows) == 20 and abs(int((rows >= 90).sum()) - 10) <= 1
        assert np.bincount(rows, minlength=100).max() <= 2, "a weight of 1/20 comes once or twice"


def test_draws_follow_from_seed_purpose_and_counter_alone():
    assert stream_seed(1, Stream.NOISE, 5) == stream_seed(1, Stream.NOISE, 5)
    seeds = {
        stream_seed(seed, stream, counter)
        for seed in range(6)
        for stream in Stream
        for counter in range(50)
    }
    assert len(seeds) == 6 * len(Stream) * 50, "no two share their numbers"
    one, same = (torch.randn(4, generator=torch_random(2, Stream.NOISE, 7)) for _ in range(2))
    assert torch.equal(one, same)
    assert numpy_random(2, Stream.SPLIT).random() == numpy_random(2, Stream.SPLIT).random()
    assert np.array_equal(batch_rows(0, 9, 4, 5, 22), batch_rows(0, 9, 4, 5, 22))


def test_nobody_elses_random_state_is_touched():
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002  the state that other people's code still uses
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, _ = run(watched())
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    torch.manual_seed(1)
    second, _ = run(watched())
    for a, b in zip(first.generator.parameters(), second.generator.parameters(), strict=True):
        assert torch.equal(a, b)


# -- what is told ----------------------------------------------------------------------------


def test_events_come_in_order():
    _, heard = run(watched(22), steps=8)
    assert [event.kind for event in heard] == [
        "started",
        *(["step"] * 4 + ["epoch"]) * 2,
        "ended",
    ]
    assert [event.step for event in heard] == [0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 8]
    assert [event.epoch for event in heard] == [0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2]
    (started,), (ended,) = of(heard, Started), of(heard, Ended)
    assert (started.total_steps, started.steps_per_epoch, started.sequences) == (8, 4, 22)
    assert set(started.parameters) == {"generator", "critic"}
    assert (ended.status, ended.reason) == ("finished", "")
    means = [np.mean([s.losses["critic"] for s in of(heard, Stepped)[i : i + 4]]) for i in (0, 4)]
    assert [e.losses["critic"] for e in of(heard, EpochEnded)] == pytest.approx(means)


def test_a_lazy_penalty_is_told_when_it_is_taken():
    _, heard = run(watched(), penalty="r1r2-fd", every=3, steps=8)
    assert ["penalty" in step.losses for step in of(heard, Stepped)] == [
        step % 3 == 0 for step in range(8)
    ]
    _, heard = run(watched(), penalty="none", steps=4)
    assert all("penalty" not in step.losses for step in of(heard, Stepped))


def test_nothing_is_left_to_do():
    data = watched()
    state, _ = run(data)
    before = [p.clone() for p in state.generator.parameters()]
    heard: list[Event] = []
    ended = train(state, data, ObjectiveConfig(), PenaltyConfig(), heard.append)
    assert ended.status == "finished" and [e.kind for e in heard] == ["started", "ended"]
    assert all(torch.equal(a, b) for a, b in zip(before, state.generator.parameters(), strict=True))


def test_an_epoch_broken_off_is_told_whole_in_the_end():
    data = watched()
    config = TrainConfig(steps=8, batch_size=5)
    heard: dict[str, list[Event]] = {"straight": [], "broken": []}
    train(
        new_state(data, config), data, ObjectiveConfig(), PenaltyConfig(), heard["straight"].append
    )
    state, tell = new_state(data, config), heard["broken"].append
    train(state, data, ObjectiveConfig(), PenaltyConfig(), tell, lambda: "stop")
    saved = json.loads(json.dumps(state.counters()))
    state.load_counters(saved)
    train(state, data, ObjectiveConfig(), PenaltyConfig(), tell)
    for whole, pieced in zip(*(of(h, EpochEnded) for h in heard.values()), strict=True):
        assert (whole.step, whole.losses) == (pieced.step, pieced.losses)
        assert pieced.sequences_per_second * pieced.seconds == pytest.approx(4 * 5)


def test_epochs_are_counted_on_where_their_length_changes():
    data = watched(20)
    state, heard = new_state(data, TrainConfig(epochs=3, batch_size=5)), []
    train(state, data, ObjectiveConfig(), PenaltyConfig(), heard.append)
    longer = new_state(data, TrainConfig(epochs=5, batch_size=10))
    longer.load_counters(state.counters())
    train(longer, data, ObjectiveConfig(), PenaltyConfig(), heard.append)
    told = [(e.step, e.epoch) for e in of(heard, EpochEnded)]
    assert told == [(4, 1), (8, 2), (12, 3), (14, 4), (16, 5)]
    for epoch in np.array_split(np.concatenate(data.drawn), 5):
        assert len(np.unique(epoch)) == 20


def test_what_is_frozen_stays_and_the_rest_learns():
    data = watched()
    freeze = ("generator.recurrence", "critic.head")
    state = new_state(data, TrainConfig(steps=4, batch_size=5, freeze=freeze))
    names = [n for n, _ in state.generator.named_parameters()]
    before = {k: v.clone() for k, v in state.tensors()["model"].items()}
    train(state, data, ObjectiveConfig(), PenaltyConfig(), lambda event: None)
    after = state.tensors()["model"]
    same = {k for k, v in after.items() if torch.equal(v, before[k])}
    assert {k for k in same if k.startswith("critic.head")} == {
        "critic.head.weight",
        "critic.head.bias",
    }
    assert {f"generator.{n}" for n in names if n.startswith("recurrence")} <= same
    assert {f"generator.{n}" for n in names if not n.startswith("recurrence")}.isdisjoint(same)
    with pytest.raises(ConfigError, match=r"generator\.recurence"):
        new_state(data, TrainConfig(freeze=("generator.recurence",)))
    state = new_state(data, TrainConfig(steps=4, batch_size=5, freeze=("critic",)))
    train(state, data, ObjectiveConfig(), PenaltyConfig(), lambda event: None)
    assert state.parameters()["critic"] == 0


# -- learning rates and averages -------------------------------------------------------------


def test_the_schedule():
    cosine = TrainConfig(warmup=0)
    factors = [rate_factor(step, 100, cosine) for step in range(101)]
    assert factors[0] == 1 and factors[100] == pytest.approx(0.05)
    assert factors[50] == pytest.approx((1 + 0.05) / 2)
    assert all(a > b for a, b in itertools.pairwise(factors))
    warm = TrainConfig(warmup=10, schedule="constant")
    assert [rate_factor(step, 100, warm) for step in (0, 4, 9, 10, 99)] == [0.1, 0.5, 1, 1, 1]
    assert rate_factor(500, 100, cosine) == pytest.approx(0.05), "past the end it stays"


def test_both_rates_are_set_and_told():
    data = watched()
    config = TrainConfig(steps=8, batch_size=5, warmup=4, schedule="constant")
    state, heard = new_state(data, config, rates=(0.004, 0.008)), []
    train(state, data, ObjectiveConfig(), PenaltyConfig(), heard.append)
    rates = [step.rates for step in of(heard, Stepped)]
    assert [r["generator"] for r in rates] == pytest.approx([0.001, 0.002, 0.003, *[0.004] * 5])
    assert [r["critic"] for r in rates] == pytest.approx([0.002, 0.004, 0.006, *[0.008] * 5])
    assert state.critic_optimizer.param_groups[0]["lr"] == pytest.approx(0.008)


def test_averaged_weights_follow_the_generator():
    data = watched()
    state = new_state(data, TrainConfig(average=0.9))
    start = [p.clone() for p in state.average.parameters()]
    assert not any(p.requires_grad for p in state.average.parameters())
    for parameter in state.generator.parameters():
        parameter.data += 1.0
    state.step = 1000
    state.update_average()
    for before, after in zip(start, state.average.parameters(), strict=True):
        assert torch.allclose(after, before + 0.1, atol=1e-6)
    state.step = 0  # early on, most of what was is forgotten
    state.update_average()
    for before, after in zip(start, state.average.parameters(), strict=True):
        assert torch.allclose(after, before + 0.1 * 0.1 + 0.9, atol=1e-6)
    assert state.sampler is state.average


def test_without_an_average_the_last_weights_sample():
    state, _ = run(watched(), average=0.0)
    assert state.sampler is state.generator


def test_training_moves_every_weight_of_both_networks():
    data = watched()
    before = new_state(data, TrainConfig())
    after, _ = run(data, steps=4)
    for name in ("generator", "critic"):
        old, new = (dict(getattr(s, name).named_parameters()) for s in (before, after))
        assert [key for key in old if torch.equal(old[key], new[key])] == []
    for state in (before, after):  # and the average follows, some way behind
        average, now = (dict(n.named_parameters()) for n in (state.average, state.generator))
        assert all(torch.equal(average[key], now[key]) == (state is before) for key in now)
    start = dict(before.average.named_parameters())
    assert not any(torch.equal(start[k], p) for k, p in after.average.named_parameters())
    assert after.is_finite()
