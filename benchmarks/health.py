"""Are planted failures seen, and healthy trainings left alone?

    python benchmarks/health.py
    python benchmarks/health.py --resume           after it was cut short
    python benchmarks/health.py --parts healthy    failures, healthy: those named
    python benchmarks/health.py --show             print the tables of the results file

failures  small trainings go wrong on purpose; an alarm must come within 200 steps of the fault
healthy   20 trainings of the default recipe, and some of paper's, must raise none

The seeds here are 0 and up. Thresholds were tuned on seeds from 100 on (--first-seed 100).
Networks and batches are smaller than the presets' in the first two parts, to fit into minutes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import machine, markdown, reached

from rgan.config import changed, preset
from rgan.data.load import load
from rgan.errors import DivergedError
from rgan.nets.batch import Batch
from rgan.runs.atomic import write_json
from rgan.train.events import Event, Noted, Stepped
from rgan.workflow.session import Session, open_session

RESULTS = Path(__file__).parent / "results" / "health.json"
HEALTHY = ("sines", "digits", "sines", "digits", "icu")
FAULT_AT, WITHIN = 100, 200
SMALL: dict[str, Any] = {
    "train.device": "cpu",
    "train.batch_size": 16,
    "train.warmup": 50,
    "data.max_sequences": 400,
    "generator.hidden": 16,
    "critic.hidden": 16,
    "critic.channels": 16,
}
NOTED: dict[str, Any] = {"health.explosion": "warn", "health.nan": "stop"}
Row = dict[str, Any]
Plant = Callable[[Session], None]


# -- faults ------------------------------------------------------------------------------------


def hundredfold(session: Session) -> None:
    """Both learning rates times 100."""
    session.state.rates = tuple(100 * rate for rate in session.state.rates)


def one_mode(session: Session) -> None:
    """The same noise for every sequence from now on."""
    _modes(session, 1)


def six_modes(session: Session) -> None:
    """Six noises for all sequences from now on."""
    _modes(session, 6)


def _modes(session: Session, count: int) -> None:
    generator = session.state.generator
    known = generator.draw_noise(count, torch.Generator().manual_seed(0))

    def from_them(n: int, random: torch.Generator) -> Any:
        rows = torch.randint(count, (n,), generator=random)
        return replace(known, **{name: part[rows] for name, part in vars(known).items()})

    generator.draw_noise = from_them  # type: ignore[method-assign]


def nan_in_a_batch(session: Session) -> None:
    """One number of the next batch is none; the data are sound again after it."""
    batch, take, times = session.batch, type(session.batch).take, []

    class Spoilt(type(batch)):  # type: ignore[misc]
        def take(self, rows: torch.Tensor) -> Batch:
            given = take(self, rows)
            if not times:
                times.append(1)
                given.x[0, 0, 0] = torch.nan
            return given

    object.__setattr__(batch, "__class__", Spoilt)


def dead_critic(session: Session) -> None:
    """All its weights are zero: it gives one score to everything, and learns nothing."""
    with torch.no_grad():
        for parameter in session.state.critic.parameters():
            parameter.zero_()


def nothing(session: Session) -> None:
    """The settings are fault enough."""


STRONG = {"critic_optimizer.rate": 0.06, "penalty.name": "none"}
FAULTS: dict[str, tuple[Plant, int, dict[str, Any]]] = {
    "rates x 100 from the start": (hundredfold, 0, {}),
    "rates x 100 in the middle": (hundredfold, FAULT_AT, {}),
    "one mode": (one_mode, FAULT_AT, {}),
    "six modes": (six_modes, FAULT_AT, {}),
    "NaN in one batch": (nan_in_a_batch, FAULT_AT, {}),
    "critic's rate x 30, no penalty": (nothing, 0, STRONG),
    "dead critic": (dead_critic, FAULT_AT, {}),
}


class Ward:
    """Listens to one training: plants the fault, hears alarms, and ends it."""

    def __init__(self, session: Session, plant: Plant, at: int, give_up: int) -> None:
        self.session, self.plant, self.at, self.give_up = session, plant, at, give_up
        self.alarms: list[tuple[int, str]] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, Noted):
            self.alarms.append((event.step, event.text))
        elif isinstance(event, Stepped) and event.step == self.at:
            self.plant(self.session)

    def stop(self) -> str:
        """A reason to end the training, or nothing."""
        step = self.session.state.step
        caught = any(when > self.at for when, _ in self.alarms)
        return "enough" if caught or step >= self.give_up else ""

    def run(self) -> None:
        """To the first alarm, or until nobody expects one any more."""
        if not self.at:
            self.plant(self.session)
        try:
            self.session.run(self, self.stop)
        except DivergedError as error:
            self.alarms.append((self.session.state.step, f"nan: {error.found}"))


def prepared(data: str, name: str, seed: int, steps: int, more: dict[str, Any]) -> Session:
    """A small training, ready to run."""
    own = {"data.source": data, "train.seed": seed, "train.steps": steps}
    config = changed(preset(name), SMALL | NOTED | own | more)
    return open_session(config, load(config.data, seed=seed))


def fail(data: str, fault: str, seed: int) -> Row:
    """Plant one fault; when is it seen, and as what?"""
    plant, at, more = FAULTS[fault]
    session = prepared(data, "default", seed, 2000, more)
    ward = Ward(session, plant, at, at + WITHIN)
    ward.run()
    late = [(when, text) for when, text in ward.alarms if when > at]
    first = late[0][0] if late else 0
    row = {"part": "failures", "data": data, "fault": fault, "seed": seed}
    row |= {"after": first - at if late else None}
    row |= {"alarms": [text for when, text in late if when == first]}
    return row | {"early": [text for when, text in ward.alarms if when <= at]}


def keep_well(data: str, name: str, seed: int, steps: int) -> Row:
    """Train as the recipe says; every alarm is false."""
    session = prepared(data, name, seed, steps, {})
    ward = Ward(session, nothing, steps, steps)
    ward.run()
    row = {"part": "healthy", "data": data, "preset": name, "seed": seed, "steps": steps}
    return row | {"alarms": ward.alarms}


# -- tables ------------------------------------------------------------------------------------


def tables(rows: list[Row]) -> str:
    """All parts that there are rows of."""
    made = {"failures": _failures, "healthy": _healthy}
    parts = {name: [row for row in rows if row["part"] == name] for name in made}
    return "\n\n".join(made[name](own) for name, own in parts.items() if own)


def _failures(rows: list[Row]) -> str:
    lines = []
    for fault in FAULTS:
        own = [row for row in rows if row["fault"] == fault]
        after = [row["after"] for row in own if row["after"] is not None]
        told: dict[str, int] = {}
        for row in own:
            for kind in dict.fromkeys(text.partition(":")[0] for text in row["alarms"]):
                told[kind] = told.get(kind, 0) + 1
        kinds = ", ".join(f"{kind} {count}" for kind, count in told.items())
        early = sum(bool(row["early"]) for row in own)
        span = f"{min(after)} to {max(after)}" if after else ""
        right = len(after) == len(own) and not early
        cells = [f"{len(after)} of {len(own)}", span, kinds, str(early), reached(right)]
        if own:
            lines.append([fault, *cells])
    header = ["fault", "caught", "after steps", "alarms of that step", "alarms before it"]
    return markdown([*header, f"all within {WITHIN}"], lines)


def _healthy(rows: list[Row]) -> str:
    lines = []
    for key in dict.fromkeys((row["preset"], row["data"], row["steps"]) for row in rows):
        own = [row for row in rows if (row["preset"], row["data"], row["steps"]) == key]
        false = sum(bool(row["alarms"]) for row in own)
        kinds = {text.partition(":")[0] for row in own for _, text in row["alarms"]}
        words = [*map(str, key), str(len(own)), str(false), ", ".join(sorted(kinds))]
        lines.append([*words, reached(not false)])
    header = ["preset", "data", "steps", "seeds", "with an alarm", "which"]
    return markdown([*header, "none"], lines)


# -- what is run -------------------------------------------------------------------------------


def jobs(options: argparse.Namespace) -> list[tuple[Row, Callable[[], Row]]]:
    """Each with what tells its row from others."""
    first, found = options.first_seed, []
    for seed in range(first, first + options.seeds):
        for fault in FAULTS:
            for data in ("sines", "digits", "icu"):
                key = {"part": "failures", "data": data, "fault": fault, "seed": seed}
                found.append((key, lambda d=data, f=fault, s=seed: fail(d, f, s)))
    healthy = [(HEALTHY[i % 5], "default", first + i) for i in range(20)]
    healthy += [(data, "paper", first) for data in ("sines", "digits", "icu")]
    for data, name, seed in healthy[: options.healthy]:
        key = {"part": "healthy", "data": data, "preset": name, "seed": seed}
        found.append((key, lambda d=data, n=name, s=seed: keep_well(d, n, s, options.steps)))
    return [job for job in found if job[0]["part"] in options.parts]


def main() -> None:
    """Run what is not in the file yet, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("failures", "healthy")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--seeds", type=int, default=2, help="of each fault on each data set")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--healthy", type=int, default=23, help="how many healthy trainings")
    parser.add_argument("--steps", type=int, default=300, help="of a healthy training")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--resume", action="store_true", help="keep what the file holds")
    parser.add_argument("--show", action="store_true", help="print the file and run nothing")
    options = parser.parse_args()
    document: dict[str, Any] = {"machine": machine(), "settings": SMALL, "rows": []}
    if options.show or (options.resume and options.out.exists()):
        document = json.loads(options.out.read_text())
    rows = document["rows"]
    for key, work in [] if options.show else jobs(options):
        if not any(key.items() <= row.items() for row in rows):
            rows.append(work())
            write_json(options.out, document)
            print({name: value for name, value in rows[-1].items() if name != "times"}, flush=True)
    print(document["machine"])
    print(tables(rows))


if __name__ == "__main__":
    main()
