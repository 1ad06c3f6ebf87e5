"""Checkpoints that may go: which, how many bytes, and removing them.

Before anything goes, what stays is read and its hashes are checked: a damaged checkpoint is not
counted among those that are kept, and the last good one always stays.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rgan.errors import ConfigError, RunError
from rgan.runs import atomic
from rgan.runs.details import disk_use
from rgan.runs.folder import Run
from rgan.runs.lock import RunLock, holder

_MARK = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_NUMBER = re.compile(r"\d{8,18}")
_STEP = re.compile(r"step:(\d+)")


@dataclass(frozen=True)
class Keep:
    """What stays.

    Args:
        newest: how many of the newest good checkpoints; at least 1.
        marks: the marks whose checkpoints stay, such as "best".
        steps: the steps whose checkpoints stay.
    """

    newest: int = 1
    marks: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()

    @classmethod
    def of(cls, words: str) -> Keep:
        """From ``best,last,3,step:1200``.

        Raises:
            ConfigError: a word is none of these.

        >>> Keep.of("best,last,3")
        Keep(newest=3, marks=('best',), steps=())
        """
        newest, marks, steps = 1, [], []
        for word in filter(None, (word.strip() for word in words.split(","))):
            step = _STEP.fullmatch(word)
            if step:
                steps.append(int(step[1]))
            elif word.isdecimal() and int(word) > 0:
                newest = max(newest, int(word))
            elif _MARK.fullmatch(word):
                marks += [word] if word not in ("last", "latest") else []
            else:
                raise ConfigError(
                    f'--keep has "{word}"',
                    rule="best or another mark, last, a number of the newest, or step:1200",
                    repair="--keep best,last,3",
                )
        return cls(newest, tuple(marks), tuple(steps))


@dataclass(frozen=True)
class Pruning:
    """What of one run may go.

    Args:
        run: its folder.
        keep: what stays.
        staying: steps of the checkpoints that stay.
        going: the folders and files that go, with their bytes.
        notes: what is odd about it: it is being trained, or has no good checkpoint.
        marks: marks that go with their checkpoints.
    """

    run: Run
    keep: Keep
    staying: tuple[int, ...] = ()
    going: dict[Path, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    marks: tuple[Path, ...] = ()

    @property
    def bytes(self) -> int:
        """What going frees."""
        return sum(self.going.values())


def plan(path: Path, keep: Keep) -> Pruning:
    """See what of a run may go. Changes nothing.

    Args:
        path: the run's folder; one without a run.json that can be read is left alone.
        keep: what is to stay.
    """
    run = Run(path)
    try:
        run = Run.open(path)
        held = holder(path)
    except (RunError, RecursionError) as error:
        reason = error.found if isinstance(error, RunError) else "run.json is damaged"
        return Pruning(run, keep, notes=(f"left alone: {reason}",))
    if held is not None and held.alive is not False:
        return Pruning(run, keep, notes=(f"left alone: it is being written by {held}",))
    return _plan(run, keep)


def _plan(run: Run, keep: Keep) -> Pruning:
    from rgan.runs.checkpoint import CheckpointStore  # which needs torch

    store = CheckpointStore(run.checkpoints)
    left = _leftovers(run.path, run.checkpoints, run.figures, run.samples)
    marks = store.marks()
    folders = _newest_first(run.checkpoints, marks.get("latest", ""))
    if not folders:
        return Pruning(run, keep, going=left)
    staying, damaged = _staying(folders, marks, keep)
    notes = [f"damaged: {reason}" for reason in damaged.values()]
    if not staying:
        notes.append("no checkpoint is good, so all are left")
        return Pruning(run, keep, going=left, notes=tuple(notes))
    going = {path: disk_use(path)[""] for path in folders if path not in staying}
    names = {_name(path) for path in staying}
    lost = tuple(
        run.checkpoints / m for m, name in marks.items() if name not in names and m != "latest"
    )
    steps = tuple(sorted(int(name) for name in names))
    left = {path: size for path, size in left.items() if path not in folders}
    return Pruning(run, keep, steps, {**going, **left}, tuple(notes), lost)


def _newest_first(folder: Path, pointed: str) -> list[Path]:
    """Every checkpoint, also one that a crash left moved aside; the one pointed to comes first."""
    from rgan.runs.sealed import serial_of

    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.is_dir() and _NUMBER.fullmatch(path.name)]
    found += [p for name, p in atomic.set_aside(folder).items() if _NUMBER.fullmatch(name)]
    found.sort(key=lambda path: (serial_of(path), path.name), reverse=True)
    return sorted(found, key=lambda path: _name(path) != pointed)


def _staying(
    folders: list[Path], marks: dict[str, str], keep: Keep
) -> tuple[list[Path], dict[Path, str]]:
    """The checkpoints that stay, all of them good, and what is wrong with those that are not."""
    from rgan.runs.sealed import read_checkpoint

    wanted = {marks[mark] for mark in keep.marks if mark in marks}
    wanted |= {f"{step:08d}" for step in keep.steps}
    staying: list[Path] = []
    damaged: dict[Path, str] = {}
    newest = 0
    for path in folders:
        name = _name(path)
        if newest >= keep.newest and name not in wanted:
            continue
        try:
            read_checkpoint(path)
        except RunError as error:
            damaged[path] = error.found
            continue
        newest += 1
        staying.append(path)
    return staying, damaged


def _leftovers(*folders: Path) -> dict[Path, int]:
    """What interrupted writes left behind. The run's lock is free, so nobody writes them now."""
    found = {}
    for folder in folders:
        for sign in (atomic.TEMPORARY, atomic.REPLACED):
            for path in sorted(folder.glob(f"{sign}*")):
                found[path] = disk_use(path)[""] if path.is_dir() else path.lstat().st_size
    return found


def prune(pruning: Pruning) -> Pruning:
    """Remove what may go, after looking again under the run's lock.

    Returns:
        What has gone.

    Raises:
        RunError: the run is being trained.
        StorageError: something cannot be removed.
    """
    run = pruning.run
    with RunLock(run.path):
        now = _plan(run, pruning.keep)
        for mark in now.marks:
            mark.unlink(missing_ok=True)
        if now.staying:
            newest = _newest_name(run, now)
            if newest:
                atomic.write_text(run.checkpoints / "latest", f"{newest}\n")
        with atomic.explain_os_errors(run.checkpoints):
            for path in now.going:
                _remove(path)
    return now


def _newest_name(run: Run, now: Pruning) -> str:
    """The folder that "latest" is to name, where the one that it names goes; else ""."""
    from rgan.runs.checkpoint import CheckpointStore

    pointed = CheckpointStore(run.checkpoints).marks().get("latest", "")
    kept = [_name(p) for p in _newest_first(run.checkpoints, pointed) if p not in now.going]
    return kept[0] if kept and pointed not in kept else ""


def _name(path: Path) -> str:
    """The name that a checkpoint's folder has, or should have where a crash left it aside."""
    return path.name.removeprefix(atomic.REPLACED)


def _remove(path: Path) -> None:
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    if not path.name.startswith(atomic.TEMPORARY):
        # renamed first, so that a reader never sees a checkpoint with half its files
        aside = path.with_name(f"{atomic.TEMPORARY}{path.name}")
        path.rename(aside)
        path = aside
    shutil.rmtree(path)


def root_leftovers(roots: Iterable[Path]) -> dict[Path, int]:
    """What a killed ``rgan runs average`` left beside the runs, with its bytes."""
    found = {}
    for root in sorted(roots):
        for path in sorted(root.glob(f"{atomic.TEMPORARY}average-*")):
            locks = [holder(inner) for inner in path.glob("*")]
            if all(held is None or held.alive is False for held in locks):
                found[path] = disk_use(path)[""]
    return found


def remove_leftovers(paths: Iterable[Path]) -> None:
    """Remove what ``root_leftovers`` found.

    Raises:
        StorageError: something cannot be removed.
    """
    for path in paths:
        with atomic.explain_os_errors(path):
            _remove(path)
