"""Trainings that are killed, starved and misled lose nothing: the short form.

The long form, with 200 kills and every scenario many times, is ``benchmarks/faults.py``.
"""

from __future__ import annotations

import random
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import fault_scenarios as scenarios
from fault_checks import open_folder
from fault_scenarios import Straight
from faults import Trouble
from rgan.runs.folder import Run
from rgan.runs.history import History

SEED = 3
Scenario = Callable[[Path, Straight, random.Random], str]


@pytest.fixture(scope="module")
def base() -> Iterator[Path]:
    with open_folder() as path:
        yield path


@pytest.fixture(scope="module")
def straight(base: Path) -> Straight:
    (base / "straight").mkdir()
    return Straight.train(base / "straight")


@pytest.fixture
def work(base: Path) -> Iterator[Path]:
    path = base / "work"
    path.mkdir()
    yield path
    shutil.rmtree(path)


def test_killed_again_and_again_it_comes_to_the_same_end(work: Path, straight: Straight) -> None:
    rng = random.Random(SEED)
    shares = [0.02, 0.3, 0.15, 0.4, *(rng.uniform(0.05, 0.5) for _ in range(4))]
    where = [scenarios.hit(work, straight, share * straight.seconds) for share in shares]
    assert any(text.startswith("resumed, ") for text in where), where
    scenarios.recover(work, straight)


def test_killed_between_two_changes_of_files(work: Path, straight: Straight) -> None:
    for operation in (60, 40):
        assert scenarios.hit(work, straight, trouble=Trouble(operation=operation))
    scenarios.recover(work, straight)


def test_sigterm_at_any_moment(work: Path, straight: Straight) -> None:
    for share in (0.05, 0.3, 0.45):
        scenarios.hit(work, straight, share * straight.seconds, number=signal.SIGTERM)
    scenarios.recover(work, straight)


@pytest.mark.parametrize("scenario", scenarios.SHORT, ids=lambda scenario: scenario.__name__)
def test_nothing_is_lost(work: Path, straight: Straight, scenario: Scenario) -> None:
    scenario(work, straight, random.Random(SEED))


@pytest.mark.parametrize("damage", scenarios.SHORT_DAMAGES)
def test_damage_is_named_and_gone_round(work: Path, straight: Straight, damage: str) -> None:
    scenarios.damaged(work, straight, damage)


def test_two_threads_tell_each_event_once(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    over = threading.Event()

    def sync() -> None:
        while not over.is_set():
            history.sync()

    thread = threading.Thread(target=sync)
    thread.start()
    for step in range(300):
        history.append({"event": "epoch", "step": step})
    over.set()
    thread.join()
    assert [event["step"] for event in history.read()] == list(range(300))


def test_what_a_kill_leaves_half_written_is_removed(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "x")
    left = [run.path / ".tmp-0a1b2c3d-run.json", run.figures / ".tmp-0a1b2c3d-samples-00000012.png"]
    left += [run.tensorboard / ".tmp-0a1b2c3d-probe", run.tensorboard / "probe"]
    run.tensorboard.mkdir(exist_ok=True)
    other = run.path / ".tmp-0a1b2c3d-evaluation.json"  # that of an evaluation going on beside it
    for path in (*left, other):
        path.write_text("half")
    run.begin_segment(0)
    assert not any(path.exists() for path in left) and other.exists()


@pytest.mark.parametrize("told", [8, 16])
def test_segments_join_where_a_kill_came_before_the_note(tmp_path: Path, told: int) -> None:
    run = Run.create(tmp_path, "x")
    run.begin_segment(0)
    run.progress(told)
    run.begin_segment(12)
    assert [(s["from_step"], s["to_step"]) for s in run.info["segments"]] == [(0, 12), (12, 12)]
