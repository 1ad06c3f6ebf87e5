"""``.sync.json``: what has been copied into a run, and how both sides looked then.

With it a file that is as it was is known without being read, and one that was changed at DEST is
told from one that was changed at SOURCE. Without it everything is compared by its SHA-256.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field

from rgan.runs.moving.ends import End, joined
from rgan.runs.moving.survey import MANIFEST

SCHEMA = 1


@dataclass(frozen=True)
class Copied:
    """A file, or a whole checkpoint, that was copied.

    Args:
        source, dest: the stamps of both sides when it was.
        sha256: of the file; of a checkpoint's state.json, which vouches for the rest.
        bytes: its size.
    """

    source: str
    dest: str
    sha256: str
    bytes: int


@dataclass
class Manifest:
    """What has been copied into one run from one source.

    Args:
        source: tells sources apart; what came from another one says nothing.
        run: the run's id; "" where there is no manifest yet.
        copied: by the path in the run.
    """

    source: str
    run: str = ""
    copied: dict[str, Copied] = field(default_factory=dict)
    changed: bool = False

    @classmethod
    def read(cls, end: End, path: str, source: str) -> Manifest:
        """The manifest in this run; an empty one where it is missing, damaged or of another."""
        new = cls(source)
        try:
            data = json.loads(end.read(joined(path, MANIFEST)))
            if data["schema"] != SCHEMA:
                return new
            new.run = str(data["run"])
            if data["source"] != source:
                return new
            for name, entry in data["copied"].items():
                one = Copied(**entry)
                if all(isinstance(v, str) for v in (one.source, one.dest, one.sha256)):
                    new.copied[name] = one
        except (FileNotFoundError, NotADirectoryError, RecursionError):
            return new
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls(source)
        return new

    def note(self, path: str, entry: Copied) -> None:
        """Remembers a copy."""
        if self.copied.get(path) != entry:
            self.copied[path] = entry
            self.changed = True

    def write(self, end: End, path: str) -> None:
        """Writes the manifest, if there is anything new in it."""
        if not self.changed:
            return
        data = {
            "schema": SCHEMA,
            "source": self.source,
            "run": self.run,
            "copied": {name: asdict(entry) for name, entry in sorted(self.copied.items())},
        }
        end.put(joined(path, MANIFEST), (json.dumps(data, indent=1) + "\n").encode())
        self.changed = False
