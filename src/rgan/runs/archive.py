"""The note of a combining that is under way, and the archive that the originals go to."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from rgan.errors import RunError
from rgan.runs import atomic, lock
from rgan.runs.folder import Run
from rgan.runs.info import read_info

ARCHIVE = "archive"
_NOTE = ".combine-"


@dataclass(frozen=True)
class Original:
    """A run that is being combined.

    Args:
        id: its id.
        name: its folder's name; it lies beside the new run.
    """

    id: str
    name: str


@dataclass(frozen=True)
class Job:
    """One combining, as its note tells it.

    Args:
        root: the folder of the new run.
        key: follows from the originals, so that the same request meets its own note.
        id: of the new run.
        target: its folder's name.
        originals: what it stands for, the oldest first.
    """

    root: Path
    key: str
    id: str
    target: str
    originals: tuple[Original, ...]

    @property
    def note(self) -> Path:
        """The file that says what is under way."""
        return self.root / f"{_NOTE}{self.key}.json"

    @property
    def temporary(self) -> str:
        """The name of the new run's folder while it is built."""
        return f"{atomic.TEMPORARY}combine-{self.key}"

    @classmethod
    def begin(cls, root: Path, runs: list[Run], name: str) -> Job:
        """Write the note; what an earlier attempt at the same left is removed.

        Raises:
            StorageError: the folder cannot be written.
        """
        key = hashlib.sha256("".join(run.id for run in runs).encode()).hexdigest()[:12]
        originals = (Original(run.id, run.path.resolve().name) for run in runs)
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S")
        target = unique(root / f"{stamp}-{_slug(name)}")
        job = cls(root, key, secrets.token_hex(6), target.name, tuple(originals))
        document = {key: value for key, value in asdict(job).items() if key != "root"}
        shutil.rmtree(root / job.temporary, ignore_errors=True)
        draft = root / f"{job.temporary}.json"  # of a name that the next attempt takes again
        with atomic.explain_os_errors(job.note):
            atomic.write_synced(draft, json.dumps(document, indent=1).encode())
            draft.replace(job.note)
            atomic.sync_folder(root)
        return job

    def is_built(self) -> bool:
        """Whether the new run has its name, after which only the originals are to be moved."""
        return _is_run(self.root / self.target, self.id)

    def left(self) -> list[Path]:
        """The originals that have not been moved yet."""
        paths = ((self.root / original.name, original.id) for original in self.originals)
        return [path for path, run_id in paths if _is_run(path, run_id)]

    def means(self, word: str) -> bool:
        """Whether somebody who types this means one of the originals."""
        last = Path(word).name
        return any(
            fnmatch.fnmatch(o.name, last) or o.name.startswith(last) or o.id.startswith(last)
            for o in self.originals
        )

    def forget(self) -> None:
        """Undo all, which is possible until the new run has its name."""
        if not self.is_built():
            shutil.rmtree(self.root / self.temporary, ignore_errors=True)
            self.note.unlink(missing_ok=True)


def move_originals(job: Job) -> None:
    """Move what has not been moved yet, each to the folder ``archive``, and end the job.

    The originals are locked by this process.

    Raises:
        StorageError: a folder cannot be moved; called again, it goes on from there.
    """
    archive = job.root / ARCHIVE
    for path in job.left():
        with atomic.explain_os_errors(archive):
            archive.mkdir(exist_ok=True)
            target = unique(archive / path.name)
            path.rename(target)
            (target / lock.NAME).unlink(missing_ok=True)
            atomic.sync_folder(archive)
            atomic.sync_folder(job.root)
    with atomic.explain_os_errors(job.note):
        job.note.unlink(missing_ok=True)


def finish_pending(root: str | Path) -> list[Job]:
    """Finish what a killed combining left in a folder of runs.

    Returns:
        The jobs whose new run had been built, all of whose originals are in the archive now.

    Raises:
        RunError: an original is being trained.
    """
    done = []
    for job in _pending(Path(root).resolve()):
        left = job.left()
        with ExitStack() as locks:
            if job.is_built():
                for path in left:
                    locks.enter_context(lock.RunLock(path))
                move_originals(job)
                done.append(job)
            elif all((held := lock.holder(path)) is None or not held.alive for path in left):
                job.forget()
    return done


def _pending(root: Path) -> Iterator[Job]:
    """The notes in a folder; one that is not as it was written is left alone."""
    for note in sorted(root.glob(f"{_NOTE}*.json")):
        try:
            data = json.loads(note.read_bytes())
            originals = tuple(Original(**original) for original in data["originals"])
            job = Job(root, data["key"], data["id"], data["target"], originals)
            names = [job.key, job.id, job.target, *(o.name for o in originals)]
            if all(Path(name).name == name for name in names) and job.note == note:
                yield job
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue


def unique(wanted: Path) -> Path:
    """A path that nothing has yet, with a number behind it where need be."""
    path, number = wanted, 1
    while path.exists() or path.is_symlink():
        number += 1
        path = wanted.with_name(f"{wanted.name}-{number}")
    return path


def _is_run(path: Path, run_id: str) -> bool:
    try:
        return bool(read_info(path / "run.json")["id"] == run_id)
    except (RunError, RecursionError):
        return False


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.")[:60] or "run"
