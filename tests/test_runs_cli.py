"""``rgan runs list``, ``show``, ``compare``, ``tree`` and ``prune``, as somebody types them."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from command_line import content, rgan
from lineage_runs import bare, damage, line_of, trained
from rgan.cli.runs_page import page
from rgan.errors import RunError
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.compare import compare
from rgan.runs.details import details
from rgan.runs.folder import Run
from rgan.runs.lock import RunLock
from rgan.runs.summary import age, summarise

MANY = 1000


def listed(*words: object) -> list[dict[str, Any]]:
    answer = rgan("runs", "list", *words, "--json")
    assert answer.code == 0, answer.err
    found: list[dict[str, Any]] = json.loads(answer.out)
    return found


def scored(run: Run, **scores: float) -> None:
    listed = [{"name": name, "value": value, "better": "lower"} for name, value in scores.items()]
    run.evaluation_json.write_text(json.dumps({"scores": listed, "config": {"repeats": 3}}))


# -- list ------------------------------------------------------------------------------------


def test_a_row_says_what_became_of_a_run(tmp_path: Path) -> None:
    _, b, c = line_of(tmp_path)
    scored(b, marginal_w1=0.5, mmd2=0.25)
    c.update_info(best={"metric": "discriminative", "value": 0.125, "step": 60})
    first, second, third = listed("--runs", tmp_path)
    assert [first["name"], second["name"], third["name"]] == ["c", "b", "a"]
    assert first["metric"] == {"name": "discriminative", "value": 0.125, "step": 60}
    assert second["metric"] == {"name": "mmd2", "value": 0.25, "step": None}
    assert third["metric"] is None
    assert (first["step"], first["epoch"], first["steps"]) == (70, 7, 6000)
    assert second["parents"] == [third["id"]] and third["data"] == "toy"
    out = rgan("runs", "list", "--runs", tmp_path).out
    (row,) = [line for line in out.splitlines() if line.startswith("b ")]
    assert "finished" in row and "mmd2 0.25" in row and row.endswith(" a")


NEAR = {"metric": "mmd2", "within": 0.05, "epochs": 3, "batches": 2400, "seconds": 1.5}


def test_when_a_run_converged_is_listed_and_compared(tmp_path: Path) -> None:
    _, b, c = line_of(tmp_path)
    assert "converged" not in rgan("runs", "list", "--runs", tmp_path).out.splitlines()[0]
    b.update_info(convergence=NEAR)
    rows = {row["name"]: row["convergence"] for row in listed("--runs", tmp_path)}
    assert rows["b"] == {"metric": "mmd2", "epochs": 3, "batches": 2400, "seconds": 1.5}
    assert rows["a"] is None and rows["c"] is None
    head, _, *lines = rgan("runs", "list", "--runs", tmp_path).out.splitlines()
    cells = {line.split()[0]: line[head.index("converged") - 3 :] for line in lines}
    assert "batch 2,400" in cells["b"] and "batch" not in cells["a"]

    found = json.loads(rgan("runs", "compare", "a", "b", "--runs", tmp_path, "--json").out)
    assert found["results"]["batches to converge"] == [None, 2400]
    assert list(found["results"])[-4:-2] == ["seconds to converge", "epochs"]
    assert found["notes"] == []
    c.update_info(convergence=NEAR | {"metric": "overall"})
    assert (
        "different metrics: mmd2, overall"
        in rgan("runs", "compare", "b", "c", "--runs", tmp_path).out
    )
    for odd in (NEAR | {"batches": "many"}, NEAR | {"seconds": -1}, NEAR | {"metric": None}):
        c.update_info(convergence=odd)
        assert summarise(c.path).convergence is None


def test_a_run_is_running_only_while_its_lock_is_held(tmp_path: Path) -> None:
    run = bare(tmp_path, "mine")
    run.update_info(status="running")
    with RunLock(run.path):
        assert listed("--runs", tmp_path)[0]["status"] == "running"
        assert "held by process" in rgan("runs", "show", run.path).out
    assert listed("--runs", tmp_path)[0]["status"] == "stopped"
    said = rgan("runs", "list", "--runs", tmp_path).out
    assert "stopped: killed or crashed" in said and f"--resume {run.path}" in said


def test_damaged_runs_are_listed_with_the_reason(tmp_path: Path) -> None:
    for name, text in (("bits", "{"), ("new", '{"schema": 99}'), ("deep", "[" * 100_000)):
        (bare(tmp_path, name).run_json).write_text(text)
    bare(tmp_path, "nameless").run_json.write_text(
        json.dumps({"schema": 1, "id": [], "name": "x", "created": "", "segments": []})
    )
    trained(tmp_path, "headless").run_json.unlink()
    bare(tmp_path, "whole")
    (tmp_path / "no run").mkdir()
    rows = {row["name"]: row for row in listed("--runs", tmp_path)}
    assert rows.pop("whole")["status"] == "finished"
    assert rows.keys() == {"bits", "new", "deep", "nameless", "headless"}
    assert all(row["status"] == "damaged" and row["damage"] for row in rows.values())
    out = rgan("runs", "list", "--runs", tmp_path).out
    notes = [line for line in out.splitlines() if line.startswith("damaged: ")]
    assert len(notes) == 5 and any("schema 99" in note for note in notes)
    assert rgan("runs", "tree", "--runs", tmp_path).code == 0


ODD: tuple[object, ...] = (
    *(None, 7, -1.5, "\x1b[2Jx", [], {}, [[1]], {"a": {"b": []}}, True, "x" * 3000),
    [{"id": 3, "started": 4, "changed": [1]}],
)


@pytest.mark.parametrize("field", [
    *("id", "name", "parent", "parents", "stands_for", "segments", "created", "updated", "status"),
    *("data", "best", "progress", "machine", "versions", "git", "command", "spec", "average"),
    "convergence",
])  # fmt: skip
def test_odd_content_of_run_json_gives_no_traceback(tmp_path: Path, field: str) -> None:
    info = bare(tmp_path / "one", "odd").info
    root = tmp_path / "runs"
    for number, value in enumerate(ODD):
        folder = root / f"odd{number}"
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(info | {"id": f"{number}", field: value}))
        (folder / "config.toml").write_text("[train]\nsteps = 1\n")
    for words in (("list",), ("list", "--json"), ("tree",), ("prune", "odd")):
        answer = rgan("runs", *words, "--runs", root)
        assert answer.code == 0, (words, answer.err)
        assert "\x1b" not in answer.out
    for run in map(Run, sorted(root.iterdir())):
        try:
            found = details(run)
            compare([run, run])
        except RunError:
            assert summarise(run.path).damage
        else:
            assert json.loads(json.dumps(found)) == found
            assert "\x1b" not in str(list(page(found)))


def test_odd_histories_configurations_and_evaluations_give_a_row(tmp_path: Path) -> None:
    run = trained(tmp_path, "odd")
    whole = run.history_jsonl.read_bytes()
    for number in range(0, len(whole), 37):
        run.history_jsonl.write_bytes(whole[:number])
        assert summarise(run.path).progress.step == 40  # run.json says so
    run.history_jsonl.write_bytes(b"\xff\x00[[[[" * 5000)
    run.config_toml.write_bytes(b"\xff[train]\nsteps = -1\n")
    for text in ("[]", '{"scores": 3}', '{"scores": [1, {"name": 3}, {"name": "a"}]}', "\xff"):
        run.evaluation_json.write_text(text)
        row = summarise(run.path)
        assert (row.status, row.metric, row.progress.step) == ("finished", None, 40)


def test_a_history_is_not_read_whole(tmp_path: Path) -> None:
    run = trained(tmp_path, "long", end=20)
    for epoch in range(3, 3000):
        run.history.append({"event": "epoch", "step": 10 * epoch, "epoch": epoch})
    done = summarise(run.path).progress
    assert (done.step, done.epoch) == (29990, 2999)


def test_patterns_mean_paths_globs_and_beginnings(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    runs = {name: bare(root, name, minute=i) for i, name in enumerate(("one", "once", "two"))}

    def found(*words: object) -> list[str]:
        return [row["name"] for row in listed(*words, "--runs", root)]

    assert found() == ["two", "once", "one"]
    assert found("on") == ["once", "one"] and found("one") == ["one"]
    assert found("*e") == ["once", "one"] and found("t*", "one") == ["two", "one"]
    assert found(runs["two"].id[:9]) == ["two"]
    assert found(root / "two", root) == ["two", "once", "one"]
    answer = rgan("runs", "list", "tow", "--runs", root)
    assert answer.code == 2 and 'did you mean "two"?' in answer.err


def test_no_runs_is_no_error(tmp_path: Path) -> None:
    answer = rgan("runs", "list", "--runs", tmp_path / "none")
    assert answer.code == 0 and "rgan train icu" in answer.out
    assert listed("--runs", tmp_path) == []


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_table_fits_the_terminal(
    tmp_path: Path, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = trained(tmp_path, "2026-11-23T03-58-17-icu-rcgan", tmp=None)
    child = trained(tmp_path, "2026-11-23T04-58-17-icu-rcgan", parent, begin=20)
    scored(child, discriminative=0.4321)
    child.update_info(convergence=NEAR)
    monkeypatch.setenv("COLUMNS", str(width))
    out = rgan("runs", "list", "--runs", tmp_path).out
    assert max(map(len, out.splitlines())) <= width
    for word in (parent.path.name, child.path.name, "discriminative 0.4321", "toy", "finished"):
        assert word in out, word
    assert "batch 2,400" in " ".join(out.split())
    assert out.count(parent.id[:8]) + out.count(parent.path.name) == 2, (
        "its own row and its child's"
    )


def test_ages_are_in_words() -> None:
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    ages = {"2026-06-01T11:59:30Z": "30 s", "2026-06-01T09:00:00Z": "3 h",
            "2026-04-01T12:00:00Z": "61 d", "2020-06-01T12:00:00Z": "6 y",
            "2026-06-01T12:10:00Z": "in 10 min", "": "", "2026-06-01T12:00:00": ""}  # fmt: skip
    assert {moment: age(moment, now) for moment in ages} == ages


def test_a_thousand_runs_are_listed_in_two_seconds(tmp_path: Path) -> None:
    one = trained(tmp_path / "one", "one", end=400, every=400)
    scored(one, mmd2=0.5)
    info = one.info
    for number in range(MANY):
        folder = tmp_path / "many" / f"run-{number:04d}"
        folder.mkdir(parents=True)
        parent = f"{number - 1:012x}" if number % 4 else None
        (folder / "run.json").write_text(
            json.dumps(info | {"id": f"{number:012x}", "parent": parent})
        )
        for name in ("config.toml", "history.jsonl", "evaluation.json"):
            shutil.copy(one.path / name, folder)
    words = [sys.executable, "-m", "rgan.cli.main", "runs", "list", "--runs", tmp_path / "many"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = subprocess.run(words, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert len(answer.stdout.splitlines()) == MANY + 2
    # the processor's time, since other work on this machine is not what is asked here
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used < 2


def test_listing_loads_neither_torch_nor_numpy(tmp_path: Path) -> None:
    trained(tmp_path, "one")
    code = (
        "import sys; from rgan.cli.main import app; "
        f"app(['runs', 'list', '--runs', {str(tmp_path)!r}], standalone_mode=False); "
        "heavy = {'torch', 'numpy', 'matplotlib', 'polars', 'rich'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


# -- show, compare, tree ---------------------------------------------------------------------


def test_show_tells_origin_segments_checkpoints_and_results(tmp_path: Path) -> None:
    _, b, _ = line_of(tmp_path)
    scored(b, mmd2=0.25)
    CheckpointStore(b.checkpoints).mark_best(30)
    out = rgan("runs", "show", "b", "--runs", tmp_path).out
    for part in (
        b.id, "a > this, from step 20", "child: c, from step 40", "steps 20 to 50",
        "generator_optimizer.rate: 0.002 -> 0.01", "critic 0.02, generator 0.04", "mmd2 0.25",
        "toy: 30 sequences",
    ):  # fmt: skip
        assert part in out, part
    (line,) = [x for x in out.splitlines() if x.endswith("best")]
    assert line.split()[0] == "30"
    found = json.loads(rgan("runs", "show", "b", "--runs", tmp_path, "--json").out)
    assert [c["step"] for c in found["checkpoints"]] == [20, 30, 40, 50]
    assert found["lineage"]["children"][0]["name"] == "c"
    assert found["bytes"][""] == sum(p.stat().st_size for p in b.path.rglob("*") if p.is_file())


def test_show_tells_that_a_parent_is_not_here(tmp_path: Path) -> None:
    a, _, _ = line_of(tmp_path)
    shutil.rmtree(a.path)
    assert "a (not here) > this" in rgan("runs", "show", "b", "--runs", tmp_path).out


def test_compare_shows_only_the_settings_that_differ(tmp_path: Path) -> None:
    a, b, _ = line_of(tmp_path)
    scored(a, mmd2=0.5)
    scored(b, mmd2=0.25)
    answer = rgan("runs", "compare", "a", "b", "--runs", tmp_path)
    assert answer.code == 0, answer.err
    assert "generator_optimizer.rate" in answer.out and "batch_size" not in answer.out
    found = json.loads(rgan("runs", "compare", "a", "b", "--runs", tmp_path, "--json").out)
    assert found["settings"] == {"generator_optimizer.rate": [0.002, 0.01]}
    assert found["results"]["mmd2"] == [0.5, 0.25]
    assert found["results"]["steps"] == [40, 50]
    assert found["notes"] == []
    b.update_info(data={"name": "other", "fingerprint": "0"})
    a.evaluation_json.unlink()
    out = rgan("runs", "compare", "[ab]", "--runs", tmp_path).out
    assert "the data are not the same" in out and "not evaluated: a" in out
    assert rgan("runs", "compare", "a", "--runs", tmp_path).code == 2


def test_the_tree_shows_the_forest(tmp_path: Path) -> None:
    line_of(tmp_path)
    lines = rgan("runs", "tree", "--runs", tmp_path).out.splitlines()
    assert lines[0].startswith("a  finished  step 40")
    assert lines[1].startswith("└─ b") and lines[1].endswith("from step 20")
    assert lines[2].startswith("   └─ c") and lines[2].endswith("from step 40")
    alone = rgan("runs", "tree", "c", "--runs", tmp_path).out.splitlines()
    assert alone[0].endswith("(not here)") and alone[1].startswith("└─ c")


# -- prune -----------------------------------------------------------------------------------


def steps(run: Run) -> list[int]:
    return CheckpointStore(run.checkpoints).steps()


def test_prune_says_first_and_then_does(tmp_path: Path) -> None:
    run = trained(tmp_path, "one", end=60)
    CheckpointStore(run.checkpoints).mark_best(10)
    before = content(tmp_path)
    answer = rgan("runs", "prune", "one", "--keep", "best,last,2", "--runs", tmp_path)
    assert answer.code == 0 and "would go" in answer.out and "--yes" in answer.out
    assert content(tmp_path) == before
    going = [run.checkpoints / f"{step:08d}" for step in (0, 20, 30, 40)]
    size = sum(p.stat().st_size for folder in going for p in folder.iterdir())
    assert f"{size / 1000:.1f} kB in 4" in answer.out
    done = rgan("runs", "prune", "one", "--keep", "best,last,2", "--runs", tmp_path, "--yes")
    assert done.code == 0 and f"removed {size / 1000:.1f} kB" in done.out
    assert steps(run) == [10, 50, 60]
    assert CheckpointStore(run.checkpoints).load("best").step == 10
    assert run.info == json.loads(before["one/run.json"] or b"")
    assert "nothing to remove" in rgan("runs", "prune", "one", "--runs", tmp_path).out


def test_a_damaged_newest_checkpoint_counts_for_nothing(tmp_path: Path) -> None:
    run = trained(tmp_path, "one", end=40)
    damage(run.checkpoints / "00000040" / "model.safetensors")
    answer = rgan("runs", "prune", "one", "--keep", "last", "--runs", tmp_path, "--yes")
    assert answer.code == 0 and "00000040/model.safetensors" in answer.out
    assert steps(run) == [30]
    loaded = CheckpointStore(run.checkpoints).load()
    assert loaded.step == 30 and not loaded.warning


def test_nothing_is_removed_where_no_checkpoint_is_good(tmp_path: Path) -> None:
    run = trained(tmp_path, "one", end=20)
    for path in run.checkpoints.glob("*/state.json"):
        damage(path)
    answer = rgan("runs", "prune", "one", "--keep", "1", "--runs", tmp_path, "--yes")
    assert answer.code == 0 and "no checkpoint is good" in answer.out
    assert steps(run) == [0, 10, 20]


def test_a_run_in_training_is_left_alone(tmp_path: Path) -> None:
    run = trained(tmp_path, "one")
    with RunLock(run.path):
        answer = rgan("runs", "prune", "one", "--keep", "1", "--runs", tmp_path, "--yes")
    assert answer.code == 0 and "is being written by process" in answer.out
    assert len(steps(run)) == 5


def test_what_killed_writers_left_goes_and_what_was_moved_aside_stays(tmp_path: Path) -> None:
    run = trained(tmp_path, "one", end=20)
    (run.checkpoints / ".tmp-abc").mkdir()
    (run.checkpoints / ".tmp-abc" / "model.safetensors").write_bytes(b"x" * 500)
    (run.path / ".tmp-abc-run.json").write_bytes(b"y" * 250)
    (run.checkpoints / "00000020").rename(run.checkpoints / ".old-00000020")
    shutil.copytree(run.checkpoints / "00000010", run.checkpoints / ".old-00000010")
    answer = rgan("runs", "prune", "one", "--runs", tmp_path, "--yes")
    assert answer.code == 0, answer.err
    assert ".tmp-abc" in answer.out and ".old-00000010" in answer.out
    hidden = sorted(p.name for p in run.path.rglob(".*"))
    assert hidden == [".old-00000020"], "it is a whole checkpoint, and the newest"
    assert CheckpointStore(run.checkpoints).load().step == 20


@pytest.mark.parametrize(
    ("keep", "left"),
    [("last", [40]), ("3", [20, 30, 40]), ("step:10", [10, 40]), ("best", [20, 40]), ("", [40])],
)
def test_what_keep_means(tmp_path: Path, keep: str, left: list[int]) -> None:
    run = trained(tmp_path, "one", end=40)
    CheckpointStore(run.checkpoints).mark_best(20)
    assert rgan("runs", "prune", "one", "--keep", keep, "--runs", tmp_path, "--yes").code == 0
    assert steps(run) == left
    assert ("best" in CheckpointStore(run.checkpoints).marks()) == (20 in left)


def test_prune_refuses_what_it_does_not_understand(tmp_path: Path) -> None:
    trained(tmp_path, "one")
    for keep in ("0", "-1", "a/b", "step:x"):
        answer = rgan("runs", "prune", "one", "--keep", keep, "--runs", tmp_path, "--yes")
        assert answer.code == 2 and "--keep best,last,3" in answer.err
    assert rgan("runs", "prune", "none", "--runs", tmp_path).code == 2


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    run = trained(tmp_path, "one", end=20)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("kept")
    (run.checkpoints / ".tmp-link").symlink_to(tmp_path / "precious")
    (run.checkpoints / "00000005").symlink_to(tmp_path / "precious")
    rgan("runs", "prune", "one", "--keep", "1", "--runs", tmp_path, "--yes")
    assert (tmp_path / "precious" / "file").read_text() == "kept"
