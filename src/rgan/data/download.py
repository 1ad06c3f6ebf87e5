"""Files that are not bundled: found on this machine, or downloaded by pooch, resumed and checked.

A file is looked for in this order: the data folder (the option, else the variable RGAN_DATA), the
folders where a system package puts it, the cache, the mirrors. Checksums are of the decompressed
bytes, because the same data is packed differently by every mirror; they hold for local files too.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

from rgan.data.resume import ResumingDownloader, brief, is_transfer_error
from rgan.errors import SourceError


@dataclass(frozen=True)
class RemoteFile:
    """A file that a source needs.

    Args:
        name: of the file as it is published, "train-images-idx3-ubyte.gz". Where it ends in .gz,
            a local file without that ending (decompressed) is as good.
        urls: mirrors, tried in this order.
        folders: names of the sub-folders of a data folder in which it may lie.
        system: folders in which a system package installs it.
        sha256: of the decompressed bytes; "" where the content is checked by its reader.
        size: of the decompressed bytes, or the most that is accepted where there is no sha256.
    """

    name: str
    urls: tuple[str, ...]
    folders: tuple[str, ...]
    system: tuple[str, ...] = ()
    sha256: str = ""
    size: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The file names that will do, the published one first."""
        return (self.name, self.name.removesuffix(".gz")) if self.is_gzip else (self.name,)

    @property
    def is_gzip(self) -> bool:
        """Whether the published file is compressed by gzip."""
        return self.name.endswith(".gz")


def data_folder(option: str = "") -> Path | None:
    """The user's data folder: the option, else RGAN_DATA, else None.

    Raises:
        SourceError: the folder that is named does not exist.
    """
    named = option or os.environ.get("RGAN_DATA", "")
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise SourceError(
            f'the data folder "{named}" is not there',
            rule=f"{'--data-dir' if option else 'the variable RGAN_DATA'} names a folder",
            repair=f"mkdir -p {named}" if not option else "--data-dir FOLDER",
        )
    return folder


def cache_folder() -> Path:
    """Where downloads are kept."""
    import pooch

    return Path(pooch.os_cache("rgan"))


def find_local(file: RemoteFile, data_dir: str = "") -> Path | None:
    """Where the file lies on this machine, or None.

    Raises:
        SourceError: the data folder that is named does not exist.
    """
    places: list[Path] = []
    root = data_folder(data_dir)
    if root is not None:
        places += [root / folder for folder in file.folders] + [root]
    places += [Path(folder) for folder in file.system]
    places.append(cache_folder() / file.folders[0])
    for place in places:
        for name in file.names:
            if (place / name).is_file():
                return place / name
    return None


def fetch(file: RemoteFile, data_dir: str = "", quiet: bool = False) -> tuple[Path, bytes]:
    """The file's path and its decompressed, checked bytes; downloaded if it is not here.

    Raises:
        SourceError: it is not here and no mirror gave it, or its content is not what it must be.
    """
    path = find_local(file, data_dir)
    if path is not None:
        return path, read_checked(file, path)
    failures = []
    for url in file.urls:
        try:
            path = _download(file, url, quiet)
        except Exception as error:
            if not is_transfer_error(error):
                raise
            failures.append(f"{url}: {brief(error)}")
            continue
        try:
            return path, read_checked(file, path)
        except SourceError as error:
            path.unlink(missing_ok=True)
            failures.append(f"{url}: {error.found}")
    raise SourceError(
        f"{file.name} is not on this machine, and could not be downloaded:\n    "
        + "\n    ".join(failures),
        rule=f"it is looked for as {' or '.join(file.names)} in the data folder, "
        f"or in {' or '.join(file.folders)} within it",
        repair=f"put it at FOLDER/{file.folders[0]}/{file.name} and add --data-dir FOLDER "
        "(or export RGAN_DATA=FOLDER)",
    )


def read_checked(file: RemoteFile, path: Path) -> bytes:
    """The decompressed bytes of a local copy, of the right size and checksum.

    Raises:
        SourceError: it cannot be read, is damaged, or holds something else.
    """
    limit = file.size + 1
    try:
        with path.open("rb") as stream:
            packed = stream.read(2) == b"\x1f\x8b"
        if file.is_gzip and packed:
            with gzip.open(path, "rb") as stream:
                data = stream.read(limit)
        else:
            with path.open("rb") as stream:
                data = stream.read(limit)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(
            f"{path} cannot be read: {brief(error)}",
            rule="a whole file, gzip or decompressed",
            repair=f"fetch {path.name} again, or remove it so that it is downloaded",
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if len(data) > file.size or (file.sha256 and found != file.sha256):
        size = f"more than {file.size:,}" if len(data) > file.size else f"{len(data):,}"
        raise SourceError(
            f"{path} holds {size} bytes with the SHA-256 {found[:12]}...",
            rule=f"decompressed it has {'' if file.sha256 else 'at most '}{file.size:,} bytes"
            + (f" with the SHA-256 {file.sha256[:12]}..." if file.sha256 else ""),
            reason="results on another or a damaged data set would carry the wrong name",
            repair=f"remove {path}, and it is downloaded; or pass it as a path of its own",
        )
    return data


def _download(file: RemoteFile, url: str, quiet: bool) -> Path:
    import pooch

    folder = cache_folder() / file.folders[0]
    folder.mkdir(parents=True, exist_ok=True)
    pooch.get_logger().setLevel("WARNING")  # its advice on hashes is not for our users
    mirror = hashlib.sha256(url.encode()).hexdigest()[:8]  # no two mirrors in one part
    downloader = ResumingDownloader(folder / f"{file.name}.{mirror}.part", quiet)
    path = pooch.retrieve(url, known_hash=None, fname=file.name, path=folder, downloader=downloader)
    return Path(path)
