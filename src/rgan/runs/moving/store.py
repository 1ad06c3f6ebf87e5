"""Object stores such as S3, and whatever else fsspec reaches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rgan.errors import InputError
from rgan.runs.moving.ends import CHUNK, SMALL, End, Entry, joined
from rgan.runs.moving.places import Place

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

    def read(self, path: str, limit: int = SMALL) -> bytes:
        folder, _, name = path.rpartition("/")
        entry = self._all().get(folder, {}).get(name)
        if entry is None or entry.size > limit:
            return super().read(path, limit)
        with self.explained():
            return bytes(self.fs.cat_file(self.at(path)))

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
        with self.writing():
            self.fs.pipe_file(self.at(path), data)

    def put_file(self, path: str, file: Path) -> None:
        with self.writing():
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
