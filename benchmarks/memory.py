"""What trainings were said to need beside what they took, on ten configurations.

    OMP_NUM_THREADS=1 python benchmarks/memory.py
    python benchmarks/memory.py --resume           after it was cut short
    python benchmarks/memory.py --ask-again        trainings as they were, the estimates anew
    python benchmarks/memory.py --show             print the table of the results file

Each configuration is asked for its need in one process (the dry step of ``rgan train``), and
trained in another, whose peak resident memory the system counts. Everything that a long training
does is done in the short one: looks at similarity without a budget, pictures, TensorBoard,
checkpoints. Bar: within 15 % on all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from common import MIB, machine, markdown, measured, reached, rgan

from rgan.runs.atomic import write_json

RESULTS = Path(__file__).parent / "results" / "memory.json"
BAR, ASKED = 0.15, 1
CONFIGURATIONS: tuple[tuple[str, ...], ...] = (
    ("sines",),
    ("sines", "train.batch_size=512"),
    ("sines", "generator.hidden=256", "critic.hidden=256"),
    ("icu",),
    ("icu", "train.batch_size=128"),
    ("icu", "train.batch_size=512"),
    ("icu", "generator.hidden=256", "critic.hidden=256", "train.batch_size=64"),
    ("icu", "train.figures=0", "health.every=0", "monitor.looks=0"),
    ("digits",),
    ("digits", "train.batch_size=256"),
)


def settings_of(configuration: list[str], steps: int) -> list[str]:
    """The settings of a run, all of them "section.key=value"."""
    few = "data.max_sequences=1000"  # so that an epoch, which a run rounds up to, is short
    seen = ["train.checkpoint_minutes=0.05", "train.figures=2", "monitor.looks=2"]
    seen += ["monitor.budget=0"]
    return ["train.device=cpu", few, f"train.steps={steps}", *seen, *configuration[1:]]


def ask(configuration: list[str], steps: int) -> None:
    """In a process of its own: print the need as JSON."""
    import time

    from rgan.config import Config, changed, parse_settings
    from rgan.data.load import load
    from rgan.workflow.memory import check_memory, prepare
    from rgan.workflow.session import open_session

    settings = parse_settings(settings_of(configuration, steps))
    config = changed(Config(), {"data.source": configuration[0], **settings})
    session = open_session(config, load(config.data, seed=config.train.seed, quiet=True))
    prepare(session)  # imports, which the training needs a moment later anyway
    wall, cpu = time.perf_counter(), sum(os.times()[:4])
    found = check_memory(session)
    wall, cpu = time.perf_counter() - wall, sum(os.times()[:4]) - cpu
    if found is None:
        raise SystemExit("memory is not measured on this system")
    print(json.dumps({"peak": found[0].peak_bytes, "wall": wall, "cpu": cpu}))


def said(configuration: list[str], steps: int) -> dict[str, Any]:
    """What the dry step says, and what it takes; the times are medians of some."""
    command = [sys.executable, __file__, "--ask", *configuration, "--steps", str(steps)]
    found = [
        json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        for _ in range(ASKED)
    ]
    return {"said": [one["peak"] for one in found]} | {
        name: median(one[name] for one in found) for name in ("wall", "cpu")
    }


def taken(configuration: list[str], steps: int) -> dict[str, Any]:
    """What the training takes."""
    with tempfile.TemporaryDirectory() as runs:
        words = [w for s in settings_of(configuration, steps) for w in ("--set", s)]
        words += ["--set", "train.check_memory=false", "--runs", runs, "--quiet"]
        cost = measured(rgan("train", configuration[0], *words))
    if cost.exit_code:
        raise SystemExit(f"the training of {' '.join(configuration)} failed")
    return {"taken": cost.peak_bytes, "seconds": cost.seconds}


def table(document: dict[str, Any]) -> tuple[str, bool]:
    """The table, and whether the bar is reached by every answer in it."""
    lines, good = [], len(document["rows"]) == len(CONFIGURATIONS)
    for row in document["rows"]:
        errors = [peak / row["taken"] - 1 for peak in row["said"]]
        worst = max(errors, key=abs)
        good = good and abs(worst) <= BAR
        cells = [f"{median(row['said']) / MIB:.0f}", f"{row['taken'] / MIB:.0f}"]
        cells += [f"{100 * worst:+.1f} %", f"{row['wall']:.2f}", f"{row['cpu']:.2f}"]
        lines.append([" ".join(row["configuration"]), *cells, reached(abs(worst) <= BAR)])
    header = ["configuration", "said, MiB", "taken, MiB", "error"]
    return markdown([*header, "dry step, s", "of a core, s", "within 15 %"], lines), good


def main() -> None:
    """Print the table; exit 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--ask", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--resume", action="store_true", help="keep what the file holds")
    parser.add_argument("--ask-again", action="store_true", help="keep what trainings took")
    parser.add_argument("--show", action="store_true", help="print the file and run nothing")
    options = parser.parse_args()
    if options.ask:
        ask(options.ask, options.steps)
        return
    document: dict[str, Any] = {"machine": machine(), "steps": options.steps, "rows": []}
    if (options.resume or options.ask_again or options.show) and options.out.exists():
        document = json.loads(options.out.read_text())
    rows = document["rows"]
    for configuration in [] if options.show else map(list, CONFIGURATIONS):
        row = next((row for row in rows if row["configuration"] == configuration), None)
        if row is None:
            row = {"configuration": configuration, **taken(configuration, options.steps)}
            rows.append(row)
            write_json(options.out, document)
        if "said" not in row or options.ask_again:
            row |= said(configuration, options.steps)
        write_json(options.out, document)
        print(row, file=sys.stderr, flush=True)
    text, good = table(document)
    print(f"{document['machine']}\n\n{text}")
    sys.exit(not good)


if __name__ == "__main__":
    main()
