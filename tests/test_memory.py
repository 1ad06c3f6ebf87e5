"""A training's memory: measured beforehand, refused or shrunk, and recovered from on the way."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from command_line import rgan
from rgan.config import Config, changed, from_sections
from rgan.data.load import load
from rgan.errors import TrainingError
from rgan.runs.folder import Run
from rgan.train.events import Event, Stepped
from rgan.workflow.available import cgroup_rooms, cpu_limit
from rgan.workflow.dry_step import DryChild
from rgan.workflow.fit import fit
from rgan.workflow.memory import Need, check_memory, find_need, largest_fitting
from rgan.workflow.session import Session, open_session
from rgan.workflow.shrinking import fitted

MIB = 2**20
linux = pytest.mark.skipif(sys.platform != "linux", reason="measured on Linux only")


def config(**more: object) -> Config:
    settings = {
        **{"train.device": "cpu", "train.figures": 0, "train.steps": 12, "train.batch_size": 8},
        **{"generator.hidden": 6, "critic.hidden": 6, "critic.channels": 6},
        **{"data.source": "sines", "data.max_sequences": 80},
    }
    return changed(Config(), settings | {key.replace("__", "."): v for key, v in more.items()})


def session(settings: Config) -> Session:
    return open_session(settings, load(settings.data, seed=0))


# -- what is free ----------------------------------------------------------------------------


def machine(folder: Path, mounts: str, groups: str, files: dict[str, str]) -> tuple[Path, Path]:
    """The files by which Linux tells of control groups."""
    own = folder / "proc" / "self"
    own.mkdir(parents=True)
    (own / "mountinfo").write_text(mounts)
    (own / "cgroup").write_text(groups)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "proc", folder


def test_groups_of_version_2_and_those_above_them(tmp_path: Path) -> None:
    proc, root = machine(
        tmp_path,
        "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "0::/job/step\n",
        {
            "sys/fs/cgroup/job/memory.max": "1000\n",
            "sys/fs/cgroup/job/memory.current": "900\n",
            "sys/fs/cgroup/job/memory.stat": "anon 500\ninactive_file 300\n",
            "sys/fs/cgroup/job/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/job/step/memory.max": "max\n",
            "sys/fs/cgroup/job/step/memory.current": "900\n",
        },
    )
    assert [room.free_bytes for room in cgroup_rooms(proc, root)] == [400]
    assert cpu_limit(proc, root) == 1.5


def test_groups_of_version_1_inside_a_container(tmp_path: Path) -> None:
    proc, root = machine(
        tmp_path,
        "30 1 0:26 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
        "4:memory:/docker/ab\n3:cpu:/\n",
        {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "700",
            "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 50\n",
        },
    )
    assert [room.free_bytes for room in cgroup_rooms(proc, root)] == [350]
    assert cpu_limit(proc, root) is None


# -- what is needed --------------------------------------------------------------------------


def straight(asked: list[int], free: int, base: int = 100, slope: int = 10) -> object:
    """Needs on a line, as a dry step finds them: none above what is free."""

    def measure(batch: int) -> Need | None:
        asked.append(batch)
        more = base + slope * batch
        return Need(batch, more, more) if more <= free else None

    return measure


def test_what_is_far_too_large_is_never_tried() -> None:
    asked: list[int] = []
    measure = straight(asked, free=1000)
    need = find_need(measure, 256, 1000)  # type: ignore[arg-type]
    assert need == Need(256, 2660, 2660, "line") and max(asked) == 64
    fits = largest_fitting(measure, need, 1000)  # type: ignore[arg-type]
    assert fits == Need(64, 740, 740) and max(asked) < 256


def test_nothing_is_claimed_where_even_a_small_batch_found_no_room() -> None:
    need = find_need(straight([], free=50), 64, 50)  # type: ignore[arg-type]
    assert need.basis == "over"
    assert largest_fitting(straight([], free=50), need, 50) is None  # type: ignore[arg-type]


@linux
def test_the_dry_step_leaves_the_training_as_it_is() -> None:
    mine = session(config())
    before = {k: v.clone() for named in mine.state.tensors().values() for k, v in named.items()}
    counters, random = mine.state.counters(), torch.get_rng_state()
    found = check_memory(mine)
    assert found is not None and found[0].basis == "measured"
    after = {k: v for named in mine.state.tensors().values() for k, v in named.items()}
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(random, torch.get_rng_state())
    counters["meter"] = mine.state.counters()["meter"] = {}
    assert {**mine.state.counters(), "meter": {}} == counters


@linux
def test_a_larger_batch_is_found_to_need_more() -> None:
    more = {"data__max_sequences": 1500, "generator__hidden": 64, "critic__hidden": 64}
    small = check_memory(session(config(train__batch_size=32, **more)))
    large = check_memory(session(config(train__batch_size=1000, **more)))
    assert small is not None and large is not None
    assert large[0].more_bytes > small[0].more_bytes + 50 * MIB


@linux
def test_batches_are_measured_in_any_order_and_no_child_stays() -> None:
    import psutil

    before = psutil.Process().children()  # other tests' helpers may still be there
    more = {"data__max_sequences": 1500, "generator__hidden": 64, "critic__hidden": 64}
    with DryChild(session(config(**more)), 8 * 2**30) as child:
        small, large, again = (child.need(batch) for batch in (8, 800, 8))
    assert small is not None and large is not None and again is not None
    assert large.more_bytes > small.more_bytes + 50 * MIB
    assert abs(again.more_bytes - small.more_bytes) < 10 * MIB
    assert [child for child in psutil.Process().children() if child not in before] == []


@linux
def test_a_child_that_is_killed_tells_that_there_was_no_room() -> None:
    import psutil

    before = psutil.Process().children()
    with DryChild(session(config()), 8 * 2**30) as child:
        assert child.need(4) is not None
        (process,) = (one for one in psutil.Process().children() if one not in before)
        process.kill()
        assert child.need(8) is None
        assert child.need(8) is not None  # another one is asked


# -- too much --------------------------------------------------------------------------------

LARGE = {
    "data.max_sequences": 2000,
    "train.batch_size": 1024,
    "generator.hidden": 128,
    "critic.hidden": 128,
}


@contextlib.contextmanager
def only(mib: int) -> Iterator[None]:
    """As ``ulimit -d`` in a batch job: this process may take so much more."""
    import resource

    old = resource.getrlimit(resource.RLIMIT_DATA)
    status = Path("/proc/self/status").read_text().split("VmData:")[1].split()
    resource.setrlimit(resource.RLIMIT_DATA, (int(status[0]) * 1024 + mib * MIB, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, old)


@linux
def test_too_much_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    words = [w for k, v in LARGE.items() for w in ("--set", f"{k}={v}")]
    with only(300):
        answer = rgan(
            *("train", "sines", "--device", "cpu", "--runs", tmp_path / "runs", *words),
            *("--set", "train.figures=0"),
        )
    assert answer.code == 2, answer.err
    assert "a batch of 1024 needs" in answer.err and "RLIMIT_DATA" in answer.err
    assert "--batch-size " in answer.err
    assert not (tmp_path / "runs").exists()


@linux
def test_auto_takes_what_fits() -> None:
    mine = session(changed(config(), LARGE))
    with only(300):
        smaller, notes = fitted(mine, shrink=True)
    batch = smaller.config.train.batch_size
    assert 1 <= batch < 1024 and smaller.state.config.batch_size == batch
    assert f"a batch of {batch} instead of 1024" in notes[-1]


def test_a_batch_size_that_is_no_number_is_refused() -> None:
    answer = rgan("train", "sines", "--batch-size", "many")
    assert answer.code == 2 and "batch_size" in answer.err


# -- memory that runs out on the way ---------------------------------------------------------


class Greedy:
    """Asks for a petabyte after a step, a few times; torch says what it says then."""

    def __init__(self, step: int, times: int) -> None:
        self.step, self.times = step, times

    def __call__(self, event: Event) -> None:
        if isinstance(event, Stepped) and event.step >= self.step and self.times:
            self.times -= 1
            torch.empty(2**50)


def test_the_batch_is_halved_and_the_training_goes_on(tmp_path: Path) -> None:
    outcome = fit(config(), runs=tmp_path, listeners=(Greedy(9, 2),))
    assert outcome.ended.status == "finished" and outcome.session.config.train.batch_size == 2
    run = Run.open(outcome.run.path)
    first, second, third = run.info["segments"]
    assert first["status"] == "failed" and first["reason"] == "out of memory"
    assert second["changed"] == {"train.batch_size": [8, 4]}
    assert third["changed"] == {"train.batch_size": [4, 2]} and third["status"] == "finished"
    assert from_sections(run.read_config()).train.batch_size == 2
    notes = [e["text"] for e in run.history.read() if e["event"] == "note"]
    assert any("memory ran out" in note and "a batch of 4" in note for note in notes)


def test_a_batch_of_one_cannot_be_halved(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="with a batch of 1"):
        fit(config(train__batch_size=1), runs=tmp_path, listeners=(Greedy(3, 1),))


def test_other_errors_are_not_taken_for_it(tmp_path: Path) -> None:
    def broken(event: Event) -> None:
        if isinstance(event, Stepped):
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        fit(config(), runs=tmp_path, listeners=(broken,))
