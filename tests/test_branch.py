"""Going on with other settings, in place and beside: what changes, is kept, and is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from command_line import rgan
from rgan.config import from_sections
from rgan.errors import ConfigError, RunError
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run
from rgan.sequences import Sequences
from rgan.train.events import EpochEnded, Event, Noted
from rgan.workflow.fit import branch, fit, resume
from test_resume import events, latest, tiny


def model(run: Run) -> dict[str, np.ndarray]:
    """The weights of a run's last checkpoint."""
    tensors = CheckpointStore(run.checkpoints).load().tensors["model"]
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def first_model(run: Run) -> dict[str, np.ndarray]:
    """The weights that a run began with."""
    store = CheckpointStore(run.checkpoints)
    tensors = store.load(store.steps()[0]).tensors["model"]
    return {name: tensor.numpy() for name, tensor in tensors.items()}


# -- longer ----------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [{}, {"generator__cell": "gru", "objective__name": "bce"}])
def test_three_epochs_and_three_more_are_six(tmp_path, more):
    six = fit(tiny(train__epochs=6, **more), runs=tmp_path).run
    three = fit(tiny(train__epochs=3, **more), runs=tmp_path).run
    resume(three, settings={"train.epochs": 6})
    assert latest(six.path) == latest(three.path)
    told = [[(e["step"], e["losses"]) for e in events(r.path, "epoch")] for r in (six, three)]
    assert told[0] == told[1] and len(told[0]) == 6


def test_a_cosine_is_of_the_whole_length(tmp_path):
    run = fit(tiny(train__steps=16, train__warmup=0), runs=tmp_path).run
    resume(run, settings={"train.steps": 32})
    rates = [e["rates"]["generator"] for e in events(run.path, "epoch")]
    assert rates[1] < rates[2], "as docs/training.md warns"


def test_epochs_go_on_where_the_batch_changes(tmp_path):
    run = fit(tiny(train__epochs=2), runs=tmp_path).run  # 56 sequences: 8 batches of 7
    resume(run, settings={"train.epochs": 4, "train.batch_size": 14})
    told = [(e["step"], e["epoch"]) for e in events(run.path, "epoch")]
    assert told == [(8, 1), (16, 2), (20, 3), (24, 4)]


# -- what may change in place ----------------------------------------------------------------


def test_what_the_weights_would_not_bear_is_refused(tmp_path):
    run = fit(tiny(train__steps=3), runs=tmp_path).run
    before = {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()}
    for setting in ("generator.hidden=7", "critic.cell=gru", "train.seed=3", "data.test=0.3"):
        answer = rgan("train", "--resume", run.path, "--set", setting)
        assert answer.code == 2
        assert f"--resume {run.path} --branch --set {setting}" in answer.err
    assert {p: p.read_bytes() for p in run.path.rglob("*") if p.is_file()} == before


def test_a_hand_made_change_of_the_configuration_is_told(tmp_path):
    run = fit(tiny(train__steps=3), runs=tmp_path).run
    text = run.config_toml.read_text()
    run.config_toml.write_text(text.replace("keep = 3", "keep = 5"))
    said: list[str] = []
    resume(run, say=said.append)
    assert "train.keep: 3 -> 5" in said
    assert run.info["segments"][-1]["changed"] == {"train.keep": [3, 5]}


def test_what_is_frozen_comes_back_frozen(tmp_path):
    freeze = ("generator.head", "critic.convs")
    run = fit(tiny(train__steps=8, train__freeze=freeze), runs=tmp_path).run
    begun = first_model(run)
    resume(run, settings={"train.steps": 16})
    after = model(run)
    kept = {name for name in after if name.startswith(freeze)}
    assert len(kept) == 4 and all(np.array_equal(after[n], begun[n]) for n in kept)
    resume(run, settings={"train.steps": 24, "train.freeze": ()})
    thawed = model(run)
    assert not any(np.array_equal(thawed[n], begun[n]) for n in kept)
    with pytest.raises(ConfigError, match=r"generator\.haed"):
        resume(run, settings={"train.freeze": ("generator.haed",)})


def test_nothing_left_to_train_is_said(tmp_path):
    run = fit(tiny(train__epochs=2), runs=tmp_path).run
    answer = rgan("train", "--resume", run.path)
    assert answer.code == 0 and f"--resume {run.path} --epochs 4" in answer.out
    answer = rgan("train", "--resume", run.path, "--branch")
    assert answer.code == 2 and "nothing is left to train" in answer.err
    assert [p.name for p in tmp_path.iterdir()] == [run.path.name]


# -- branching -------------------------------------------------------------------------------


def test_a_branch_without_changes_goes_on_exactly(tmp_path):
    straight = fit(tiny(train__epochs=4), runs=tmp_path).run
    parent = fit(tiny(train__epochs=2), runs=tmp_path).run
    before = {p: p.read_bytes() for p in parent.path.rglob("*") if p.is_file()}
    child = branch(parent, settings={"train.epochs": 4}).run
    assert latest(child.path) == latest(straight.path)
    assert {p: p.read_bytes() for p in parent.path.rglob("*") if p.is_file()} == before
    info = child.info
    assert info["parent"] == parent.id and info["id"] != parent.id
    assert info["parents"] == [{"id": parent.id, "name": parent.info["name"], "step": 16}]
    assert (info["segments"][0]["from_step"], info["held_out"]) == (16, "")
    assert [e["epoch"] for e in events(child.path, "epoch")] == [3, 4]


def test_every_weight_that_fits_is_carried_over(tmp_path):
    parent = fit(tiny(train__steps=8), runs=tmp_path).run
    words = ("--branch", "--set", "generator.hidden=9", "--set", "train.steps=16")
    answer = rgan("train", "--resume", parent.path, *words, "--runs", tmp_path)
    assert answer.code == 0, answer.err
    (child,) = (Run.open(p) for p in tmp_path.iterdir() if p != parent.path)
    old, new = model(parent), first_model(child)
    named = child.info["segments"][0]["new_weights"]
    for name, value in new.items():
        if name.startswith("critic.") or (name.startswith("generator.") and name not in named):
            assert np.array_equal(value, old[name]), name
    assert "generator.head.weight" in named and not any(n.startswith("critic.") for n in named)
    assert all(f"begins anew: {name} " in answer.out for name in named)
    # an average of weights that are new would be of random ones for a thousand steps
    for name, value in new.items():
        if name.startswith("average."):
            assert np.array_equal(value, new[name.replace("average.", "generator.")])
    optimizer = CheckpointStore(child.checkpoints).load(8).tensors["optimizer"]
    assert not any(key.startswith("generator.head.weight/") for key in optimizer)
    assert any(key.startswith("critic.head.weight/") for key in optimizer)
    sampled = rgan("sample", child.path, "-n", 3, "-o", tmp_path / "s.npy")
    assert sampled.code == 0, sampled.err


@pytest.mark.parametrize(
    "settings",
    [
        {"critic.cell": "gru"},
        {"data.layout": "columns"},
        {"data.patch": "4x4", "data.layout": "patches"},
        {"model.kind": "rgan"},
        {"transform.scale": ("zscore",)},
        {"train.seed": 1},
    ],
)
def test_what_a_branch_may_change(tmp_path, settings):
    config = tiny(data__source="digits", train__steps=3)
    parent = fit(config, runs=tmp_path).run
    child = branch(parent, settings={**settings, "train.steps": 16}).run
    changed = child.info["segments"][0]["changed"]
    assert settings.keys() <= changed.keys()
    assert CheckpointStore(child.checkpoints).load().step >= 16
    same_split = not any(p.startswith("data.") or p == "train.seed" for p in settings)
    assert (child.info["held_out"] == "") == same_split
    grandchild = branch(child, settings={"train.steps": 32}).run
    assert (grandchild.info["held_out"] == "") == same_split, "it stays so"


def test_an_evaluation_says_where_nothing_was_held_out(tmp_path):
    parent = fit(tiny(train__steps=3), runs=tmp_path).run
    child = branch(parent, settings={"train.seed": 1, "train.steps": 16}).run
    words = ("--metric", "marginals", "--repeats", 1)
    answer = rgan("evaluate", child.path, *words)
    assert answer.code == 0, answer.err
    assert "may have been trained on before (changed: train.seed" in answer.err
    assert "trained on before" in json.loads(child.evaluation_json.read_text())["held_out"]
    assert rgan("evaluate", parent.path, *words).err.count("careful") == 0


# -- other data ------------------------------------------------------------------------------


def walks(seed: int, n: int = 30, features: int = 2) -> Sequences:
    return Sequences(np.random.default_rng(seed).normal(size=(n, 5, features)).cumsum(1))


def test_new_data_have_to_be_meant(tmp_path):
    config = tiny(data__source="", data__max_sequences=0, train__steps=2)
    run = fit(config, runs=tmp_path, sequences=walks(0)).run
    more = {"train.steps": 8}
    with pytest.raises(RunError, match="--new-data") as caught:
        resume(run, settings=more, sequences=walks(1))
    old = run.info["data"]["fingerprint"]
    assert old[:12] in caught.value.found and "of 30 then" in caught.value.found
    with pytest.raises(RunError, match="the features"):
        resume(run, settings=more, sequences=walks(1, features=3), new_data=True)
    said: list[str] = []
    resume(run, settings=more, sequences=walks(1, n=40), new_data=True, say=said.append)
    info = run.info
    assert info["data"]["sequences"] == 40
    was, now = info["segments"][-1]["data"]
    assert (was["fingerprint"], now) == (old, info["data"])
    assert any("of 40 sequences now" in line for line in said)
    assert "may have been trained on" in info["held_out"]
    resume(run, settings={"train.steps": 12}, sequences=walks(1, n=40))
    child = branch(
        run, settings={"train.steps": 20}, sequences=walks(2, features=3), new_data=True
    ).run
    assert child.info["data"]["features"] != info["data"]["features"]


# -- a disk that fails -----------------------------------------------------------------------


def test_a_disk_that_fails_for_a_while_costs_nothing(tmp_path):
    told: list[str] = []
    broken: dict[str, Path] = {}

    def disturb(event: Event) -> None:
        if isinstance(event, Noted):
            told.append(event.text)
        if isinstance(event, EpochEnded) and event.epoch == 2:
            # a file where the folder of checkpoints was: what a lost mount looks like
            (run,) = (p for p in tmp_path.iterdir())
            broken["aside"] = (run / "checkpoints").rename(run / "aside")
            (run / "checkpoints").write_text("")
        if isinstance(event, EpochEnded) and event.epoch == 5:
            (run,) = (p for p in tmp_path.iterdir())
            (run / "checkpoints").unlink()
            broken["aside"].rename(run / "checkpoints")

    config = tiny(train__epochs=8, train__checkpoint_minutes=1e-9)
    run = fit(config, runs=tmp_path, listeners=(disturb,)).run
    assert sum("a checkpoint is not written" in text for text in told) == 1
    assert told[-1] == "a checkpoint is written again"
    assert CheckpointStore(run.checkpoints).load().step == 64
    assert [e["epoch"] for e in events(run.path, "epoch")] == list(range(1, 9))
    assert [e["text"] for e in events(run.path, "note")] == told


# -- finding ---------------------------------------------------------------------------------


def test_the_newest_of_several(tmp_path):
    parent = fit(tiny(train__epochs=1), runs=tmp_path).run
    child = branch(parent, settings={"train.epochs": 2}).run
    # the parent's clock was wrong: its place in the lineage counts
    segments = [s | {"started": "2999-01-01T00:00:00.000000Z"} for s in parent.info["segments"]]
    parent.update_info(segments=segments)
    several = rgan("train", "--resume", "20", "--runs", tmp_path, "--epochs", 3)
    assert several.code == 2 and "--newest" in several.err
    lines = [Path(line.strip()) for line in several.err.splitlines() if str(tmp_path) in line]
    assert lines == [child.path, parent.path]
    prefix = str(tmp_path / parent.path.name[:6])
    answer = rgan("train", "--resume", prefix, "--newest", "--epochs", 3, "-q")
    assert answer.code == 0 and answer.out.strip() == str(child.path)
    assert from_sections(child.read_config()).train.epochs == 3
    alone = rgan("train", "sines", "--branch")
    assert alone.code == 2 and "--branch without --resume" in alone.err
