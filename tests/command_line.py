"""The command line for tests: in this process, as somebody types it."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from rgan.cli.main import main

TINY = (
    *("--device", "cpu", "--set", "generator.hidden=8", "--set", "critic.hidden=8"),
    *("--set", "critic.channels=8", "--set", "train.warmup=2"),
)
"""Flags of a training that takes moments."""


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str


def rgan(*words: object) -> Answer:
    """Run ``rgan WORDS`` here, and nothing of it is caught but its exit."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["rgan", *map(str, words)]
    with (
        patch.object(sys, "argv", argv),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        else:
            code = 0
    return Answer(code, out.getvalue(), err.getvalue())


def start(*words: object, cwd: Path) -> subprocess.Popen[str]:
    """``rgan WORDS`` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "rgan.cli.main", *map(str, words)],
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@contextlib.contextmanager
def killed_at_last(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that does not outlive its test."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()


def content(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder, with the bytes of the files."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }
