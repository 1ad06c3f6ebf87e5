"""Which controller of the g-factor helps, and which hurts: small trainings side by side.

    python benchmarks/gfactor.py
    python benchmarks/gfactor.py --resume          after it was cut short
    python benchmarks/gfactor.py --show            print the tables of the results file

Every controller begins at a good g-factor (1) and at two bad ones (1/8 and 8), on two data sets,
with two seeds. A training is judged on the VALIDATION split, by MMD² and by the distance of the
marginals; a seed draws weights, noise, batches and split. Networks and lengths are small, so that
all of it fits into about twenty minutes: what is printed says which controller copes with a bad
balance early in a training, and not how good a long training becomes.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from statistics import mean
from typing import Any

from common import machine, markdown

from rgan.config import Config, changed
from rgan.data.load import load
from rgan.errors import DivergedError
from rgan.evaluate.config import EvaluateConfig
from rgan.evaluate.core import evaluate
from rgan.runs.atomic import write_json
from rgan.train.events import Event, Examined, Stepped
from rgan.workflow.judge import trained_sampler
from rgan.workflow.session import open_session

RESULTS = Path(__file__).parent / "results" / "gfactor.json"
CONTROLLERS = ("fixed", "loss-ratio", "accuracy", "gap", "critic-steps")
STARTS = {"1": 1.0, "1/8": 0.125, "8": 8.0}
SCORES = {"mmd2": "MMD²", "marginal_w1": "marginals, W1"}
STEPS = 300
SETTINGS: dict[str, Any] = {
    "data.max_sequences": 600,
    "generator.hidden": 24,
    "critic.hidden": 24,
    "critic.convs": 0,
    "generator.convs_after": 0,
    "generator.bidirectional": False,
    "critic.bidirectional": False,
    "penalty.every": 4,
    "generator_optimizer.rate": 4e-3,
    "critic_optimizer.rate": 4e-3,
    "train.batch_size": 16,
    "train.warmup": 20,
    "train.device": "cpu",
    # a short training has little time to find its balance: more and larger steps than usual
    "gfactor.every": 5,
    "gfactor.speed": 0.2,
    # no rescue by other means than the controller
    "health.explosion": "warn",
    "health.nan": "stop",
}
JUDGED = EvaluateConfig(metrics=("mmd", "marginals"), repeats=2, size=400, quick=True)
Row = dict[str, Any]


def configuration(data: str, steer: str, start: str, seed: int, steps: int) -> Config:
    """What is trained."""
    own = {
        "data.source": data,
        "gfactor.steer": steer,
        "gfactor.value": STARTS[start],
        "train.seed": seed,
        "train.steps": steps,
    }
    return changed(Config(), SETTINGS | own)


def trial(data: str, steer: str, start: str, seed: int, steps: int) -> Row:
    """Train and judge once."""
    config = configuration(data, steer, start, seed, steps)
    session = open_session(config, load(config.data, seed=seed))
    rates: dict[str, float] = {}
    accuracies: list[float] = []

    def listen(event: Event) -> None:
        if isinstance(event, Stepped):
            rates.update(event.rates)
        elif isinstance(event, Examined):
            accuracies.append(event.accuracy)

    began, failed = time.process_time(), ""
    try:
        session.run(listen)
    except DivergedError as error:
        failed = error.found
    row: Row = {"data": data, "steer": steer, "start": start, "seed": seed, "steps": steps}
    row |= {"seconds": time.process_time() - began, "failed": failed, "scores": {}, "floor": {}}
    row["gfactor"] = rates["generator"] / rates["critic"]
    row["critic_steps"] = session.state.decision.critic_steps
    last = accuracies[-10:]
    row["accuracy"] = sum(last) / max(1, len(last))
    if not failed:
        splits = session.splits
        sampler = trained_sampler(session.trained)
        found = evaluate(splits.train, splits.validation, sampler, JUDGED)
        for score in found.scores:
            if score.name in SCORES:
                row["scores"][score.name] = score.value
                row["floor"][score.name] = score.floor
    return row


def tables(rows: list[Row]) -> str:
    """One table for each data set."""
    return "\n\n".join(
        f"**{data}**\n\n{table([r for r in rows if r['data'] == data])}"
        for data in dict.fromkeys(row["data"] for row in rows)
    )


def table(rows: list[Row]) -> str:
    """Means over the seeds, with every seed's value of MMD² beside them."""
    header = ["controller", "start", *SCORES.values(), "MMD² by seed", "g-factor at the end"]
    header += ["critic steps", "accuracy", "seconds"]
    lines = []
    for start in STARTS:
        for steer in CONTROLLERS:
            own = [r for r in rows if (r["start"], r["steer"]) == (start, steer)]
            if own:
                lines.append([steer, start, *_cells(own)])
    floors = [r["floor"] for r in rows if r["floor"]]
    best = [f"{mean(floor[name] for floor in floors):.4f}" for name in SCORES] if floors else []
    lines.append(["real sequences", "", *best, *[""] * (len(header) - 2 - len(best))])
    return markdown(header, lines)


def _cells(rows: list[Row]) -> list[str]:
    sound = [row["scores"] for row in rows if row["scores"]]
    failed = f" ({len(rows) - len(sound)} failed)" if len(sound) < len(rows) else ""
    means = [f"{mean(s[n] for s in sound):.4f}{failed}" if sound else "failed" for n in SCORES]
    return [
        *means,
        ", ".join(f"{s['mmd2']:.4f}" for s in sound),
        ", ".join(f"{row['gfactor']:.2g}" for row in rows),
        ", ".join(str(row["critic_steps"]) for row in rows),
        f"{mean(row['accuracy'] for row in rows):.2f}",
        f"{mean(row['seconds'] for row in rows):.0f}",
    ]


def main() -> None:
    """Train what is not in the file yet, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=["digits", "sines"])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--resume", action="store_true", help="keep what the file holds")
    parser.add_argument("--show", action="store_true", help="print the file and train nothing")
    options = parser.parse_args()
    document: dict[str, Any] = {"machine": machine(), "settings": SETTINGS, "rows": []}
    if options.show or (options.resume and options.out.exists()):
        document = json.loads(options.out.read_text())
    rows = document["rows"]
    names = ("data", "steer", "start", "seed", "steps")
    wanted = [
        (data, steer, start, seed, options.steps)
        for seed in range(options.seeds)
        for start in STARTS
        for data in options.data
        for steer in CONTROLLERS
    ]
    done = {tuple(row[name] for name in names) for row in rows}
    for key in [] if options.show else wanted:
        if key not in done:
            rows.append(trial(*key))
            write_json(options.out, document)
            print(" ".join(map(str, key)), rows[-1]["scores"], flush=True)
    print(document["machine"])
    print(tables(rows))


if __name__ == "__main__":
    main()
