"""``run.json``: what it says about where a run comes from, and reading it back.

Nothing here imports torch, so that the commands that only list runs stay quick. The machine's name
and the user's are left out, since runs are shared.
"""

from __future__ import annotations

import os
import platform
import secrets
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from rgan.errors import RunError
from rgan.runs.atomic import read_json

SCHEMA = 1
STATUSES = ("running", "finished", "interrupted", "failed")
MOST_BYTES = 2**26
"""Of run.json: far more than rgan writes."""
MOST_STEPS = 2**53
_OWN_FIELDS = ("schema", "id", "created", "updated")


def utc_now() -> str:
    """The time now in UTC to the microsecond, so that runs of one second sort: "...T22:10:05Z"."""
    return iso(datetime.now(UTC))


def iso(moment: datetime) -> str:
    """A moment as ISO 8601 text in UTC; a moment without a zone is taken to be UTC."""
    zoned = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return zoned.isoformat(timespec="microseconds").replace("+00:00", "Z")


def versions() -> dict[str, str]:
    """Versions of what decides the numbers of a run; "" for what is not installed."""
    found = {"python": platform.python_version()}
    for package in ("rgan", "torch", "numpy"):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = ""
    return found


def git_commit(folder: str | Path = ".") -> dict[str, Any] | None:
    """The commit of the working folder, and whether files differ from it; None outside git."""

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()

    try:
        commit = ask("rev-parse", "HEAD")
        return {
            "commit": commit,
            "changed": bool(ask("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.SubprocessError):
        return None  # no git, no repository, or one without a commit


def machine(device: str = "cpu") -> dict[str, Any]:
    """The kind of machine.

    Args:
        device: what training runs on, "cpu" or the name of the accelerator.

    Returns:
        system, architecture, cpus, memory_bytes and device.
    """
    import psutil  # type: ignore[import-untyped, unused-ignore]

    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cpus": os.cpu_count(),
        "memory_bytes": int(psutil.virtual_memory().total),
        "device": device,
    }


def first_info(name: str, created: str, device: str) -> dict[str, Any]:
    """The run.json of a run that has just been made."""
    return {
        "schema": SCHEMA,
        "id": secrets.token_hex(6),
        "name": name,
        "parent": None,
        "parents": [],
        "status": "running",
        "created": created,
        "updated": created,
        "command": list(sys.argv),
        "versions": versions(),
        "git": git_commit(),
        "machine": machine(device),
        "data": {},
        "segments": [],
    }


def checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that a caller may set.

    Raises:
        ValueError: a field is not the caller's to set, or the status is not known.
    """
    for name in fields:
        if name in _OWN_FIELDS:
            raise ValueError(f"run.json's {name} is not to be set")
    if fields.get("status", "running") not in STATUSES:
        raise ValueError(f"status {fields['status']!r} is not one of {STATUSES}")
    return dict(fields)


def read_info(path: Path) -> dict[str, Any]:
    """What a run.json says.

    Raises:
        RunError: it is missing, damaged, or of a newer version.
    """
    try:
        info = read_json(path, MOST_BYTES)
    except FileNotFoundError as error:
        raise RunError(f'"{path}" is missing', rule="a run is a folder with run.json") from error
    except OSError as error:
        raise RunError(f'"{path}" cannot be read: {error.strerror}') from error
    except ValueError as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(info, dict) or not isinstance(info.get("schema"), int):
        raise _damaged(path, "it does not say which schema it follows")
    if info["schema"] > SCHEMA:
        raise RunError(
            f'"{path}" follows schema {info["schema"]}',
            rule=f"this version of rgan reads schemas up to {SCHEMA}",
            reason="a newer version wrote it, and may mean other things by the same words",
            repair="pip install --upgrade rgan",
        )
    missing = [name for name in ("id", "name", "created", "segments") if name not in info]
    if missing:
        raise _damaged(path, f"it has no {', '.join(missing)}")
    for name in ("id", "name", "created"):
        if not isinstance(info[name], str):
            raise _damaged(path, f"its {name} is {info[name]!r:.60}")
    segments, data = info["segments"], info.get("data")
    if not isinstance(segments, list) or not all(map(_is_segment, segments)):
        raise _damaged(path, "its segments are not a list of stretches of training")
    if not isinstance(data, dict | None):
        raise _damaged(path, f"its data is {data!r:.60}")
    return info


def is_step(number: Any) -> bool:
    """Whether a value read from a file can be a number of steps."""
    return isinstance(number, int) and not isinstance(number, bool) and 0 <= number < MOST_STEPS


def _is_segment(segment: Any) -> bool:
    return (
        isinstance(segment, dict)
        and isinstance(segment.get("started"), str)
        and is_step(segment.get("from_step", 0))
        and is_step(segment.get("to_step", 0))
    )


def _damaged(path: Path, how: str) -> RunError:
    return RunError(
        f'"{path}" is damaged: {how}',
        rule="run.json is a JSON object written by rgan",
        repair="restore the file from a copy of the run",
    )
