"""Rules that end a training before its time, over curves made for them."""

from __future__ import annotations

import json

import pytest

from rgan.train import stopping
from rgan.train.monitor_config import StoppingConfig

FALLING = [10.0, 6.0, 4.0, 3.0, 2.5, 2.2, 2.1, 2.0]


def course(
    values: list[float], config: StoppingConfig, memory: stopping.Memory | None = None
) -> stopping.Memory:
    """The memory after these looks, or up to the one that stops; through JSON, as in a resume."""
    memory = memory or stopping.init()
    first = len(memory["curve"])
    for number, value in enumerate(values, start=first):
        look = {"epoch": number, "step": 10 * number, "batches": 10 * number, "seconds": number}
        memory, _ = stopping.adapt(memory, look | {"value": value}, config)
        memory = json.loads(json.dumps(memory))
        if memory["stopped"]:
            break
    return memory


def test_without_rules_nothing_stops():
    memory = course([*FALLING, *[9.0] * 50], StoppingConfig())
    assert not memory["stopped"] and len(memory["curve"]) == 58


def test_patience_counts_looks_since_the_best():
    memory = course([*FALLING, *[2.05] * 9], StoppingConfig(patience=4))
    assert len(memory["curve"]) == len(FALLING) + 4
    assert memory["stopped"] == "no better for 4 looks: the best was 2 at step 70"
    wide = course([*FALLING, *[2.05] * 9], StoppingConfig(patience=4, margin=0.03))
    assert len(wide["curve"]) == 6 + 4  # after 2.2, no look is better by 3 % of the way from 10


def test_patience_waits_while_it_gets_better():
    memory = course([10.0 * 0.8**n for n in range(20)], StoppingConfig(patience=2, margin=0.0))
    assert not memory["stopped"]


def test_divergence_is_a_lasting_rise_and_not_one_bad_look():
    config = StoppingConfig(divergence=0.3, window=5)
    assert not course([*FALLING, 2.0, 6.0, 2.0, 2.0, 2.0, 2.0], config)["stopped"]
    memory = course([*FALLING, 3.0, 4.0, 5.0, 6.0, 7.0], config)
    assert "got worse" in memory["stopped"] and len(memory["curve"]) < 13


def test_a_plateau_is_neither_a_fall_nor_a_rise():
    config = StoppingConfig(plateau=0.02, window=4)
    assert not course(FALLING[:6], config)["stopped"]
    memory = course([*FALLING, 2.0, 2.01, 1.99, 2.0, 2.0], config)
    assert "changed by" in memory["stopped"] and len(memory["curve"]) <= 12


def test_a_loss_that_is_many_times_the_other_for_three_epochs():
    config, memory = StoppingConfig(loss_ratio=10.0), stopping.init()
    for losses in [(9.0, 0.5), (9.0, 0.5), (1.0, 0.5), (9.0, 0.5), (9.0, 0.5)]:
        memory = stopping.adapt_losses(
            memory, dict(zip(("generator", "critic"), losses, strict=True)), config
        )
        assert not memory["stopped"]
    memory = stopping.adapt_losses(memory, {"generator": 9.0, "critic": 0.5}, config)
    assert "the loss of the generator has been more than 10 times" in memory["stopped"]
    other = stopping.init()
    for _ in range(9):  # a wasserstein critic's loss says nothing of a ratio
        other = stopping.adapt_losses(other, {"generator": 3.0, "critic": -0.1}, config)
    assert not other["stopped"]


def test_who_goes_on_after_a_stop_has_new_patience_and_the_old_best():
    config = StoppingConfig(patience=3)
    memory = stopping.go_on(course([*FALLING, *[4.0] * 9], config))
    assert not memory["stopped"] and memory["kept"] == {"step": 70, "value": 2.0}
    before = len(memory["curve"])
    memory = course([4.0] * 9, config, memory)
    assert len(memory["curve"]) == before + 3 and memory["stopped"]


def test_the_checkpoint_to_keep_is_that_of_the_least_value():
    memory, kept = stopping.init(), []
    for number, value in enumerate([1.0, 3.0, 2.0, 2.5, 1.5]):
        look = {"epoch": number, "step": number, "batches": 0, "seconds": 0.0, "value": value}
        memory, better = stopping.adapt(memory, look, StoppingConfig())
        kept.append(better)
    # the untrained generator has a value and no checkpoint worth keeping
    assert kept == [False, True, True, False, True]
    assert memory["kept"] == {"step": 4, "value": 1.5}


def test_convergence_is_the_first_look_near_the_best():
    curve = course([10.0, 5.0, 2.45, 2.3, 2.0, 2.2], StoppingConfig())["curve"]
    found = stopping.convergence(curve, "mmd2")
    assert found is not None
    assert (found["step"], found["epochs"], found["batches"]) == (30, 3, 30)  # 2.0 + 5 % of 8
    assert (found["first"], found["best"], found["value"]) == (10.0, 2.0, 2.3)


@pytest.mark.parametrize("values", [[3.0], [3.0, 4.0, 3.5]])
def test_what_got_no_better_has_not_converged(values):
    assert stopping.convergence(course(values, StoppingConfig())["curve"]) is None


def test_a_memory_is_never_changed_in_place():
    memory = stopping.init()
    before = json.dumps(memory)
    look = {"epoch": 1, "step": 1, "batches": 1, "seconds": 1.0, "value": 1.0}
    stopping.adapt(memory, look, StoppingConfig(patience=1))
    stopping.adapt_losses(memory, {"generator": 9.0, "critic": 0.1}, StoppingConfig(loss_ratio=2))
    assert json.dumps(memory) == before
