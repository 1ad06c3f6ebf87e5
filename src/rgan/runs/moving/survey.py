"""What lies at an end: the runs there, and the files of each, with names that can be trusted.

A name that comes from another machine, or from an altered folder, is only text: what could lead out
of the run's folder, hides, or is a link, is left where it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rgan.errors import RunError
from rgan.runs.info import SCHEMA
from rgan.runs.moving.ends import PARTIAL, End, Entry, joined

RUN_JSON, HISTORY, LOCK, MANIFEST = "run.json", "history.jsonl", "lock.json", ".sync.json"
CHECKPOINTS = "checkpoints"
STEP = re.compile(r"\d{8,20}")
MARK = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_RUN_JSON_BYTES = 16 << 20


@dataclass
class Copy:
    """One copy of a run.

    Args:
        end, path: where it is; "" is the end's root.
        run_json: the file's content when it was read.
        info: the same, parsed.
        tree: every file, folder and link in it by its path, but for what is in checkpoints.
        unsafe: names that were left out because they cannot be trusted.
        unfinished: what an earlier copy left on its way.
    """

    end: End
    path: str
    run_json: bytes = field(repr=False)
    info: Mapping[str, Any] = field(repr=False)
    tree: dict[str, Entry] = field(repr=False)
    unsafe: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The run's id."""
        return str(self.info["id"])

    @property
    def name(self) -> str:
        """The folder's name; "" where the run is the end's root."""
        return self.path.rpartition("/")[2]

    @property
    def segments(self) -> list[Mapping[str, Any]]:
        """The segments, in order."""
        return list(self.info["segments"])

    def at(self, path: str) -> str:
        """A path in the run, as its end has it."""
        return joined(self.path, path)

    def stamp(self, path: str) -> str:
        """What changes when the file, or the checkpoint, does; "" where nothing tells."""
        entry = self.tree.get(path, Entry("none"))
        if entry.kind == "folder" and not entry.stamp:
            entry = self.tree.get(f"{path}/state.json", entry)
        return entry.stamp

    def files(self) -> Iterator[tuple[str, Entry]]:
        """Every file but those in checkpoints."""
        for path, entry in sorted(self.tree.items()):
            if entry.kind == "file" and not path.startswith(f"{CHECKPOINTS}/"):
                yield path, entry

    def steps(self) -> list[str]:
        """The names of the checkpoints' folders, the newest step first."""
        here = f"{CHECKPOINTS}/"
        names = [
            path.removeprefix(here)
            for path, entry in self.tree.items()
            if path.startswith(here) and entry.kind == "folder"
        ]
        return sorted((n for n in names if STEP.fullmatch(n)), key=int, reverse=True)

    def marks(self) -> dict[str, str]:
        """Mark to the checkpoint it names, {"latest": "00001200"}."""
        found = {}
        for path, entry in self.tree.items():
            folder, _, name = path.rpartition("/")
            if folder == CHECKPOINTS and entry.kind == "file" and MARK.fullmatch(name):
                try:
                    text = self.end.read(self.at(path), 4096).decode("ascii", "replace").strip()
                except FileNotFoundError:
                    continue
                if STEP.fullmatch(text):
                    found[name] = text
        return found

    def look_again(self) -> None:
        """Lists the checkpoints anew: one may have come since."""
        self.end.refresh()
        here = f"{CHECKPOINTS}/"
        kept = {path: entry for path, entry in self.tree.items() if not path.startswith(here)}
        found, self.unsafe, self.unfinished = _tree(self.end, self.path)
        new = {path: entry for path, entry in found.items() if path.startswith(here)}
        self.tree = kept | new


def is_safe(name: str) -> bool:
    """Whether a name from elsewhere can be a file's name here.

    >>> is_safe("losses.png"), is_safe(".."), is_safe("a/b"), is_safe("a\\\\b")
    (True, False, False, False)
    """
    return (
        name not in ("", ".", "..")
        and not any(letter in "/\\" or ord(letter) < 32 or ord(letter) == 127 for letter in name)
        and len(name.encode("utf-8", "surrogateescape")) <= 200
        and name.isprintable()
    )


def never_copied(name: str) -> bool:
    """What stays where it is: the lock, what is being written, and whatever hides."""
    return name.startswith(".") or name == LOCK


def folders_of_runs(end: End) -> list[str]:
    """The paths at this end that may be runs; [""] where the root itself is one.

    Raises:
        FileNotFoundError: there is nothing at this end.
    """
    names = end.listing("")
    if RUN_JSON in names or MANIFEST in names:
        return [""]
    return sorted(
        name
        for name, entry in names.items()
        if entry.kind in ("folder", "link") and is_safe(name) and not never_copied(name)
    )


def read_copy(end: End, path: str) -> Copy | None:
    """The run in this folder, None where there is none. run.json is read before anything else.

    Raises:
        RunError: run.json is damaged, of a newer version, or not one.
    """
    try:
        data = end.read(joined(path, RUN_JSON), _RUN_JSON_BYTES)
        info = parse_info(data, f'"{joined(path, RUN_JSON)}" in "{end.shown}"')
        found = _tree(end, path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Copy(end, path, data, info, *found)


def unfinished_copy(end: End, path: str) -> Copy:
    """What is in a folder that is to become a copy: nothing, or what an earlier copy left."""
    try:
        return Copy(end, path, b"", {}, *_tree(end, path))
    except FileNotFoundError:
        return Copy(end, path, b"", {}, {})


def _tree(end: End, path: str) -> tuple[dict[str, Entry], list[str], list[str]]:
    in_store = not end.renames  # where one question has told all names already

    def enter(below: str) -> bool:
        folder, _, name = below.rpartition("/")
        if not is_safe(name) or never_copied(name):
            return False
        return in_store or folder != CHECKPOINTS

    found = end.tree(path, enter)
    unsafe = [p for p, entry in found.items() if entry.kind == "link" or not _safe_path(p)]
    hidden = [p for p in found if any(never_copied(part) for part in p.split("/"))]
    for name in {*unsafe, *hidden}:
        if name != LOCK:
            del found[name]
    ours = [name for name in hidden if name.rpartition("/")[2].startswith(PARTIAL)]
    return found, sorted(set(unsafe) - set(hidden)), ours


def _safe_path(path: str) -> bool:
    return all(is_safe(part) for part in path.split("/"))


def parse_info(data: bytes, what: str) -> dict[str, Any]:
    """The content of a run.json.

    Raises:
        RunError: it is not one, or of a newer version.
    """
    try:
        info = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged(what, "it is not JSON") from error
    if not isinstance(info, dict) or not isinstance(info.get("schema"), int):
        raise _damaged(what, "it does not say which schema it follows")
    if info["schema"] > SCHEMA:
        raise RunError(
            f"{what} follows schema {info['schema']}",
            rule=f"this version of rgan reads schemas up to {SCHEMA}",
            repair="pip install --upgrade 'rgan[sync]'",
        )
    if not isinstance(info.get("id"), str) or not _ID.fullmatch(info["id"]):
        raise _damaged(what, "its id is not one")
    segments = info.get("segments")
    if not isinstance(segments, list) or not all(isinstance(s, dict) for s in segments):
        raise _damaged(what, "its segments are not a list of objects")
    return info


def _damaged(what: str, how: str) -> RunError:
    return RunError(
        f"{what} is damaged: {how}",
        rule="run.json is a JSON object written by rgan",
        repair="restore the file from a copy of the run",
    )
