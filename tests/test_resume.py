"""Stopping, crashing and going on: the same numbers as if nothing had happened, to the last bit."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from command_line import TINY, killed_at_last, rgan, start
from fault_checks import saved
from rgan.config import Config, changed, from_sections
from rgan.errors import DivergedError, RunError
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run
from rgan.sequences import Sequences
from rgan.train.events import Event, Stepped
from rgan.workflow.fit import fit, resume

STEPS, PER_EPOCH = 120, 5
# gaps, static attributes and classes of unlike size are all drawn and packed again on a resume
ICU = (
    *("train", "icu", *TINY, "--max-sequences", 120, "--batch-size", 16),
    *("--set", f"train.steps={STEPS}", "--set", "train.figures=0"),
    *("--set", "train.checkpoint_minutes=0.000001"),
)


def tiny(**more: object) -> Config:
    """Sines, in eight batches of an epoch."""
    settings = {
        **{"train.device": "cpu", "train.figures": 0, "train.steps": 12, "train.batch_size": 7},
        **{"generator.hidden": 6, "critic.hidden": 6, "critic.channels": 6},
        **{"data.source": "sines", "data.max_sequences": 80},
    }
    return changed(Config(), settings | {key.replace("__", "."): v for key, v in more.items()})


def latest(run: Path) -> tuple[bytes, bytes, object]:
    """The last checkpoint: all tensors as they lie on the disk, and the counters."""
    checkpoint = CheckpointStore(run / "checkpoints").load()
    assert not checkpoint.warning
    files = [(checkpoint.path / f"{n}.safetensors").read_bytes() for n in ("model", "optimizer")]
    assert set(checkpoint.tensors) == {"model", "optimizer"}
    return files[0], files[1], checkpoint.state["counters"]


def events(run: Path, kind: str) -> list[dict[str, object]]:
    return [e for e in Run.open(run).history.read() if e["event"] == kind]


def losses(run: Path) -> list[object]:
    told = ("step", "epoch", "rates", "losses")
    return [tuple(e[key] for key in told) for e in events(run, "epoch")]


class At:
    """A listener that does something once, after a step."""

    def __init__(self, step: int, what: Callable[[], None]) -> None:
        self.step, self.what = step, what

    def __call__(self, event: Event) -> None:
        if isinstance(event, Stepped) and event.step == self.step:
            self.what()


def signal_me(number: int) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


# -- real processes --------------------------------------------------------------------------


def wait_for(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the process did not come so far"
        time.sleep(0.005)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nothing disturbed."""
    answer = rgan(*ICU, "--runs", tmp_path_factory.mktemp("straight"), "-q")
    assert answer.code == 0, answer.err
    return Path(answer.out.strip())


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The same, stopped by SIGTERM, gone on with, killed, and gone on with; and what it said."""
    here = tmp_path_factory.mktemp("disturbed")
    with killed_at_last(start(*ICU, cwd=here)) as process:
        wait_for(process, lambda: saved(here) >= PER_EPOCH)
        process.send_signal(signal.SIGTERM)
        said, complaint = process.communicate(timeout=60)
        assert process.returncode == 1, complaint
        assert "Traceback" not in complaint
    stopped = saved(here)
    line = next(x for x in said.splitlines() if x.startswith("go on with:"))
    words = shlex.split(line.removeprefix("go on with:"))
    assert words[:3] == ["rgan", "train", "--resume"]
    with killed_at_last(start(*words[1:], cwd=here)) as process:
        wait_for(process, lambda: saved(here) > stopped + PER_EPOCH)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    killed = saved(here)
    assert stopped < killed < STEPS, "killed before the end"
    run = here / words[3]
    answer = rgan("train", "--resume", run)
    assert answer.code == 0, answer.err
    return run, said


def test_sigterm_saves_and_says_how_to_go_on(disturbed):
    run, said = disturbed
    first, second, third = Run.open(run).info["segments"]
    assert f"stopped by SIGTERM at step {first['to_step']}" in said
    assert 0 < first["to_step"] == second["from_step"]
    assert second["from_step"] < third["from_step"] < third["to_step"] == STEPS
    assert Run.open(run).info["status"] == "finished"


def test_stopped_and_killed_gives_the_same_bytes(straight, disturbed):
    assert latest(disturbed[0]) == latest(straight)
    assert latest(straight)[2]["step"] == STEPS


def test_the_history_has_no_gap_and_nothing_twice(straight, disturbed):
    assert [e["epoch"] for e in events(disturbed[0], "epoch")] == [
        *range(1, 1 + STEPS // PER_EPOCH)
    ]
    assert losses(disturbed[0]) == losses(straight)


# -- within this process ---------------------------------------------------------------------


OPTIONS = {
    "plain": {},
    "augmented": {"train__augment": 0.5},
}


@pytest.mark.parametrize("options", OPTIONS)
def test_stopped_within_an_epoch_gives_the_same_bytes(tmp_path, options):
    config = tiny(**OPTIONS[options])
    whole = fit(config, runs=tmp_path)
    steps = whole.session.batch.x.shape[0] // 7
    assert 3 % steps and steps > 3, "the stop is within an epoch"
    cut = fit(config, runs=tmp_path, listeners=(At(3, signal_me(signal.SIGTERM)),))
    assert (cut.ended.status, cut.ended.reason, cut.ended.step) == ("interrupted", "SIGTERM", 3)
    assert Run.open(cut.run.path).info["status"] == "interrupted"
    assert latest(cut.run.path) != latest(whole.run.path)
    done = resume(Run.open(cut.run.path))
    assert done.ended.status == "finished"
    assert latest(cut.run.path) == latest(whole.run.path)


def test_the_handlers_of_signals_are_given_back(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    fit(tiny(train__steps=1), runs=tmp_path)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_should_stop_ends_after_the_step():
    from rgan.data.load import load
    from rgan.workflow.session import open_session

    session = open_session(tiny(), load(tiny().data))
    heard: list[Event] = []
    ended = session.run(heard.append, lambda: "enough" if session.state.step == 2 else "")
    assert (ended.status, ended.reason, ended.step) == ("interrupted", "enough", 2)
    assert heard[-1] is ended


def test_ctrl_c_prints_the_line_that_resumes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from rgan.report.progress import SilentProgress

    class Ctrl(SilentProgress):
        def __call__(self, event: Event) -> None:
            At(2, signal_me(signal.SIGINT))(event)

    monkeypatch.setattr("rgan.report.progress.make_progress", lambda quiet: Ctrl())
    words = (*TINY, "--set", "train.steps=9", "--set", "train.figures=0", "--runs", "my runs")
    answer = rgan("train", "sines", "--max-sequences", 60, *words)
    assert answer.code == 1
    assert "stopped by Ctrl-C at step 2" in answer.out
    line = next(x for x in answer.out.splitlines() if x.startswith("go on with:"))
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    again = rgan(*shlex.split(line.removeprefix("go on with:"))[1:])
    assert again.code == 0, again.err
    assert "trained to step 9" in again.out or "trained to step 10" in again.out


def test_one_seed_gives_the_same_bytes_and_another_does_not(tmp_path):
    one, same, other = (fit(tiny(train__seed=s, train__steps=3), runs=tmp_path) for s in (4, 4, 5))
    assert latest(one.run.path) == latest(same.run.path)
    assert latest(one.run.path)[0] != latest(other.run.path)[0]
    assert one.run.id != same.run.id


def test_what_changes_on_a_resume_is_said_and_recorded(tmp_path):
    run = fit(tiny(train__steps=3, generator_optimizer__rate=0.01), runs=tmp_path).run
    words = ("--set", "generator_optimizer.rate=0.03", "--set", "train.steps=16")
    answer = rgan("train", "--resume", run.path, *words)
    assert answer.code == 0, answer.err
    assert "generator_optimizer.rate: 0.01 -> 0.03" in answer.out
    assert "train.steps: 3 -> 16" in answer.out
    assert Run.open(run.path).info["segments"][1]["changed"] == {
        "generator_optimizer.rate": [0.01, 0.03],
        "train.steps": [3, 16],
    }
    config = from_sections(run.read_config())
    assert (config.train.steps, config.generator_optimizer.rate) == (16, 0.03)
    assert CheckpointStore(run.checkpoints).load().step >= 16


def test_epochs_and_steps_take_each_others_place(tmp_path):
    run = fit(tiny(train__epochs=1), runs=tmp_path).run
    assert [e["epoch"] for e in events(run.path, "epoch")] == [1]
    more = rgan("train", "--resume", run.path, "--epochs", 2, "-q")
    assert more.code == 0 and [e["epoch"] for e in events(run.path, "epoch")] == [1, 2]
    answer = rgan("train", "--resume", run.path, "--set", "train.steps=20")
    assert answer.code == 0 and "train.epochs: 2 -> 0" in answer.out
    assert events(run.path, "epoch")[-1]["step"] >= 20


def test_a_finished_run_is_resumed_without_harm(tmp_path):
    run = fit(tiny(train__steps=3), runs=tmp_path).run
    before = latest(run.path)
    answer = rgan("train", "--resume", run.path, "-q")
    assert answer.code == 0 and answer.out.strip() == str(run.path)
    assert latest(run.path) == before


# -- the data of a resumed run ---------------------------------------------------------------


def own_table(path: Path, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    lines = ["who,when,x"]
    lines += [f"{w},{t},{rng.normal():.3f}" for w in range(30) for t in range(5)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_changed_data_are_refused(tmp_path):
    source = own_table(tmp_path / "mine.csv")
    words = (*TINY, "--id", "who", "--time", "when", "--set", "train.figures=0", "-q")
    done = rgan("train", source, *words, "--set", "train.steps=2", "--runs", tmp_path / "runs")
    run = done.out.strip()
    own_table(source, seed=1)
    before = latest(Path(run))
    for command in (("train", "--resume", run), ("evaluate", run)):
        answer = rgan(*command)
        assert answer.code == 2
        assert 'the data "mine" are not those that' in answer.err
    moved = shutil.move(own_table(source), tmp_path / "moved.csv")
    answer = rgan("train", "--resume", run)
    assert answer.code == 2 and "mine.csv" in answer.err
    assert latest(Path(run)) == before and Run.open(run).info["status"] == "finished"
    answer = rgan("train", "--resume", run, "--set", f"data.source={moved}", "-q")
    assert answer.code == 0, answer.err


def test_a_run_of_data_that_no_source_names(tmp_path):
    values = np.random.default_rng(0).normal(size=(30, 5, 2))
    config = tiny(data__source="", data__max_sequences=0, train__steps=2)
    run = fit(config, runs=tmp_path, sequences=Sequences(values)).run
    with pytest.raises(RunError, match="no source names"):
        resume(run)
    more = {"train.steps": 5}
    with pytest.raises(RunError, match="not those"):
        resume(run, settings=more, sequences=Sequences(values + 1))
    assert resume(run, settings=more, sequences=Sequences(values)).ended.status == "finished"


# -- failing ---------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite(tmp_path):
    words = (*TINY, "--max-sequences", 60, "--set", "train.figures=0", "--runs", tmp_path)
    steps = ("--set", "train.steps=8", "--set", "critic_optimizer.rate=1e30")
    steps += ("--set", "health.nan=stop")
    answer = rgan("train", "sines", *words, *steps)
    assert answer.code == 1
    assert "Traceback" not in answer.err
    for part in ("epoch ", "step 1:", "of the generator is", "--set critic_optimizer.rate=2e+29"):
        assert part in answer.err
    (path,) = tmp_path.glob("*/run.json")
    run = Run.open(path.parent)
    assert str(run.path) in answer.err, "says where the checkpoint is"
    assert run.info["status"] == "failed"
    assert events(run.path, "ended")[-1]["status"] == "failed"
    checkpoint = CheckpointStore(run.checkpoints).load()
    assert all(bool(t.isfinite().all()) for t in checkpoint.tensors["model"].values())
    json.loads(run.history_jsonl.read_text().splitlines()[-1])
    cured = rgan("train", "--resume", run.path, "--set", "critic_optimizer.rate=1e-3")
    assert cured.code == 0, cured.err
    assert Run.open(run.path).info["status"] == "finished"
    assert [e["status"] for e in events(run.path, "ended")] == ["finished"]


def test_a_generator_that_runs_away_is_named(tmp_path):
    with pytest.raises(DivergedError) as caught:
        fit(tiny(generator_optimizer__rate=1e30, health__nan="stop"), runs=tmp_path)
    assert "--set generator_optimizer.rate=2e+29" in str(caught.value)


def test_the_last_good_checkpoint_stays(tmp_path):
    def spoil(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 10:
            weights = next(iter(sessions[0].state.generator.parameters()))
            weights.data.fill_(float("nan"))

    sessions: list = []
    config = tiny(train__steps=24, train__checkpoint_minutes=1e-9, health__nan="stop")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(DivergedError) as caught:
        import rgan.workflow.fit as module

        opened = module.open_session
        patch.setattr(module, "open_session", lambda *a: sessions.append(opened(*a)) or sessions[0])
        fit(config, runs=tmp_path, listeners=(spoil,))
    assert "step 11" in str(caught.value) and caught.value.exit_code == 1
    (run,) = (Run.open(path) for path in tmp_path.iterdir())
    assert CheckpointStore(run.checkpoints).load().step == 8, "the end of the first epoch"
    assert rgan("sample", run.path, "-n", 2, "-o", tmp_path / "s.npy").code == 0


def test_what_a_listener_raises_ends_the_run_as_failed(tmp_path):
    def fail() -> None:
        raise RuntimeError("the disk caught fire")

    with pytest.raises(RuntimeError, match="fire"):
        fit(tiny(), runs=tmp_path, listeners=(At(2, fail),))
    (run,) = (Run.open(path) for path in tmp_path.iterdir())
    assert run.info["status"] == "failed"
    assert resume(run).ended.status == "finished"
