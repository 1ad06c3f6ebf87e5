"""Time series as the published tables judge them, and as they should be judged.

    python benchmarks/tsg.py --data stocks                            24 steps, seeds 0 to 2
    python benchmarks/tsg.py --data etth1 --length 64 128 256
    python benchmarks/tsg.py --data energy --resume                   after it was cut short
    python benchmarks/tsg.py --show                                   the tables of the file
    python benchmarks/tsg.py --data sines --steps 50 --rows 500 --judge-steps 50 --repeats 1 \\
        --seeds 1 --out try.json                                      a try: its numbers say nothing

The preset "feedback" is trained as it is, on every data set alike, twice for each seed:

- on five of every seven blocks of time. Judged by a strong classifier that is tested on windows of
  another block, and by three measures of memorising. Sines have no time: other draws.
- on all windows, drawn in random order, as earlier papers do it. Judged by their discriminative and
  predictive scores, Context-FID and the correlational score, all windows against as many synthetic
  ones. (Two windows in a hundred are held out from training: the least that a split takes. They
  share all but a step with some in training, so that nothing they say is news: a series is trained
  on for as many epochs as did the validation blocks of the first training good.)

``--windows past`` trains on the first 70 % of the time and tests on the last 15 % instead; of a
market that says little, see ``tsg_data.in_blocks``.

Nothing is chosen here. Floor (real against real) and copies of the training set stand beside each
score; they are computed once for each data set and length. Each part is written to the file as soon
as it is measured, and trained runs stay in --runs, so that --resume loses a few minutes at most.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import tsg_data
import tsg_scores
from common import machine
from tsg_file import flat, key, read, store
from tsg_table import Part, show

from rgan.config import Config, changed, differences, from_sections, parse_settings, preset
from rgan.data.split import Splits, split
from rgan.errors import RganError, RunError
from rgan.report.progress import make_progress
from rgan.runs.folder import Run
from rgan.sequences import Sequences
from rgan.train.randomness import Stream, stream_seed
from rgan.workflow.fit import fit, resume
from rgan.workflow.sampling import load_trained

RESULTS = Path(__file__).parent / "results" / "tsg.json"
SPLIT = {  # "all" holds out as little as a split can: nothing is judged on it
    "all": {"data.split": "random", "data.validation": 0.01, "data.test": 0.01},
    "blocks": {},
    "past": {},
}
CONTROLS = "controls"
NO_TIME = ("sines",)
"""Sets of sequences that share nothing: any that are held out are news."""


@dataclass(frozen=True)
class Row:
    """One training and what it is judged by, or the controls in its place.

    Args:
        options: what was asked for.
        data: the data set. length: T.
        windows: "all", "blocks" or "past".
        who: "seed 0", or ``CONTROLS``.
    """

    options: argparse.Namespace
    data: str
    length: int
    windows: str
    who: str

    @property
    def seed(self) -> int:
        """Of training and, for sines, of the split."""
        return int(self.who.split()[-1]) if self.who != CONTROLS else 0

    @cached_property
    def sequences(self) -> Sequences:
        """All windows."""
        o = self.options
        windows = tsg_data.read(self.data, self.length, o.data_dir, o.rows)
        return tsg_data.in_blocks(windows) if self.windows == "blocks" else windows

    @property
    def config(self) -> Config:
        """The preset, and what the options say."""
        o = self.options
        settings: dict[str, Any] = {
            "train.seed": self.seed,
            "train.figures": 0,
            "train.device": o.device,
        }
        settings |= SPLIT[self.windows]
        if o.steps:
            settings["train.steps"] = o.steps
        config = changed(preset(o.preset), settings | parse_settings(o.set))
        if o.steps or self.windows != "all" or self.data in NO_TIME:
            return config
        batches = max(1, len(self.split_by(config).train) // config.train.batch_size)
        return changed(config, {"train.steps": self.epochs * batches})

    @property
    def epochs(self) -> int:
        """After how many the windows of held-out blocks were likeliest.

        Raises:
            SystemExit: no training on blocks stands in the file.
        """
        key_of_blocks = (self.data, self.length, "blocks", self.who)
        for part in read(self.options.out):
            if key(part) == key_of_blocks and part["part"] == "training":
                batch = part["config"]["train"]["batch_size"]
                return max(1, round(part["best_step"] / max(1, part["split"]["train"] // batch)))
        sys.exit(
            f"{self.data}, {self.length} steps, {self.who}: how long to train on all windows is "
            "what held-out blocks say, and these are not in the file: --windows blocks all"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What numbers depend on, and must agree where they stand in one table."""
        o = self.options
        judges = {
            "rows": o.rows,
            "repeats": o.repeats,
            "judge_steps": o.judge_steps,
            "size": o.size,
        }
        return judges if self.who == CONTROLS else judges | {
            "preset": o.preset, "steps": o.steps, "set": sorted(o.set)
        }  # fmt: skip

    @cached_property
    def splits(self) -> Splits:
        """As the training split its windows."""
        return self.split_by(self.config)

    def split_by(self, config: Config) -> Splits:
        """The windows as this configuration splits them."""
        return split(self.sequences, config.data, stream_seed(config.train.seed, Stream.SPLIT))

    @property
    def scores(self) -> list[str]:
        """Which scores it is judged by."""
        names = tsg_scores.PUBLISHED if self.windows == "all" else tsg_scores.HELD_OUT
        return [name for name in names if not self.options.only or name in self.options.only]


# -- training --------------------------------------------------------------------------------


def trained_run(row: Row) -> Run:
    """The finished run of this row: found, resumed or trained."""
    config = row.config
    asked = json.dumps([config.to_sections(), row.options.rows], sort_keys=True)
    folder = f"{row.data}-{row.length}-{row.windows}-{row.who.replace(' ', '')}"
    root = row.options.runs / f"{folder}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"
    found = sorted(path.parent for path in root.glob("*/run.json"))
    with make_progress(row.options.quiet) as progress:
        if found and Run.open(found[-1]).info["status"] == "finished":
            return Run(found[-1])
        try:
            if not found:
                raise RunError("nothing was begun")
            outcome = resume(Run.open(found[-1]), sequences=row.sequences, listeners=(progress,))
        except RunError:  # killed before there was anything to resume
            outcome = fit(
                config,
                runs=root,
                sequences=row.sequences,
                listeners=(progress,),
                command="benchmarks/tsg.py",
            )
    if outcome.ended.status != "finished":
        sys.exit(f"stopped by {outcome.ended.reason}; what was measured is kept: --resume")
    return outcome.run


def training_part(row: Row, run: Run) -> dict[str, Any]:
    """What training took."""
    segments = run.info["segments"]
    times = [[s[key] for key in ("started", "ended")] for s in segments if s.get("ended")]
    seconds = [
        (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
        for begin, end in times
    ]
    generator = load_trained(run)[0].generator
    return {
        "steps": segments[-1]["to_step"],
        "best_step": (run.info.get("best") or {}).get("step", segments[-1]["to_step"]),
        "train_seconds": sum(seconds),
        "killed": len(segments) - len(times),  # segments whose time is not counted
        "parameters": sum(p.numel() for p in generator.parameters()),
        "config": row.config.to_sections(),
        "split": {n: len(getattr(row.splits, n)) for n in ("train", "validation", "test")},
    }


# -- measuring -------------------------------------------------------------------------------


def measurements(row: Row) -> Iterator[tuple[str, str, Callable[[], dict[str, Any]]]]:
    """(who, part, what measures it) of everything that this row consists of, in order."""
    judges = tsg_scores.Judges(row.options.repeats, row.options.judge_steps, row.options.size)
    if row.who == CONTROLS:
        for name in row.scores:
            yield CONTROLS, name, lambda name=name: _controls(row, name, judges)  # type: ignore[misc]
        return
    cache: dict[str, Any] = {}

    def sampler(n: int, seed: int) -> Sequences:
        if "trained" not in cache:
            cache["trained"] = load_trained(trained_run(row))[0]
        return cache["trained"].sample(n, seed=seed)

    def score(name: str) -> dict[str, Any]:
        if row.windows == "all":
            return {"values": tsg_scores.published(name, row.sequences, sampler, judges)}
        return {"values": tsg_scores.held_out(name, row.splits, sampler, judges)}

    yield row.who, "training", lambda: training_part(row, trained_run(row))
    yield row.who, "sampling", lambda: tsg_scores.sampling_milliseconds(sampler)
    for name in row.scores:
        yield row.who, name, lambda name=name: score(name)  # type: ignore[misc]


def _controls(row: Row, name: str, judges: tsg_scores.Judges) -> dict[str, Any]:
    if row.windows == "all":
        return {"controls": tsg_scores.published_controls(name, row.sequences, judges)}
    return {"controls": tsg_scores.held_out_controls(name, row.splits, judges)}


def measure(row: Row) -> None:
    """Measure and store what the file does not hold yet."""
    for who, name, run in measurements(row):
        stored = {p["part"]: p for p in read(row.options.out) if key(p) == key_of(row, who)}
        if name in stored:
            check_settings(row, stored[name])
            continue
        print(f"{row.data}, {row.length} steps, {row.windows}, {who}: {name}", file=sys.stderr)
        began, cpu = time.monotonic(), time.process_time()
        found = run()
        part = dict(zip(("data", "length", "windows", "who"), key_of(row, who), strict=True))
        part |= {"part": name, "settings": row.settings, "machine": machine()}
        part["seconds"] = round(time.monotonic() - began, 1)
        part["cpu_seconds"] = round(time.process_time() - cpu, 1)
        store(row.options.out, part | found)


def check_settings(row: Row, part: Part) -> None:
    """End the program where a stored part was measured under other settings."""
    new, old = row.settings, part["settings"]
    lines = [f"  {k}: {old.get(k)} -> {new[k]}" for k in new if old.get(k) != new[k]]
    if "config" in part:  # the preset itself may have changed since
        other = differences(from_sections(part["config"]), row.config)
        lines += [f"  {k}: {was} -> {now}" for k, (was, now) in other.items()]
    if lines:
        sys.exit(
            f"{part['data']}, {part['length']} steps, {part['who']}, {part['part']} is in the file "
            "with other settings:\n" + "\n".join(lines) + "\n"
            "numbers of different settings do not go into one table; try --out FILE"
        )


def key_of(row: Row, who: str) -> tuple[Any, ...]:
    """The same of a row."""
    return row.data, row.length, row.windows, who


def options(words: list[str] | None = None) -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=tsg_data.NAMES, default=list(tsg_data.NAMES))
    parser.add_argument("--length", nargs="+", type=int, default=[24], help="steps of a window")
    parser.add_argument("--seeds", type=int, default=3, help="0 to N - 1")
    parser.add_argument("--windows", nargs="+", choices=tuple(SPLIT), default=["blocks", "all"])
    scores = (*tsg_scores.PUBLISHED, *tsg_scores.HELD_OUT)
    parser.add_argument("--only", nargs="+", choices=scores, help="these scores")
    parser.add_argument("--preset", default="feedback")
    parser.add_argument("--steps", type=int, default=0, help="of training, instead of the preset's")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--repeats", type=int, default=3, help="of each score")
    parser.add_argument("--judge-steps", type=int, default=0, help="for a try; 0: as published")
    parser.add_argument("--size", type=int, default=0, help="most windows judged; 0: all")
    parser.add_argument("--rows", type=int, default=0, help="first rows of the data only; 0: all")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data-dir", default="", help="folder of data, else RGAN_DATA")
    parser.add_argument("--runs", type=Path, default=Path("runs/tsg"), help="where runs stay")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--resume", action="store_true", help="go on with the file")
    parser.add_argument("--show", action="store_true", help="print the file's tables only")
    parser.add_argument("--quiet", action="store_true", help="no progress of trainings")
    asked = parser.parse_args(words)
    here = {(p["data"], p["length"]) for p in read(asked.out)}
    if not (asked.resume or asked.show):
        for data, length in sorted(here & {(d, n) for d in asked.data for n in asked.length}):
            parser.error(
                f"{asked.out} holds {data}, {length} steps: --resume, --show, or --out FILE"
            )
    return asked


def rows(asked: argparse.Namespace) -> Iterator[Row]:
    """Seed 0, then the controls, then the other seeds: a run cut short has a whole row first."""
    seeds = [f"seed {seed}" for seed in range(asked.seeds)]
    for data in asked.data:
        for length in asked.length:
            for who in [*seeds[:1], CONTROLS, *seeds[1:]]:
                for windows in asked.windows:
                    yield Row(asked, data, length, windows, who)


def main(words: list[str] | None = None) -> None:
    """Train, judge, store and print."""
    asked = options(words)
    if not asked.show:
        for row in rows(asked):
            measure(row)
    print(show(flat(read(asked.out))))


if __name__ == "__main__":
    try:
        main()
    except RganError as error:
        sys.exit(str(error))
