"""Writing files and folders whole or not at all.

Everything is written under another name in the same folder, pushed to the disk, and then renamed: a
reader, or a machine that loses its power, sees the old content or the new, never half of one.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from rgan.errors import StorageError

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
"""For opening what is written to in place: a stranger's run may hold a link to somewhere else."""
TEMPORARY = ".tmp-"  # begins the name of what is being written
REPLACED = ".old-"  # begins the name of a folder while another takes its place


@contextlib.contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turns an ``OSError`` while ``path`` is written into an error that a user can act on.

    Raises:
        StorageError: the disk is full, the folder is gone, or may not be written.
    """
    try:
        yield
    except OSError as error:
        raise StorageError(
            f'"{path}" cannot be written: {error.strerror or error}',
            rule="the folder exists, may be written, and its disk has room",
            repair=f'df -h "{path.parent}"; ls -ld "{path.parent}"',
        ) from error


def write_bytes(path: str | Path, data: bytes) -> None:
    """Writes a file whole or not at all.

    Args:
        path: the file; its folder exists. What is there already is replaced.
        data: the whole content.

    Raises:
        StorageError: it cannot be written; what was there before is untouched.
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
    with explain_os_errors(path):
        try:
            write_synced(temporary, data)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def write_text(path: str | Path, text: str) -> None:
    """Writes a file of UTF-8 text whole or not at all; see ``write_bytes``."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: str | Path, data: Any) -> None:
    """Writes indented JSON whole or not at all; see ``write_bytes``.

    Raises:
        TypeError, ValueError: the data has no JSON form; nothing is written.
    """
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_bytes(path: str | Path, most: int) -> bytes:
    """Reads a file that a stranger may have put there, which is neither a pipe nor without end.

    Args:
        path: the file.
        most: the most bytes that it may have.

    Raises:
        OSError: it cannot be read, is no plain file, or is larger.
    """
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise OSError(errno.EFBIG, f"it has {size:,} bytes, over {most:,}")
        return file.read(size + 1)  # reading up to ``most`` would set aside all of that


def open_plain(path: str | Path) -> BinaryIO:
    """Opens a file to be read; a pipe, which would be waited for, and a device are refused.

    Raises:
        OSError: it cannot be opened, or is no plain file.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    file = os.fdopen(handle, "rb")
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is not a plain file")
    return file


def read_json(path: str | Path, most: int) -> Any:
    """Reads JSON that can be written again: no NaN, no half letters, no thousandfold nesting.

    Raises:
        OSError: as ``read_bytes``.
        ValueError: it is not such JSON.
    """
    text = read_bytes(path, most).decode("utf-8")
    try:
        data = json.loads(text, parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if "\\ud" in text.lower():
        json.dumps(data, ensure_ascii=False).encode("utf-8")
    return data


def _no_number(name: str) -> Any:
    raise ValueError(f"it holds {name}")


def write_synced(path: Path, data: bytes) -> None:
    """Writes a file and waits until the disk has it. Only for use inside a temporary folder."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Waits until the disk has the folder's list of names, where the system offers that."""
    with contextlib.suppress(OSError):  # Windows and some network disks cannot
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_folder(temporary: str | Path, target: str | Path) -> None:
    """Gives a complete folder its final name, in place of what is there.

    Where ``target`` exists it is moved aside first (a system renames no folder onto a full one)
    and deleted afterwards. A crash between the two leaves it under a name that ``set_aside``
    finds, so nothing complete is ever lost.

    Args:
        temporary: a folder beside ``target``, with everything in it.
        target: the name it gets.

    Raises:
        StorageError: it cannot be renamed; ``target`` is as it was.
    """
    temporary, target = Path(temporary), Path(target)
    aside = target.with_name(f"{REPLACED}{target.name}")
    with explain_os_errors(target):
        sync_folder(temporary)
        if not target.exists():
            temporary.rename(target)
        else:
            shutil.rmtree(aside, ignore_errors=True)
            target.rename(aside)
            try:
                temporary.rename(target)
            except OSError:
                aside.rename(target)
                raise
        sync_folder(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def set_aside(folder: Path) -> dict[str, Path]:
    """Folders that a crash left moved aside, by the name that each should have."""
    found = {p.name.removeprefix(REPLACED): p for p in folder.glob(f"{REPLACED}*") if p.is_dir()}
    return {name: path for name, path in found.items() if not (folder / name).exists()}


def clean(folder: Path) -> None:
    """Removes what interrupted writes left in ``folder``. Only its one writer may call this."""
    for name, path in set_aside(folder).items():
        path.rename(folder / name)
    for pattern in (TEMPORARY, REPLACED):
        for path in folder.glob(f"{pattern}*"):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
