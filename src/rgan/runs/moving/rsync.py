"""rsync over SSH, for the tensors of a checkpoint, where both machines have it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING

from rgan.runs.moving import faults
from rgan.runs.moving.ends import End

if TYPE_CHECKING:
    from rgan.runs.moving.ssh import SshEnd

_CUT = (10, 12, 30, 35, 255)  # its exit codes for a line that is not there any more
_SO_FAR = re.compile(rb"\s([\d,]+)\s+\d+%")


def fetch(
    source: End,
    source_folder: str,
    dest: End,
    dest_folder: str,
    names: list[str],
    progress: Callable[[int], None],
) -> int:
    """Copies files between this machine and one that ``ssh`` reaches; what it leaves is resumed.

    Where rsync is not on both sides, or does not manage, nothing happens: SFTP does it then.

    Args:
        names: the files, in ``source_folder``; they get the same names in ``dest_folder``.
        progress: is told how many bytes more have been dealt with.

    Returns:
        The bytes that rsync dealt with.

    Raises:
        ConnectionLost: the line was cut.
    """
    remote = _remote(source, dest)
    if remote is None or not remote.has_rsync:
        return 0
    command = [
        *("rsync", "--inplace", "--ignore-times", "--protect-args", "--timeout=60"),
        *("--info=progress2", "--files-from=-", "--from0", "--no-links"),
        *("-e", shlex.join(remote.ssh)),
        *("--", f"{_spelt(source, source_folder)}/", f"{_spelt(dest, dest_folder)}/"),
    ]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "LC_ALL": "C"},
        )
        with process:
            try:
                done = _follow(process, names, progress)
            except BaseException:
                process.kill()
                raise
        errors.seek(0)
        said = errors.read(2000).decode(errors="replace").strip().splitlines()
    if process.returncode in _CUT:
        raise faults.lost(remote.shown, f"rsync: {said[0] if said else 'the line was cut'}")
    return done


def _follow(
    process: subprocess.Popen[bytes], names: list[str], progress: Callable[[int], None]
) -> int:
    """Hands over the names and follows the bytes; gives how many there were."""
    assert process.stdin is not None and process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write("\0".join(names).encode())
        process.stdin.close()
    done = 0
    while text := os.read(process.stdout.fileno(), 4096):
        for found in _SO_FAR.findall(b" " + text):
            now = int(found.replace(b",", b""))
            progress(now - done)
            done = now
    return done


def _spelt(end: End, folder: str) -> str:
    if end.local is not None:
        return str((end.local / folder).absolute())
    return f"{end.host}:{end.at(folder)}"  # type: ignore[attr-defined]


def _remote(source: End, dest: End) -> SshEnd | None:
    """The end behind ssh, where the other is on this machine."""
    for end, other in ((source, dest), (dest, source)):
        if hasattr(end, "has_rsync") and other.local is not None:
            return end  # type: ignore[return-value]
    return None
