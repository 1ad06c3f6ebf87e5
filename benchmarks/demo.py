"""How long ``rgan demo`` takes and how much memory, against 5 minutes and 2 GB.

    python benchmarks/demo.py
    python benchmarks/demo.py --steps 30        a quick try, which says nothing of the bar

The demo runs as a child, in a temporary folder. Memory is the sum of the resident memory of the
child and all its own children, looked at ten times a second. Pages that processes share are counted
for each of them, so the sum is never too small.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from common import MIB, machine, markdown, reached, rgan

SECONDS, MEMORY = 300.0, 2e9
EVERY = 0.1  # seconds between two looks


def tree_memory(process: psutil.Process) -> int:
    """Resident bytes of a process and of all below it; what has just ended counts nothing."""
    total = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.Error:
            continue
    return total


def watch(command: list[str]) -> tuple[float, int, int]:
    """Run it, its output passed on to standard error; (seconds, peak bytes, exit code)."""
    began, peak = time.perf_counter(), 0
    child = subprocess.Popen(command, stdout=sys.stderr)
    process = psutil.Process(child.pid)
    while child.poll() is None:
        peak = max(peak, tree_memory(process))
        time.sleep(EVERY)
    return time.perf_counter() - began, peak, child.returncode


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=0, help="of training; 0: the demo's own")
    parser.add_argument("--runs", default="", help="keep the run in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        words = ["demo", "--runs", options.runs or str(Path(folder) / "runs")]
        if options.steps:
            words += ["--steps", str(options.steps)]
        seconds, peak, code = watch(rgan(*words))
    if code:
        sys.exit(f"rgan {' '.join(words)} ended with {code}")
    rows = [
        ["seconds", f"{seconds:.0f}", f"<= {SECONDS:.0f}", reached(seconds <= SECONDS)],
        [
            "peak memory, MiB",
            f"{peak / MIB:,.0f}",
            f"< {MEMORY / MIB:,.0f}",
            reached(peak < MEMORY),
        ],
    ]
    print(machine() + (f"; only {options.steps} steps" if options.steps else ""))
    print(markdown(["`rgan demo`", "measured", "bar", "reached"], rows))


if __name__ == "__main__":
    main()
