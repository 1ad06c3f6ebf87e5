"""One look at all runs of SOURCE, and the copying that it shows to be due."""

from __future__ import annotations

import fnmatch
import hashlib
from pathlib import Path

from rgan.errors import RunError, StorageError
from rgan.runs.moving.ancestry import Standing
from rgan.runs.moving.carry import Carrier
from rgan.runs.moving.ends import End
from rgan.runs.moving.faults import ConnectionLost, Damaged
from rgan.runs.moving.gates import Gate
from rgan.runs.moving.manifest import Copied, Manifest
from rgan.runs.moving.places import Place
from rgan.runs.moving.plan import Plan, Planner
from rgan.runs.moving.survey import (
    CHECKPOINTS,
    HISTORY,
    RUN_JSON,
    Copy,
    folders_of_runs,
    parse_info,
    read_copy,
    unfinished_copy,
)
from rgan.runs.moving.wishes import Outcome, Watcher, Wishes

_TRIES = 3  # for a run that is resumed or changed just while it is read


class Round:
    """One look at all runs of SOURCE, and the copying that it shows to be due."""

    def __init__(
        self, source: End, dest: End, here: Place, there: Place, wishes: Wishes, watcher: Watcher
    ) -> None:
        self.source, self.dest, self.here, self.there = source, dest, here, there
        self.wishes, self.watcher = wishes, watcher
        self.gate = Gate(dest, here, there)

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
            target = self.gate.target(name, source)
            for _ in range(_TRIES):
                outcome.name = target or self.there.name
                if self._try(source, target, outcome):
                    return outcome
                again = read_copy(self.source, source.path)
                if again is None:
                    break
                source = again
            outcome.notes.append("was resumed or deleted just now; the next round takes it")
        except (ConnectionLost, StorageError):
            raise  # it would be so for every run
        except RunError as error:
            outcome.refused = error
        return outcome

    def _try(self, source: Copy, target: str, outcome: Outcome) -> bool:
        """Copies one run; False where it was resumed just while it was read."""
        existing = read_copy(self.dest, target)
        dest = existing or unfinished_copy(self.dest, target)
        manifest = Manifest.read(self.dest, target, self._tag(source))
        self.gate.check_folder(source, existing, dest, manifest)
        planner = Planner(source, dest, manifest, self.wishes.parts, hashes=self.wishes.hashes)
        standing = planner.standing()
        if standing is Standing.APART:
            raise self.gate.apart(source, target)
        if standing is Standing.AHEAD:
            outcome.ahead = True
            outcome.notes.append("DEST is newer: left alone; sync the other way")
            return True
        plan = planner.plan(standing)
        if planner.new_history is not None and self._resumed(source):
            return False
        if plan.count:
            self.gate.check_free(dest)
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
        for path in dest.unfinished:  # what was needed of it has its own name now
            self.dest.remove(dest.at(path))

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
                carrier.note()
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

    def _tag(self, source: Copy) -> str:
        """Tells this source from others, without saying where it is."""
        place = self.here
        path = str(Path(place.path).resolve()) if place.kind == "local" else place.shown
        return hashlib.sha256(f"{place.kind} {path} {source.path}".encode()).hexdigest()[:16]
