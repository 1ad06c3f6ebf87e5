"""The file of the time series benchmark: a part for each training, score and control.

Parts are only ever added, each as soon as it is measured; several processes may add to one file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tsg_table import Part

from rgan.runs.atomic import write_json

VERSION = 1


def key(part: Part) -> tuple[Any, ...]:
    """What a part belongs to."""
    return part["data"], part["length"], part["windows"], part["who"]


def read(path: Path) -> list[Part]:
    """The parts of an earlier file; none where there is no file."""
    if not path.exists():
        return []
    document = json.loads(path.read_text(encoding="utf-8"))
    if document.get("version") != VERSION:
        sys.exit(f"{path} is of another version; name another file with --out")
    return list(document["parts"])


def store(path: Path, part: Part) -> None:
    """Add a part to what the file holds now, which another process may have added to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"version": VERSION, "parts": [*read(path), part]})


def flat(parts: list[Part]) -> list[Part]:
    """Controls as a floor and a copy, each with its values."""
    out = []
    for part in parts:
        controls = part.get("controls")
        out += (
            [part]
            if controls is None
            else [part | {"who": w, "values": controls[w]} for w in controls]
        )
    return out
