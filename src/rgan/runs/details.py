"""All that is known of one run, as plain data: what ``rgan runs show`` prints."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rgan.errors import RunError
from rgan.runs.folder import Run
from rgan.runs.info import read_info
from rgan.runs.lineage import Lineage, Member, text
from rgan.runs.lock import holder
from rgan.runs.metric import number, scores
from rgan.runs.select import run_folders
from rgan.runs.summary import summarise

_CHECKPOINT = re.compile(r"\d{8,}")
_MARK = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_ABOUT = ("command", "machine", "versions", "git", "data", "spec", "average", "convergence")
"""Fields of run.json that are told as they stand there."""


def details(run: Run) -> dict[str, Any]:
    """One run in full, as JSON data.

    Raises:
        RunError: its run.json cannot be read.
    """
    info = run.info
    row = summarise(run.path)
    if row.damage:
        raise RunError(row.damage, rule="run.json is a JSON object written by rgan")
    held = holder(run.path)
    return {
        **row.to_dict(),
        "called": text(info.get("name")),
        "created": text(info.get("created")),
        "lock": held and {"host": held.host, "pid": held.pid, "since": held.since,
                          "alive": held.alive},
        "lineage": lineage_of(run),
        "segments": [dict(segment) for segment in Member(run.path, info).segments],
        "losses": last_losses(run),
        "seconds": seconds_trained(run),
        "scores": scores(run.evaluation_json),
        "checkpoints": checkpoints(run.checkpoints),
        "bytes": disk_use(run.path),
        **{name: info.get(name) for name in _ABOUT},
    }  # fmt: skip


def lineage_of(run: Run) -> dict[str, Any]:
    """Where a run stands among those of its folder: what it comes from, and what came of it."""
    here = Member.of(run)
    members = [here]
    for path in run_folders(run.path.resolve().parent):
        if path.resolve() != run.path.resolve():
            try:
                members.append(Member(path, read_info(path / "run.json")))
            except (RunError, RecursionError):
                continue
    lineage = Lineage(members)
    line, above = [here], lineage.parents(here)
    while above and above[0] not in line:
        line.append(above[0])
        above = lineage.parents(above[0])
    return {
        "ancestors": [_named(member) for member in reversed(line[1:])],
        "parents": [
            {"id": parent, **_entry(lineage.find(parent, here), here, parent)}
            for parent in here.parents
        ],
        "from_step": here.from_step,
        "children": [_named(m) for m in lineage.members if here in lineage.parents(m)],
        "stands_for": list(here.stands_for),
        "copies": [str(m.path) for m in members if m.id == here.id and m is not here],
    }


def _named(member: Member) -> dict[str, Any]:
    return {"id": member.id, "name": member.name, "from_step": member.from_step}


def _entry(found: Member | None, child: Member, parent: str) -> dict[str, Any]:
    name = found.name if found else child.parent_name(parent)
    return {"name": name, "here": found is not None}


def last_losses(run: Run) -> dict[str, float]:
    """The losses of the last complete epoch."""
    for event in reversed(_history(run)):
        losses = event.get("losses")
        if event.get("event") == "epoch" and isinstance(losses, Mapping):
            return {text(k): float(v) for k, v in losses.items() if number(v)}
    return {}


def seconds_trained(run: Run) -> float:
    """The time that the run's own epochs took, from its history."""
    events = [e for e in _history(run) if e.get("event") == "epoch" and number(e.get("seconds"))]
    return float(sum(event["seconds"] for event in events))


def _history(run: Run) -> list[dict[str, Any]]:
    try:
        return run.history.read()
    except (RunError, RecursionError):
        return []


def checkpoints(folder: Path) -> list[dict[str, Any]]:
    """Step, bytes, marks and time of every checkpoint, the oldest first. Hashes are not checked."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return []
    marks: dict[str, list[str]] = {}
    for name in names:
        if _MARK.fullmatch(name) and (folder / name).is_file():
            target = (folder / name).read_bytes()[:40].decode("utf-8", "replace").strip()
            marks.setdefault(target, []).append(name)
    return [
        {
            "step": int(name),
            "bytes": disk_use(folder / name)[""],
            "marks": marks.get(name, []),
            "saved": _saved(folder / name / "state.json"),
        }
        for name in names
        if _CHECKPOINT.fullmatch(name) and len(name) < 19 and (folder / name).is_dir()
    ]


def _saved(state_json: Path) -> str:
    try:
        document = json.loads(state_json.read_bytes())
    except (OSError, ValueError, RecursionError):
        return "damaged"
    return text(document.get("saved")) if isinstance(document, dict) else "damaged"


def disk_use(folder: Path) -> dict[str, int]:
    """Bytes of the files below a folder: under "" of all, else of each folder in it."""
    sizes = {"": 0}
    for top, _, files in os.walk(folder):
        part = Path(top).relative_to(folder).parts[:1]
        for file in files:
            try:
                size = os.lstat(os.path.join(top, file)).st_size  # noqa: PTH118  many files
            except OSError:
                continue
            for name in {"", *part}:
                sizes[name] = sizes.get(name, 0) + size
    return sizes
