"""Moving runs: to and from folders, SFTP, SSH with rsync and S3, with lines that are cut."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import typer

import servers
from command_line import Answer, content
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run

STATE = {"epoch": 1}


def tensors(seed: int, size: int = 1000) -> dict[str, dict[str, torch.Tensor]]:
    made = torch.Generator().manual_seed(seed)
    return {
        "model": {"weight": torch.randn(size, generator=made)},
        "optimizer": {"m": torch.randn(10, generator=made)},
    }


def make_run(
    root: Path, name: str = "toy", steps: tuple[int, ...] = (10, 20), size: int = 1000
) -> Run:
    run = Run.create(root, name)
    run.write_config({"train": {"epochs": 2}})
    train(run, *steps, size=size)
    (run.figures / "losses.png").write_bytes(b"\x89PNG" + bytes(500))
    return run


def train(run: Run, *steps: int, size: int = 1000) -> None:
    """A segment of a training, as the loop writes one."""
    store = CheckpointStore(run.checkpoints)
    run.begin_segment(max([0, *store.steps()]))
    for step in steps:
        run.history.append({"event": "epoch", "step": step, "loss": step / 7})
        store.save(step, tensors(step, size), STATE)
        store.mark_best(step)
    run.end_segment(max(steps, default=0))


def sync(*words: object) -> Answer:
    """``rgan runs sync WORDS`` in this process."""
    import contextlib
    import io

    from rgan.cli.sync import sync as command
    from rgan.errors import RganError

    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(command)
    out, err = io.StringIO(), io.StringIO()
    code = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app(list(map(str, words)), standalone_mode=True)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except RganError as error:
            print(f"rgan: {error}", file=sys.stderr)
            code = error.exit_code
    return Answer(code, out.getvalue(), err.getvalue())


def process(*words: object) -> subprocess.Popen[str]:
    """The same as a process of its own."""
    code = "import typer; from rgan.cli.sync import sync; typer.run(sync)"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def same(one: Path, other: Path) -> bool:
    """Whether two run folders hold the same, but for what stays where it is."""
    left, right = content(one), content(other)
    for files in (left, right):
        for name in list(files):
            if Path(name).name.startswith(".") or files[name] is None:
                del files[name]
    return left == right


def opens(path: Path, step: int) -> None:
    run = Run.open(path)
    found = CheckpointStore(run.checkpoints).load()
    assert found.step == step and not found.warning
    assert torch.equal(
        found.tensors["model"]["weight"],
        tensors(step, len(found.tensors["model"]["weight"]))["model"]["weight"],
    )
    assert run.history.read()[-1]["step"] >= step


def leftovers(folder: Path) -> list[Path]:
    return [p for p in folder.rglob(".*") if p.name != ".sync.json"]


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Sshd]:
    with servers.sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with servers.s3() as address:
        yield address


@pytest.fixture
def bucket(store: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket, found by the settings that every S3 client reads."""
    import urllib.request

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_ENDPOINT_URL", store)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    name = f"b{time.time_ns()}"
    with urllib.request.urlopen(urllib.request.Request(f"{store}/{name}", method="PUT")):
        pass
    return f"s3://{name}"


# -- folders -----------------------------------------------------------------------------------


def test_a_folder_of_runs_is_copied_and_then_only_what_is_new(tmp_path: Path) -> None:
    runs, copy = tmp_path / "runs", tmp_path / "copy"
    one, two = make_run(runs, "one"), make_run(runs, "two")
    first = sync(runs, copy)
    assert first.code == 0, first.err
    assert "2 runs" in first.out
    assert same(one.path, copy / one.path.name) and same(two.path, copy / two.path.name)
    opens(copy / one.path.name, 20)
    assert not leftovers(copy)

    again = sync(runs, copy)
    assert again.code == 0 and "0 files copied (0 bytes)" in again.out

    train(one, 30, 40)
    third = sync(runs, copy)
    assert third.code == 0, third.err
    opens(copy / one.path.name, 40)
    assert CheckpointStore(copy / one.path.name / "checkpoints").steps() == [10, 20, 30, 40]


# -- other machines ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sftp", "ssh", "ssh without rsync"])
def test_there_and_back_over_ssh(
    tmp_path: Path, sshd: servers.Sshd, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, far, back = tmp_path / "runs", tmp_path / "far side", tmp_path / "back"
    run = make_run(runs, size=100_000)
    used = count_rsync(tmp_path, monkeypatch) if kind != "ssh without rsync" else None
    if used is None:
        monkeypatch.setattr(
            "shutil.which", lambda name: None if name == "rsync" else "/usr/bin/ssh"
        )
    address = sshd.sftp(far) if kind == "sftp" else sshd.ssh(far)
    there = sync(runs, address, *sshd.options())
    assert there.code == 0, there.err
    assert same(run.path, far / run.path.name) and not leftovers(far)

    again = sync(runs, address, *sshd.options())
    assert again.code == 0 and "0 files copied (0 bytes)" in again.out

    home = sync(address, back, *sshd.options())
    assert home.code == 0, home.err
    opens(back / run.path.name, 20)
    assert same(run.path, back / run.path.name)
    if used is not None:
        assert used.exists() == (kind == "ssh")


def count_rsync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that is there once rsync has been run to copy."""
    real = shutil.which("rsync")
    if real is None:
        pytest.skip("there is no rsync here")
    folder, used = tmp_path / "bin", tmp_path / "rsync-was-used"
    folder.mkdir()
    (folder / "rsync").write_text(f'#!/bin/sh\ntouch "{used}"\nexec {real} "$@"\n')
    (folder / "rsync").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return used


def test_there_and_back_by_s3(tmp_path: Path, bucket: str) -> None:
    runs, back = tmp_path / "runs", tmp_path / "back"
    run = make_run(runs, size=100_000)
    there = sync(runs, f"{bucket}/some/runs")
    assert there.code == 0, there.err
    again = sync(runs, f"{bucket}/some/runs")
    assert again.code == 0 and "0 files copied (0 bytes)" in again.out
    home = sync(f"{bucket}/some/runs", back)
    assert home.code == 0, home.err
    opens(back / run.path.name, 20)
    assert same(run.path, back / run.path.name)

    train(run, 30)
    assert sync(runs, f"{bucket}/some/runs").code == 0
    assert sync(f"{bucket}/some/runs", back).code == 0
    opens(back / run.path.name, 30)


# -- lines that are cut ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sftp", "ssh"])
@pytest.mark.parametrize("way", ["up", "down"])
def test_a_cut_line_goes_on_where_it_was_cut(
    tmp_path: Path, sshd: servers.Sshd, kind: str, way: str
) -> None:
    run = make_run(tmp_path / "runs", steps=(10,), size=1_000_000)  # a file of 4 MB
    copy = tmp_path / "copy"
    with servers.Line(sshd.port, after=2_500_000, times=3) as line:
        sshd.knows(line.port)
        address = sshd.sftp if kind == "sftp" else sshd.ssh
        source, dest = run.path.parent, copy
        words = [source, address(dest, line.port)]
        if way == "down":
            words = [address(source, line.port), dest]
        done = sync(*words, *sshd.options())
        assert done.code == 0, done.out + done.err
        assert line.cuts >= 1
        assert "cannot be reached" in done.err and "again in" in done.err
        # had it begun anew each time, three cuts of 2.5 MB would never have let 4 MB through
        assert line.carried < 9_000_000
    assert same(run.path, copy / run.path.name)
    assert not leftovers(copy)


def test_s3_cut_midway_puts_only_that_file_again(
    tmp_path: Path, bucket: str, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "runs", steps=(10, 20), size=500_000)  # files of 2 MB
    with servers.Line(int(store.rpartition(":")[2]), after=1_500_000, times=1) as line:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{line.port}")
        there = sync(tmp_path / "runs", bucket)
        assert there.code == 0, there.err
        assert line.cuts == 1
    monkeypatch.setenv("AWS_ENDPOINT_URL", store)
    home = sync(bucket, tmp_path / "back")
    assert home.code == 0, home.err
    assert same(run.path, tmp_path / "back" / run.path.name)


@pytest.mark.parametrize("after", [0.6, 0.9, 1.2])
def test_kill_9_and_again(tmp_path: Path, sshd: servers.Sshd, after: float) -> None:
    run = make_run(tmp_path / "runs", steps=(10, 20, 30), size=2_000_000)
    copy = tmp_path / "copy"
    words = (sshd.sftp(run.path.parent), copy, *sshd.options())
    running = process(*words)
    time.sleep(after)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    for path in copy.glob("*/checkpoints/0*"):  # what is visible is whole
        CheckpointStore(path.parent).load(int(path.name))
    done = sync(*words)
    assert done.code == 0, done.err
    assert same(run.path, copy / run.path.name) and not leftovers(copy)
