"""Which part of each run of a chain goes into the combined one, and whether the parts join.

A run's part ends at the step where the next run was branched off; the last one's at its last good
checkpoint. What came after that is a tail, and is cut.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rgan.errors import RunError
from rgan.runs.folder import Run
from rgan.runs.lineage import Member, whole

Event = Mapping[str, Any]


@dataclass(frozen=True)
class Part:
    """One run of a chain, and the stretch of it that counts.

    Args:
        run: its folder.
        member: what its run.json said.
        begin, end: the first step and the last.
        lines: the events of its history in that stretch, as they stand there.
        segments: its segments in that stretch, each with its settings and where it comes from.
        dropped: how many events are cut.
    """

    run: Run
    member: Member
    begin: int
    end: int
    lines: tuple[str, ...]
    segments: tuple[dict[str, Any], ...]
    dropped: int


def parts_of(line: list[Run], last_step: int) -> list[Part]:
    """The parts of a chain, the oldest first.

    Args:
        line: the chain, as ``chain`` gives it.
        last_step: of the last run's last good checkpoint.

    Raises:
        RunError: a history or configuration cannot be read, or the parts leave a gap.
    """
    members = [Member.of(run) for run in line]
    begins = [member.from_step for member in members]
    parts = []
    for run, member, begin, end in zip(
        line, members, begins, [*begins[1:], last_step], strict=True
    ):
        if begin > end:
            raise RunError(
                f'"{run.path}" begins at step {begin:,}, and what follows it at step {end:,}',
                rule="each run of a chain begins where its parent was left",
            )
        parts.append(_part(run, member, begin, end))
    check_continuous(
        (json.loads(line) for part in parts for line in part.lines), begins[0], last_step
    )
    return parts


def _part(run: Run, member: Member, begin: int, end: int) -> Part:
    events = run.history.read()
    kept: list[Event] = []
    step = begin
    for event in events:
        step = max(step, whole(event.get("step")))
        if step > end:
            break
        kept.append(event)
    while len(kept) > 1 and kept[-1].get("event") == "started" and len(kept) < len(events):
        kept.pop()  # what it began is cut
    lines = tuple(json.dumps(event, ensure_ascii=False) for event in kept)
    segments = tuple(_segments(run, member, end))
    return Part(run, member, begin, end, lines, segments, len(events) - len(kept))


def _segments(run: Run, member: Member, end: int) -> list[dict[str, Any]]:
    """A run's segments up to a step, each with all settings that held in it."""
    settings = run.read_config()
    found: list[dict[str, Any]] = []
    for segment in reversed(member.segments):
        origin = {"id": member.id, "name": member.name}
        found.insert(
            0, {"run": origin, "settings": copy.deepcopy(settings), **copy.deepcopy(segment)}
        )
        _undo(settings, segment.get("changed"))
    found = [s for i, s in enumerate(found) if not i or whole(s.get("from_step")) < end]
    ends = [*(whole(segment.get("from_step")) for segment in found[1:]), end]
    for segment, reached in zip(found, ends, strict=True):
        segment["to_step"] = reached
    return found


def _undo(settings: dict[str, Any], changed: Any) -> None:
    """Put settings back to what they were before a segment changed them."""
    if not isinstance(changed, Mapping):
        return
    for path, pair in changed.items():
        section, _, key = str(path).partition(".")
        if isinstance(pair, list) and len(pair) == 2 and isinstance(settings.get(section), dict):
            settings[section][key] = pair[0]


def check_continuous(events: Iterable[Event], first: int, last: int) -> None:
    """Refuse a history with a gap or anything twice.

    Args:
        events: the whole history.
        first, last: the steps at which it begins and ends.

    Raises:
        RunError: says between which epochs.
    """
    step, epoch, length, before = first, None, 0, 0
    for event in events:
        if event.get("event") == "started" and whole(event.get("steps_per_epoch")):
            before, length = length, whole(event.get("steps_per_epoch"))
            before = before or length
        if event.get("event") != "epoch":
            continue
        now, count = whole(event.get("step")), whole(event.get("epoch"))
        where = f"epoch {count:,} at step {now:,} follows epoch {epoch or 0:,} at step {step:,}"
        if epoch is not None and count != epoch + 1:
            raise _broken(where)
        # an epoch that was broken off, before its length was changed, is begun again
        slack = before - 1 if before != length else 0
        least = length if epoch is not None else 1
        if now <= step or (length and not least <= now - step <= length + slack):
            raise _broken(where)
        step, epoch, before = now, count, length
    if last < step or (length and last - step >= length + (before if before != length else 0)):
        raise _broken(f"the last epoch is at step {step:,}, the last checkpoint at step {last:,}")


def _broken(where: str) -> RunError:
    return RunError(
        f"the histories do not join: {where}",
        rule="combined, epochs and steps go up without a gap and without anything twice",
        reason="a history.jsonl or run.json is not what was written at the time",
        repair="restore it from a copy of the run; nothing has been changed",
    )
