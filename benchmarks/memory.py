"""What trainings were said to need beside what they took, on ten configurations.

    OMP_NUM_THREADS=1 python benchmarks/memory.py [--steps 30]

Each configuration is asked for its need in one process (the dry step of ``rgan train``), and
trained in another, whose peak resident memory the system counts. Bar: within 15 % on all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile

from common import MIB, machine, markdown, measured, reached, rgan

BAR = 0.15
CONFIGURATIONS: tuple[tuple[str, ...], ...] = (
    ("sines",),
    ("sines", "train.batch_size=512"),
    ("sines", "generator.hidden=256", "critic.hidden=256"),
    ("icu",),
    ("icu", "train.batch_size=128"),
    ("icu", "train.batch_size=512"),
    ("icu", "generator.hidden=256", "critic.hidden=256", "train.batch_size=64"),
    ("icu", "train.figures=0", "health.every=0"),
    ("digits",),
    ("digits", "train.batch_size=256"),
)


def settings_of(configuration: tuple[str, ...], steps: int) -> list[str]:
    """The settings of a run, all of them "section.key=value"."""
    few = "data.max_sequences=1000"  # so that an epoch, which a run rounds up to, is short
    return ["train.device=cpu", few, f"train.steps={steps}", *configuration[1:]]


def ask(configuration: tuple[str, ...], steps: int) -> None:
    """In a process of its own: print the need as JSON."""
    import time

    from rgan.config import Config, changed, parse_settings
    from rgan.data.load import load
    from rgan.workflow.memory import check_memory, prepare
    from rgan.workflow.session import open_session

    settings = parse_settings(settings_of(configuration, steps))
    config = changed(Config(), {"data.source": configuration[0], **settings})
    session = open_session(config, load(config.data, seed=config.train.seed, quiet=True))
    prepare(session)
    began = time.perf_counter()
    found = check_memory(session)
    seconds = time.perf_counter() - began
    if found is None:
        raise SystemExit("memory is not measured on this system")
    print(json.dumps({"peak": found[0].peak_bytes, "seconds": seconds}))


def row(configuration: tuple[str, ...], steps: int) -> tuple[list[str], bool]:
    """A line of the table, and whether the bar is reached."""
    command = [sys.executable, __file__, "--ask", *configuration, "--steps", str(steps)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    with tempfile.TemporaryDirectory() as runs:
        words = [w for s in settings_of(configuration, steps) for w in ("--set", s)]
        words += ["--set", "train.check_memory=false", "--runs", runs, "--quiet"]
        cost = measured(rgan("train", configuration[0], *words))
    error = told["peak"] / cost.peak_bytes - 1
    good = cost.exit_code == 0 and abs(error) <= BAR
    cells = [" ".join(configuration), f"{told['peak'] / MIB:.0f}", f"{cost.peak_bytes / MIB:.0f}"]
    return [*cells, f"{100 * error:+.1f} %", f"{told['seconds']:.2f}", reached(good)], good


def main() -> None:
    """Print the table; exit 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--ask", nargs="+")
    parser.add_argument("--only", type=int, default=len(CONFIGURATIONS))
    options = parser.parse_args()
    if options.ask:
        ask(tuple(options.ask), options.steps)
        return
    rows = []
    for configuration in CONFIGURATIONS[: options.only]:
        rows.append(row(configuration, options.steps))
        print(*rows[-1][0], sep="  ", file=sys.stderr, flush=True)
    header = ["configuration", "said, MiB", "taken, MiB", "error", "dry step, s", "within 15 %"]
    print(machine())
    print()
    print(markdown(header, [cells for cells, _ in rows]))
    sys.exit(not all(good for _, good in rows))


if __name__ == "__main__":
    main()
