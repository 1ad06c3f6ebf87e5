"""A chain of runs made into one run with one history; the originals go to an archive.

It may be killed at any moment. A note, ``.combine-KEY.json`` beside the runs, says what is being
done. The new run is built under another name and then renamed: before that nothing has happened,
after it the originals are moved one by one, and whoever comes next finishes that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rgan.errors import RunError
from rgan.runs import atomic
from rgan.runs.archive import Job, move_originals
from rgan.runs.chain import chain
from rgan.runs.copying import Say, copy_checkpoints, copy_figures, copy_rest
from rgan.runs.folder import Run
from rgan.runs.info import first_info, utc_now
from rgan.runs.lineage import text
from rgan.runs.lock import RunLock
from rgan.runs.parts import Part, check_continuous, parts_of

Finish = Callable[[Run], None]
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
        f"{part.member.name}: what came after step {part.end:,} is left out ({part.dropped} events)"
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
            copy_figures(part, run.figures, first=not number)
        copy_checkpoints(wanted.parts, wanted.last_good, run, say)
        copy_rest(wanted.parts[-1], run, say)
        atomic.write_json(run.run_json, _info(wanted, job, run, name, command))


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
