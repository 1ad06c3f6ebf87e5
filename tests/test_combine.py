"""Combining: one continuous history of a chain, nothing lost, whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import content, rgan
from lineage_runs import PER_EPOCH, bare, damage, line_of, save, trained
from rgan.errors import RunError, StorageError
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.combine import combine
from rgan.runs.folder import Run
from rgan.runs.lock import RunLock


def epochs(run: Run) -> list[tuple[int, int]]:
    return [(e["epoch"], e["step"]) for e in run.history.read() if e["event"] == "epoch"]


def test_a_chain_becomes_one_continuous_run_whatever_the_order(tmp_path: Path) -> None:
    for number, order in enumerate(((2, 0, 1), (2, 1, 0))):
        root = tmp_path / str(number)
        runs = line_of(root)
        ids = [run.id for run in runs]
        run = combine([runs[i] for i in order], name="whole")
        assert epochs(run) == [(i, i * PER_EPOCH) for i in range(1, 8)]
        assert run.info["stands_for"] == ids
        assert [p["step"] for p in run.info["parents"]] == [20, 40, 70]
        assert run.info["parent"] is None
        assert sorted(p.name for p in (root / "archive").iterdir()) == ["a", "b", "c"]
        assert sorted(p.name for p in root.iterdir()) == sorted(["archive", run.path.name])


def test_each_step_comes_from_the_run_that_went_that_way(tmp_path: Path) -> None:
    run = combine(line_of(tmp_path))
    store = CheckpointStore(run.checkpoints)
    said = {step: store.load(step).state["what"] for step in store.steps()}
    assert said == {
        0: "a 0", 10: "a 10", 20: "b 20", 30: "b 30", 40: "c 40", 50: "c 50", 60: "c 60",
        70: "c 70",
    }  # fmt: skip
    assert store.load().step == 70 and not store.load().warning
    pictures = sorted(p.name for p in run.figures.glob("samples-*.png"))
    assert pictures == [f"samples-{step:08d}.png" for step in range(10, 71, 10)]


def test_a_checkpoint_saved_later_is_the_newest(tmp_path: Path) -> None:
    """The serial numbers of several runs would else mislead whoever looks for the newest."""
    run = combine(line_of(tmp_path))
    store = CheckpointStore(run.checkpoints)
    damage(run.checkpoints / "00000070" / "model.safetensors")
    assert store.load().step == 60
    save(store, 80, "later")
    assert store.load().step == 80


def test_every_segment_keeps_its_settings_and_its_run(tmp_path: Path) -> None:
    a, b, c = line_of(tmp_path)
    b.begin_segment(50, {"train.batch_size": [4, 8]})  # after C had left it
    run = combine([a, b, c])
    segments = run.info["segments"]
    assert [(s["from_step"], s["to_step"], s["run"]["name"]) for s in segments] == [
        (0, 20, "a"), (20, 40, "b"), (40, 70, "c"),
    ]  # fmt: skip
    rates = [s["settings"]["generator_optimizer"]["rate"] for s in segments]
    assert rates[0] == 0.002 and rates[1] == 0.01
    assert segments[1]["changed"] == {"generator_optimizer.rate": [0.002, 0.01]}
    assert run.read_config() == Run(tmp_path / "archive" / "c").read_config()


def test_tails_after_the_last_good_checkpoint_are_cut(tmp_path: Path) -> None:
    runs = line_of(tmp_path, tail=20)
    assert epochs(runs[2])[-1] == (9, 90)
    said: list[str] = []
    run = combine(runs, say=said.append)
    assert epochs(run)[-1] == (7, 70)
    assert not (run.figures / "samples-00000080.png").exists()
    assert any("c: what came after step 70" in line for line in said)


def test_a_damaged_last_checkpoint_is_passed_over(tmp_path: Path) -> None:
    runs = line_of(tmp_path)
    damage(runs[2].checkpoints / "00000070" / "model.safetensors")
    damage(runs[0].checkpoints / "00000010" / "model.safetensors")
    runs[2].evaluation_json.write_text("{}")
    said: list[str] = []
    run = combine(runs, say=said.append)
    assert epochs(run)[-1] == (6, 60)
    assert CheckpointStore(run.checkpoints).steps() == [0, 20, 30, 40, 50, 60]
    assert run.info["segments"][-1]["to_step"] == 60
    assert not run.evaluation_json.exists()
    left_out = [line for line in said if line.startswith("left out:")]
    assert len(left_out) == 1 and "a/checkpoints/00000010" in left_out[0]


def test_marks_follow_their_checkpoints(tmp_path: Path) -> None:
    runs = line_of(tmp_path)
    for run, step in ((runs[0], 10), (runs[1], 50)):  # B's best is after C had left it
        CheckpointStore(run.checkpoints).mark_best(step)
        run.update_info(best={"metric": "mmd2", "value": step / 100, "step": step})
    run = combine(runs)
    assert CheckpointStore(run.checkpoints).marks() == {"best": "00000010", "latest": "00000070"}
    assert run.info["best"] == {"metric": "mmd2", "value": 0.1, "step": 10}


def test_a_combined_run_can_be_combined_again(tmp_path: Path) -> None:
    a, b, c = line_of(tmp_path)
    ids = [run.id for run in (a, b, c)]
    first = combine([a, b])
    first_id = first.id
    run = combine([c, first])  # C's parent is B, for which the combined run stands
    assert epochs(run) == [(i, i * PER_EPOCH) for i in range(1, 8)]
    assert run.info["stands_for"] == [first_id, *ids]
    assert [s["run"]["name"] for s in run.info["segments"]] == ["a", "b", "c"]


def test_the_parent_of_the_first_stays_the_parent(tmp_path: Path) -> None:
    a, b, c = line_of(tmp_path)
    run = combine([b, c])
    assert run.info["parent"] == a.id and epochs(run)[0] == (3, 30)
    assert "from step 20" in rgan("runs", "tree", "--runs", tmp_path).out


# -- refusals change nothing -----------------------------------------------------------------


def refused(runs: list[Run], match: str) -> str:
    before = content(runs[0].path.parent)
    with pytest.raises(RunError, match=match) as caught:
        combine(runs)
    assert content(runs[0].path.parent) == before
    return str(caught.value)


def test_a_single_run_a_fork_and_a_stranger_are_refused(tmp_path: Path) -> None:
    a, b, c = line_of(tmp_path)
    d = trained(tmp_path, "d", a, begin=30, end=60)
    x = trained(tmp_path, "x")
    assert "at least two" in refused([a], "1 run")
    assert "├─ b  from step 20" in refused([a, b, d], "a fork")
    refused([a, b, x], "strangers")
    refused([a, c], "strangers")


def test_a_gap_in_a_history_is_refused(tmp_path: Path) -> None:
    runs = line_of(tmp_path)
    lines = runs[1].history_jsonl.read_text().splitlines()
    (del_,) = [line for line in lines if '"epoch": 3' in line and '"event": "epoch"' in line]
    for broken in ([x for x in lines if x != del_], [*lines[:2], lines[1], *lines[2:]]):
        runs[1].history_jsonl.write_text("\n".join(broken) + "\n")
        assert "epoch" in refused(runs, "do not join")


def test_a_missing_end_of_a_history_is_refused(tmp_path: Path) -> None:
    runs = line_of(tmp_path)
    lines = runs[2].history_jsonl.read_text().splitlines()
    runs[2].history_jsonl.write_text("\n".join(lines[:-1]) + "\n")
    refused(runs, "last epoch is at step 60, the last checkpoint at step 70")


def test_a_child_that_begins_after_its_parents_end_is_refused(tmp_path: Path) -> None:
    a = trained(tmp_path, "a", end=40)
    b = trained(tmp_path, "b", a, begin=60, end=80)
    refused([a, b], "do not join")


def test_a_run_in_training_is_refused(tmp_path: Path) -> None:
    runs = line_of(tmp_path)
    with RunLock(runs[1].path), pytest.raises(RunError, match="being written by process"):
        combine(runs)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


def test_runs_of_several_folders_are_refused(tmp_path: Path) -> None:
    a = trained(tmp_path / "one", "a")
    b = trained(tmp_path / "two", "b", a, begin=20)
    refused([a, b], "lie in several folders")


def test_nothing_is_left_where_drawing_fails(tmp_path: Path) -> None:
    runs = line_of(tmp_path)
    before = content(tmp_path)

    def fail(run: Run) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        combine(runs, finish=fail)
    assert content(tmp_path) == before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks what a file is called")
@pytest.mark.parametrize("full", ["model.safetensors", "samples-00000010.png", "run.json"])
def test_on_a_full_disk_nothing_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str
) -> None:
    """A full disk is no damaged checkpoint, of which the copy would go without."""
    runs = line_of(tmp_path)
    before = content(tmp_path)
    real = os.fsync

    def fsync(number: int) -> None:
        if Path(f"/proc/self/fd/{number}").readlink().name.endswith(full):
            raise OSError(28, "No space left on device")
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageError, match="No space left"):
        combine(runs)
    monkeypatch.undo()
    assert content(tmp_path) == before


def test_names_in_the_archive_are_made_unique(tmp_path: Path) -> None:
    bare(tmp_path / "archive", "b")
    combine(line_of(tmp_path))
    assert sorted(p.name for p in (tmp_path / "archive").iterdir()) == ["a", "b", "b-2", "c"]


def test_a_link_out_of_a_run_is_not_followed(tmp_path: Path) -> None:
    runs = line_of(tmp_path / "runs")
    (tmp_path / "secret").write_text("private")
    (runs[2].samples / "stolen.csv").symlink_to(tmp_path / "secret")
    (runs[1].figures / "samples-00000030.png").unlink()
    (runs[1].figures / "samples-00000030.png").symlink_to(tmp_path / "secret")
    refused(runs, "is a link")
    (runs[1].figures / "samples-00000030.png").unlink()
    run = combine(runs)
    assert not list(run.samples.iterdir())


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "x/../../y"])
def test_a_note_that_names_a_path_moves_nothing(tmp_path: Path, name: str) -> None:
    run = bare(tmp_path / "runs", "mine")
    target = bare(tmp_path / "runs", "target")
    note = {
        "key": "k", "id": target.id, "target": "target",
        "originals": [{"id": run.id, "name": name}],
    }  # fmt: skip
    (tmp_path / "runs" / ".combine-k.json").write_text(json.dumps(note))
    bare(tmp_path, "outside")
    answer = rgan("runs", "combine", "mine", "target", "--runs", tmp_path / "runs")
    assert answer.code == 2 and "strangers" in answer.err
    assert (tmp_path / "outside").is_dir() and not (tmp_path / "runs" / "archive").exists()


# -- the command, and kill -9 ----------------------------------------------------------------


def test_the_command_combines_and_draws(tmp_path: Path) -> None:
    line_of(tmp_path, tail=10)
    answer = rgan("runs", "combine", "[abc]", "--runs", tmp_path, "--dry-run")
    assert answer.code == 0 and "b  steps 20 to 40" in answer.out
    assert "what came after step 70 is left out (1 events)" in answer.out
    assert not (tmp_path / "archive").exists()
    answer = rgan("runs", "combine", "c", "a", "b", "--name", "my line", "--runs", tmp_path)
    assert answer.code == 0, answer.err
    (path,) = [p for p in tmp_path.iterdir() if p.name != "archive"]
    assert str(path) in answer.out and path.name.endswith("-my-line")
    for name in ("losses.png", "samples.gif"):
        assert (path / "figures" / name).stat().st_size > 100
    assert scalars(path / "tensorboard") == list(range(10, 71, 10))
    assert not any("lock" in p.name for p in tmp_path.rglob("*"))


def scalars(folder: Path) -> list[int]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [event.step for event in events.Scalars("loss/critic")]


def test_a_picture_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    runs = line_of(tmp_path)
    (runs[0].figures / "samples-00000010.png").write_bytes(b"no picture")
    answer = rgan("runs", "combine", "[abc]", "--runs", tmp_path, "-q")
    assert answer.code == 0 and "samples-00000010.png is not a picture" in answer.err
    assert len(list((Path(answer.out.strip()) / "figures").glob("samples-*.png"))) == 6


def test_typed_again_after_a_kill_the_command_finishes(tmp_path: Path) -> None:
    """Killed when one original had been moved: A cannot be found any more, and that is no error."""
    runs = line_of(tmp_path)
    combined = combine(runs)
    target = combined.info
    note = {
        "key": "k", "id": target["id"], "target": combined.path.name,
        "originals": [{"id": p["id"], "name": p["name"]} for p in target["parents"]],
    }  # fmt: skip
    (tmp_path / ".combine-k.json").write_text(json.dumps(note))
    for name in "bc":
        shutil.move(tmp_path / "archive" / name, tmp_path / name)
    answer = rgan("runs", "combine", tmp_path / "a", "b", "c", "--runs", tmp_path)
    assert answer.code == 0, answer.err
    assert combined.path.name in answer.out
    assert sorted(p.name for p in tmp_path.iterdir()) == [combined.path.name, "archive"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked and killed")
def test_killed_at_any_moment_nothing_is_lost_and_again_finishes_it(tmp_path: Path) -> None:
    script = Path(__file__).with_name("killed_combining.py")
    answer = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True, text=True, check=False, timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    kills = [json.loads(line) for line in answer.stdout.splitlines()]
    assert len(kills) > 30
    assert [ended for ended, *_ in kills] == [-9] * (len(kills) - 1) + [0]
    whole = kills[-1][3]
    ids = set(kills[-1][2]["archive"])
    stages = set()
    for _, before, after, files in kills:
        assert len(before["runs"]) + len(before["archive"]) in (2, 3)
        assert ids <= {*before["runs"], *before["archive"]}, "an original is gone"
        assert set(after["archive"]) == ids and len(after["runs"]) == 1 and not after["hidden"]
        assert files == whole
        stages.add(len(before["archive"]))
    assert stages == {0, 1, 2}, "killed before, between and after the moves"
