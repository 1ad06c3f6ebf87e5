"""``history.jsonl``: what happened in a run, one JSON event a line, only ever added to."""

from __future__ import annotations

import json
import math
import os
import shlex
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rgan.errors import RunError
from rgan.runs.atomic import NO_LINK, explain_os_errors, read_bytes, write_bytes
from rgan.runs.info import is_step

MOST_BYTES = 2**30
"""Of the file: more than a hundred million steps leave behind."""


class History:
    """The event file of one run.

    A line cut short by a crash is left out when reading and cut off before the next line is added.
    Numbers that are not finite are written as null, because JSON knows no NaN.

    Args:
        path: the file; it is made by the first ``append``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._whole = False  # whether the end of the file is known to be a whole line
        self._waiting: list[bytes] = []
        self._turn = threading.RLock()  # checkpoints are saved in a thread, which flushes too

    def append(self, event: Mapping[str, Any]) -> None:
        """Adds one event as a line and hands it to the system at once.

        Where that fails, the line waits and is written before the next one.

        Args:
            event: JSON data, such as ``Event.as_dict()``; numpy numbers are taken as numbers.

        Raises:
            StorageError: the file cannot be written.
            TypeError: the event has no JSON form; nothing is written.
        """
        line = json.dumps(_plain(event), ensure_ascii=False, allow_nan=False) + "\n"
        with self._turn:
            self._waiting.append(line.encode("utf-8"))
            self.flush()

    def flush(self) -> None:
        """Writes the lines that wait, all or none.

        Raises:
            StorageError: the file cannot be written.
        """
        with self._turn, explain_os_errors(self.path):
            if not self._whole:
                self._repair()
                self._whole = True
            if self._waiting:
                self._write(b"".join(self._waiting))

    def sync(self) -> None:
        """Waits until the disk has every line, so that a checkpoint is never ahead of them.

        Raises:
            StorageError: the disk does not take them.
        """
        self.flush()
        if self.path.exists():
            with explain_os_errors(self.path):
                handle = os.open(self.path, os.O_WRONLY | NO_LINK)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)

    def read(self) -> list[dict[str, Any]]:
        """All events in order; none where there is no file yet.

        Raises:
            RunError: a line other than a torn last one is not a JSON object; says which.
        """
        return [json.loads(line) for line in self._good_lines()]

    def truncate_after(self, step: int) -> int:
        """Drops events after ``step``, so that a resume from there does not tell them twice.

        Args:
            step: the step of the checkpoint that training goes on from; events of it stay, and so
                do events that carry no step.

        Returns:
            How many events were dropped.

        Raises:
            RunError: the file is damaged or cannot be written.
        """
        lines = self._good_lines()
        kept = [line for line in lines if json.loads(line).get("step", step) <= step]
        if len(kept) < len(lines):
            write_bytes(self.path, b"".join(line + b"\n" for line in kept))
        return len(lines) - len(kept)

    def _good_lines(self) -> list[bytes]:
        try:
            lines = read_bytes(self.path, MOST_BYTES).split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise RunError(f'"{self.path}" cannot be read: {error.strerror}') from error
        torn = lines.pop()  # empty where the file ends in a whole line
        for number, line in enumerate(lines, start=1):
            if not _is_event(line):
                raise RunError(
                    f'line {number} of "{self.path}" is not an event: {line[:60]!r}',
                    rule='every line is one JSON object, {"event": ..., "step": ...}',
                    repair=f"sed -i {number}d {shlex.quote(str(self.path))}",
                )
        return [*lines, torn] if _is_event(torn) else lines

    def _write(self, data: bytes) -> None:
        """Adds all of ``data``, after which nothing waits, or none of it."""
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | NO_LINK, 0o644)
        try:
            begin, done = os.fstat(handle).st_size, 0
            try:
                while done < len(data):
                    done += os.write(handle, data[done:])
            except BaseException:  # a second Ctrl-C as well, or the lines would be written twice
                os.ftruncate(handle, begin)
                raise
            self._waiting = []
        finally:
            os.close(handle)

    def _repair(self) -> None:
        """Makes the file end in a whole line."""
        if not self.path.exists():
            return
        data = read_bytes(self.path, MOST_BYTES)
        torn = data[data.rfind(b"\n") + 1 :]
        if not torn:
            return
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | NO_LINK)
        try:
            if _is_event(torn):
                os.write(handle, b"\n")
            else:
                os.ftruncate(handle, len(data) - len(torn))
        finally:
            os.close(handle)


def _is_event(line: bytes) -> bool:
    try:
        event = json.loads(line)
        if b"\\ud" in line.lower():
            json.dumps(event, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):  # of which the errors of JSON and of UTF-8 are kinds
        return False
    if not isinstance(event, dict) or not is_step(event.get("step", 0)):
        return False
    if event.get("event") == "started":
        return "step" in event
    return event.get("event") != "epoch" or _is_epoch(event)


def _is_epoch(event: dict[str, Any]) -> bool:
    """Whether an event of the end of an epoch has what figures and tables are made of."""
    losses, rates = event.get("losses", {}), event.get("rates", {})
    return (
        "step" in event
        and is_step(event.get("epoch", 0))
        and isinstance(losses, dict)
        and isinstance(rates, dict)
        and all(map(_is_number, [*losses.values(), *rates.values()]))
    )


def _is_number(value: Any) -> bool:
    if value is None or isinstance(value, float):
        return True
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1e300


def _plain(data: Any) -> Any:
    """``data`` with numpy numbers as Python's and what is not finite as None."""
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if hasattr(data, "item") and getattr(data, "ndim", None) == 0:
        data = data.item()
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return data
