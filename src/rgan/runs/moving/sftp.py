"""A folder behind SFTP, whoever made the connection."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from rgan.runs.moving.ends import CHUNK, PARTIAL, End, Entry, joined

_READ_AT_ONCE = 255 * 1024  # the most that OpenSSH's server gives for one question


class Hasher(Protocol):
    """Something that tells the SHA-256 of a file of the other machine, or None."""

    def sha256(self, path: str) -> str | None:
        """As hex."""


class SftpEnd(End):
    """A folder behind SFTP.

    Args:
        fs: fsspec's SFTP filesystem, connected.
        root: the folder; relative to where one comes in unless it begins with "/".
        hasher: asks the other machine for the SHA-256 of one of its files.
    """

    def __init__(
        self,
        fs: Any,
        root: str,
        shown: str,
        secrets: Iterable[str] = (),
        hasher: Hasher | None = None,
        close: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(shown, secrets)
        self.fs, self.sftp, self.root = fs, fs.ftp, root
        self._hasher, self._close = hasher, close
        self._folders: set[str] = set()  # that are known to be there

    def at(self, path: str) -> str:
        """The path as the other machine has it."""
        return joined(self.root.rstrip("/"), path) if self.root != "/" else f"/{path}"

    # -- reading -----------------------------------------------------------------------------

    def listing(self, path: str) -> dict[str, Entry]:
        with self.explained():
            return {item.filename: _entry(item) for item in self.sftp.listdir_attr(self.at(path))}

    def entry(self, path: str) -> Entry | None:
        with self.explained():
            try:
                return _entry(self.sftp.lstat(self.at(path)))
            except FileNotFoundError:
                return None

    def chunks(self, path: str, start: int = 0) -> Iterator[bytes]:
        with self.explained(), self.sftp.open(self.at(path), "rb") as file:
            file.MAX_REQUEST_SIZE = _READ_AT_ONCE
            file.seek(start)
            while chunk := file.read(CHUNK):
                yield chunk

    def sha256(self, path: str) -> str:
        """By the other machine's own program where it has one, else by reading the file."""
        found = self._hasher.sha256(self.at(path)) if self._hasher is not None else None
        return found or super().sha256(path)

    # -- writing -----------------------------------------------------------------------------

    def refresh(self) -> None:
        self._folders.clear()

    def make_folder(self, path: str) -> None:
        folder = PurePosixPath(self.at(path))
        if str(folder) in self._folders:
            return
        with self.explained():
            for part in [*reversed(folder.parents), folder]:
                if str(part) in (".", "/") or str(part) in self._folders:
                    continue
                try:
                    self.sftp.stat(str(part))
                except FileNotFoundError:
                    self.sftp.mkdir(str(part))
                self._folders.add(str(part))

    def write_from(self, path: str, start: int, chunks: Iterable[bytes]) -> None:
        with self.explained(), self._opened(path, start) as file:
            file.set_pipelined(True)  # does not wait for an answer to each piece
            for chunk in chunks:
                file.write(chunk)

    def _opened(self, path: str, start: int) -> Any:
        """A file to write from ``start`` on; never emptied, since another may write it too."""
        if not start:
            with contextlib.suppress(OSError):
                return self.sftp.open(self.at(path), "wxb")
        with self.writing():
            file = self.sftp.open(self.at(path), "r+b")
        file.truncate(start)
        file.seek(start)
        return file

    def put(self, path: str, data: bytes) -> None:
        folder, _, name = path.rpartition("/")
        temporary = joined(folder, f"{PARTIAL}{name}")
        self.write_from(temporary, 0, [data])
        self.rename(temporary, path)

    def put_file(self, path: str, file: Path) -> None:
        raise NotImplementedError("SFTP is written by write_from and rename")

    def rename(self, old: str, new: str) -> None:
        with self.writing():
            self.sftp.posix_rename(self.at(old), self.at(new))

    def replace_folder(self, temporary: str, target: str) -> None:
        folder, _, name = target.rpartition("/")
        aside = joined(folder, f".old-{name}")
        self._folders.discard(self.at(temporary))
        there = self.entry(target) is not None
        if there:
            self.remove(aside)
            self.rename(target, aside)
        self.rename(temporary, target)
        if there:
            self.remove(aside)

    def remove(self, path: str) -> None:
        entry = self.entry(path)
        if entry is None:
            return
        with self.explained():
            if entry.kind != "folder":
                self.sftp.remove(self.at(path))
                return
            self._folders.discard(self.at(path))
            for name in self.listing(path):
                self.remove(joined(path, name))
            self.sftp.rmdir(self.at(path))

    def close(self) -> None:
        if self._close is not None:
            self._close()


def _entry(found: Any) -> Entry:
    mode = found.st_mode or 0
    if stat.S_ISDIR(mode):
        return Entry("folder", 0, f"{found.st_mtime}")
    kind = "file" if stat.S_ISREG(mode) else "link"
    return Entry(kind, found.st_size or 0, f"{found.st_size}-{found.st_mtime}")
