"""Ends on other machines, by fsspec: SFTP, and object stores such as S3."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from rgan.errors import InputError
from rgan.runs.moving.ends import CHUNK, End, Entry, joined
from rgan.runs.moving.places import Place

_READ_AT_ONCE = 255 * 1024  # the most that OpenSSH's server gives for one question
_S3 = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 2}}


def open_remote(place: Place) -> End:
    """The end that an address names.

    Raises:
        InputError: fsspec knows no such scheme, or an option is not one of its filesystem.
        ImportError: the package that reaches it is not installed.
    """
    import fsspec  # type: ignore[import-untyped, unused-ignore]

    scheme = place.path.partition("://")[0].lower()
    if scheme == "sftp":
        from rgan.runs.moving.ssh import open_sftp

        return open_sftp(place)
    options = dict(place.options)
    if scheme in ("s3", "s3a"):
        options["config_kwargs"] = {**_S3, **options.get("config_kwargs", {})}
    try:
        # listings are never remembered: the other side writes while we look
        fs, root = fsspec.core.url_to_fs(
            place.path, use_listings_cache=False, skip_instance_cache=True, **options
        )
    except (ValueError, TypeError) as error:
        raise InputError(
            f'"{place.shown}" cannot be opened: {error}',
            rule="the scheme is one that fsspec knows, and so are the options",
            repair="python -c 'import fsspec; print(*fsspec.available_protocols())'",
        ) from error
    return StoreEnd(fs, str(root).rstrip("/"), place.shown, place.secrets)


class SftpEnd(End):
    """A folder behind SFTP.

    Args:
        fs: fsspec's SFTP filesystem, connected.
        root: the folder; relative to where one comes in unless it begins with "/".
        run_there: runs a program there with these words and gives its output, or None.
    """

    def __init__(
        self,
        fs: Any,
        root: str,
        shown: str,
        secrets: Iterable[str] = (),
        run_there: Callable[[list[str]], str | None] | None = None,
        close: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(shown, secrets)
        self.fs, self.sftp, self.root = fs, fs.ftp, root
        self._run_there, self._close = run_there, close

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
        if self._run_there is not None:
            answer = self._run_there(["sha256sum", "--", self.at(path)])
            digest = (answer or "").lstrip("\\").partition(" ")[0]
            if len(digest) == 64:
                return digest
            self._run_there = None  # not there, or only SFTP is allowed: do not ask again
        return super().sha256(path)

    # -- writing -----------------------------------------------------------------------------

    def make_folder(self, path: str) -> None:
        folder = PurePosixPath(self.at(path))
        with self.explained():
            for part in [*reversed(folder.parents), folder]:
                if str(part) in (".", "/"):
                    continue
                try:
                    self.sftp.stat(str(part))
                except FileNotFoundError:
                    self.sftp.mkdir(str(part))

    def write_from(self, path: str, start: int, chunks: Iterable[bytes]) -> None:
        with self.explained():
            try:
                file = self.sftp.open(self.at(path), "r+b")
            except FileNotFoundError:
                file = self.sftp.open(self.at(path), "wb")
            with file:
                file.truncate(start)
                file.seek(start)
                file.set_pipelined(True)  # does not wait for an answer to each piece
                for chunk in chunks:
                    file.write(chunk)

    def put(self, path: str, data: bytes) -> None:
        from rgan.runs.moving.ends import PARTIAL

        folder, _, name = path.rpartition("/")
        temporary = joined(folder, f"{PARTIAL}{name}")
        self.write_from(temporary, 0, [data])
        self.rename(temporary, path)

    def put_file(self, path: str, file: Path) -> None:
        raise NotImplementedError("SFTP is written by write_from and rename")

    def rename(self, old: str, new: str) -> None:
        with self.explained():
            self.sftp.posix_rename(self.at(old), self.at(new))

    def replace_folder(self, temporary: str, target: str) -> None:
        folder, _, name = target.rpartition("/")
        aside = joined(folder, f".old-{name}")
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


class StoreEnd(End):
    """An object store, or anything else that fsspec reaches: files are put whole, one by one.

    All names are listed once and remembered until ``refresh``: one question for a thousand files.

    Args:
        fs: the filesystem.
        root: bucket and prefix.
    """

    renames = False

    def __init__(self, fs: Any, root: str, shown: str, secrets: Iterable[str] = ()) -> None:
        super().__init__(shown, secrets)
        self.fs, self.root = fs, root
        self._folders: dict[str, dict[str, Entry]] | None = None

    def at(self, path: str) -> str:
        """The path as the filesystem has it."""
        return joined(self.root, path)

    def refresh(self) -> None:
        self._folders = None
        self.fs.invalidate_cache()

    def _all(self) -> dict[str, dict[str, Entry]]:
        if self._folders is None:
            with self.explained():
                try:
                    found = self.fs.find(self.root, detail=True)
                except FileNotFoundError:
                    found = {}
            folders: dict[str, dict[str, Entry]] = {"": {}} if found else {}
            for key, info in found.items():
                names = key[len(self.root) :].lstrip("/").split("/")
                for depth, name in enumerate(names):
                    here = folders.setdefault("/".join(names[:depth]), {})
                    here.setdefault(name, Entry("folder"))
                if names[-1]:
                    folders["/".join(names[:-1])][names[-1]] = _object(info)
            self._folders = folders
        return self._folders

    # -- reading -----------------------------------------------------------------------------

    def listing(self, path: str) -> dict[str, Entry]:
        folders = self._all()
        if path not in folders:
            raise FileNotFoundError(path)
        return folders[path]

    def entry(self, path: str) -> Entry | None:
        with self.explained():
            try:
                self.fs.invalidate_cache()
                info = self.fs.info(self.at(path))
            except FileNotFoundError:
                return None
            return Entry("folder") if info["type"] == "directory" else _object(info)

    def chunks(self, path: str, start: int = 0) -> Iterator[bytes]:
        with self.explained():
            size = int(self.fs.info(self.at(path))["size"])
            for begin in range(start, size, 8 * CHUNK):
                end = min(begin + 8 * CHUNK, size)
                yield self.fs.cat_file(self.at(path), start=begin, end=end)

    # -- writing -----------------------------------------------------------------------------

    def make_folder(self, path: str) -> None:
        """Folders are only the beginnings of names there."""

    def write_from(self, path: str, start: int, chunks: Iterable[bytes]) -> None:
        raise NotImplementedError("an object is put whole")

    def put(self, path: str, data: bytes) -> None:
        with self.explained():
            self.fs.pipe_file(self.at(path), data)

    def put_file(self, path: str, file: Path) -> None:
        with self.explained():
            self.fs.put_file(str(file), self.at(path))

    def rename(self, old: str, new: str) -> None:
        raise NotImplementedError("an object keeps its name")

    def replace_folder(self, temporary: str, target: str) -> None:
        raise NotImplementedError("an object keeps its name")

    def remove(self, path: str) -> None:
        with self.explained():
            if self.fs.exists(self.at(path)):
                self.fs.rm(self.at(path), recursive=True)


def _object(info: dict[str, Any]) -> Entry:
    names = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created")
    stamp = next((str(info[name]) for name in names if info.get(name)), "")
    size = int(info.get("size") or 0)
    return Entry("file", size, f"{size}-{stamp}" if stamp else "")
