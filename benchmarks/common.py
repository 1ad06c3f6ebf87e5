"""What the benchmarks share: tables, the machine in words, and children whose cost is measured.

Nothing here imports torch: on Linux a child's peak memory begins at its parent's, so a parent that
measures children has to stay small.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rgan.runs.info import git_commit, versions

MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """What a child process took.

    Args:
        seconds: from its start to its end.
        peak_bytes: its largest resident memory, without its own children.
        exit_code: what it ended with.
    """

    seconds: float
    peak_bytes: int
    exit_code: int


def rgan(*words: str) -> list[str]:
    """The command line of ``rgan WORDS`` in this environment."""
    beside = Path(sys.executable).with_name("rgan")
    if beside.exists():
        return [str(beside), *words]
    return [sys.executable, "-c", "from rgan.cli.main import main; main()", *words]


def measured(command: Sequence[str], stdout: IO[str] | int = subprocess.DEVNULL) -> Cost:
    """Run a command to its end; peak memory as the system counted it for this one child."""
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=stdout)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)  # so that Popen does not wait again
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(seconds, usage.ru_maxrss * unit, child.returncode)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table, its columns aligned."""
    cells = [list(header), *map(list, rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]

    def line(row: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([line(cells[0]), rule, *map(line, cells[1:])])


def machine() -> str:
    """One line: what kind of machine, which versions, which commit."""
    found = versions()
    packages = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    commit = git_commit(Path(__file__).parent)
    state = ""
    if commit:
        state = f"; commit {commit['commit'][:10]}{' and changes' if commit['changed'] else ''}"
    threads = os.environ.get("OMP_NUM_THREADS", "")
    limit = f", OMP_NUM_THREADS={threads}" if threads else ""
    return f"{platform.machine()}, {os.cpu_count()} cores{limit}; {packages}{state}"


def reached(yes: bool) -> str:
    """How a table says whether a bar was reached."""
    return "yes" if yes else "NO"
