"""Which of two copies of one run is ahead. Told by what was trained, not by clocks.

Each training of a run adds a segment to run.json, whose beginning no other segment shares, and
lines to history.jsonl. One copy is ahead where it holds all that the other holds, and more; where
each holds something that the other does not, they have been trained apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any


class Standing(Enum):
    """What DEST is, seen from SOURCE."""

    NEW = "new"
    BEHIND = "behind"
    SAME = "same"
    AHEAD = "ahead"
    APART = "apart"


def by_segments(source: Sequence[Mapping[str, Any]], dest: Sequence[Mapping[str, Any]]) -> Standing:
    """What run.json alone tells; SAME where the history has to be asked.

    A resume may note that the segment before it came less far than was said, so ``to_step`` counts
    only in the last of equally many.
    """
    shared = 0
    for here, there in zip(source, dest, strict=False):
        if _beginning(here) != _beginning(there):
            break
        shared += 1
    if shared < min(len(source), len(dest)):
        return Standing.APART
    if len(source) != len(dest):
        return Standing.BEHIND if len(source) > len(dest) else Standing.AHEAD
    if not source:
        return Standing.SAME
    further = _reached(source[-1]) - _reached(dest[-1])
    return Standing.SAME if not further else Standing.BEHIND if further > 0 else Standing.AHEAD


def by_history(source: bytes | None, dest: bytes | None) -> Standing:
    """What the two histories tell, whose last lines may be torn; None where there is none."""
    if not source or not dest:
        return Standing.SAME if not source else Standing.BEHIND
    source, dest = whole_lines(source), whole_lines(dest)
    if source == dest:
        return Standing.SAME
    if source.startswith(dest):
        return Standing.BEHIND
    return Standing.AHEAD if dest.startswith(source) else Standing.APART


def together(segments: Standing, history: Standing) -> Standing:
    """The two answers as one, where run.json has equally many segments on both sides."""
    if Standing.APART in (segments, history):
        return Standing.APART
    if segments is Standing.SAME:
        return history
    if history in (Standing.SAME, segments):
        return segments
    return Standing.APART  # one file says that this copy is ahead, one the other


def whole_lines(data: bytes) -> bytes:
    """The bytes up to the end of the last whole line.

    >>> whole_lines(b"one\\ntwo\\nthr")
    b'one\\ntwo\\n'
    """
    return data[: data.rfind(b"\n") + 1]


def _beginning(segment: Mapping[str, Any]) -> tuple[Any, Any]:
    return segment.get("started"), segment.get("from_step")


def _reached(segment: Mapping[str, Any]) -> int:
    step = segment.get("to_step")
    return step if isinstance(step, int) else 0
