"""Trainings that are killed, starved and misled, many times: does any of them lose a step?

    python benchmarks/faults.py
    python benchmarks/faults.py --kills 5 --operations 5 --signals 5 --repeats 1     a quick try

Every trial is a real process of ``rgan train``. What is left of it is resumed to its end, and then
its tensors, its history and its pictures are compared, byte for byte, with those of a training
that nothing disturbed. Small disks can only be mounted by root on Linux; elsewhere those rows are
left out, and that is said. Prints the table, and stores it as ``results/faults.json``.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))  # the machinery serves the tests too

from common import machine, markdown  # noqa: E402

import fault_scenarios as scenarios  # noqa: E402
from fault_checks import may_mount, open_folder  # noqa: E402
from fault_scenarios import Straight  # noqa: E402
from faults import Trouble  # noqa: E402
from rgan.runs.atomic import write_json  # noqa: E402


@dataclass
class Row:
    """What came of one kind of disturbance.

    Args:
        name: it.
        trials: how many times it was done.
        pictures: how many pictures were missing at the end of all of them.
        came: what happened, and how often.
        harmed: what was wrong, where something was.
    """

    name: str
    trials: int = 0
    pictures: int = 0
    came: Counter[str] = field(default_factory=Counter)
    harmed: list[str] = field(default_factory=list)


def hits(
    name: str, count: int, work: Path, straight: Straight, rng: random.Random, number: int
) -> Row:
    """Signals at moments spread over the whole life, to fresh trainings and to resumed ones."""
    row, life = Row(name), straight.seconds
    while row.trials < count:
        moment = life * (row.trials % 20 + rng.random()) / 20

        def trial(moment: float = moment) -> str:
            where = scenarios.hit(work, straight, moment, number=number)
            row.pictures += scenarios.recover(work, straight)
            return where

        where = _trial(row, work, trial)
        # Other work on the machine makes lives longer and shorter: follow it.
        life *= 1.01 if where else 0.97
        if rng.random() < 0.4:
            shutil.rmtree(work / "runs", ignore_errors=True)
    return row


def operations(count: int, work: Path, straight: Straight, rng: random.Random) -> Row:
    """Kills just before single changes of files, spread over all that a training makes."""
    row, most = Row("kill -9 before a change of a file"), 160
    while row.trials < count:
        at = 1 + int((row.trials + rng.random()) / count * most)

        def trial(at: int = at) -> str:
            where = scenarios.hit(work, straight, trouble=Trouble(operation=at))
            row.pictures += scenarios.recover(work, straight)
            return where

        if not _trial(row, work, trial):
            most = max(40, int(0.97 * most))
        if rng.random() < 0.5:
            shutil.rmtree(work / "runs", ignore_errors=True)
    return row


def _trial(row: Row, work: Path, trial: Callable[[], str]) -> str:
    """One trial, counted where it disturbed anything; what goes wrong is kept, not raised."""
    try:
        came = trial()
    except Exception as error:
        row.harmed.append(f"{error}\n{traceback.format_exc(limit=-2)}"[:4000])
        print(f"HARMED: {row.harmed[-1]}", file=sys.stderr, flush=True)
        for path in work.iterdir():
            shutil.rmtree(path, ignore_errors=True)
        came = "harmed"
    if came:
        row.trials += 1
        row.came[came] += 1
        print(f"{row.name} {row.trials}: {came}", file=sys.stderr, flush=True)
    return came


def repeated(name: str, count: int, work: Path, trial: Callable[[], str]) -> Row:
    """One scenario so many times, each in an empty folder."""
    row = Row(name)
    for _ in range(count):
        _trial(row, work, trial)
        for path in work.iterdir():
            shutil.rmtree(path, ignore_errors=True)
    return row


def everything(arguments: argparse.Namespace, base: Path) -> list[Row]:
    """All rows."""
    work, rng = base / "work", random.Random(arguments.seed)
    for path in (work, base / "straight"):
        path.mkdir()
    straight = Straight.train(base / "straight")
    kill, term = signal.SIGKILL, signal.SIGTERM
    rows = [
        hits("kill -9 at a random moment", arguments.kills, work, straight, rng, kill),
        operations(arguments.operations, work, straight, rng),
        hits("SIGTERM at a random moment", arguments.signals, work, straight, rng, term),
    ]
    shutil.rmtree(work)
    work.mkdir()
    for scenario in (*scenarios.SHORT, *scenarios.LATER):
        name = scenario.__name__.replace("_", " ")
        if scenario in scenarios.NEED_ROOT and not may_mount():
            print(f"left out, since it needs root on Linux: {name}")
            continue
        rows.append(
            repeated(name, arguments.repeats, work, lambda s=scenario: s(work, straight, rng))
        )
    for damage in scenarios.DAMAGES:
        rows.append(
            repeated(damage, 1, work, lambda d=damage: scenarios.damaged(work, straight, d))
        )
    return rows


def main() -> None:
    """Disturb, print and store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--operations", type=int, default=80)
    parser.add_argument("--signals", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=5, help="of each other scenario")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", default=str(HERE / "results" / "faults.json"))
    arguments = parser.parse_args()
    began = time.monotonic()
    with open_folder() as base:
        rows = everything(arguments, base)
    rows = [row for row in rows if row.trials]
    minutes = (time.monotonic() - began) / 60
    table = [[row.name, str(row.trials), str(len(row.harmed)), _most(row.came)] for row in rows]
    document = {
        "machine": machine(),
        "seed": arguments.seed,
        "minutes": round(minutes, 1),
        "rows": [{**vars(row), "came": dict(row.came)} for row in rows],
    }
    write_json(arguments.store, document)
    print(f"{machine()}; seed {arguments.seed}, {minutes:.0f} minutes\n")
    print(markdown(["disturbance", "times", "runs harmed", "what came of it"], table))
    for row in [row for row in rows if len(row.came) > 2]:
        print(f"\nWhere each {row.name} hit ({row.pictures} pictures missing at the end):\n")
        print(markdown(["where", "times"], [[k, str(n)] for k, n in sorted(row.came.items())]))
    sys.exit(any(row.harmed for row in rows))


def _most(came: Counter[str]) -> str:
    return came.most_common(1)[0][0] if len(came) == 1 else f"see below ({len(came)} places)"


if __name__ == "__main__":
    main()
