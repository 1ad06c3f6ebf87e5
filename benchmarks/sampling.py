"""Time and peak memory of ``rgan sample`` for growing numbers of ICU stays.

    python benchmarks/sampling.py                     trains a short run first
    python benchmarks/sampling.py --run runs/...      samples from this one
    python benchmarks/sampling.py --million           up to 1,000,000 stays (12 GB of disk)

Each sampling is a child process, starting time included; its peak memory is what the system
counted for it. The bar: 100,000 stays in under 20 s on 2 cores, memory flat in N. How well a run
was trained changes neither.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from common import MIB, Cost, machine, markdown, measured, reached, rgan

COUNTS = [1_000, 10_000, 100_000]
BAR_COUNT, BAR_SECONDS = 100_000, 20.0
FLAT = 1.25
"""Memory is flat where the largest N takes at most this much more than the smallest that fills
several blocks (10,000)."""


@dataclass(frozen=True)
class Row:
    """One sampling."""

    ending: str
    n: int
    cost: Cost
    file_bytes: int


def train_short(folder: Path) -> Path:
    """An icu run of one epoch; its folder."""
    words = ["train", "icu", "--epochs", "1", "--quiet", "--runs", str(folder)]
    done = subprocess.run(
        rgan(*words, "--set", "train.figures=0"), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"the run could not be trained:\n{done.stderr}")
    return Path(done.stdout.strip().splitlines()[-1])


def sample(run: Path, n: int, ending: str, folder: Path) -> Row:
    """Sample n stays into a file, and remove the file."""
    target = folder / f"out.{ending}"
    cost = measured(rgan("sample", str(run), "-n", str(n), "-o", str(target), "--quiet"))
    if cost.exit_code:
        sys.exit(f"rgan sample -n {n} -o out.{ending} ended with {cost.exit_code}")
    size = target.stat().st_size
    target.unlink()
    print(f"{ending} {n:,}: {cost.seconds:.1f} s", file=sys.stderr, flush=True)
    return Row(ending, n, cost, size)


def table(rows: list[Row]) -> str:
    """All samplings as markdown."""
    header = ["file", "stays", "seconds", "stays a second", "peak, MiB", "file, MiB", "bar", ""]
    cells = []
    for row in rows:
        bar = (f"< {BAR_SECONDS:.0f} s", reached(row.cost.seconds < BAR_SECONDS))
        cells.append(
            [
                f".{row.ending}",
                f"{row.n:,}",
                f"{row.cost.seconds:.1f}",
                f"{row.n / row.cost.seconds:,.0f}",
                f"{row.cost.peak_bytes / MIB:,.0f}",
                f"{row.file_bytes / MIB:,.1f}",
                *(bar if row.n == BAR_COUNT else ("", "")),
            ]
        )
    return markdown(header, cells)


def flatness(rows: list[Row]) -> list[str]:
    """A line for each format: how peak memory grows with N."""
    lines = []
    for ending in dict.fromkeys(row.ending for row in rows):
        mine = {row.n: row.cost.peak_bytes for row in rows if row.ending == ending}
        low, high = min((n for n in mine if n >= 10_000), default=min(mine)), max(mine)
        ratio = mine[high] / mine[low]
        lines.append(
            f".{ending}: {high:,} stays take {ratio:.2f} times the memory of {low:,}; "
            f"flat (at most {FLAT}): {reached(ratio <= FLAT)}"
        )
    return lines


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default="", help="an icu run; one is trained if not given")
    parser.add_argument("--counts", default="", help="comma-separated, instead of the usual")
    parser.add_argument("--formats", default="npz,csv,npy", help="comma-separated endings")
    parser.add_argument("--million", action="store_true", help="1,000,000 stays too")
    options = parser.parse_args()
    counts = [int(n) for n in options.counts.split(",") if n] or list(COUNTS)
    counts += [1_000_000] if options.million else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = Path(options.run) if options.run else train_short(folder / "runs")
        endings = [ending.strip().lstrip(".") for ending in options.formats.split(",")]
        rows = [sample(run, n, ending, folder) for ending in endings for n in counts]
    print(machine())
    print(table(rows))
    print("\n".join(["", *flatness(rows)]))


if __name__ == "__main__":
    main()
