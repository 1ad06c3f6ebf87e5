"""A training that looks at its own samples keeps the best, stops when told to, and is not moved."""

from __future__ import annotations

import dataclasses
import io
import json
import time
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from command_line import TINY, rgan
from rgan.config import Config
from rgan.data.load import load
from rgan.report.progress import PlainProgress
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run
from rgan.sequences import Sequences
from rgan.train.events import EpochEnded, Event, Judged, Started, Stepped
from rgan.workflow.fit import Outcome, fit, resume
from rgan.workflow.monitor import Monitor
from rgan.workflow.monitor_scores import Scorer, ridge
from rgan.workflow.session import Session, open_session
from test_resume import events, latest, tiny

EVERY = {"monitor__every": 1, "monitor__budget": 0.0}
NO_BETTER = {"train__average": 0.0, "train__freeze": ("generator",), "train__epochs": 20}
"""A training that never gets better, on no processor: its generator learns nothing."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Six epochs, a look at the end of each."""
    return fit(tiny(train__epochs=6, **EVERY), runs=tmp_path_factory.mktemp("whole"))


def looks(run: Run) -> list[tuple[object, ...]]:
    return [(e["step"], e["values"], e["best"]) for e in events(run.path, "similarity")]


def opened(**more: object) -> Session:
    config = tiny(**more)
    return open_session(config, load(config.data))


# -- the training is not moved ---------------------------------------------------------------


def test_looks_change_no_bit_of_the_training(whole: Outcome, tmp_path: Path):
    blind = fit(tiny(train__epochs=6, monitor__looks=0), runs=tmp_path)
    assert len(looks(whole.run)) == 6 and not looks(blind.run)
    assert latest(whole.run.path) == latest(blind.run.path)


def test_three_epochs_and_three_more_have_the_curve_of_six(whole: Outcome, tmp_path: Path):
    first = fit(tiny(train__epochs=3, **EVERY), runs=tmp_path)
    resume(first.run, settings={"train.epochs": 6})
    assert looks(first.run) == looks(whole.run)
    assert latest(first.run.path) == latest(whole.run.path)
    mine, theirs = first.run.info, whole.run.info
    assert mine["best"] == theirs["best"]
    timed = ("seconds",)
    assert {k: v for k, v in (mine["convergence"] or {}).items() if k not in timed} == {
        k: v for k, v in (theirs["convergence"] or {}).items() if k not in timed
    }


def test_the_test_split_is_never_looked_at():
    session = opened(train__epochs=2, **EVERY)
    blind = dataclasses.replace(session, splits=dataclasses.replace(session.splits, test=None))
    told: list[Event] = []
    monitor = Monitor(blind, told.append, lambda text: None)
    monitor(Started(0, 0, total_steps=16, steps_per_epoch=8))
    monitor(EpochEnded(8, 1))
    (event,) = told
    assert isinstance(event, Judged) and {"mmd2", "overall"} <= event.values.keys()


# -- the best checkpoint ---------------------------------------------------------------------


def test_the_best_checkpoint_is_that_of_the_least_value_and_samples(whole: Outcome):
    run = whole.run
    found = {e["step"]: e["value"] for e in events(run.path, "similarity")}
    step = min(found, key=found.__getitem__)
    assert run.info["best"] == {"metric": "overall", "value": found[step], "step": step}
    checkpoint = CheckpointStore(run.checkpoints).load("best")
    assert checkpoint.step == step
    target = run.path / "best.npz"
    answer = rgan("sample", run.path, "--checkpoint", "best", "-n", 5, "-o", target, "-q")
    assert answer.code == 0 and target.is_file(), answer.err
    assert (run.figures / "similarity.png").is_file()


def test_the_best_stays_however_many_checkpoints_follow(tmp_path: Path):
    config = tiny(train__keep=1, train__checkpoint_minutes=1e-6, **{**EVERY, **NO_BETTER})
    run = fit(config, runs=tmp_path).run
    best = run.info["best"]
    assert best["step"] < 160 and CheckpointStore(run.checkpoints).steps() == [best["step"], 160]
    again = resume(run, settings={"train.epochs": 21}).run
    assert again.info["best"] == best and CheckpointStore(run.checkpoints).load("best")


def test_a_kill_between_checkpoint_and_mark_leaves_no_gap(whole: Outcome, tmp_path: Path):
    run = fit(tiny(train__epochs=3, **EVERY), runs=tmp_path).run
    best, mark = run.info["best"], run.checkpoints / "best"
    mark.unlink()
    run.update_info(best=None)
    resume(run, settings={"train.epochs": 3})
    assert run.info["best"] == best and int(mark.read_text()) == best["step"]


def test_a_best_that_cannot_be_written_is_not_told_as_one(tmp_path: Path):
    aside: dict[str, Path] = {}

    def disturb(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.epoch in (1, 4):
            (folder,) = (path / "checkpoints" for path in tmp_path.iterdir())
            if event.epoch == 1:  # a file in place of the folder: what a lost mount looks like
                aside["was"] = folder.rename(folder.with_name("aside"))
                folder.write_text("")
            else:
                folder.unlink()
                aside["was"].rename(folder)

    # the best epoch is the second
    swift = {"generator_optimizer__rate": 0.01, "critic_optimizer__rate": 0.01, "train__warmup": 0}
    config = tiny(train__epochs=6, train__average=0.5, **swift, **EVERY)
    run = fit(config, runs=tmp_path, listeners=(disturb,)).run
    best, store = run.info["best"], CheckpointStore(run.checkpoints)
    found = {e["step"]: e["value"] for e in events(run.path, "similarity")}
    assert store.load("best").step == best["step"] and found[best["step"]] == best["value"]
    assert store.load("latest").state["monitor"]["kept"]["step"] == best["step"]
    assert any("a checkpoint is not written" in e["text"] for e in events(run.path, "note"))


def test_tstr_chooses_where_it_is_asked_to(tmp_path: Path):
    more = {"data__source": "digits", "data__max_sequences": 300, "train__epochs": 3}
    run = fit(tiny(monitor__metric="tstr", **{**EVERY, **more}), runs=tmp_path).run
    found = [e["values"]["tstr"] for e in events(run.path, "similarity")]
    assert run.info["best"]["metric"] == "tstr"
    assert run.info["best"]["value"] == pytest.approx(max(found))


def test_a_metric_that_cannot_be_had_is_refused_before_anything_is_written(tmp_path: Path):
    words = ("train", "sines", *TINY, "--set", "monitor.metric=tstr", "--runs", tmp_path / "runs")
    answer = rgan(*words)
    assert answer.code == 2 and "monitor.metric=overall" in answer.err
    assert "Traceback" not in answer.err and not (tmp_path / "runs").exists()


# -- stopping --------------------------------------------------------------------------------


def test_a_stop_says_why_and_leaves_best_and_last(tmp_path: Path):
    out = io.StringIO()
    progress = PlainProgress(Console(file=out, width=200), every=0.0)
    config = tiny(stopping__patience=3, **{**EVERY, **NO_BETTER})
    outcome = fit(config, runs=tmp_path, listeners=(progress,))
    run, info = outcome.run, outcome.run.info
    assert outcome.ended.status == info["status"] == "finished" and outcome.ended.step < 160
    assert info["segments"][-1]["reason"].startswith("no better for 3 looks: the best was")
    store = CheckpointStore(run.checkpoints)
    assert store.load("latest").step == outcome.ended.step
    assert store.load("best").step == info["best"]["step"] < outcome.ended.step
    assert "training is stopped: no better for 3 looks" in events(run.path, "note")[-1]["text"]
    assert "finished at step" in out.getvalue() and "no better for 3 looks" in out.getvalue()
    assert " overall " in out.getvalue()

    before = len(looks(run))
    again = resume(run)  # with new patience
    assert again.ended.step > outcome.ended.step and len(looks(run)) == before + 3
    assert run.info["best"] == info["best"]


def test_a_training_that_was_stopped_early_has_converged_too(tmp_path: Path):
    swift = {"generator_optimizer__rate": 0.01, "critic_optimizer__rate": 0.01, "train__warmup": 0}
    more = {"train__epochs": 30, "train__average": 0.5, "stopping__patience": 2}
    outcome = fit(tiny(**{**more, **swift, **EVERY}), runs=tmp_path)
    info = outcome.run.info
    assert info["segments"][-1]["reason"].startswith("no better for 2 looks")
    near = info["convergence"]
    assert 0 < near["batches"] <= info["best"]["step"] < outcome.ended.step
    (row,) = json.loads(rgan("runs", "list", "--runs", tmp_path, "--json").out)
    assert row["convergence"]["batches"] == near["batches"]
    assert f"batch {near['batches']}" in rgan("runs", "list", "--runs", tmp_path).out


def test_a_stop_by_losses_needs_no_looks(tmp_path: Path):
    config = tiny(train__epochs=20, monitor__looks=0, stopping__loss_ratio=1.0001)
    outcome = fit(config, runs=tmp_path)
    assert outcome.ended.status == "finished" and outcome.ended.step < 160
    assert "the loss of the" in outcome.ended.reason


# -- the budget ------------------------------------------------------------------------------


def test_a_look_that_would_exceed_the_budget_is_put_off(tmp_path: Path):
    run = fit(tiny(train__epochs=6, monitor__budget=1e-4), runs=tmp_path).run
    assert not looks(run) and "best" not in run.info and not events(run.path, "note")


def test_a_budget_that_is_exceeded_is_told_once_and_then_kept():
    session = opened(train__epochs=4, monitor__every=1, monitor__budget=0.1)
    told: list[Event] = []
    notes: list[str] = []
    monitor = Monitor(session, told.append, notes.append)
    session.state.monitor = {**monitor.memory, "cost": 0.0}  # as if looks were free
    monitor(Started(0, 0, total_steps=32, steps_per_epoch=8))
    for epoch in (1, 2, 3, 4):
        monitor(EpochEnded(8 * epoch, epoch))
    assert len(told) == len(notes) == 1 and "more than monitor.budget has (10%)" in notes[0]
    session.state.monitor = {**monitor.memory, "trained": 1e4}
    monitor(EpochEnded(40, 5))
    assert len(told) == 2


def test_the_clock_has_no_say_in_when_likelihood_is_looked_at(tmp_path: Path):
    """By these looks a training ends, so a slow machine must take as many as a fast one."""
    likely = {"monitor__metric": "likelihood", "objective__name": "likelihood"}
    likely |= {"generator__feedback": True, "train__epochs": 8, "monitor__looks": 8}
    config = tiny(**likely, monitor__budget=0.02)

    def slow(event: Event) -> None:
        if isinstance(event, Stepped):
            time.sleep(0.05)

    quick = fit(config, runs=tmp_path / "quick").run
    slowed = fit(config, runs=tmp_path / "slowed", listeners=(slow,)).run
    assert looks(quick) == looks(slowed)
    # 12 sequences are judged in a look; an epoch is learnt from 56 of them, three passes each
    assert 2 <= len(looks(quick)) <= 8 * 3 * 56 * 0.02 / 12 + 1


# -- what is measured ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits() -> Sequences:
    return load(dataclasses.replace(Config().data, source="digits"))


def scored(scorer: Scorer, candidate: Sequences) -> dict[str, float]:
    return scorer.score(lambda n, labels, seed: candidate)


def test_each_metric_sees_what_it_is_for(digits: Sequences):
    scorer = Scorer.of(digits[:600], digits[600:1000], 300)
    assert scorer.settle() == []
    real = digits[1000:1300]
    good = scored(scorer, real)
    assert good["overall"] < 1.5

    def spoilt(**change: object) -> dict[str, float]:
        return scored(scorer, dataclasses.replace(real, **change))

    rng = np.random.default_rng(0)
    one_mode = spoilt(values=np.repeat(real.values[:1], len(real), 0))
    brighter = spoilt(values=real.values + 3)
    shuffled = spoilt(values=real.values[:, rng.permutation(8)])
    swapped = spoilt(labels=rng.permutation(real.labels))
    assert one_mode["mmd2"] > 10 * abs(good["mmd2"]) and one_mode["discriminative"] > 0.9
    assert brighter["marginal_w1"] > 5 * good["marginal_w1"]
    assert shuffled["autocorrelation"] > 2 * good["autocorrelation"]
    assert good["tstr"] > 0.8 and swapped["tstr"] < 0.3
    for worse in (one_mode, brighter, shuffled, swapped):
        assert worse["overall"] > good["overall"] + 0.2


def test_gaps_and_rare_classes_are_judged(tmp_path: Path):
    icu = load(dataclasses.replace(Config().data, source="icu", max_sequences=400))
    scorer = Scorer.of(icu[:200], icu[200:300], 100)
    scorer.settle()
    found = scored(scorer, icu[300:])
    wanted = {"mmd2", "marginal_w1", "missingness", "autocorrelation", "discriminative", "tstr"}
    assert wanted <= found.keys() and found["overall"] < 2


def test_ridge_is_the_same_by_rows_and_by_columns():
    rng = np.random.default_rng(0)
    x, other = rng.normal(size=(30, 30)), rng.normal(size=(5, 30))
    y = x[:, :2] @ np.array([[1.0, 0.0], [2.0, 1.0]])
    wide = ridge(np.concatenate([x, np.zeros((30, 5))], 1), y, np.pad(other, ((0, 0), (0, 5))))
    assert np.allclose(ridge(x, y, other), wide)


def test_a_broken_look_is_told_and_training_goes_on(digits: Sequences):
    session = opened(train__epochs=4, **EVERY)
    odd = dataclasses.replace(session.splits, validation=digits[:50])
    broken = dataclasses.replace(session, splits=odd)
    notes: list[str] = []
    monitor = Monitor(broken, lambda event: None, notes.append)
    monitor(Started(0, 0, total_steps=32, steps_per_epoch=8))
    monitor(EpochEnded(8, 1))
    monitor(EpochEnded(16, 2))
    assert len(notes) == 1 and "no longer looked at" in notes[0]


# -- where it is seen ------------------------------------------------------------------------


def test_tensorboard_has_the_curve(whole: Outcome):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(whole.run.tensorboard))
    board.Reload()
    assert "similarity/mmd2" in board.Tags()["scalars"]
    values = [scalar.value for scalar in board.Scalars("similarity/overall")]
    told = [e["values"]["overall"] for e in events(whole.run.path, "similarity")]
    assert values == pytest.approx(told, rel=1e-5)


def test_convergence_is_in_run_json_and_shown(tmp_path: Path):
    run = fit(tiny(train__epochs=2, **EVERY), runs=tmp_path).run
    found = {"metric": "overall", "within": 0.05, "epochs": 3, "batches": 24, "seconds": 1.5}
    run.update_info(convergence=found)
    answer = rgan("runs", "show", run.path)
    assert "overall within 5% of its best after 3 epochs, 24 batches, 1.5 s" in answer.out
    run.update_info(convergence=[7, {"a": 1}])
    assert rgan("runs", "show", run.path).code == 0
    assert json.loads(rgan("runs", "show", run.path, "--json").out)["convergence"]


def test_the_progress_line_has_the_last_look():
    out = io.StringIO()
    progress = PlainProgress(Console(file=out, width=200), every=0.0)
    progress(Started(0, 0, total_steps=9, steps_per_epoch=3))
    progress(Judged(3, 1, {"mmd2": 0.25}, "mmd2", 0.25, True))
    progress(Stepped(4, 1, {"generator": 1.0, "critic": 2.0}))
    assert "critic 2 mmd2 0.25*," in out.getvalue()
