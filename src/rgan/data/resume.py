"""A downloader for pooch that resumes: what has arrived is kept, and only the rest is asked for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

ATTEMPTS = 5  # connections in a row that may bring nothing new before a mirror is given up
CONNECTIONS = 100  # in all, for one file
CHUNK = 1 << 14
TIMEOUT_S = (10, 30)  # to connect, and between two chunks


class ResumingDownloader:
    """A downloader for pooch that keeps what has arrived, and asks only for the rest.

    What has arrived stays in a ``.part`` file, so that a later call goes on as well.

    Args:
        part: the file that keeps it.
        quiet: no progress bar.
    """

    def __init__(self, part: Path, quiet: bool = False) -> None:
        self.part, self.quiet = part, quiet

    def __call__(self, url: str, output_file: Any, pooch: Any = None, **_: Any) -> None:
        """Download ``url`` to ``output_file``; raises OSError when no more comes."""
        idle, problem = 0, OSError("no connection was tried")
        with _progress(self.quiet) as bar:
            task = bar.add_task(Path(url).name, total=None)
            for _connection in range(CONNECTIONS):
                before = self._size()
                try:
                    if self._attempt(url, bar, task):
                        self.part.replace(output_file)
                        return
                    problem = OSError(f"the connection ended at {self._size():,} bytes")
                except Exception as error:
                    if not is_transfer_error(error) or _is_refusal(error):
                        raise
                    problem = OSError(brief(error))
                idle = 0 if self._size() > before else idle + 1
                if idle >= ATTEMPTS or not max(before, self._size()):
                    break
                time.sleep(idle / 2)
        raise problem

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _attempt(self, url: str, bar: Any, task: Any) -> bool:
        """One connection. True when the whole file is here."""
        import requests

        have = self._size()
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
            if answer.status_code == 416:  # nothing after what we have: it is whole, or not ours
                if _total(answer) == have:
                    return True
                self.part.unlink()
                return False
            answer.raise_for_status()
            goes_on = answer.status_code == 206 and _start(answer) == have
            if have and answer.status_code == 206 and not goes_on:
                self.part.unlink()
                return False
            total = _total(answer)
            bar.update(task, total=total, completed=have if goes_on else 0)
            with self.part.open("ab" if goes_on else "wb") as part:
                # The raw stream: some mirrors declare .gz files as an encoding to be undone.
                for chunk in answer.raw.stream(CHUNK, decode_content=False):
                    part.write(chunk)
                    bar.advance(task, len(chunk))
        return total is None or self._size() == total


def is_transfer_error(error: Exception) -> bool:
    """Whether the network, the server or the disk failed, and not this program."""
    import requests
    import urllib3

    kinds = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)
    return isinstance(error, kinds)


def brief(error: BaseException) -> str:
    """An error as one short line."""
    text = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {text[:120]}" if text else type(error).__name__


def _is_refusal(error: Exception) -> bool:
    """Whether the server answered that it does not have the file: asking again is no use."""
    import requests

    return isinstance(error, requests.HTTPError)


def _total(answer: Any) -> int | None:
    """Bytes of the whole file, if the server says so."""
    _, slash, total = answer.headers.get("Content-Range", "").partition("/")
    if slash:
        return int(total) if total.isdigit() else None
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def _start(answer: Any) -> int:
    """The first byte of a partial answer; -1 if the server does not say."""
    start = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(start) if start.isdigit() else -1


def _progress(quiet: bool) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    return Progress(
        *columns, TimeRemainingColumn(), console=console, disable=quiet or not console.is_terminal
    )
