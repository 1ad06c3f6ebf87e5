"""How long the command takes to answer where nothing is to be computed: help, a list, a mistake.

    python benchmarks/start.py

Prints the median and the slowest of several starts of each, against 0.7 s, and the processor time:
where others use the machine, the clock says more about them.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

from common import machine, markdown, reached, rgan

LIMIT = 0.7  # seconds
COMMANDS: dict[str, tuple[tuple[str, ...], int]] = {
    "rgan --help": (("--help",), 0),
    "rgan data list": (("data", "list"), 0),
    "rgan train icu --set trian.steps=1": (("train", "icu", "--set", "trian.steps=1"), 2),
}
"""What is shown: (words, the exit code that is right)."""


def processor() -> float:
    """Seconds of processor time that ended children have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def starts(words: tuple[str, ...], expected: int, count: int) -> tuple[list[float], list[float]]:
    """Seconds by the clock and of the processor for each of ``count`` starts, after one that is
    not counted (files are then in memory)."""
    clock, used = [], []
    for _ in range(count + 1):
        began, before = time.perf_counter(), processor()
        done = subprocess.run(rgan(*words), capture_output=True, text=True)
        clock.append(time.perf_counter() - began)
        used.append(processor() - before)
        if done.returncode != expected:
            sys.exit(f"rgan {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
    return clock[1:], used[1:]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=10, help="of each command")
    count = parser.parse_args().starts
    rows = []
    for shown, (words, expected) in COMMANDS.items():
        clock, used = starts(words, expected, count)
        median = statistics.median(clock)
        row = [f"`{shown}`", f"{median:.2f}", f"{max(clock):.2f}", f"{statistics.median(used):.2f}"]
        rows.append([*row, f"< {LIMIT}", reached(median < LIMIT)])
    header = ["command", f"median of {count}, s", "slowest, s", "processor, s", "bar", "reached"]
    print(machine())
    print(markdown(header, rows))


if __name__ == "__main__":
    main()
