"""One run as a row of a table, from the least reading: a thousand are told in a second.

``run.json`` is read once, of ``history.jsonl`` the first and the last lines, of ``config.toml``
three settings. Whatever stands in these files, a row comes of it: damage is a row too.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rgan.errors import RunError
from rgan.runs.atomic import open_plain, read_bytes
from rgan.runs.info import MOST_BYTES, read_info
from rgan.runs.lineage import Member, text, whole
from rgan.runs.lock import holder
from rgan.runs.metric import Convergence, Metric, convergence_of, metric_of

TAIL = 8192
"""Bytes of a history's end that are read: the last event is well within."""
HEAD = 2048
LAST = 4
"""Lines of a history's end that are taken apart: one may be torn, one be a note."""
STOPPED = "stopped"
"""Shown of a run whose run.json says running, and that nobody trains: killed, or crashed."""
_KIND = re.compile(r'^\[model\][^\[]*?^kind\s*=\s*"([a-z]+)"', re.MULTILINE | re.DOTALL)
_TRAIN = re.compile(r"^\[train\](.*?)(?:^\[|\Z)", re.MULTILINE | re.DOTALL)
_COUNT = re.compile(r"^(steps|epochs)\s*=\s*(\d{1,18})\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Args:
        step, epoch: done so far.
        steps, epochs: in all, as far as the configuration tells; 0 where it does not.
    """

    step: int = 0
    epoch: int = 0
    steps: int = 0
    epochs: int = 0


@dataclass(frozen=True)
class Row:
    """What a list shows of one run.

    Args:
        path: the folder.
        member: the run's place in a lineage; None where run.json cannot be read.
        status: running, stopped, finished, interrupted, failed, or damaged.
        damage: why it is damaged.
        updated: when run.json was last written, ISO text in UTC.
        model: rgan or rcgan.
        data: the data set's name.
        progress: steps and epochs.
        metric: the best one, or the main one of the evaluation.
        convergence: when the best one was first nearly reached.
    """

    path: Path
    member: Member | None
    status: str
    damage: str = ""
    updated: str = ""
    model: str = ""
    data: str = ""
    progress: Progress = Progress()
    metric: Metric | None = None
    convergence: Convergence | None = None

    @property
    def name(self) -> str:
        """The folder's name."""
        return text(self.path.name)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        member = self.member
        return {
            "name": self.name,
            "path": str(self.path).encode("utf-8", "replace").decode(),
            "id": member.id if member else None,
            "status": self.status,
            "damage": self.damage or None,
            "updated": self.updated or None,
            "last_trained": member.last_trained if member else None,
            "model": self.model or None,
            "data": self.data or None,
            **asdict(self.progress),
            "metric": asdict(self.metric) if self.metric else None,
            "convergence": asdict(self.convergence) if self.convergence else None,
            "parents": list(member.parents) if member else [],
        }


def summarise(path: str | Path) -> Row:
    """The row of the run in this folder; damage is told in it, and raised never."""
    path = Path(path)
    try:
        info = read_info(path / "run.json")
        _check(path, info)
        status = status_of(path, info)
    except (RunError, RecursionError) as error:
        reason = error.found if isinstance(error, RunError) else f'"{path}/run.json" is damaged'
        return Row(path, None, "damaged", text(reason))
    member = Member(path, info)
    config = _read(path / "config.toml")
    data = info.get("data")
    updated = max(text(info.get("updated")), member.last_trained)
    return Row(
        path,
        member,
        status,
        updated=updated,
        model=_first(_KIND, config),
        data=text(data.get("name")) if isinstance(data, Mapping) else "",
        progress=_progress(path / "history.jsonl", member, config),
        metric=metric_of(path, info),
        convergence=convergence_of(info),
    )


def _check(path: Path, info: Mapping[str, Any]) -> None:
    if not text(info["id"]):
        raise RunError(f'"{path / "run.json"}" is damaged: its id is {info["id"]!r:.60}')


def status_of(path: Path, info: Mapping[str, Any]) -> str:
    """What a run is doing: running only where its lock says that somebody trains it."""
    said = text(info.get("status")) or "unknown"
    if said != "running":
        return said
    held = holder(path)
    if held is None or held.alive is False:
        return STOPPED
    return said if held.alive else "running?"


def age(moment: str, now: datetime | None = None) -> str:
    """How long ago, in the largest unit that gives at least 1: "3 h"; "" where it is no time.

    >>> age("2026-01-01T00:00:00Z", datetime(2026, 1, 1, 3, 59, tzinfo=UTC))
    '3 h'
    >>> age("2026-01-01T05:00:00Z", datetime(2026, 1, 1, 3, 59, tzinfo=UTC))
    'in 1 h'
    """
    try:
        then = datetime.fromisoformat(moment)
        seconds = ((now or datetime.now(UTC)) - then).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return ""
    for unit, size in (("y", 365 * 86400), ("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if abs(seconds) >= size or unit == "s":
            count = f"{abs(seconds) / size:.0f}" if unit == "s" else f"{int(abs(seconds) // size)}"
            return f"in {count} {unit}" if seconds <= -1 else f"{count} {unit}"
    return ""


def _read(path: Path) -> str:
    try:
        return read_bytes(path, MOST_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _first(pattern: re.Pattern[str], content: str) -> str:
    found = pattern.search(content)
    return found[1] if found else ""


def _progress(history: Path, member: Member, config: str) -> Progress:
    """The furthest that run.json and the history's end tell of."""
    first, last = _ends(history)
    noted = member.info.get("progress")
    noted = noted if isinstance(noted, Mapping) else {}
    told = [*member.segments, noted, *last]
    step = max((max(whole(t.get("to_step")), whole(t.get("step"))) for t in told), default=0)
    epoch = max((whole(t.get("epoch")) for t in [noted, *last]), default=0)
    begun = [event for event in [*first, *last] if event.get("event") == "started"]
    per_epoch = whole(begun[-1].get("steps_per_epoch")) if begun else 0
    wanted = dict(_COUNT.findall(_first(_TRAIN, config)))
    steps, epochs = int(wanted.get("steps", 0)), int(wanted.get("epochs", 0))
    total = whole(noted.get("total_steps"))
    if per_epoch:  # a training ends with a whole epoch
        epochs = epochs or -(-steps // per_epoch)
        total = total or epochs * per_epoch
    return Progress(step, epoch, total or (0 if epochs else steps), epochs)


def _ends(history: Path) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The first event of a history, and of its end the last ones and what was last started; what
    cannot be read is left out."""
    try:
        with open_plain(history) as file:
            first = file.readline(HEAD)
            start = file.seek(max(file.seek(0, os.SEEK_END) - TAIL, len(first)))
            lines = file.read(TAIL).split(b"\n")
    except OSError:
        return [], []
    if start > len(first):
        del lines[0]  # begins somewhere within a line
    begun = [line for line in lines[:-LAST] if line.startswith(b'{"event": "started"')]
    return _events([first]), _events([*begun[-1:], *lines[-LAST:]])


def _events(lines: list[bytes]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for line in lines:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            found.append(event)
    return found
