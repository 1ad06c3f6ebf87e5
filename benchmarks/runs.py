"""What keeping runs costs: checkpoints while training, and a list of a thousand runs.

    python benchmarks/runs.py [--steps 400] [--runs 1000] [--repeats 3]

Prints the processor time of checkpoints at the default rate as a share of the demo's training, how
long the loop itself stands still for one, with this disk and with one on which every write takes
two seconds more, and the time of ``rgan runs list``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from common import machine, markdown, reached, rgan

SHARE_LIMIT, LIST_LIMIT = 0.03, 2.0
SLOW_SECONDS = 2.0


@contextmanager
def slow_disk(seconds: float) -> Iterator[None]:
    """Every file of a checkpoint takes so much longer to be written."""
    from rgan.runs import atomic

    write = atomic.write_synced

    def slowly(path: Path, data: bytes) -> None:
        time.sleep(seconds)
        write(path, data)

    with patch.object(atomic, "write_synced", slowly):
        yield


class Watch:
    """Times the loop's steps, and the processor of the thread that writes checkpoints."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self.last = 0.0

    def __call__(self, event: object) -> None:
        now = time.perf_counter()
        if getattr(event, "kind", "") == "step":
            if self.last:
                self.gaps.append(now - self.last)
            self.last = now


def train(steps: int, minutes: float, folder: Path, slow: float) -> dict[str, float]:
    """Train the demo's model; what checkpoints cost it."""
    from rgan.config import changed, preset
    from rgan.runs.checkpoint import CheckpointStore
    from rgan.workflow.fit import fit
    from rgan.workflow.recording import Checkpoints

    spent = {"snapshots": 0.0, "writing": 0.0, "wall": 0.0, "count": 0.0}
    snapshot, store = Checkpoints._save, CheckpointStore.save

    def snapshot_timed(self: Checkpoints) -> None:
        begun = time.thread_time()
        snapshot(self)
        spent["snapshots"] += time.thread_time() - begun

    def store_timed(self: CheckpointStore, *words: object, **more: object) -> Path:
        begun, wall = time.thread_time(), time.perf_counter()
        path = store(self, *words, **more)  # type: ignore[arg-type]
        spent["writing"] += time.thread_time() - begun
        spent["wall"] += time.perf_counter() - wall
        spent["count"] += 1
        return path

    settings = {
        **{"data.source": "icu", "model.kind": "rcgan", "train.device": "cpu"},
        **{"train.steps": steps, "train.figures": 0, "train.checkpoint_minutes": minutes},
        "monitor.looks": 0,
    }
    watch = Watch()
    with (
        patch.object(Checkpoints, "_save", snapshot_timed),
        patch.object(CheckpointStore, "save", store_timed),
        slow_disk(slow),
    ):
        fit(changed(preset("default"), settings), runs=folder, listeners=(watch,))
    median = statistics.median(watch.gaps)
    return {**spent, "step": median, "longest": max(watch.gaps[5:])}


def checkpoint_rows(steps: int, folder: Path) -> list[list[str]]:
    """One row for each kind of training."""
    rows = []
    for name, minutes, slow in (
        ("none but first and last", 1e9, 0.0),
        ("after every epoch", 1e-9, 0.0),
        (f"after every epoch, disk {SLOW_SECONDS:.0f} s slower a file", 1e-9, SLOW_SECONDS),
    ):
        cost = train(steps, minutes, folder, slow)
        each = (cost["snapshots"] + cost["writing"]) / cost["count"]
        share = each / 120.0  # one in two minutes, as train.checkpoint_minutes has it
        row = [name, f"{cost['count']:.0f}", f"{1e3 * cost['step']:.1f} ms"]
        row += [f"{1e3 * cost['longest']:.0f} ms"]
        row += [f"{1e3 * cost['snapshots'] / cost['count']:.1f} ms", f"{1e3 * each:.0f} ms"]
        rows.append([*row, f"{100 * share:.3f} %", reached(share <= SHARE_LIMIT)])
    return rows


def make_runs(source: Path, root: Path, count: int) -> None:
    """Copies of a real run under ids and names of their own, each the child of the one before."""
    root.mkdir()
    info = json.loads((source / "run.json").read_text())
    for number in range(count):
        folder = root / f"run-{number:04d}"
        folder.mkdir()
        for name in ("config.toml", "history.jsonl"):
            shutil.copy(source / name, folder / name)
        shutil.copytree(source / "checkpoints", folder / "checkpoints")
        parent = f"{number - 1:012x}" if number % 10 else None
        own = info | {"id": f"{number:012x}", "name": f"run-{number:04d}", "parent": parent}
        (folder / "run.json").write_text(json.dumps(own, indent=2))


def list_seconds(root: Path, repeats: int) -> list[float]:
    """Wall seconds of ``rgan runs list``, the interpreter's start included."""
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        done = subprocess.run(
            rgan("runs", "list", "--runs", str(root)), capture_output=True, text=True, check=True
        )
        times.append(time.perf_counter() - begun)
        assert "run-0999" in done.stdout or len(list(root.iterdir())) < 1000
    return times


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = checkpoint_rows(options.steps, folder / "trained")
        source = next((folder / "trained").iterdir())
        make_runs(source, folder / "many", options.runs)
        times = list_seconds(folder / "many", options.repeats)
    print(machine(), end="\n\n")
    head = ["checkpoints", "written", "median step", "longest step", "loop stands still for one"]
    head += ["processor for one", f"share of 2 min (bar {SHARE_LIMIT:.0%})", "reached"]
    print(markdown(head, rows), end="\n\n")
    middle = statistics.median(times)
    list_row = [f"{options.runs:,}", f"{middle:.2f} s", f"{max(times):.2f} s"]
    list_row.append(reached(middle < LIST_LIMIT))
    print(markdown(["runs listed", "median", "slowest", f"under {LIST_LIMIT:.0f} s"], [list_row]))


if __name__ == "__main__":
    main()
