"""``state.json`` of a checkpoint: the size and SHA-256 of each of its files, and of itself."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

from rgan.runs.moving.faults import Damaged

STATE = "state.json"
_FILE = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\.safetensors")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Seal:
    """What vouches for a checkpoint.

    Args:
        data: state.json as it is.
        files: name to (size in bytes, SHA-256) of each tensor file.
    """

    data: bytes
    files: dict[str, tuple[int, str]]

    @property
    def sha256(self) -> str:
        """Of state.json."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def bytes(self) -> int:
        """Of the whole checkpoint."""
        return len(self.data) + sum(size for size, _ in self.files.values())


def read_seal(data: bytes, what: str) -> Seal:
    """The seal that a state.json holds.

    Args:
        data: the file's content.
        what: how messages call it.

    Raises:
        Damaged: it is not what was written, or names files that no checkpoint has.
    """
    try:
        document = json.loads(data)
        claimed = document.pop("sha256")
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        files = {
            str(name): (int(entry["bytes"]), str(entry["sha256"]))
            for name, entry in document["files"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{what} is damaged: it is not what rgan writes") from error
    if hashlib.sha256(text.encode("ascii")).hexdigest() != claimed:
        raise Damaged(f"{what} is damaged: its content is not what was written")
    for name, (size, digest) in files.items():
        if not _FILE.fullmatch(name) or size < 0 or not _HASH.fullmatch(digest):
            raise Damaged(f"{what} is damaged: it names a file that no checkpoint has")
    return Seal(data, files)
