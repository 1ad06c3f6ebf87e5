"""How many batches each preset needs until its samples are good, on the validation split.

    python benchmarks/convergence.py
    python benchmarks/convergence.py --resume          after it was cut short
    python benchmarks/convergence.py --show            print the tables of the results file

Two figures for each training. *Own best*: batches that the critic saw until the look at similarity
(``overall`` of docs/monitor.md, lower is better) first came within 5 % of the best of its own
training, on the way from the untrained generator. That one flatters a training that stops
improving early at a bad level. *Paper's best*: batches until it came as near as the paper preset
ever comes with the same seed, within the same 5 %. The second is what the default preset is chosen
by; "at once" where the paper's preset never becomes better than the default untrained, whose masks
begin at the right rates. Looks stand at steps that grow by a twelfth, so both figures are exact to
about 8 %.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from statistics import median
from typing import Any

from common import machine, markdown, reached

from rgan.config import changed, preset
from rgan.data.load import load
from rgan.errors import DivergedError
from rgan.runs.atomic import write_json
from rgan.train.events import Event, Stepped
from rgan.workflow.monitor_scores import Scorer
from rgan.workflow.session import open_session

RESULTS = Path(__file__).parent / "results" / "convergence.json"
STEPS = {
    ("paper", "digits"): 20_000,
    ("paper", "sines"): 10_000,
    ("paper", "icu"): 8_000,
    ("default", "digits"): 6_000,
    ("default", "sines"): 6_000,
    ("default", "icu"): 6_000,
}
"""The paper's preset is given time to go on getting better; the default's length is its own."""
DATA = ("digits", "sines", "icu")
BAR = 5.0
NEAR = 0.05
GROWTH = 1 + 1 / 12
FIRST = 20
SIZE = 400
Row = dict[str, Any]


def trial(data: str, name: str, seed: int, steps: int, extra: dict[str, str]) -> Row:
    """Train once; the curve is [[batches, overall], ...], beginning with the untrained."""
    settings = {"data.source": data, "train.seed": seed, "train.steps": steps, **extra}
    settings |= {"train.device": "cpu", "health.explosion": "warn", "health.nan": "stop"}
    config = changed(preset(name), settings)
    session = open_session(config, load(config.data, seed=seed))
    scorer = Scorer.of(session.splits.train, session.splits.validation, SIZE)
    scorer.settle()
    scores = scorer.score(session.trained.sample)
    curve: list[list[float]] = [[0, scores["overall"]]]
    looking, due = 0.0, FIRST

    def listen(event: Event) -> None:
        nonlocal looking, due, scores
        if isinstance(event, Stepped) and (event.step >= due or event.step == steps):
            begun = time.process_time()
            scores = scorer.score(session.trained.sample)
            curve.append([session.state.drawn, scores["overall"]])
            due = max(event.step + 1, round(event.step * GROWTH))
            looking += time.process_time() - begun

    began, failed = time.process_time(), ""
    try:
        session.run(listen)
    except DivergedError as error:
        failed = error.found
    seconds = time.process_time() - began - looking
    row: Row = {"data": data, "preset": name, "seed": seed, "steps": steps, "set": extra}
    return row | {"seconds": round(seconds, 1), "failed": failed, "curve": curve, "last": scores}


def level(row: Row) -> float:
    """What counts as near a training's best."""
    first, best = row["curve"][0][1], min(value for _, value in row["curve"])
    return best + NEAR * (first - best)


def until(row: Row, wanted: float) -> float | None:
    """Batches until the curve came down to ``wanted``; None where it never did."""
    return next((batches for batches, value in row["curve"] if value <= wanted), None)


def fewer(paper: float | None, other: float | None) -> float:
    """How many times fewer batches; infinite where none are needed, the untrained being as good as
    the paper's preset ever is, and 0 where it never comes so far."""
    if other is None:
        return 0.0
    return (paper or 0) / other if other else math.inf


def table(rows: list[Row]) -> str:
    """A line for each data set and preset, every seed's figure in it."""
    lines = []
    for data in dict.fromkeys(row["data"] for row in rows):
        paper = {r["seed"]: r for r in rows if (r["data"], r["preset"]) == (data, "paper")}
        for name in ("paper", "default"):
            own = [r for r in rows if (r["data"], r["preset"]) == (data, name)]
            own = [r for r in own if r["seed"] in paper]
            if not own:
                continue
            near = [until(r, level(paper[r["seed"]])) for r in own]
            needed = [until(paper[r["seed"]], level(paper[r["seed"]])) for r in own]
            times = [fewer(p, n) for p, n in zip(needed, near, strict=True)]
            lines.append(
                [
                    data,
                    name,
                    ", ".join(f"{min(v for _, v in r['curve']):.2f}" for r in own),
                    ", ".join(f"{until(r, level(r)):,.0f}" for r in own),
                    ", ".join("never" if n is None else f"{n:,.0f}" for n in near),
                    ""
                    if name == "paper"
                    else ", ".join("at once" if math.isinf(t) else f"{t:.1f}" for t in times),
                    "" if name == "paper" else reached(median(times) >= BAR),
                    f"{median(1000 * r['seconds'] / r['steps'] for r in own):.1f}",
                ]
            )
    header = ["data", "preset", "best overall", "batches to own best", "to paper's best"]
    header += ["times fewer", f"at least {BAR:.0f}", "ms a step"]
    return markdown(header, lines)


def main() -> None:
    """Train what is not in the file yet, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=list(DATA))
    parser.add_argument("--presets", nargs="+", default=["paper", "default"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=0, help="in place of each preset's own")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--resume", action="store_true", help="keep what the file holds")
    parser.add_argument("--show", action="store_true", help="print the file and train nothing")
    options = parser.parse_args()
    document: dict[str, Any] = {"machine": machine(), "rows": []}
    if options.show or (options.resume and options.out.exists()):
        document = json.loads(options.out.read_text())
    rows = document["rows"]
    extra = dict(entry.split("=", 1) for entry in options.set)
    done = {(r["data"], r["preset"], r["seed"]) for r in rows}
    for seed in [] if options.show else options.seeds:
        for data in options.data:
            for name in options.presets:
                if (data, name, seed) not in done:
                    steps = options.steps or STEPS[name, data]
                    rows.append(trial(data, name, seed, steps, extra))
                    write_json(options.out, document)
                    row = rows[-1]
                    curve = [f"{b:.0f}:{v:.2f}" for b, v in row["curve"][::8]]
                    print(data, name, seed, f"{row['seconds']:.0f} s", *curve, flush=True)
    print(document["machine"])
    print(table(rows))


if __name__ == "__main__":
    main()
