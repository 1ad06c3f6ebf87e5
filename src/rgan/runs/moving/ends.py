"""One end of a copy: a folder that can be listed, read and written, here or elsewhere.

Paths are relative to the end's root, with "/" between the names; "" is the root. Links are listed
as links and never followed, but for the root and the run folders right below it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rgan.errors import RunError
from rgan.runs import atomic
from rgan.runs.moving.faults import explained, writing

CHUNK = 1 << 20
PARTIAL = f"{atomic.TEMPORARY}sync-"  # begins the name of what is on its way
SMALL = 64 << 20  # what is read into memory at once is never larger
_DEEPEST, _MOST = 8, 200_000


@dataclass(frozen=True)
class Entry:
    """A name in a folder.

    Args:
        kind: "file", "folder" or "link".
        size: of a file, in bytes.
        stamp: changes when the content does; "" where the place tells nothing of the kind.
    """

    kind: str
    size: int = 0
    stamp: str = ""


class End(ABC):
    """A folder at one end. A reading method raises ``FileNotFoundError`` for what is not there.

    Args:
        shown: what messages call it.
    """

    renames = True
    """Whether files grow and get other names there; in an object store they are put whole."""
    local: Path | None = None
    """The folder, where it is on this machine."""

    def __init__(self, shown: str, secrets: Iterable[str] = ()) -> None:
        self.shown, self.secrets = shown, tuple(secrets)

    def explained(self):  # type: ignore[no-untyped-def]  # a context manager
        """Errors of this end become those of this package."""
        return explained(self.shown, self.secrets)

    def writing(self):  # type: ignore[no-untyped-def]  # a context manager
        """The same while something is written."""
        return writing(self.shown, self.secrets)

    # -- reading -----------------------------------------------------------------------------

    @abstractmethod
    def listing(self, path: str) -> dict[str, Entry]:
        """The names in a folder."""

    @abstractmethod
    def chunks(self, path: str, start: int = 0) -> Iterator[bytes]:
        """A file's bytes from ``start`` on."""

    @abstractmethod
    def entry(self, path: str) -> Entry | None:
        """What a path is, None where there is nothing."""

    def read(self, path: str, limit: int = SMALL) -> bytes:
        """A whole small file.

        Raises:
            RunError: it is larger than ``limit`` bytes.
        """
        data = bytearray()
        for chunk in self.chunks(path):
            data += chunk
            if len(data) > limit:
                raise RunError(
                    f'"{path}" in "{self.shown}" has more than {limit:,} bytes',
                    rule="a file of this kind is small",
                )
        return bytes(data)

    def sha256(self, path: str) -> str:
        """The SHA-256 of a file, as hex."""
        digest = hashlib.sha256()
        for chunk in self.chunks(path):
            digest.update(chunk)
        return digest.hexdigest()

    def tree(self, path: str, enter: Callable[[str], bool]) -> dict[str, Entry]:
        """Everything below a folder, by its path relative to it.

        Args:
            path: the folder.
            enter: whether to go into a folder, by the same relative path.

        Raises:
            RunError: it is deeper or fuller than any run is.
        """
        found: dict[str, Entry] = {}
        waiting = [""]
        while waiting:
            here = waiting.pop()
            try:
                names = self.listing(joined(path, here))
            except FileNotFoundError:
                if not here:
                    raise
                continue  # gone since its parent was listed
            for name, entry in names.items():
                if not name:
                    continue  # an object store may hold "a//b"; it would lead to "a" for ever
                below = joined(here, name)
                found[below] = entry
                if entry.kind == "folder" and enter(below):
                    waiting.append(below)
            if len(found) > _MOST or any(p.count("/") >= _DEEPEST for p in waiting):
                raise RunError(
                    f'"{path}" in "{self.shown}" is too deep or too full to be a run',
                    rule=f"at most {_DEEPEST} folders deep and {_MOST:,} files",
                )
        return found

    # -- writing -----------------------------------------------------------------------------

    @abstractmethod
    def make_folder(self, path: str) -> None:
        """Makes a folder and those above it."""

    @abstractmethod
    def write_from(self, path: str, start: int, chunks: Iterable[bytes]) -> None:
        """Writes from ``start`` on, into what is there already."""

    @abstractmethod
    def put(self, path: str, data: bytes) -> None:
        """A whole small file, that appears at once."""

    @abstractmethod
    def put_file(self, path: str, file: Path) -> None:
        """A whole file of this machine, that appears at once."""

    @abstractmethod
    def rename(self, old: str, new: str) -> None:
        """Gives a file another name, in place of what has it."""

    @abstractmethod
    def replace_folder(self, temporary: str, target: str) -> None:
        """Gives a complete folder its name, in place of what has it."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Removes a file or a folder with all in it; nothing where it is not there."""

    def refresh(self) -> None:  # noqa: B027  most remember nothing
        """Forgets what was remembered of the place."""

    def close(self) -> None:  # noqa: B027  most hold nothing open
        """Lets go of the connection."""


def joined(*parts: str) -> str:
    """Parts of a path with "/" between them, empty ones left out."""
    return "/".join(part for part in parts if part)


class LocalEnd(End):
    """A folder of this machine."""

    local: Path

    def __init__(self, folder: str | Path, shown: str = "") -> None:
        super().__init__(shown or str(folder))
        self.local = Path(folder)

    def _at(self, path: str) -> Path:
        return self.local / path if path else self.local

    def listing(self, path: str) -> dict[str, Entry]:
        with self.explained(), os.scandir(self._at(path)) as names:
            return {item.name: e for item in names if (e := _entry(item.stat))}

    def entry(self, path: str) -> Entry | None:
        file = self._at(path)
        with self.explained():
            return _entry(file.stat)

    def chunks(self, path: str, start: int = 0) -> Iterator[bytes]:
        with self.explained(), self._at(path).open("rb") as file:
            file.seek(start)
            while chunk := file.read(CHUNK):
                yield chunk

    def make_folder(self, path: str) -> None:
        with atomic.explain_os_errors(self._at(path)):
            self._at(path).mkdir(parents=True, exist_ok=True)

    def write_from(self, path: str, start: int, chunks: Iterable[bytes]) -> None:
        target = self._at(path)
        # never "ab": two at once then write the same bytes to the same places
        with _opened(target) as file:
            file.truncate(start)
            file.seek(start)
            for chunk in chunks:
                with atomic.explain_os_errors(target):
                    file.write(chunk)
            with atomic.explain_os_errors(target):
                file.flush()
                os.fsync(file.fileno())

    def put(self, path: str, data: bytes) -> None:
        target = self._at(path)
        temporary = target.with_name(f"{PARTIAL}{target.name}")
        with atomic.explain_os_errors(target):
            try:
                atomic.write_synced(temporary, data)
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            atomic.sync_folder(target.parent)

    def put_file(self, path: str, file: Path) -> None:
        raise NotImplementedError("a folder is written by write_from and rename")

    def rename(self, old: str, new: str) -> None:
        with atomic.explain_os_errors(self._at(new)):
            self._at(old).replace(self._at(new))
            atomic.sync_folder(self._at(new).parent)

    def replace_folder(self, temporary: str, target: str) -> None:
        atomic.replace_folder(self._at(temporary), self._at(target))

    def remove(self, path: str) -> None:
        target = self._at(path)
        with atomic.explain_os_errors(target):
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target, ignore_errors=True)
            else:
                target.unlink(missing_ok=True)


def _opened(target: Path):  # type: ignore[no-untyped-def]  # a file
    with atomic.explain_os_errors(target):
        return target.open("r+b" if target.exists() else "w+b")


def _entry(ask: Callable[..., os.stat_result]) -> Entry | None:
    """An entry of this machine; None where it has just gone or is no file, folder or link."""
    try:
        found = ask(follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    stamp = f"{found.st_size}-{found.st_mtime_ns}"
    if stat.S_ISLNK(found.st_mode):
        return Entry("link")
    if stat.S_ISDIR(found.st_mode):
        return Entry("folder", 0, f"{found.st_mtime_ns}")
    return Entry("file", found.st_size, stamp) if stat.S_ISREG(found.st_mode) else None
