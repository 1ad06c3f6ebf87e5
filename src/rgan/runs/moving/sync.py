"""One round of ``rgan runs sync``: every run of SOURCE that DEST does not have as it is now."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rgan.errors import RunError
from rgan.runs.lock import holder
from rgan.runs.moving.ancestry import Standing
from rgan.runs.moving.carry import Carrier, clean
from rgan.runs.moving.ends import End, joined
from rgan.runs.moving.faults import ConnectionLost, Damaged
from rgan.runs.moving.manifest import Copied, Manifest
from rgan.runs.moving.parts import Parts
from rgan.runs.moving.places import Place, open_end
from rgan.runs.moving.plan import Plan, Planner
from rgan.runs.moving.survey import (
    CHECKPOINTS,
    HISTORY,
    LOCK,
    MANIFEST,
    RUN_JSON,
    Copy,
    folders_of_runs,
    is_safe,
    parse_info,
    read_copy,
    unfinished_copy,
)

_TRIES = 3  # for a run that is resumed or changed just while it is read


@dataclass(frozen=True)
class Wishes:
    """What is to be copied and how.

    Args:
        parts: which parts of a run.
        include: patterns of folder names, ids or names; a run that matches one is copied.
        hashes: compare everything by its SHA-256.
        dry: only say what would be copied.
    """

    parts: Parts = field(default_factory=Parts)
    include: tuple[str, ...] = ()
    hashes: bool = False
    dry: bool = False


@dataclass
class Outcome:
    """What became of one run.

    Args:
        name: its folder at DEST.
        files, bytes: how many were copied, or would be.
        skipped: how many were there already.
        ahead: DEST is newer, so it was left alone.
        refused: why nothing was copied.
        notes: what else is to be said.
        damaged: what could not be copied, and why.
        training: whether the source says that it is running.
    """

    name: str
    files: int = 0
    bytes: int = 0
    skipped: int = 0
    ahead: bool = False
    refused: RunError | None = None
    notes: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    training: bool = False

    @property
    def clean(self) -> bool:
        """Whether DEST has now all that SOURCE has and DEST may take."""
        return self.refused is None and not self.damaged


@dataclass(frozen=True)
class Watcher:
    """Is told how a round goes on: the run at hand, more bytes to copy, more bytes copied."""

    run: Callable[[str], None] = lambda name: None
    expect: Callable[[int], None] = lambda count: None
    advance: Callable[[int], None] = lambda count: None


def sync(
    source: Place, dest: Place, wishes: Wishes | None = None, watcher: Watcher | None = None
) -> list[Outcome]:
    """Copies what is new from one place to another; can be broken off and called again at any time.

    Args:
        source: a run folder or a folder of runs.
        dest: a folder of runs; or a run folder, which takes the one run of SOURCE.
        wishes: which parts, which runs.
        watcher: is told how it goes.

    Returns:
        What became of each run.

    Raises:
        ConnectionLost: one side does not answer any more; what has arrived is kept.
        RunError: there is no run at SOURCE, or a place cannot be used.
        StorageError: DEST cannot be written.
    """
    with Line(source, dest) as line:
        return line.round(wishes or Wishes(), watcher or Watcher())


class Line:
    """The connection between two places; it stays open from one round to the next.

    Args:
        source, dest: the places.

    Raises:
        RunError: one lies in the other.
    """

    def __init__(self, source: Place, dest: Place) -> None:
        check_apart(source, dest)
        self.source, self.dest = source, dest
        self._ends: list[End] = []
        self.reached = False
        """Whether both ends have answered once."""

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of both ends; the next round connects anew."""
        while self._ends:
            with contextlib.suppress(Exception):  # a line that is cut cannot be closed well
                self._ends.pop().close()

    def round(self, wishes: Wishes, watcher: Watcher) -> list[Outcome]:
        """Copies what is new; raises as ``sync`` does."""
        try:
            for place in (self.source, self.dest)[len(self._ends) :]:
                self._ends.append(open_end(place))
            self.reached = True
            for end in self._ends:
                end.refresh()
            here, there = self._ends
            return Round(here, there, self.source, self.dest, wishes, watcher).all()
        except ConnectionLost:
            self.close()
            raise


def check_apart(source: Place, dest: Place) -> None:
    """Refuses to copy a folder into itself.

    Raises:
        RunError: one folder of this machine holds the other.
    """
    if source.kind != dest.kind:
        return
    if source.kind == "local":
        here, there = Path(source.path).resolve(), Path(dest.path).resolve()
        same = here == there or here in there.parents or there == here.parent
        same |= (here / RUN_JSON).is_file() and there == here
    else:
        same = (source.host, source.user, source.path) == (dest.host, dest.user, dest.path)
    if same:
        raise RunError(
            f'SOURCE "{source.shown}" and DEST "{dest.shown}" are one folder, or one in the other',
            rule="runs are copied from one folder to another",
        )


class Round:
    """One look at all runs of SOURCE, and the copying that it shows to be due."""

    def __init__(
        self, source: End, dest: End, here: Place, there: Place, wishes: Wishes, watcher: Watcher
    ) -> None:
        self.source, self.dest, self.here, self.there = source, dest, here, there
        self.wishes, self.watcher = wishes, watcher
        self._ids: dict[str, str] | None = None  # id to folder, of all runs at DEST
        self._folders: list[str] | None = None  # of DEST, when the round began
        self._done: dict[str, str] = {}  # id to folder, of the runs of SOURCE seen so far

    def all(self) -> list[Outcome]:
        """Every run of SOURCE."""
        try:
            folders = folders_of_runs(self.source)
        except (FileNotFoundError, NotADirectoryError):
            raise self._no_runs("there is nothing of that name, or no folder") from None
        found: list[Outcome] = []
        seen = 0
        for folder in folders:
            name = folder or self.here.name
            try:
                copy = read_copy(self.source, folder)
            except ConnectionLost:
                raise
            except RunError as error:
                found.append(Outcome(name, refused=error))
                continue
            if copy is not None:
                seen += 1
                if self._included(name, copy):
                    self.watcher.run(name)
                    found.append(self._one(name, copy))
        if not found:
            raise self._no_runs(
                f"none of its {seen} runs matches --include" if seen else "no run.json is in it"
            )
        return found

    def _no_runs(self, why: str) -> RunError:
        return RunError(
            f'there are no runs in "{self.here.shown}": {why}',
            rule="SOURCE is a run folder, or a folder of run folders",
            repair="rgan runs list, or look at the address again",
        )

    def _included(self, name: str, copy: Copy) -> bool:
        names = (name, copy.id, str(copy.info.get("name", "")))
        patterns = self.wishes.include
        return not patterns or any(fnmatch.fnmatchcase(n, p) for n in names for p in patterns)

    # -- one run -----------------------------------------------------------------------------

    def _one(self, name: str, source: Copy) -> Outcome:
        outcome = Outcome(name, training=source.info.get("status") == "running")
        try:
            target = self._target(name, source)
            for _ in range(_TRIES):
                outcome.name = target or self.there.name
                if self._try(source, target, outcome):
                    return outcome
                again = read_copy(self.source, source.path)
                if again is None:
                    break
                source = again
            outcome.notes.append("was resumed or deleted just now; the next round takes it")
        except ConnectionLost:
            raise
        except RunError as error:
            outcome.refused = error
        return outcome

    def _try(self, source: Copy, target: str, outcome: Outcome) -> bool:
        """Copies one run; False where it was resumed just while it was read."""
        existing = read_copy(self.dest, target)
        dest = existing or unfinished_copy(self.dest, target)
        manifest = Manifest.read(self.dest, target, self._tag(source))
        self._check_folder(source, existing, dest, manifest)
        planner = Planner(source, dest, manifest, self.wishes.parts, hashes=self.wishes.hashes)
        standing = planner.standing()
        if standing is Standing.APART:
            raise self._apart(source, target)
        if standing is Standing.AHEAD:
            outcome.ahead = True
            outcome.notes.append("DEST is newer: left alone; sync the other way")
            return True
        plan = planner.plan(standing)
        if planner.new_history is not None and self._resumed(source):
            return False
        if plan.count:
            self._check_free(source, dest)
        outcome.skipped, outcome.damaged = plan.skipped, list(plan.troubles)
        outcome.notes += [f"{path}: DEST's own is kept" for path in plan.kept]
        outcome.notes += [
            f"{path!r}: left out, the name cannot be trusted" for path in source.unsafe
        ]
        if self.wishes.dry:
            outcome.files, outcome.bytes = plan.count, plan.bytes
            return True
        self._copy(source, dest, manifest, plan, outcome)
        return True

    def _copy(
        self, source: Copy, dest: Copy, manifest: Manifest, plan: Plan, outcome: Outcome
    ) -> None:
        self.watcher.expect(plan.bytes)
        manifest.run = source.id
        if plan.standing is Standing.NEW:
            manifest.changed = True
            self.dest.make_folder(dest.path)
            manifest.write(self.dest, dest.path)  # says whose folder it is, before run.json does
        carrier = Carrier(source, dest, manifest, self.watcher.advance)
        try:
            self._carry(carrier, plan, outcome)
        finally:
            outcome.bytes += carrier.sent
        manifest.write(self.dest, dest.path)
        if plan.count:
            clean(self.dest, dest.path)

    def _carry(self, carrier: Carrier, plan: Plan, outcome: Outcome) -> None:
        """In this order, so that DEST names nothing that it does not have: run.json is last."""
        dest = carrier.dest
        blocked = set(dest.unsafe)
        have = set(dest.steps())
        for job in plan.checkpoints:
            if self._is_blocked(CHECKPOINTS, blocked, outcome):
                break
            try:
                carrier.checkpoint(job)
            except FileNotFoundError:
                self._gone(carrier.source, job.name, outcome)
            except Damaged as error:
                outcome.damaged.append(error.found)
            else:
                have.add(job.name)
                outcome.files += len(job.seal.files) + 1
                carrier.manifest.write(self.dest, dest.path)
        for mark, name in plan.marks.items():
            if name in have:
                carrier.small(f"{CHECKPOINTS}/{mark}", f"{name}\n".encode())
                sha = hashlib.sha256(name.encode()).hexdigest()
                carrier.manifest.note(f"{CHECKPOINTS}/{mark}", Copied("", "", sha, len(name) + 1))
                outcome.files += 1
        if plan.history is not None:
            carrier.small(HISTORY, plan.history, carrier.source.stamp(HISTORY))
            outcome.files += 1
        for file in plan.files:
            if self._is_blocked(file.path, blocked, outcome):
                continue
            try:
                carrier.file(file)
                outcome.files += 1
            except FileNotFoundError:
                outcome.notes.append(f"{file.path}: went away while it was copied")
            except Damaged:
                outcome.notes.append(f"{file.path}: changed while it was copied; the next round")
        if plan.run_json is not None:
            carrier.small(RUN_JSON, plan.run_json, carrier.source.stamp(RUN_JSON))
            outcome.files += 1

    def _is_blocked(self, path: str, blocked: set[str], outcome: Outcome) -> bool:
        """Whether a folder on the way to a file is a link at DEST, which may lead anywhere."""
        parts = path.split("/")
        above = {"/".join(parts[:n]) for n in range(1, len(parts) + (path == CHECKPOINTS))}
        if above & blocked:
            outcome.damaged.append(f"{path}: a link stands in its way at DEST")
            return True
        return False

    def _gone(self, source: Copy, name: str, outcome: Outcome) -> None:
        """Tells a checkpoint that was pruned while it was copied from one with a file missing."""
        if source.end.renames:
            there = source.end.entry(source.at(f"{CHECKPOINTS}/{name}")) is not None
        else:
            there = source.end.entry(source.at(f"{CHECKPOINTS}/{name}/state.json")) is not None
        if there:
            outcome.damaged.append(f"checkpoint {name}: a file is missing at SOURCE")

    def _resumed(self, source: Copy) -> bool:
        """Whether the run has begun another segment since its run.json was read."""
        try:
            data = source.end.read(source.at(RUN_JSON))
        except FileNotFoundError:
            return True
        segments = parse_info(data, source.at(RUN_JSON))["segments"]
        return len(segments) != len(source.segments)

    # -- where it goes, and whether it may ---------------------------------------------------

    def _target(self, name: str, source: Copy) -> str:
        """The folder at DEST of this run: one that has its id, else the one of its name.

        Raises:
            RunError: DEST is another run.
        """
        if not is_safe(name):
            raise RunError(f"{name!r} cannot be the name of a run", rule="a plain folder name")
        twin = self._done.setdefault(source.id, name)
        if twin != name:
            raise RunError(
                f'"{name}" and "{twin}" are copies of one run (id {source.id})',
                rule="a run is copied from one folder",
                repair=f'rgan runs sync "{self.here.shown}" DEST --include "{twin}"',
            )
        if self._folders is None:
            try:
                self._folders = folders_of_runs(self.dest)
            except (FileNotFoundError, NotADirectoryError):
                self._folders = []
        folders = self._folders
        if folders == [""] or (source.path == "" and self.there.name == name):
            return ""
        if name in folders:
            existing = read_copy(self.dest, name)
            if existing is None or existing.id == source.id:
                return name
        if self._ids is None:
            self._ids = {}
            for folder in folders:
                try:
                    copy = read_copy(self.dest, folder)
                except ConnectionLost:
                    raise
                except RunError:
                    continue  # whatever it is, it is not this run
                if copy is not None:
                    self._ids.setdefault(copy.id, folder)
        return self._ids.get(source.id, name)

    def _check_folder(
        self, source: Copy, existing: Copy | None, dest: Copy, manifest: Manifest
    ) -> None:
        """Refuses a folder at DEST that is something else.

        Raises:
            RunError: it is another run, or no run and not empty.
        """
        shown = f"{self.there.shown.rstrip('/')}/{dest.path}".rstrip("/")
        other = existing.id if existing is not None else manifest.run
        if other and other != source.id:
            raise RunError(
                f'"{shown}" is another run (id {other}, not {source.id})',
                rule="a run is copied onto itself or into a new folder",
                repair="name another folder as DEST, or rename the one that is there",
            )
        if existing is None and not manifest.run and dest.tree:
            raise RunError(
                f'"{shown}" is not a run and not empty',
                rule="a run is copied onto itself or into a new folder",
                repair="name another folder as DEST, or move away the one that is there",
            )

    def _check_free(self, source: Copy, dest: Copy) -> None:
        """Refuses to write a run that is being trained at DEST.

        Raises:
            RunError: its lock is held; or, on another machine, is there.
        """
        shown = f"{self.there.shown.rstrip('/')}/{dest.path}".rstrip("/")
        if self.dest.local is not None:
            who = holder(self.dest.local / dest.path)
            if who is None or who.alive is False:
                return
            found = f'"{shown}" is being trained by {who}'
        elif LOCK in dest.tree:
            found = f'"{shown}" has a {LOCK}: somebody may be training it'
        else:
            return
        raise RunError(
            found,
            rule="one process at a time writes a run",
            repair=f'wait; or if that process is gone: rm "{shown}/{LOCK}"',
        )

    def _apart(self, source: Copy, target: str) -> RunError:
        there = joined(self.there.shown.rstrip("/"), target)
        aside = f"{self.there.shown.rstrip('/')}-apart"
        return RunError(
            f'"{source.at("") or self.here.shown}" and "{there}" are one run (id {source.id}) that '
            "was trained on at both places",
            rule="a copy is only ever replaced by one that goes on from it",
            reason="either would lose steps that only it has",
            repair=f'rgan runs sync "{self.here.shown}" "{aside}"',
        )

    def _tag(self, source: Copy) -> str:
        """Tells this source from others, without saying where it is."""
        place = self.here
        path = str(Path(place.path).resolve()) if place.kind == "local" else place.shown
        return hashlib.sha256(f"{place.kind} {path} {source.path}".encode()).hexdigest()[:16]


__all__ = ["MANIFEST", "Outcome", "Round", "Watcher", "Wishes", "check_apart", "sync"]
