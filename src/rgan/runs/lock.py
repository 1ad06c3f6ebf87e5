"""``lock.json``: one process at a time writes a run.

The process that writes holds a system lock (flock) on the file, which ends with the process however
it dies. Where runs lie on a disk that several hosts share, that lock may not reach across; so the
file's time is renewed every half minute, and a lock of another host counts as left behind when the
disk's own clock, which both see, says that it has not been renewed for five minutes.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from rgan.errors import RunError
from rgan.runs.atomic import NO_LINK, TEMPORARY, explain_os_errors, read_bytes
from rgan.runs.info import utc_now

try:
    import fcntl
except ImportError:  # Windows: the process's number and the file's time have to do
    fcntl = None  # type: ignore[assignment]

NAME = "lock.json"
_WRITTEN = (NAME, "history.jsonl", "checkpoints", "figures", "samples", "tensorboard")
RENEW_SECONDS = 30.0
STALE_SECONDS = 300.0
MOST_BYTES = 2**16


@dataclass(frozen=True)
class Holder:
    """Who has, or had, a run's lock.

    Args:
        host: the machine's name.
        pid: the process.
        since: when it took the lock, ISO text in UTC.
        alive: whether it still holds it; None where that cannot be known from here.
    """

    host: str
    pid: int
    since: str
    alive: bool | None

    def __str__(self) -> str:
        return f'process {self.pid} on "{self.host}", since {self.since[:19].replace("T", " ")} UTC'


def holder(run: str | Path) -> Holder | None:
    """Who holds the lock of the run in this folder; None where there is no lock.

    Raises:
        RunError: the lock cannot be read.
    """
    return _holder(Path(run) / NAME, time.time)


def _holder(path: Path, clock: Callable[[], float]) -> Holder | None:
    try:
        data = _parse(read_bytes(path, MOST_BYTES))
        with path.open("rb") as file:
            held = _is_held(file.fileno())
            renewed = os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RunError(f'"{path}" cannot be read: {error.strerror}') from error
    since, host = _words(data.get("since", "?")), _words(data.get("host", "?"))
    alive = _alive(data, held, clock() - renewed)
    return Holder(host, _whole(data.get("pid")), since, alive)


class RunLock:
    """Holds the lock of a run while open.

    Args:
        run: the run's folder.

    Raises (on entering):
        RunError: another process holds it; says which, and what to do.
        StorageError: the folder cannot be written.
    """

    def __init__(self, run: str | Path) -> None:
        self.run = Path(run)
        self.path = self.run / NAME
        self.took_over: Holder | None = None
        """Whose lock was found left behind."""
        self._token = secrets.token_hex(8)
        self._file = -1
        self._done = threading.Event()

    def __enter__(self) -> RunLock:
        _check_no_links(self.run)
        with explain_os_errors(self.path):
            before = _holder(self.path, self._disk_clock)
            if before is not None and before.alive is None:
                raise _held(self.run, before)
            self._file = self._open()
        self.took_over = before
        with explain_os_errors(self.path):
            text = json.dumps(_mine(self._token), indent=1) + "\n"
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, text.encode(), 0)
        threading.Thread(target=self._renew, daemon=True, name="rgan-lock").start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        with contextlib.suppress(OSError):
            if self.is_mine():
                self.path.unlink()
        os.close(self._file)

    def is_mine(self) -> bool:
        """Whether this process still has the lock, which somebody may have deleted or taken."""
        try:
            return _parse(read_bytes(self.path, MOST_BYTES)).get("token") == self._token
        except OSError:
            return False

    def check(self) -> None:
        """Refuse to write a run that another process has taken over.

        Raises:
            RunError: the lock is no longer this process's.
        """
        if not self.is_mine():
            now = holder(self.run)
            raise RunError(
                f'the lock of "{self.run}" is lost: {now or "it has been deleted"}',
                rule="one process at a time writes a run",
                reason="two would overwrite each other's checkpoints",
                repair=f'rgan train --resume "{self.run}" --branch',
            )

    def _open(self) -> int:
        """The file, locked. Somebody who only looks at the lock has it for an instant, and one who
        gives it up deletes the file, so a few attempts are made."""
        for _ in range(20):
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o644)
            if _take(file) and _is_at(file, self.path):
                return file
            os.close(file)
            time.sleep(0.02)
        raise _held(self.run, holder(self.run))

    def _disk_clock(self) -> float:
        """The time now as the disk tells it."""
        probe = self.path.with_name(f"{TEMPORARY}{self._token}-clock")
        try:
            probe.write_bytes(b"")
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def _renew(self) -> None:
        while not self._done.wait(RENEW_SECONDS):
            with contextlib.suppress(OSError):
                os.utime(self._file)


def _check_no_links(run: Path) -> None:
    """Refuse a run whose own files lie elsewhere: a stranger's could overwrite anything.

    Raises:
        RunError: names the link.
    """
    for name in _WRITTEN:
        if (run / name).is_symlink():
            raise RunError(
                f'"{run / name}" is a link to "{(run / name).readlink()}"',
                rule="what is written to a run lies in its own folder",
                reason="a run from somewhere else could have any file overwritten",
                repair=f"put what it leads to in its place, or link the whole run folder: {run}",
            )


def _mine(token: str) -> dict[str, Any]:
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "space": _process_space(),
        "since": utc_now(),
        "token": token,
    }


def _process_space() -> str:
    """Tells containers apart that have one host's name but count processes of their own."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _parse(content: bytes) -> dict[str, Any]:
    """What a lock says; nothing where it has just been made, or somebody wrote into it."""
    try:
        data = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _whole(number: Any) -> int:
    good = isinstance(number, int) and not isinstance(number, bool) and 0 < number < 2**31
    return number if good else 0


def _words(value: Any) -> str:
    """Text that may be printed, whoever wrote it."""
    return "".join(letter for letter in str(value)[:100] if letter.isprintable())


def _take(file: int) -> bool:
    """Whether the system lock could be had; True on a disk that knows no such locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.fstat(file).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False


def _is_held(file: int) -> bool | None:
    """Whether some process has the system lock; None where the disk knows no such locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def _alive(data: dict[str, Any], held: bool | None, age: float) -> bool | None:
    """From the system lock, or on the same machine from the process, or from the file's time."""
    if held:
        return True
    here = data.get("host") == platform.node() and data.get("space") == _process_space()
    if here or "host" not in data:
        return False if held is False else _process_exists(_whole(data.get("pid")))
    return False if age > STALE_SECONDS else None


def _process_exists(pid: int) -> bool:
    import psutil  # type: ignore[import-untyped, unused-ignore]

    return bool(pid > 0 and psutil.pid_exists(pid))


def _held(run: Path, who: Holder | None) -> RunError:
    found = f'"{run}" is being written by {who or "another process"}'
    rule = "one process at a time writes a run"
    if who is not None and who.alive is None:
        return RunError(
            found,
            rule=rule,
            reason="whether it still runs cannot be seen from here; its lock was renewed less than "
            f"{STALE_SECONDS / 60:.0f} minutes ago",
            repair=f'wait; or if that process is gone: rm "{run / NAME}"',
        )
    return RunError(
        found,
        rule=rule,
        reason="two would overwrite each other's checkpoints",
        repair=f'wait, stop it, or go on beside it: rgan train --resume "{run}" --branch',
    )
