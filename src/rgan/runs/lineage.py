"""Who descends from whom: the lineage of a set of runs, by the ids in their run.json.

A run names its parent by id. The parent may have been deleted or lie elsewhere, two folders may be
copies of one run, a combined run may stand for the one that is named, and an altered run.json may
make a circle of it all; each is told, and none is a reason to fail.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rgan.runs.folder import Run


@dataclass(frozen=True, eq=False)
class Member:
    """One run of a lineage: its folder, and what its run.json said when it was read.

    Whatever stands in run.json, each property has its type: a stranger's file is only text.

    Args:
        path: the folder.
        info: the content of run.json.
    """

    path: Path
    info: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, run: Run) -> Member:
        """A run as it is now.

        Raises:
            RunError: its run.json cannot be read.
        """
        return cls(run.path, run.info)

    @property
    def id(self) -> str:
        """The run's id."""
        return text(self.info.get("id"))

    @property
    def name(self) -> str:
        """The folder's name, which is what one types."""
        return text(self.path.name) or text(self.path.resolve().name)

    @property
    def parents(self) -> tuple[str, ...]:
        """The ids of the runs it was made from, the one it goes on from first."""
        named = [text(self.info.get("parent"))]
        if not self.stands_for:  # else they are the runs that it replaces
            named += [text(entry.get("id")) for entry in self._parents]
        return tuple(dict.fromkeys(name for name in named if name and name != self.id))

    @property
    def stands_for(self) -> tuple[str, ...]:
        """The ids of the runs that a combined run replaces."""
        listed = self.info.get("stands_for")
        return tuple(filter(None, map(text, listed))) if isinstance(listed, list) else ()

    @property
    def segments(self) -> list[Mapping[str, Any]]:
        """The stretches of training, each a mapping."""
        return _mappings(self.info.get("segments"))

    @property
    def from_step(self) -> int:
        """The step at which its own training began: 0, or where it left its parent."""
        if self.segments:
            return whole(self.segments[0].get("from_step"))
        return whole(self._parents[0].get("step")) if self._parents else 0

    @property
    def last_trained(self) -> str:
        """When it was made or last resumed, ISO text."""
        started = (text(segment.get("started")) for segment in self.segments)
        return max([text(self.info.get("created")), *started])

    def parent_name(self, parent: str) -> str:
        """What the parent of this id was called when this run left it; "" if it does not say."""
        return next((text(e.get("name")) for e in self._parents if e.get("id") == parent), "")

    @property
    def _parents(self) -> list[Mapping[str, Any]]:
        return _mappings(self.info.get("parents"))


class Lineage:
    """Runs and their descent.

    Args:
        members: the runs, in any order.

    Attributes:
        members: the runs, a child before its parents, else the one trained last first.
        notes: what is odd: copies of one run, runs that descend from themselves.
    """

    def __init__(self, members: Iterable[Member]) -> None:
        given = list(members)
        self._holders: dict[str, list[Member]] = {}
        for member in given:
            self._holders.setdefault(member.id, []).append(member)
        self._replaced: dict[str, list[Member]] = {}
        for member in given:
            for replaced in member.stands_for:
                self._replaced.setdefault(replaced, []).append(member)
        self.members, circle = self._sorted(given)
        self._place = {member: place for place, member in enumerate(self.members)}
        for holders in self._holders.values():
            holders.sort(key=self._place.__getitem__)
        self.notes = [*map(_copies_note, self._copies()), *_circle_note(circle)]

    @classmethod
    def of(cls, runs: Iterable[Run]) -> Lineage:
        """The lineage of these runs as they are now.

        Raises:
            RunError: a run.json cannot be read.
        """
        return cls(Member.of(run) for run in runs)

    def find(self, run_id: str, child: Member | None = None) -> Member | None:
        """The run of this id, or the combined run that stands for it; None if neither is here."""
        found = self._holders.get(run_id) or self._replaced.get(run_id) or []
        return next((member for member in found if member is not child), None)

    def parents(self, member: Member) -> list[Member]:
        """Those of its parents that are here."""
        found = [self.find(parent, member) for parent in member.parents]
        return list(dict.fromkeys(parent for parent in found if parent is not None))

    def missing(self, member: Member) -> list[str]:
        """The ids of those of its parents that are not here."""
        return [parent for parent in member.parents if self.find(parent, member) is None]

    def is_copy(self, member: Member) -> bool:
        """Whether another folder holds the same run."""
        return len(self._holders[member.id]) > 1

    def _copies(self) -> list[list[Member]]:
        return [holders for holders in self._holders.values() if len(holders) > 1]

    def _older(self, member: Member) -> list[Member]:
        """The runs that are older whatever the clocks say: parents, and what it stands for."""
        older = [h for parent in member.parents for h in self._holders.get(parent, [])]
        older += self.parents(member)
        older += [h for replaced in member.stands_for for h in self._holders.get(replaced, [])]
        return [other for other in dict.fromkeys(older) if other is not member]

    def _sorted(self, given: list[Member]) -> tuple[list[Member], list[Member]]:
        """All members newest first, and those that descend from themselves."""
        older = {member: self._older(member) for member in given}
        times, circle = _times(older)
        younger = dict.fromkeys(given, 0)
        for others in older.values():
            for other in others:
                younger[other] += 1
        number = {m: i for i, m in enumerate(sorted(given, key=lambda m: (times[m], str(m.path))))}
        ready = [(-number[m], m) for m in given if not younger[m]]
        heapq.heapify(ready)
        rest = sorted(circle, key=number.__getitem__)
        order: dict[Member, None] = {}
        while len(order) < len(given):
            while rest and rest[-1] in order:
                rest.pop()
            # where all that are left descend from a circle, its run trained last goes first
            member = heapq.heappop(ready)[1] if ready else rest[-1]
            if member in order:
                continue
            order[member] = None
            for other in older[member]:
                younger[other] -= 1
                if not younger[other]:
                    heapq.heappush(ready, (-number[other], other))
        return list(order), circle


def newest_first(runs: Iterable[Run]) -> list[Run]:
    """Runs by their place in the lineage: a child before its parent whatever the clocks say, else
    the one trained last first, else by path.

    Raises:
        RunError: a run.json cannot be read.
    """
    by_member = {Member.of(run): run for run in runs}
    return [by_member[member] for member in Lineage(by_member).members]


def text(value: Any) -> str:
    """Text that may be printed: control characters out, and nothing where it is no text."""
    if not isinstance(value, str):
        return ""
    return value if value.isprintable() else "".join(c for c in value if c.isprintable())


def whole(value: Any) -> int:
    """A number of steps; 0 where it is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return (
        [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []
    )


def _times(older: Mapping[Member, list[Member]]) -> tuple[dict[Member, str], list[Member]]:
    """When each was trained last, and never before what it descends from, since a clock that was
    set back must not make a child older than its parent's neighbours. Also who is in a circle."""
    waiting = {member: len(others) for member, others in older.items()}
    younger: dict[Member, list[Member]] = {member: [] for member in older}
    for member, others in older.items():
        for other in others:
            younger[other].append(member)
    times = {member: member.last_trained for member in older}
    ready = [member for member, count in waiting.items() if not count]
    done = set(ready)
    while ready:
        member = ready.pop()
        for child in younger[member]:
            times[child] = max(times[child], times[member])
            waiting[child] -= 1
            if not waiting[child]:
                ready.append(child)
                done.add(child)
    return times, _only_circles([member for member in older if member not in done], older)


def _only_circles(rest: list[Member], older: Mapping[Member, list[Member]]) -> list[Member]:
    """Of those that descend from a circle, the ones in it: nobody else's ancestors are left out."""
    left = dict.fromkeys(rest)
    while True:
        ancestors = {other for member in left for other in older[member]}
        outside = [member for member in left if member not in ancestors]
        if not outside:
            return list(left)
        for member in outside:
            del left[member]


def _copies_note(copies: list[Member]) -> str:
    names = ", ".join(f'"{member.path}"' for member in copies)
    return f"{len(copies)} folders are copies of one run ({copies[0].id}): {names}"


def _circle_note(circle: list[Member]) -> list[str]:
    if not circle:
        return []
    names = ", ".join(f'"{member.path}"' for member in circle)
    return [f"these descend from each other in a circle, so a run.json was altered: {names}"]
