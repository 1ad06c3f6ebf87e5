"""Several processes train what one would have trained, and end together whatever happens."""

from __future__ import annotations

import dataclasses
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from command_line import TINY, killed_at_last, rgan, start
from rgan.config import Config, changed
from rgan.errors import DivergedError, TrainingError
from rgan.nets.share import Share, cut, drawn
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run
from rgan.sequences import Sequences, Static
from rgan.train.events import Event, Examined, Stepped
from rgan.train.group import Group, launched
from rgan.train.shared import SharedMemory, describe, size_of
from rgan.workflow.fit import fit
from rgan.workflow.meeting import give
from rgan.workflow.memory import PROCESS, check_memory
from rgan.workflow.processes import team
from rgan.workflow.session import Session, open_session

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is shared otherwise there")
SGD = {
    **{"generator_optimizer.kind": "sgd", "generator_optimizer.rate": 0.1},
    **{"critic_optimizer.kind": "sgd", "critic_optimizer.rate": 0.1},
}
"""Adam turns noise of the last bit into whole steps where a gradient is zero in truth."""


def ragged(n: int = 50) -> Sequences:
    """Sequences of unlike lengths with gaps, static attributes and two classes of unlike size."""
    random = np.random.default_rng(0)
    lengths = random.integers(3, 11, n)
    observed = random.random((n, 10, 3)) < 0.7
    observed &= np.arange(10)[None, :, None] < lengths[:, None, None]
    observed[:, 0] = True
    return Sequences(
        random.normal(size=(n, 10, 3)),
        observed=observed,
        lengths=lengths,
        labels=np.where(np.arange(n) % 4 == 0, "b", "a"),
        static=np.stack([random.normal(size=n), random.integers(0, 2, n)], axis=1),
        static_info=(Static("age"), Static("sex", "binary", ("f", "m"))),
        name="ragged",
    )


def session(device: str, **more: object) -> Session:
    settings = {
        **{"generator.hidden": 6, "critic.hidden": 6, "critic.channels": 6, "train.steps": 6},
        # five sequences for one process and four for the other
        **{"train.batch_size": 9, "train.warmup": 0, "train.device": device, "health.every": 3},
        **{"penalty.every": 1, **SGD},
    }
    settings |= {key.replace("__", "."): value for key, value in more.items()}
    return open_session(changed(Config(), settings), ragged())


CASES = {
    "finite differences": {},
    "exact R1 and R2": {"penalty__name": "r1r2"},
    "exact R1, votes at every step": {
        **{"penalty__name": "r1", "critic__readout": "sequence", "objective__name": "bce"},
    },
    "a slope of 1 in between": {"penalty__name": "gradient-penalty"},
    "statistics over the batch": {"critic__batch_statistics": True, "penalty__name": "r1r2"},
    "augmented": {"train__augment": 0.5, "penalty__name": "r1r2"},
    "more critic steps": {
        **{"train__critic_steps": 2, "critic__spectral_norm": True, "gfactor__every": 2},
        **{"gfactor__steer": "accuracy", "critic__batch_statistics": True},
    },
}


@pytest.fixture(scope="class")
def group() -> Iterator[Group]:
    """Two processes, this one and another."""
    with team(session("cpu,cpu")) as together:
        yield together.group


class TestTogether:
    """What two processes make, that have met once for all of these tests."""

    @pytest.mark.parametrize("case", CASES)
    def test_two_processes_give_the_weights_of_one(self, group: Group, case: str) -> None:
        told: dict[str, list[Event]] = {"one": [], "two": []}
        one, two = session("cpu", **CASES[case]), session("cpu,cpu", **CASES[case])
        begun = {name: tensor.clone() for name, tensor in one.state.tensors()["model"].items()}
        one.run(told["one"].append)
        two = dataclasses.replace(two, group=group, batch=give(group, two.batch))
        two.run(told["two"].append)
        mine, ours = (s.state.tensors()["model"] for s in (one, two))
        moved = max(float((mine[name] - begun[name]).abs().nan_to_num().max()) for name in mine)
        assert moved > 1e-3
        for name, tensor in mine.items():
            assert torch.allclose(tensor, ours[name], rtol=1e-5, atol=2e-6), name
        (was, now) = (s.state.balance.get("means", {}) for s in (one, two))
        assert was == pytest.approx(now, rel=1e-5)
        steps = ([e for e in heard if isinstance(e, Stepped)] for heard in told.values())
        for a, b in zip(*steps, strict=True):
            assert a.losses == pytest.approx(b.losses, rel=1e-4, abs=1e-6) and a.rates == b.rates
        looks = ([e for e in heard if isinstance(e, Examined)] for heard in told.values())
        for a, b in zip(*looks, strict=True):  # of the whole batch, not of a part
            assert (a.diversity, a.logit) == pytest.approx((b.diversity, b.logit), rel=1e-4)
            assert a.gradient == pytest.approx(b.gradient, rel=1e-3, abs=1e-6)

    def test_two_then_one_then_two_are_as_one(self, group: Group, tmp_path: Path) -> None:
        straight = session("cpu", train__epochs=3)
        straight.run(lambda event: None)
        store, checkpoint = CheckpointStore(tmp_path), None
        for number, until in ((2, 3), (1, 6), (2, 99)):
            now = open_session(session("cpu", train__epochs=3).config, ragged(), checkpoint)
            if number == 2:
                now = dataclasses.replace(now, group=group, batch=give(group, now.batch))
            state = now.state
            now.run(lambda event: None, lambda s=state, n=until: "enough" if s.step >= n else "")
            store.save(state.step, state.tensors(), now.checkpoint_state())
            checkpoint = store.load()
        assert checkpoint is not None and checkpoint.step == straight.state.step > 6
        for name, tensor in straight.state.tensors()["model"].items():
            ours = checkpoint.tensors["model"][name]
            assert torch.allclose(tensor, ours, rtol=1e-5, atol=2e-6), name


def test_random_numbers_are_those_of_one_process_and_nobody_has_anothers() -> None:
    shares = cut(7, 3)
    assert [(s.start, s.stop) for s in shares] == [(0, 3), (3, 5), (5, 7)]
    assert sum(share.weight for share in shares) == pytest.approx(1)

    def draw(share: Share | None, n: int) -> torch.Tensor:
        random = torch.Generator().manual_seed(5)
        return drawn("normal", torch.Size((2 * n, 4)), random, share, groups=2)

    whole = draw(None, 7).unflatten(0, (2, 7))
    parts = [draw(share, len(share)).unflatten(0, (2, len(share))) for share in shares]
    assert torch.equal(torch.cat(parts, dim=1), whole)
    assert torch.equal(sum(s.placed(whole[0, s.start : s.stop]) for s in shares), whole[0])


def test_a_batch_smaller_than_the_group_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    answer = rgan(
        *("train", "sines", *TINY, "--device", "cpu,cpu", "--batch-size", 1),
        *("--set", "train.check_memory=false", "--runs", tmp_path / "runs"),
    )
    assert answer.code == 2 and "2 processes are to share it" in answer.err
    assert not (tmp_path / "runs").exists()


def test_all_are_rolled_back_together(tmp_path: Path) -> None:
    config = session("cpu", critic_optimizer__rate=1e30, health__retries=1).config
    config = changed(config, {"train.device": "cpu,cpu", "train.check_memory": False})
    with pytest.raises(DivergedError):
        fit(config, sequences=ragged(), runs=tmp_path)
    (path,) = tmp_path.iterdir()
    first, second = Run.open(path).info["segments"]
    assert first["status"] == second["status"] == "failed" and second["rolled_back"]
    assert second["changed"]["critic_optimizer.rate"] == pytest.approx([1e30, 2e29])


def test_the_error_of_another_process_is_told_here() -> None:
    words = r"process 1 of 0 to 1, on cpu, failed: 'config'"
    with pytest.raises(TrainingError, match=words), team(session("cpu,cpu")) as together:
        together.group.send({"do": "train"})  # without what it needs for that
        together.run(lambda event: None)


@linux
def test_several_processes_need_the_memory_of_several_shares() -> None:
    large = {"train__batch_size": 400, "generator__hidden": 64, "critic__hidden": 64}
    data = ragged(900)
    alone, together = (
        check_memory(open_session(session(device, **large).config, data))[0]
        for device in ("cpu", "cpu,cpu")
    )
    assert alone.batch == together.batch == 400
    assert together.more_bytes > alone.more_bytes + PROCESS / 2


# -- real commands ---------------------------------------------------------------------------

LONG = (
    *("train", "icu", *TINY, "--max-sequences", 120, "--batch-size", 15, "--device", "cpu,cpu"),
    *("--set", "train.steps=100000", "--set", "train.figures=0", "--set", "monitor.looks=0"),
    *("--set", "train.check_memory=false", "--set", "train.checkpoint_minutes=0.00001"),
)


def wait_for(process: subprocess.Popen[str], ready: Callable[[], object]) -> None:
    deadline = time.monotonic() + 240
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it did not come so far"
        time.sleep(0.02)


def saved(folder: Path) -> int:
    return max((int(p.name) for p in folder.glob("**/checkpoints/0*")), default=-1)


def others(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


def gone(pid: int) -> bool:
    with_it = psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return not with_it


def mapped(pid: int) -> set[str]:
    """Device and inode of the training data in a process."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return {" ".join(x.split()[3:5]) for x in lines if "rgan-data" in x}


@linux
def test_stopped_it_is_saved_goes_on_alone_and_together_again(tmp_path: Path) -> None:
    before = set(Path("/dev/shm").iterdir())
    with killed_at_last(start(*LONG, "--runs", tmp_path, cwd=tmp_path)) as process:
        wait_for(process, lambda: saved(tmp_path) > 0)
        (other,) = others(process)
        one, two = mapped(process.pid), mapped(other.pid)
        assert len(one) == 1 and one == two, "the data are in memory once"
        process.send_signal(signal.SIGTERM)
        said, complaint = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in complaint, complaint
    assert "stopped by SIGTERM" in said
    assert gone(other.pid) and set(Path("/dev/shm").iterdir()) == before
    (path,) = tmp_path.iterdir()
    run = Run.open(path)
    stopped = run.info["segments"][-1]
    assert stopped["status"] == "interrupted" and stopped["to_step"] == saved(tmp_path)
    assert run.info["machine"]["device"] == "cpu, cpu"
    line = next(x for x in said.splitlines() if x.startswith("go on with:"))
    again = shlex.split(line.removeprefix("go on with:"))[1:]
    for device in ("cpu", "cpu,cpu"):
        step = saved(tmp_path)
        answer = rgan(*again, "--set", f"train.steps={step + 10}", "--device", device)
        assert answer.code == 0, answer.err
        assert saved(tmp_path) >= step + 10
    checkpoint = CheckpointStore(path / "checkpoints").load()
    assert not checkpoint.warning
    assert all(bool(t.isfinite().all()) for t in checkpoint.tensors["optimizer"].values())


@linux
@pytest.mark.parametrize("victim", ["another", "the first"])
def test_a_killed_process_ends_all_and_the_run_goes_on(tmp_path: Path, victim: str) -> None:
    before = set(Path("/dev/shm").iterdir())
    with killed_at_last(start(*LONG, "--runs", tmp_path, cwd=tmp_path)) as process:
        wait_for(process, lambda: saved(tmp_path) > 0)
        (other,) = others(process)
        os.kill(other.pid if victim == "another" else process.pid, signal.SIGKILL)
        _, complaint = process.communicate(timeout=30)
    deadline = time.monotonic() + 20
    while not gone(other.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert gone(other.pid) and set(Path("/dev/shm").iterdir()) == before
    (path,) = tmp_path.iterdir()
    if victim == "the first":
        return
    assert process.returncode == 1
    assert "process 1 of 0 to 1, on cpu, was ended by SIGKILL" in complaint
    assert "Traceback" not in complaint
    last = Run.open(path).info["segments"][-1]
    assert last["status"] == "failed" and "SIGKILL" in last["reason"]
    step = saved(tmp_path)
    length = ("--set", f"train.steps={step + 5}", "--device", "cpu", "-q")
    answer = rgan("train", "--resume", path, *length)
    assert answer.code == 0, answer.err
    assert saved(tmp_path) >= step + 5


@linux
def test_parting_ends_the_threads_of_the_group() -> None:
    """Those that go on abort the process now and then, while Python ends."""
    program = """
import torch
from pathlib import Path
from rgan.train.distributed import Processes

def threads():
    return sorted((task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir())

alone = threads()
group = Processes(torch.distributed.HashStore(), 0, 1, torch.device("cpu"))
assert threads() != alone, alone
torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # imports more of torch
group.close()
assert threads() == alone, threads()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr


def test_under_torchrun_one_run_is_written_and_all_end(tmp_path: Path) -> None:
    words = map(str, (*LONG, "--device", "cpu", "--set", "train.steps=10"))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
            *("-m", "rgan", *words, "--runs", str(tmp_path), "-q"),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.iterdir()
    assert done.stdout.strip() == str(path)
    run = Run.open(path)
    assert run.info["machine"]["device"] == "cpu and 1 more" and run.info["status"] == "finished"
    assert saved(tmp_path) >= 10


@pytest.mark.parametrize(
    "text", ["", "RANK=1", "RANK=0 WORLD_SIZE=1 LOCAL_RANK=0 LOCAL_WORLD_SIZE=1"]
)
def test_only_a_whole_launch_is_one(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    for pair in text.split():
        monkeypatch.setenv(*pair.split("="))
    assert launched() is None


def test_what_is_shared_is_what_was_packed() -> None:
    batch = session("cpu").batch
    parts = describe(batch)
    mine = SharedMemory(size_of(parts))
    mine.write(batch, parts)
    theirs = SharedMemory(size_of(parts), mine.path)
    mine.all_have_it()
    for name in ("x", "static", "lengths", "condition"):
        assert torch.equal(getattr(theirs.batch(parts), name), getattr(batch, name))
    if sys.platform != "linux":
        assert not Path(mine.path).exists()
