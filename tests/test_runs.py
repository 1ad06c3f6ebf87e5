"""Run folders: made, opened, found again, and readable after a crash."""

from __future__ import annotations

import json
import math
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgan.errors import ConfigError, InputError, RunError
from rgan.runs import atomic, toml
from rgan.runs.find import find_run, list_runs
from rgan.runs.folder import Run
from rgan.runs.history import History
from rgan.runs.info import git_commit

STARTED = datetime(2026, 11, 22, 22, 10, 5, tzinfo=UTC)


# -- folder ----------------------------------------------------------------------------------


def test_a_new_run_explains_itself(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "a" / "runs", "icu rcgan", STARTED, data={"name": "icu"})
    assert run.path.name == "2026-11-22T22-10-05-icu-rcgan"
    info = Run.open(run.path).info
    assert info["schema"] == 1
    assert info["status"] == "running"
    assert info["created"] == "2026-11-22T22:10:05.000000Z"
    assert info["data"] == {"name": "icu"}
    assert info["versions"]["torch"] and info["versions"]["numpy"]
    assert info["machine"]["memory_bytes"] > 0
    assert len(info["id"]) == 12 and int(info["id"], 16) >= 0
    assert info["segments"] == [] and info["parent"] is None


def test_runs_of_one_second_do_not_collide(tmp_path: Path) -> None:
    runs = [Run.create(tmp_path, "x", STARTED) for _ in range(3)]
    assert len({run.path for run in runs}) == len({run.id for run in runs}) == 3


def test_a_time_with_a_zone_is_written_in_utc(tmp_path: Path) -> None:
    from datetime import timezone

    local = STARTED.astimezone(timezone(timedelta(hours=5)))
    assert Run.create(tmp_path, "x", local).path.name.startswith("2026-11-22T22-10-05")


@pytest.mark.parametrize("hint", ["../../evil", "", "ü/ß", "a" * 300])
def test_any_hint_stays_inside_the_root(tmp_path: Path, hint: str) -> None:
    assert Run.create(tmp_path, hint, STARTED).path.parent == tmp_path


def test_a_root_that_is_a_file_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(InputError, match="not a folder") as caught:
        Run.create(tmp_path / "file" / "deep" / "runs", "x")
    assert caught.value.exit_code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(
    hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_root_without_permission_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="may not be written"):
            Run.create(tmp_path / "deep" / "runs", "x")
        assert list(tmp_path.iterdir()) == []
    finally:
        tmp_path.chmod(0o700)


def test_update_keeps_what_it_does_not_name(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "x", STARTED)
    before = run.info
    run.update_info(status="finished", parent="abc")
    after = run.info
    assert after["status"] == "finished" and after["parent"] == "abc"
    assert after["updated"] > before["updated"]
    unchanged = set(before) - {"status", "parent", "updated"}
    assert all(after[name] == before[name] for name in unchanged)
    for bad in ({"id": "mine"}, {"status": "done"}):
        with pytest.raises(ValueError):
            run.update_info(**bad)
    assert run.info == after


def test_segments_tell_how_training_went(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "x", STARTED)
    run.begin_segment(0)
    run.end_segment(100, "interrupted")
    run.begin_segment(100, {"train.epochs": 20})
    assert run.info["status"] == "running"
    run.end_segment(200)
    assert [(s["from_step"], s["to_step"]) for s in run.info["segments"]] == [(0, 100), (100, 200)]
    assert run.info["segments"][1]["changed"] == {"train.epochs": 20}
    assert run.info["status"] == "finished"


def test_a_renamed_and_moved_run_is_the_same_run(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "x", STARTED)
    run.write_config({"train": {"epochs": 3}})
    moved = run.path.rename(tmp_path / "anything at all")
    assert Run.open(moved).info == Run.open(moved).info
    assert Run.open(moved).read_config() == {"train": {"epochs": 3}}


def test_what_is_not_a_run_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing of that name"):
        Run.open(tmp_path / "no")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="it is a file"):
        Run.open(tmp_path / "file")
    run = Run.create(tmp_path / "runs", "x", STARTED)
    for near in (run.checkpoints, tmp_path / "runs"):
        with pytest.raises(RunError, match=r"no run\.json") as caught:
            Run.open(near)
        assert str(run.path) in caught.value.repair


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"schema": 1}', "\udcff"])
def test_a_damaged_run_json_is_named(tmp_path: Path, text: str) -> None:
    run = Run.create(tmp_path, "x", STARTED)
    run.run_json.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(RunError, match=r"run\.json.*damaged"):
        Run.open(run.path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "x", STARTED)
    atomic.write_json(run.run_json, run.info | {"schema": 2})
    with pytest.raises(RunError, match="schema 2"):
        Run.open(run.path)


def test_the_commit_is_that_of_the_folder(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "f").write_text("1")
    subprocess.run([*git, "add", "f"], check=True)
    subprocess.run([*git, "commit", "-qm", "m"], check=True)
    found = git_commit(tmp_path)
    assert found is not None and len(found["commit"]) == 40 and not found["changed"]
    (tmp_path / "f").write_text("2")
    found = git_commit(tmp_path)
    assert found is not None and found["changed"]


# -- find ------------------------------------------------------------------------------------


def _three(root: Path) -> list[Run]:
    """Oldest first; the folders' names say the opposite."""
    runs = []
    for day, name in enumerate(["c-icu", "b-icu", "a-digits"]):
        run = Run.create(root, name.split("-")[1], STARTED + timedelta(days=day))
        run.path.rename(root / name)
        runs.append(Run.open(root / name))
    return runs


def test_a_run_is_found_by_path_glob_beginning_and_id(tmp_path: Path) -> None:
    old, middle, new = _three(tmp_path)
    assert find_run(old.path, tmp_path).id == old.id
    assert find_run("*digits", tmp_path).id == new.id
    assert find_run(str(tmp_path / "b*"), "elsewhere").id == middle.id
    assert find_run("b-", tmp_path).id == middle.id  # "b" alone may begin an id
    assert find_run(old.id[:8], tmp_path).id == old.id
    assert find_run("digits", tmp_path).id == new.id


def test_latest_goes_by_the_time_inside_and_counts_resumes(tmp_path: Path) -> None:
    old, _, new = _three(tmp_path)
    assert find_run("latest", tmp_path).id == new.id
    new.update_info(status="finished")
    assert [run.id for run in list_runs(tmp_path)][-1] == old.id
    # a resume in what is, for the test, the future
    old.update_info(segments=[{"started": "2030-01-01T00:00:00.000000Z"}])
    assert find_run("latest", tmp_path).id == old.id


def test_latest_passes_over_a_damaged_run(tmp_path: Path) -> None:
    _, middle, new = _three(tmp_path)
    new.run_json.write_text("{")
    assert find_run("latest", tmp_path).id == middle.id
    with pytest.raises(RunError, match="damaged"):
        find_run("a-digits", tmp_path)


def test_several_matches_are_listed_newest_first(tmp_path: Path) -> None:
    old, middle, _ = _three(tmp_path)
    with pytest.raises(RunError) as caught:
        find_run("*icu", tmp_path)
    message = caught.value.message
    assert message.index(str(middle.path)) < message.index(str(old.path))
    assert "a-digits" not in message
    assert caught.value.repair == f'"{middle.path}"'


def test_an_exact_name_wins_over_a_longer_one(tmp_path: Path) -> None:
    runs = _three(tmp_path)
    runs[1].path.rename(tmp_path / "c-icu-2")
    assert find_run("c-icu", tmp_path).path.name == "c-icu"


def test_nothing_found_says_what_there_is(tmp_path: Path) -> None:
    for text in ("latest", "x*", "x"):
        with pytest.raises(RunError, match="no runs in"):
            find_run(text, tmp_path / "none")
    _three(tmp_path)
    with pytest.raises(RunError, match='did you mean "a-digits"'):
        find_run("a-digit5", tmp_path)
    with pytest.raises(RunError, match="is not a run"):
        find_run("some/where", tmp_path)


# -- history ---------------------------------------------------------------------------------


def _filled(path: Path) -> History:
    history = History(path)
    for step in range(5):
        history.append({"event": "epoch", "step": step, "losses": {"critic": 0.1 * step}})
    return history


def test_history_reads_back(tmp_path: Path) -> None:
    history = _filled(tmp_path / "h.jsonl")
    assert [e["losses"]["critic"] for e in history.read()] == [0.1 * step for step in range(5)]
    assert History(tmp_path / "none").read() == []


def test_numbers_that_json_lacks(tmp_path: Path) -> None:
    history = History(tmp_path / "h.jsonl")
    history.append({"a": math.nan, "b": [np.float32(0.5), np.inf], "c": np.int64(3)})
    assert history.read() == [{"a": None, "b": [0.5, None], "c": 3}]
    with pytest.raises(TypeError):
        history.append({"a": object()})
    assert len(history.read()) == 1


def test_a_torn_last_line_at_every_length(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    _filled(path)
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole) + 1):
        path.write_bytes(whole[:end])
        left = 5 if end >= len(whole) - 1 else 4
        assert len(History(path).read()) == left
        History(path).append({"event": "resumed"})
        events = History(path).read()
        assert len(events) == left + 1 and events[-1] == {"event": "resumed"}
        assert path.read_bytes().count(b"\n") == left + 1


def test_garbage_at_the_end_is_torn_too(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    _filled(path)
    with path.open("ab") as file:
        file.write(b'{"a\xff\x00\x00\x00')
    assert len(History(path).read()) == 5


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    _filled(path)
    lines = path.read_text().splitlines()
    lines[2] = "oops"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(RunError, match="line 3"):
        History(path).read()


def test_truncate_drops_the_future_only(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    history = _filled(path)
    history.append({"event": "note"})
    assert history.truncate_after(2) == 2
    assert [e.get("step") for e in history.read()] == [0, 1, 2, None]
    assert history.truncate_after(2) == 0
    history.append({"event": "epoch", "step": 3})
    assert history.read()[-1]["step"] == 3
    assert History(tmp_path / "none").truncate_after(0) == 0


# -- configuration ---------------------------------------------------------------------------

_scalar = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats()
    | st.text(st.characters(codec="utf-8"))
)
_name = st.text(st.characters(codec="utf-8"), max_size=8)
_section = st.dictionaries(_name, _scalar | st.lists(_scalar | st.lists(_scalar, max_size=2)))


def _same(a: object, b: object) -> bool:
    """Equal in type and bits, which == between 1, 1.0 and True is not."""
    return json.dumps(a, allow_nan=True) == json.dumps(b, allow_nan=True)


@given(st.dictionaries(_name, _section | _scalar))
def test_toml_reads_back_exactly(config: dict[str, object]) -> None:
    back = toml.loads(toml.dumps(config, header="one\n\ntwo"))
    values = {key: value for key, value in config.items() if not isinstance(value, dict)}
    sections = {key: value for key, value in config.items() if isinstance(value, dict)}
    assert _same(back, values | sections)


@pytest.mark.parametrize("value", [None, object(), "\ud800", np.float32(1)])
def test_what_toml_lacks_is_refused(tmp_path: Path, value: object) -> None:
    run = Run.create(tmp_path, "x", STARTED)
    with pytest.raises(ConfigError, match="a"):
        run.write_config({"s": {"a": value}})
    with pytest.raises(RunError, match="missing"):
        run.read_config()


def test_a_damaged_config_is_named(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "x", STARTED)
    run.config_toml.write_text("[train\n")
    with pytest.raises(RunError, match=r"config\.toml"):
        run.read_config()


def test_the_config_is_readable(tmp_path: Path) -> None:
    run = Run.create(tmp_path, "x", STARTED)
    run.write_config({"train": {"rate": 2e-4, "betas": (0, 0.99)}, "empty": {}})
    assert run.config_toml.read_text() == (
        "# The whole configuration of this run, written by rgan.\n\n"
        "[train]\nrate = 0.0002\nbetas = [0, 0.99]\n\n[empty]\n"
    )


# -- atomic ----------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    atomic.write_json(path, {"a": 1})
    with pytest.raises(ValueError):
        atomic.write_json(path, {"a": math.nan})
    with pytest.raises(RunError, match="cannot be written"):
        atomic.write_text(tmp_path / "f.json" / "below", "x")
    assert json.loads(path.read_text()) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["f.json"]


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    for content in ("1", "2"):
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "f").write_text(content)
        atomic.replace_folder(tmp_path / "new", tmp_path / "it")
        assert (tmp_path / "it" / "f").read_text() == content
    assert [p.name for p in tmp_path.iterdir()] == ["it"]


def test_a_crash_while_replacing_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / ".old-it").mkdir()
    (tmp_path / ".old-it" / "f").write_text("1")
    (tmp_path / ".tmp-half").mkdir()
    assert atomic.set_aside(tmp_path) == {"it": tmp_path / ".old-it"}
    atomic.clean(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["it"]
    assert (tmp_path / "it" / "f").read_text() == "1"
