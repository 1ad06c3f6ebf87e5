"""What is to be copied from one copy of a run to another, decided before anything is written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from rgan.runs.moving.ancestry import Standing, by_history, by_segments, together, whole_lines
from rgan.runs.moving.ends import Entry
from rgan.runs.moving.faults import Damaged
from rgan.runs.moving.manifest import Copied, Manifest
from rgan.runs.moving.parts import Parts
from rgan.runs.moving.seals import STATE, Seal, read_seal
from rgan.runs.moving.survey import CHECKPOINTS, HISTORY, LOCK, RUN_JSON, Copy

_SEAM = 4096  # bytes of a history that are read again, to see that the rest goes on from them


@dataclass(frozen=True)
class CheckpointJob:
    """A checkpoint to copy: the name of its folder, what vouches for it, the source's stamp."""

    name: str
    seal: Seal
    stamp: str


@dataclass(frozen=True)
class FileJob:
    """A file to copy: its path in the run, and how it was at the source."""

    path: str
    entry: Entry


@dataclass
class Plan:
    """What is to be done for one run.

    Args:
        standing: what DEST is, seen from SOURCE.
        checkpoints, files: to copy, in this order.
        marks: mark to the checkpoint it names.
        history, run_json: new contents; None where the old stay.
        skipped: how many files are at DEST already.
        kept: what was changed at DEST and is left as it is.
        troubles: what cannot be copied, and why.
    """

    standing: Standing
    checkpoints: list[CheckpointJob] = field(default_factory=list)
    files: list[FileJob] = field(default_factory=list)
    marks: dict[str, str] = field(default_factory=dict)
    history: bytes | None = None
    run_json: bytes | None = None
    skipped: int = 0
    kept: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        """How many bytes are to be copied."""
        whole = [job.seal.bytes for job in self.checkpoints] + [f.entry.size for f in self.files]
        return sum(whole) + len(self.history or b"") + len(self.run_json or b"")

    @property
    def count(self) -> int:
        """How many files are to be copied."""
        tensors = sum(len(job.seal.files) + 1 for job in self.checkpoints)
        return (
            tensors
            + len(self.files)
            + len(self.marks)
            + sum(data is not None for data in (self.history, self.run_json))
        )


class Planner:
    """Decides what of one run is copied.

    Args:
        source, dest: the two copies; ``dest`` has no info where there is none yet.
        manifest: what was copied before; what turns out to be equal is noted in it.
        parts: what is wanted.
        hashes: compare every file by its SHA-256, also those that seem to be as they were.
    """

    def __init__(
        self, source: Copy, dest: Copy, manifest: Manifest, parts: Parts, *, hashes: bool
    ) -> None:
        self.source, self.dest, self.manifest = source, dest, manifest
        self.parts, self.hashes = parts, hashes
        self.new_history: bytes | None = None

    def standing(self) -> Standing:
        """What DEST is, seen from SOURCE. Reads the histories where they may differ."""
        if not self.dest.info:
            self.new_history = self._source_history(b"")
            return Standing.NEW
        told = by_segments(self.source.segments, self.dest.segments)
        if told in (Standing.APART, Standing.AHEAD):
            return told
        if self._unchanged(HISTORY):
            return told
        there = self._read(self.dest, HISTORY)
        data = self._source_history(there or b"")
        self.new_history = None if data == there else data
        if len(self.source.segments) != len(self.dest.segments):
            return told
        return together(told, by_history(data, there))

    def plan(self, standing: Standing) -> Plan:
        """What is to be copied, once it is clear that DEST may be written."""
        plan = Plan(standing)
        marks = self.source.marks()
        if not set(marks.values()) <= set(self.source.steps()):
            self.source.look_again()
        self._plan_checkpoints(plan, marks)
        self._plan_marks(plan, marks)
        for path, entry in self.source.files():
            if path not in (RUN_JSON, HISTORY, LOCK) and self.parts.file(path):
                self._plan_file(plan, path, entry)
        if self.parts.file(HISTORY) and standing is not Standing.SAME:
            plan.history = self.new_history
        plan.run_json = self._plan_run_json(plan)
        return plan

    # -- checkpoints -------------------------------------------------------------------------

    def _plan_checkpoints(self, plan: Plan, marks: dict[str, str]) -> None:
        for name in sorted(self.source.steps(), key=lambda n: n not in marks.values()):
            if not self.parts.checkpoint(name, marks):
                continue
            path = f"{CHECKPOINTS}/{name}"
            if self._unchanged(path) and not self.hashes:
                plan.skipped += 1
                continue
            try:
                job = self._checkpoint(plan, name, path)
            except Damaged as error:
                plan.troubles.append(error.found)
                continue
            if job is not None:
                plan.checkpoints.append(job)

    def _checkpoint(self, plan: Plan, name: str, path: str) -> CheckpointJob | None:
        state = self._read(self.source, f"{path}/{STATE}")
        if state is None:
            return None  # pruned meanwhile, or not yet whole
        seal = read_seal(state, f'"{self.source.at(path)}/{STATE}" in "{self.source.end.shown}"')
        job = CheckpointJob(name, seal, self.source.stamp(path))
        if path not in self.dest.tree:
            return job
        there = self._read(self.dest, f"{path}/{STATE}")
        if there == state:
            if self.hashes and not self._is_whole(path, seal):
                return job
            self._note(path, Copied(job.stamp, self.dest.stamp(path), seal.sha256, seal.bytes))
            plan.skipped += 1
            return None
        if plan.standing is Standing.SAME and there is not None:
            plan.kept.append(path)
            return None
        return job

    def _is_whole(self, path: str, seal: Seal) -> bool:
        """Whether DEST's tensors are what was written."""
        for name, (_, digest) in seal.files.items():
            try:
                if self.dest.end.sha256(self.dest.at(f"{path}/{name}")) != digest:
                    return False
            except FileNotFoundError:
                return False
        return True

    def _plan_marks(self, plan: Plan, marks: dict[str, str]) -> None:
        if self.parts.named is not None and "checkpoints" not in self.parts.named:
            return
        there = self.dest.marks()
        coming = {job.name for job in plan.checkpoints} | set(self.dest.steps())
        for mark, name in marks.items():
            if there.get(mark) == name:
                plan.skipped += 1
            elif name in coming:
                if plan.standing is Standing.SAME and mark in there and self._own_mark(mark, there):
                    plan.kept.append(f"{CHECKPOINTS}/{mark}")
                else:
                    plan.marks[mark] = name

    def _own_mark(self, mark: str, there: dict[str, str]) -> bool:
        noted = self.manifest.copied.get(f"{CHECKPOINTS}/{mark}")
        return noted is not None and noted.sha256 != _sha(there[mark].encode())

    # -- files -------------------------------------------------------------------------------

    def _plan_file(self, plan: Plan, path: str, entry: Entry) -> None:
        there = self.dest.tree.get(path)
        if there is None:
            plan.files.append(FileJob(path, entry))
            return
        noted = self.manifest.copied.get(path)
        old_here = noted is not None and bool(entry.stamp) and noted.source == entry.stamp
        old_there = noted is not None and bool(there.stamp) and noted.dest == there.stamp
        if noted is not None and not self.hashes:
            if old_here:  # whatever happened at DEST happened there
                plan.skipped += 1
                return
            if old_there:
                plan.files.append(FileJob(path, entry))
                return
        if entry.size == there.size and self._equal(path, entry, there):
            plan.skipped += 1
        elif old_there or (noted is None and plan.standing is not Standing.SAME):
            plan.files.append(FileJob(path, entry))
        else:
            plan.kept.append(path)

    def _equal(self, path: str, entry: Entry, there: Entry) -> bool:
        """Whether both files have the same content, which is noted then."""
        try:
            digest = self.source.end.sha256(self.source.at(path))
            if digest != self.dest.end.sha256(self.dest.at(path)):
                return False
        except FileNotFoundError:
            return False
        self._note(path, Copied(entry.stamp, there.stamp, digest, entry.size))
        return True

    def _plan_run_json(self, plan: Plan) -> bytes | None:
        here, there = self.source.run_json, self.dest.run_json
        if here == there:
            plan.skipped += 1
            return None
        if plan.standing is not Standing.SAME:
            return here
        noted = self.manifest.copied.get(RUN_JSON)
        if noted is not None and noted.sha256 in (_sha(here), _sha(there)):
            return here if noted.sha256 == _sha(there) else None
        # the same training on both sides, so only what was written about it afterwards differs
        newer = str(self.source.info.get("updated")) > str(self.dest.info.get("updated"))
        return here if newer else None

    # -- history -----------------------------------------------------------------------------

    def _source_history(self, there: bytes) -> bytes | None:
        """The source's whole lines; only what is new is read where DEST's are their beginning."""
        entry = self.source.tree.get(HISTORY)
        if entry is None:
            return None
        noted = self.manifest.copied.get(HISTORY)
        same_there = noted is not None and noted.dest == self.dest.stamp(HISTORY)
        if there and same_there and len(there) <= entry.size:
            start = max(0, len(there) - _SEAM)
            seam = there[start:]
            tail = b"".join(self.source.end.chunks(self.source.at(HISTORY), start))
            if tail.startswith(seam) and seam.endswith(b"\n"):
                return there[:start] + whole_lines(tail)
        data = self._read(self.source, HISTORY)
        return None if data is None else whole_lines(data)

    # -- small things ------------------------------------------------------------------------

    def _unchanged(self, path: str) -> bool:
        """Whether both sides are as they were when this was copied."""
        noted = self.manifest.copied.get(path)
        here, there = self.source.stamp(path), self.dest.stamp(path)
        return (
            bool(here and there)
            and noted is not None
            and (noted.source, noted.dest) == (here, there)
        )

    def _note(self, path: str, entry: Copied) -> None:
        self.manifest.note(path, entry)

    @staticmethod
    def _read(copy: Copy, path: str) -> bytes | None:
        try:
            return copy.end.read(copy.at(path), 1 << 30)
        except (FileNotFoundError, NotADirectoryError):
            return None


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
