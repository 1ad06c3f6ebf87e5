"""Moving runs: to and from folders, SFTP, SSH with rsync and S3, with lines that are cut."""

from __future__ import annotations

import json
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
from command_line import TINY, Answer, content, rgan
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run
from rgan.runs.moving.ends import Entry, LocalEnd
from rgan.runs.moving.places import parse_place
from rgan.runs.moving.round import Round
from rgan.runs.moving.wishes import Watcher, Wishes

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
    # A suite that was started in the background ignores Ctrl-C, and its children would as well.
    code = (
        "import signal, typer; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from rgan.cli.sync import sync; typer.run(sync)"
    )
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
    run = make_run(runs, size=300_000)
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
        # had it begun anew each time, all 4 MB would have gone after the last cut
        assert line.carried < line.cuts * line.after + 3_700_000
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


@pytest.mark.parametrize("after", [0.8, 1.2])
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


# -- newer and older ---------------------------------------------------------------------------


def test_a_newer_copy_is_left_alone_and_can_go_back(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    assert sync(tmp_path / "a", tmp_path / "b").code == 0
    copy = Run(tmp_path / "b" / run.path.name)
    train(copy, 30)
    before = content(copy.path)
    os.utime(run.run_json)  # the clock of the older one is ahead
    left = sync(tmp_path / "a", tmp_path / "b")
    assert left.code == 0 and "DEST is newer: left alone" in left.out
    assert content(copy.path) == before

    back = sync(tmp_path / "b", tmp_path / "a")
    assert back.code == 0, back.err
    opens(run.path, 30)
    assert same(run.path, copy.path)


def test_a_newer_history_alone_is_not_replaced(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    assert sync(tmp_path / "a", tmp_path / "b").code == 0
    copy = Run(tmp_path / "b" / run.path.name)
    copy.history.append({"event": "epoch", "step": 25})
    left = sync(tmp_path / "a", tmp_path / "b")
    assert left.code == 0 and "DEST is newer" in left.out
    assert copy.history.read()[-1]["step"] == 25


def test_copies_trained_apart_are_refused_with_a_way_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    assert sync(tmp_path / "a", tmp_path / "b").code == 0
    copy = Run(tmp_path / "b" / run.path.name)
    train(run, 30)
    train(copy, 40)
    before = content(copy.path)
    refused = sync(tmp_path / "a", tmp_path / "b")
    assert refused.code == 2 and "trained on at both places" in refused.out
    assert f"{tmp_path / 'b'}-apart" in refused.out
    assert content(copy.path) == before


def test_another_run_of_the_same_name_is_refused(tmp_path: Path) -> None:
    run, other = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    other.path.rename(tmp_path / "b" / run.path.name)
    before = content(tmp_path / "b")
    refused = sync(tmp_path / "a", tmp_path / "b")
    assert refused.code == 2 and "is another run" in refused.out
    assert content(tmp_path / "b") == before

    (tmp_path / "c" / run.path.name).mkdir(parents=True)
    (tmp_path / "c" / run.path.name / "thesis.txt").write_text("mine")
    refused = sync(run.path, tmp_path / "c")
    assert refused.code == 2 and "is not a run and not empty" in refused.out


def test_a_renamed_run_goes_into_the_folder_of_its_id(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    assert sync(tmp_path / "a", tmp_path / "b").code == 0
    old = run.path.name
    train(run, 30)
    run.path.rename(tmp_path / "a" / "better name")
    done = sync(tmp_path / "a", tmp_path / "b")
    assert done.code == 0, done.err
    assert [p.name for p in (tmp_path / "b").iterdir()] == [old]
    opens(tmp_path / "b" / old, 30)


def test_a_copy_that_is_being_trained_is_refused(tmp_path: Path) -> None:
    from rgan.runs.lock import RunLock

    run = make_run(tmp_path / "a")
    assert sync(tmp_path / "a", tmp_path / "b").code == 0
    train(run, 30)
    with RunLock(run.path), RunLock(tmp_path / "b" / run.path.name):
        refused = sync(tmp_path / "a", tmp_path / "b")
        assert refused.code == 2 and "is being trained by process" in refused.out
    with RunLock(run.path):
        assert sync(tmp_path / "a", tmp_path / "b").code == 0
    assert not (tmp_path / "b" / run.path.name / "lock.json").exists()


def test_a_resume_that_cut_the_history_is_followed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    run.history.append({"event": "epoch", "step": 25})  # after the last checkpoint, then killed
    assert sync(tmp_path / "a", tmp_path / "b").code == 0
    run.history.truncate_after(20)
    train(run, 22)
    done = sync(tmp_path / "a", tmp_path / "b")
    assert done.code == 0 and "newer" not in done.out, done.out
    steps = [event["step"] for event in Run(tmp_path / "b" / run.path.name).history.read()]
    assert steps == [10, 20, 22]


def test_what_was_made_at_dest_is_kept(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    run.evaluation_json.write_text('{"score": 1}')
    assert sync(tmp_path / "a", tmp_path / "b").code == 0
    copy = Run(tmp_path / "b" / run.path.name)
    copy.evaluation_json.write_text('{"score": 2, "mine": true}')
    run.evaluation_json.write_text('{"score": 3, "theirs": 1}')
    (run.figures / "losses.png").write_bytes(b"new")
    done = sync(tmp_path / "a", tmp_path / "b")
    assert done.code == 0 and "evaluation.json: DEST's own is kept" in done.out
    assert json.loads(copy.evaluation_json.read_text())["score"] == 2
    assert (copy.figures / "losses.png").read_bytes() == b"new"


def test_pruned_checkpoints_stay_at_dest_and_marks_follow(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    assert sync(tmp_path / "a", tmp_path / "b").code == 0
    train(run, 30, 40, 50, 60)
    assert CheckpointStore(run.checkpoints).steps() == [40, 50, 60]
    assert sync(tmp_path / "a", tmp_path / "b").code == 0
    store = CheckpointStore(tmp_path / "b" / run.path.name / "checkpoints")
    assert store.steps() == [10, 20, 40, 50, 60]
    assert store.marks() == {"best": "00000060", "latest": "00000060"}


# -- parts, dry runs and damage ----------------------------------------------------------------


def test_only_some_parts(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a", steps=(10, 20, 30))
    CheckpointStore(run.checkpoints).mark_best(20)
    (run.samples / "x.npy").write_bytes(bytes(10))
    done = sync(tmp_path / "a", tmp_path / "b", "--only", "checkpoints:best,figures")
    assert done.code == 0, done.err
    copy = Run(tmp_path / "b" / run.path.name)
    store = CheckpointStore(copy.checkpoints)
    assert store.steps() == [20] and store.marks() == {"best": "00000020"}
    assert {p.name for p in copy.path.iterdir()} == {
        *("run.json", "config.toml", "checkpoints", "figures", ".sync.json")
    }
    assert sync(tmp_path / "a", tmp_path / "b").code == 0
    assert same(run.path, copy.path)

    wrong = sync(tmp_path / "a", tmp_path / "b", "--only", "checkpoint")
    assert wrong.code == 2 and 'did you mean "checkpoints"?' in wrong.err


def test_include_and_dry_run(tmp_path: Path) -> None:
    make_run(tmp_path / "a", "one")
    make_run(tmp_path / "a", "two")
    dry = sync(tmp_path / "a", tmp_path / "b", "--include", "*one", "--dry-run")
    assert dry.code == 0 and "1 run, 12 files to copy" in dry.out
    assert not (tmp_path / "b").exists()
    none = sync(tmp_path / "a", tmp_path / "b", "--include", "three*")
    assert none.code == 2 and "none of its 2 runs matches" in none.err


def test_damage_at_source_is_not_copied_and_at_dest_is_mended(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    weights = run.checkpoints / "00000010" / "model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    bad = sync(tmp_path / "a", tmp_path / "b")
    copy = tmp_path / "b" / run.path.name
    assert bad.code == 1 and "not what was written" in bad.out
    assert CheckpointStore(copy / "checkpoints").steps() == [20]
    opens(copy, 20)

    weights.write_bytes(good)
    assert sync(tmp_path / "a", tmp_path / "b").code == 0
    there = copy / "checkpoints" / "00000020" / "model.safetensors"
    there.write_bytes(bytes(there.stat().st_size))
    assert sync(tmp_path / "a", tmp_path / "b").code == 0
    assert there.read_bytes() == bytes(there.stat().st_size)  # not looked at
    assert sync(tmp_path / "a", tmp_path / "b", "--hashes").code == 0
    assert same(run.path, copy)


# -- names that lead elsewhere -----------------------------------------------------------------


def test_links_and_hidden_files_stay_where_they_are(tmp_path: Path, sshd: servers.Sshd) -> None:
    run = make_run(tmp_path / "a")
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (run.figures / "link.png").symlink_to(secret)
    (run.path / "out").symlink_to(tmp_path)
    (run.path / ".hidden").write_text("x")
    (run.checkpoints / ".tmp-1234").mkdir()
    (run.checkpoints / "00000020" / "more.txt").write_text("x")
    for source in (str(tmp_path / "a"), sshd.sftp(tmp_path / "a")):
        dest = tmp_path / f"to-{source[:4].strip('/')}"
        options = sshd.options() if "://" in source else ()
        done = sync(source, dest, *options)
        assert done.code == 0, done.err
        assert "'figures/link.png': left out" in done.out
        copied = dest / run.path.name
        assert not (copied / "figures" / "link.png").exists()
        names = {p.name for p in copied.rglob("*")}
        assert not names & {"out", ".hidden", ".tmp-1234", "more.txt"}


def test_a_link_at_dest_is_not_written_through(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    assert sync(tmp_path / "a", tmp_path / "b").code == 0
    copy, elsewhere = tmp_path / "b" / run.path.name, tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("figures", "checkpoints"):
        shutil.rmtree(copy / name)
        (copy / name).symlink_to(elsewhere)
    done = sync(tmp_path / "a", tmp_path / "b")
    assert done.code == 1 and "a link stands in its way" in done.out
    assert not list(elsewhere.iterdir())


def test_object_names_that_climb_are_left_out(tmp_path: Path, bucket: str) -> None:
    import boto3

    run = make_run(tmp_path / "runs")
    assert sync(tmp_path / "runs", bucket).code == 0
    client = boto3.client("s3")
    name = bucket.removeprefix("s3://")
    for key in ("../up.txt", "figures/../../up.txt", "figures//abs.txt", "figures/a\\b"):
        client.put_object(Bucket=name, Key=f"{run.path.name}/{key}", Body=b"evil")
    client.put_object(Bucket=name, Key="../run.json", Body=run.run_json.read_bytes())
    done = sync(bucket, tmp_path / "deep" / "back")
    assert done.code == 0 and "a\\\\b': left out" in done.out, done.out + done.err
    assert same(run.path, tmp_path / "deep" / "back" / run.path.name)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["back"]
    assert not (tmp_path / "up.txt").exists()


class Hostile(LocalEnd):
    """A machine that tells names which lead elsewhere."""

    def listing(self, path: str) -> dict[str, Entry]:
        here = super().listing(path)
        evil = ("..", ".", "", "/etc/passwd", "../../up.txt", "a\\b", "a\nb", "x" * 300)
        if path.endswith("checkpoints"):
            evil += ("../00000099", "٠٠٠٠٠٠٠١")
        kinds = {"..": "folder", ".": "folder", "": "folder", "../00000099": "folder"}
        return here | {name: Entry(kinds.get(name, "file"), 1, "1") for name in evil}


def test_names_that_a_machine_tells_are_not_trusted(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a" / "b")
    (tmp_path / "a" / "run.json").write_bytes(run.run_json.read_bytes())
    source, dest = parse_place(str(tmp_path / "a" / "b")), parse_place(str(tmp_path / "x" / "y"))
    ends = Hostile(source.path), LocalEnd(dest.path)
    (told,) = Round(*ends, source, dest, Wishes(), Watcher()).all()
    assert told.clean and any("passwd" in note for note in told.notes)
    assert same(run.path, tmp_path / "x" / "y" / run.path.name)
    assert [p.name for p in (tmp_path / "x").iterdir()] == ["y"]
    assert not list(tmp_path.rglob("up.txt")) + list(tmp_path.rglob("passwd"))


def test_a_strangers_state_json_names_no_path(tmp_path: Path) -> None:
    import hashlib

    run = make_run(tmp_path / "a")
    state = run.checkpoints / "00000020" / "state.json"
    document = json.loads(state.read_text())
    document.pop("sha256")
    document["files"]["../../../../evil.safetensors"] = {"bytes": 1, "sha256": "0" * 64}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    document["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    state.write_text(json.dumps(document))
    done = sync(tmp_path / "a", tmp_path / "b")
    assert done.code == 1 and "names a file that no checkpoint has" in done.out
    assert not list(tmp_path.glob("**/evil*"))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"schema": 1}', '{"schema": 99, "id": "a", "segments": []}',
             '{"schema": 1, "id": "../x", "segments": []}',
             '{"schema": 1, "id": "a", "segments": 3}',
             "[" * 100_000]
)  # fmt: skip
def test_a_damaged_run_json_is_refused_and_the_others_are_copied(tmp_path: Path, text: str) -> None:
    bad, good = make_run(tmp_path / "a", "bad", (10,)), make_run(tmp_path / "a", "good")
    bad.run_json.write_text(text)
    done = sync(tmp_path / "a", tmp_path / "b")
    assert done.code == 1 and "bad: refused" in done.out
    opens(tmp_path / "b" / good.path.name, 20)


# -- while it trains, and watching -------------------------------------------------------------

TRAINING = """
import sys, threading, time
sys.path.insert(0, sys.argv[2])
from test_sync import *
run = Run(sys.argv[1])
store = CheckpointStore(run.checkpoints)
run.begin_segment(0)
print("ready", flush=True)
step, told_to_end, latest = 0, [], time.monotonic() + 60
threading.Thread(target=lambda: told_to_end.append(sys.stdin.readline()), daemon=True).start()
while step < 20 or not (told_to_end or time.monotonic() > latest):
    step += 1
    run.history.append({"event": "epoch", "step": step, "text": "x" * 200})
    store.save(step, tensors(step, 20_000), STATE)
    store.mark_best(step)
    run.progress(step)
    time.sleep(0.1)  # a checkpoint that is gone before it can be copied is no checkpoint
run.end_segment(step)
print(step, flush=True)
"""


@pytest.mark.parametrize("kind", ["local", "sftp"])
def test_a_run_that_is_training(tmp_path: Path, sshd: servers.Sshd, kind: str) -> None:
    run = Run.create(tmp_path / "a", "busy")
    run.write_config({"train": {"epochs": 2}})
    copy = Run(tmp_path / "b" / run.path.name)
    source = tmp_path / "a" if kind == "local" else sshd.sftp(tmp_path / "a")
    command = [sys.executable, "-c", TRAINING, str(run.path), str(Path(__file__).parent)]
    pipe = subprocess.PIPE
    training = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    try:
        assert training.stdin and training.stdout and training.stdout.readline() == "ready\n"
        watching = process(
            *(source, tmp_path / "b", "--watch", "--interval", "0.1"),
            *(sshd.options() if kind == "sftp" else ()),
        )
        looks, steps = 0, set()
        while watching.poll() is None:
            if not copy.run_json.exists():
                continue
            info, events = Run.open(copy.path).info, copy.history.read()
            assert [event["step"] for event in events] == list(range(1, len(events) + 1))
            assert copy.history_jsonl.read_bytes().endswith(b"\n")
            assert info["segments"][-1]["to_step"] <= len(events)
            store = CheckpointStore(copy.checkpoints)
            if not store.steps():  # none has come through yet; some have to, see below
                continue
            found = store.load()
            assert not found.warning
            assert torch.equal(
                found.tensors["model"]["weight"], tensors(found.step, 20_000)["model"]["weight"]
            )
            looks, steps = looks + 1, steps | {found.step}
            # It trains until enough was seen, however slow the copying is on this machine.
            if looks > 5 and len(steps) > 2 and not training.stdin.closed:
                training.stdin.close()
        out, err = watching.communicate()
        assert watching.returncode == 0, out + err
        assert looks > 5 and len(steps) > 2
        last = int(training.stdout.readline())
    finally:
        training.kill()
        training.wait()
        for stream in (training.stdin, training.stdout):
            assert stream is not None
            stream.close()
    opens(copy.path, last)
    assert not leftovers(copy.path)


def test_a_real_training_goes_on_at_the_other_side(tmp_path: Path) -> None:
    flags = ("--max-sequences", 40, "--batch-size", 8, "--set", "train.figures=0", "--quiet")
    here, there = tmp_path / "here", tmp_path / "there"
    trained = rgan("train", "sines", *TINY, *flags, "--set", "train.steps=6", "--runs", here)
    assert trained.code == 0, trained.err
    assert sync(here, there).code == 0
    longer = ("--quiet", "--set", "train.steps=9")
    resumed = rgan("train", "--resume", "latest", "--runs", there, *longer)
    assert resumed.code == 0, resumed.err
    assert "DEST is newer" in sync(here, there).out
    assert sync(there, here).code == 0
    (run,) = (Run.open(path) for path in here.iterdir())
    assert CheckpointStore(run.checkpoints).load().step == 9
    assert len(run.info["segments"]) == 2
    assert same(run.path, there / run.path.name)


def test_ctrl_c_while_watching(tmp_path: Path) -> None:
    run = make_run(tmp_path / "a")
    run.begin_segment(20)  # it says that it is running
    watching = process(tmp_path / "a", tmp_path / "b", "--watch")
    until = time.monotonic() + 20
    while not (tmp_path / "b" / run.path.name / "run.json").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(0.3)
    watching.send_signal(signal.SIGINT)
    out, err = watching.communicate(timeout=20)
    assert watching.returncode == 0, out + err
    assert "1 run" in out and "stopped" in err and "Traceback" not in err


# -- what can be wrong -------------------------------------------------------------------------


def test_errors_are_told_without_a_traceback_or_a_secret(
    tmp_path: Path, sshd: servers.Sshd, bucket: str
) -> None:
    run = make_run(tmp_path / "a")
    nobody = f"127.0.0.1:{servers.free_port()}"
    key = servers.subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True
    )
    assert key.returncode == 0
    empty = tmp_path / "empty"
    empty.touch()
    user, key_file, known = sshd.user, *sshd.options()[1::2]
    stranger = ("--option", f"key_filename={tmp_path / 'other'}", "--option", known,
                "--option", "allow_agent=false", "--option", "look_for_keys=false")  # fmt: skip
    unknown = ("--option", key_file, "--option", f"known_hosts={empty}")
    cases = [
        ([f"sftp://{user}:hunter2@{nobody}/x"], "cannot be reached"),
        ([f"ssh://{user}@{nobody}/x"], "cannot be reached"),
        ([sshd.sftp(tmp_path / "x"), *stranger], "does not let this user in"),
        ([sshd.ssh(tmp_path / "x"), *stranger[:4]], "does not let this user in"),
        ([sshd.sftp(tmp_path / "x"), *unknown], "is not known"),
        ([sshd.ssh(tmp_path / "x"), *unknown], "is not known"),
        ([f"{bucket}missing/x"], "bucket"),
        (["nonsense://x"], "fsspec knows"),
        (["ssh://-oProxyCommand=evil/x"], "names no machine"),
        ([tmp_path / "empty"], "cannot be written"),
        ([tmp_path / "a"], "one folder"),
    ]
    for words, part in cases:
        done = sync(run.path.parent, *words)
        text = done.out + done.err
        assert done.code != 0 and part in text, (words, text)
        assert "Traceback" not in text and "hunter2" not in text, text
        assert "try:" in text or "rule:" in text
    for source in (tmp_path / "nothing", tmp_path / "empty", sshd.sftp(tmp_path / "no"), bucket):
        done = sync(source, tmp_path / "z", *sshd.options() if "sftp" in str(source) else ())
        assert done.code == 2 and "there are no runs in" in done.err, done.err
