"""The page of ``rgan runs show``: titles, and the lines under each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rgan.cli.lineage_text import figure, grid, size

MARGIN = 13
"""Columns of the titles."""
Found = Mapping[str, Any]


def page(found: Found) -> Iterator[tuple[str, list[str]]]:
    """What ``details`` found, as titles and lines."""
    yield "run", [found["name"]]
    yield "id", [found["id"] + (f"  (named {found['called']})" if found["called"] else "")]
    yield "folder", [f"{plain(found['path'])}  ({size(found['bytes'][''])})"]
    yield "status", [_status(found)]
    yield "made", [moment(found["created"])]
    yield "trained", [_trained(found)]
    yield from _origin(found)
    yield "data", [_data(_mapping(found["data"]))]
    yield "lineage", _lineage(found["lineage"])
    yield "segments", _segments(found["segments"])
    yield "checkpoints", _checkpoints(found["checkpoints"])
    if found["losses"]:
        losses = (f"{plain(name)} {figure(value)}" for name, value in found["losses"].items())
        yield "last losses", [", ".join(losses)]
    yield from _results(found)
    folders = {name: count for name, count in found["bytes"].items() if name}
    yield "disk", [", ".join(f"{plain(name)} {size(count)}" for name, count in folders.items())]


def moment(iso: Any) -> str:
    """A time as it is read: "2026-11-23 03:58:17 UTC"."""
    return f"{plain(iso)[:19].replace('T', ' ')} UTC" if iso else "-"


def plain(value: Any) -> str:
    """Any JSON value on one line, without what a terminal would take for a command."""
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else "?" for letter in said)


def _mapping(value: Any) -> Found:
    return value if isinstance(value, Mapping) else {}


def _pairs(value: Any) -> str:
    return ", ".join(f"{plain(key)} {plain(item)}" for key, item in _mapping(value).items())


def _status(found: Found) -> str:
    from rgan.runs.summary import age

    ago = age(found["updated"] or "")
    parts = [found["status"] + (f", last written {ago} ago" if ago else "")]
    lock = found["lock"]
    if lock:
        word = {True: "held by", False: "left behind by", None: "perhaps held by"}[lock["alive"]]
        parts.append(f"lock {word} process {lock['pid']} on {plain(lock['host'])}")
    if found["status"] == "stopped":
        parts.append("killed or crashed, can be resumed")
    return "; ".join(parts)


def _trained(found: Found) -> str:
    steps = f"{found['step']:,}" + (f" of {found['steps']:,}" if found["steps"] else "")
    epochs = f"{found['epoch']:,}" + (f" of {found['epochs']:,}" if found["epochs"] else "")
    model = found["model"] or "model unknown"
    return f"{steps} steps, {epochs} epochs, {found['seconds']:,.0f} s; {model}"


def _origin(found: Found) -> Iterator[tuple[str, list[str]]]:
    command = found["command"]
    if command:
        words = command if isinstance(command, list) else [command]
        yield "command", [" ".join(map(plain, words))]
    if found["machine"]:
        yield "machine", [_pairs(found["machine"])]
    yield "versions", [_pairs(found["versions"]) or "-"]
    git = _mapping(found["git"])
    if git:
        changed = ", and files that differ from it" if git.get("changed") else ""
        yield "git", [f"{plain(git.get('commit'))}{changed}"]


def _data(data: Found) -> str:
    if not data:
        return "-"
    names = data.get("features")
    features = ", ".join(map(plain, names[:12])) if isinstance(names, list) else ""
    if isinstance(names, list) and len(names) > 12:
        features += f" and {len(names) - 12} more"
    return (
        f"{plain(data.get('name'))}: {plain(data.get('sequences'))} sequences of "
        f"{plain(data.get('steps'))} steps ({features}), fingerprint "
        f"{plain(data.get('fingerprint'))[:16]}"
    )


def _lineage(found: Found) -> list[str]:
    line = [member["name"] for member in found["ancestors"]]
    missing = [parent for parent in found["parents"] if not parent["here"]]
    if missing and not line:
        line = [f"{missing[0]['name'] or missing[0]['id']} (not here)"]
    lines = []
    if line:
        lines.append(" > ".join([*line, f"this, from step {found['from_step']:,}"]))
    if len(found["parents"]) > 1:
        names = ", ".join(parent["name"] or parent["id"] for parent in found["parents"])
        lines.append(f"average of {names}")
    for child in found["children"]:
        lines.append(f"child: {child['name']}, from step {child['from_step']:,}")
    if found["stands_for"]:
        lines.append(f"stands for {', '.join(found['stands_for'])}")
    lines += [f"a copy of it: {plain(path)}" for path in found["copies"]]
    return lines or ["no parent, no children"]


def _segments(segments: list[Found]) -> list[str]:
    lines = []
    for segment in segments:
        steps = f"steps {plain(segment.get('from_step'))} to {plain(segment.get('to_step'))}"
        run = _mapping(segment.get("run")).get("name")
        of = f", of {plain(run)}" if run else ""
        lines.append(f"{moment(segment.get('started'))}  {steps}{of}")
        for path, change in _mapping(segment.get("changed")).items():
            pair = change if isinstance(change, list) and len(change) == 2 else ["?", change]
            lines.append(f"  {plain(path)}: {plain(pair[0])} -> {plain(pair[1])}")
    return lines or ["-"]


def _checkpoints(listed: list[Found]) -> list[str]:
    rows = []
    for one in listed:
        saved = "damaged" if one["saved"] == "damaged" else moment(one["saved"])
        rows.append((f"{one['step']:,}", size(one["bytes"]), saved, ", ".join(one["marks"])))
    return grid(("step", "size", "saved", "marks"), rows, (0, 1)) if rows else ["none"]


def _results(found: Found) -> Iterator[tuple[str, list[str]]]:
    metric = found["metric"]
    if metric:
        at = f" at step {metric['step']:,}" if metric["step"] is not None else ""
        yield "best", [f"{metric['name']} {figure(metric['value'])}{at}"]
    near = _mapping(found["convergence"])
    if near:
        share = near.get("within")
        part = f"{share:.0%}" if isinstance(share, float) else "some"
        yield (
            "converged",
            [
                f"{plain(near.get('metric'))} within {part} of its best after "
                f"{plain(near.get('epochs'))} epochs, {plain(near.get('batches'))} batches, "
                f"{plain(near.get('seconds'))} s"
            ],
        )
    scores = found["scores"]
    if scores:
        yield "evaluation", [", ".join(f"{name} {figure(v)}" for name, v in scores.items())]
