"""A chain of runs made into one run with one history; the originals go to an archive.

It may be killed at any moment. A note, ``.combine-KEY.json`` beside the runs, says what is being
done. The new run is built under another name and then renamed: before that nothing has happened,
after it the originals are moved one by one, and whoever comes next finishes that.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rgan.errors import RunError
from rgan.runs import atomic
from rgan.runs.archive import Job, move_originals
from rgan.runs.chain import chain
from rgan.runs.folder import Run
from rgan.runs.info import first_info, utc_now
from rgan.runs.lineage import text, whole
from rgan.runs.lock import RunLock
from rgan.runs.parts import Part, check_continuous, parts_of

Finish = Callable[[Run], None]
Say = Callable[[str], None]
_FIELDS = ("status", "machine", "versions", "git", "data", "spec", "held_out")
"""What the last run's run.json says for the whole."""


@dataclass(frozen=True)
class Plan:
    """What combining would do.

    Args:
        parts: the chain, the oldest first.
        last_good: the last run's last good checkpoint.
        notes: what is cut or left out.
    """

    parts: list[Part]
    last_good: Path
    notes: list[str]


def plan(runs: list[Run]) -> Plan:
    """See whether runs can be combined. Changes nothing.

    Raises:
        RunError: they are fewer than two, no chain, without a good checkpoint, or do not join.
    """
    from rgan.runs.checkpoint import CheckpointStore  # which needs torch

    if len(runs) < 2:
        raise RunError(
            f"{len(runs)} run is named",
            rule="at least two are combined, each a branch of the one before",
            repair="rgan runs combine A B",
        )
    line = chain(runs)
    folders = {run.path.resolve().parent for run in line}
    if len(folders) > 1:
        raise RunError(
            "the runs lie in several folders: " + ", ".join(f'"{f}"' for f in sorted(folders)),
            rule="runs that are combined lie in one folder",
            reason="the new one takes their place there",
            repair=f'mv RUN "{line[-1].path.resolve().parent}"',
        )
    checkpoint = CheckpointStore(line[-1].checkpoints).load("latest")
    parts = parts_of(line, checkpoint.step)
    notes = [checkpoint.warning] if checkpoint.warning else []
    notes += [
        f"{part.run.path.name}: {part.dropped} events after step {part.end:,} are left out"
        for part in parts
        if part.dropped
    ]
    return Plan(parts, checkpoint.path, notes)


def combine(
    runs: list[Run],
    *,
    name: str = "",
    command: str = "",
    finish: Finish = lambda run: None,
    say: Say = lambda text: None,
) -> Run:
    """Make one run of a chain, and move the originals to the folder ``archive`` beside them.

    Args:
        runs: in any order.
        name: of the new run; the last run's if not given.
        command: what was typed.
        finish: draws what is made from the whole history, in the new run's folder.
        say: is told what is left out.

    Raises:
        RunError: they cannot be combined, or one is being trained; nothing has been changed.
        StorageError: the disk is full or cannot be written; nothing has been changed.
    """
    with ExitStack() as locks:
        for run in runs:
            locks.enter_context(RunLock(run.path))
        wanted = plan(runs)
        root = wanted.parts[-1].run.path.resolve().parent
        last = wanted.parts[-1].member
        called = name or text(last.info.get("name")) or last.name
        job = Job.begin(root, [part.run for part in wanted.parts], called)
        temporary = root / job.temporary
        try:
            for note in wanted.notes:
                say(note)
            _build(temporary, wanted, job, called, command, say)
            finish(Run(temporary))
            _verify(Run(temporary), wanted)
            with atomic.explain_os_errors(root):
                temporary.rename(root / job.target)
                atomic.sync_folder(root)
        except BaseException:
            job.forget()
            raise
        move_originals(job)
    return Run.open(wanted.parts[-1].run.path.parent / job.target)


def _build(folder: Path, wanted: Plan, job: Job, name: str, command: str, say: Say) -> None:
    run = Run(folder)
    with atomic.explain_os_errors(folder):
        for path in (folder, run.checkpoints, run.figures, run.samples):
            path.mkdir()
        lines = "".join(f"{line}\n" for part in wanted.parts for line in part.lines)
        atomic.write_text(run.history_jsonl, lines)
        for number, part in enumerate(wanted.parts):
            _copy_figures(part, run.figures, first=not number)
        _copy_checkpoints(wanted, run, say)
        _copy_rest(wanted, run, say)
        atomic.write_json(run.run_json, _info(wanted, job, run, name, command))


def _copy_figures(part: Part, figures: Path, first: bool) -> None:
    """The pictures of its part; they are numbered by the step, which goes on from run to run."""
    for path in sorted(part.run.figures.glob("samples-*.png")):
        digits = path.stem.removeprefix("samples-")
        if digits.isdigit() and (part.begin < int(digits) or first) and int(digits) <= part.end:
            _copy(path, figures / f"samples-{int(digits):08d}.png")


def _copy_checkpoints(wanted: Plan, run: Run, say: Say) -> None:
    """All good ones; where two runs have one of the same step, the younger run's."""
    from rgan.runs.details import checkpoints

    marks: dict[str, int] = {}
    chosen: dict[int, Path] = {}
    for part in wanted.parts:
        for found in checkpoints(part.run.checkpoints):
            step = found["step"]
            if part.begin <= step <= part.end:
                chosen[step] = part.run.checkpoints / f"{step:08d}"
                marks |= dict.fromkeys(found["marks"], step)
    chosen[whole(wanted.parts[-1].end)] = wanted.last_good
    copied = []
    for serial, (step, source) in enumerate(sorted(chosen.items()), start=1):
        try:
            _copy_checkpoint(source, run.checkpoints / f"{step:08d}", serial)
            copied.append(step)
        except RunError as error:
            say(f"left out: {error.found}")
    marks = {mark: step for mark, step in marks.items() if step in copied}
    for mark, step in {**marks, "latest": wanted.parts[-1].end}.items():
        atomic.write_text(run.checkpoints / mark, f"{step:08d}\n")


def _copy_checkpoint(source: Path, target: Path, serial: int) -> None:
    """One checkpoint, checked when it is copied; its serial number is that of its new place."""
    from rgan.runs.sealed import read_checkpoint, seal

    target.mkdir()
    try:
        document = json.loads((source / "state.json").read_bytes())
        names = [str(name) for name in document["files"]]
        if any(Path(name).name != name for name in names):
            names = []  # which the check below refuses
        for name in names:
            _copy(source / name, target / name)
        _copy(source / "state.json", target / "state.json")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        shutil.rmtree(target)
        raise RunError(f'"{source}" is damaged: {error}') from error
    try:
        read_checkpoint(target)
    except RunError as error:
        shutil.rmtree(target)
        raise RunError(error.found.replace(str(target), str(source))) from error
    del document["sha256"]
    atomic.write_bytes(target / "state.json", seal({**document, "serial": serial}))


def _copy_rest(wanted: Plan, run: Run, say: Say) -> None:
    """Of the last run: its configuration, its samples, and its evaluation if it is of the last
    good checkpoint."""
    last = wanted.parts[-1].run
    _copy(last.config_toml, run.config_toml)
    for path in sorted(last.samples.rglob("*")):
        target = run.samples / path.relative_to(last.samples)
        if path.is_file() and not path.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(path, target)
    if not last.evaluation_json.is_file():
        return
    if wanted.parts[-1].end < max(map(int, _numbers(last.checkpoints)), default=0):
        say("the evaluation is left out: it is of a checkpoint that is cut")
        return
    _copy(last.evaluation_json, run.evaluation_json)
    for path in sorted(last.figures.glob("*.png")):
        if not path.name.startswith("samples-") and path.name != "losses.png":
            _copy(path, run.figures / path.name)


def _numbers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_dir() and path.name.isdigit()]


def _copy(source: Path, target: Path) -> None:
    """A file's content, on the disk; a link is not followed."""
    if source.is_symlink():
        raise RunError(f'"{source}" is a link', rule="a run's files are files")
    with source.open("rb") as from_, target.open("wb") as to:
        shutil.copyfileobj(from_, to, 1 << 20)
        to.flush()
        os.fsync(to.fileno())


def _info(wanted: Plan, job: Job, run: Run, name: str, command: str) -> dict[str, Any]:
    parts = wanted.parts
    first, last = parts[0].member, parts[-1].member
    info = first_info(name, text(first.info.get("created")) or utc_now(), "cpu")
    info |= {field: last.info[field] for field in _FIELDS if field in last.info}
    if info["status"] == "running":  # whoever trained it is gone, for its lock could be had
        info["status"] = "interrupted"
    info |= {
        "id": job.id,
        "updated": utc_now(),
        "parent": first.parents[0] if first.parents else None,
        "parents": [{"id": p.member.id, "name": p.member.name, "step": p.end} for p in parts],
        "stands_for": [id_ for p in parts for id_ in (p.member.id, *p.member.stands_for)],
        "command": command,
        "segments": [segment for part in parts for segment in part.segments],
    }
    progress = last.info.get("progress")
    if isinstance(progress, Mapping) and progress.get("step") == parts[-1].end:
        info["progress"] = dict(progress)
    best = _best(parts, run)
    return info | ({"best": best} if best else {})


def _best(parts: list[Part], run: Run) -> Mapping[str, Any] | None:
    """What the mark "best" stands for: the youngest run's word on a checkpoint that is here."""
    marked = run.checkpoints / "best"
    if not marked.is_file():
        return None
    step = int(marked.read_text())
    for part in reversed(parts):
        best = part.member.info.get("best")
        if isinstance(best, Mapping) and best.get("step") == step:
            return best
    return None


def _verify(run: Run, wanted: Plan) -> None:
    """Read back what has been written, as whoever uses it next will."""
    from rgan.runs.checkpoint import CheckpointStore

    first, last = wanted.parts[0].begin, wanted.parts[-1].end
    check_continuous(run.history.read(), first, last)
    checkpoint = CheckpointStore(run.checkpoints).load("latest")
    if checkpoint.step != last or checkpoint.warning:
        raise RunError(f"the combined run is not whole: {checkpoint.warning or checkpoint.path}")
    run.read_config()
    run.info  # noqa: B018  reading it is the check
