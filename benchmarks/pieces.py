"""Whether an option earns its place: short trainings with it and without, judged on VALIDATION.

    python benchmarks/pieces.py --data icu --name plain
    python benchmarks/pieces.py --data icu --name augment --set train.augment=0.3
    python benchmarks/pieces.py --show

Each training is the preset ``default`` with what ``--set`` says, shortened to ``--steps``. Its
samples are held against the validation split: the monitor's overall distance (lower is better), the
strong held-out judge (lower), TSTR and TRTS (higher). Every finished training adds a line to
``--out``; a line that is there already is not trained again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

from common import machine, markdown

from rgan.config import Config, changed, parse_settings, preset
from rgan.errors import RganError
from rgan.evaluate.core import evaluate
from rgan.workflow.fit import fit
from rgan.workflow.judge import trained_sampler
from rgan.workflow.monitor_scores import Scorer

RESULTS = Path(__file__).parent / "results" / "pieces.jsonl"
METRICS = {"icu": ["discriminative", "tstr", "trts"], "digits": ["discriminative", "tstr", "trts"]}
SCORES = ("overall", "discriminative", "tstr_linear_auroc", "tstr_boosting_auroc",
          "tstr_linear_accuracy", "trts_linear_auroc", "trts_linear_accuracy")  # fmt: skip
LOOK = 300
"""Sequences of each side in a look."""
Row = dict[str, Any]


def resolved(asked: argparse.Namespace, seed: int) -> Config:
    """The configuration of one training."""
    settings: dict[str, Any] = {
        "data.source": asked.data,
        "train.seed": seed,
        "train.steps": asked.steps,
        "train.figures": 0,
        "train.device": "cpu",
        "train.threads": 1,
        "monitor.looks": 0,
        "evaluate.metrics": METRICS.get(asked.data, ["discriminative"]),
        "evaluate.repeats": asked.repeats,
    }
    return changed(preset("default"), settings | parse_settings(asked.set))


def train_and_judge(config: Config) -> Row:
    """Train in a temporary folder, judge on the validation split, and give the numbers."""
    with tempfile.TemporaryDirectory() as runs:
        outcome = fit(config, runs=runs, command="benchmarks/pieces.py")
    splits, sampler = outcome.session.splits, trained_sampler(outcome.trained)
    result = evaluate(splits.train, splits.validation, sampler, config.evaluate, kinds=())
    look = Scorer.of(splits.train, splits.validation, LOOK)
    look.settle()
    near = look.score(outcome.trained.sample)
    scores = {s.name: s.value for s in result.scores if s.value is not None}
    overall = {"overall": near["overall"]} if "overall" in near else {}
    return {"seconds": outcome.ended.seconds, "look": near, "scores": scores | overall}


def table(rows: list[Row]) -> str:
    """The mean over the seeds of each option and source, and the single seeds of the first two."""
    cells = []
    for data, name in dict.fromkeys((row["data"], row["name"]) for row in rows):
        mine = [row for row in rows if (row["data"], row["name"]) == (data, name)]
        line = [data, name, str(len(mine))]
        for score in SCORES:
            got = [row["scores"][score] for row in mine if score in row["scores"]]
            single = " / ".join(f"{value:.3f}" for value in got)
            line.append(f"{mean(got):.3f} ({single})" if got else "-")
        line.append(f"{mean(row['seconds'] for row in mine):.0f}")
        cells.append(line)
    return markdown(["data", "option", "seeds", *SCORES, "training, s"], cells)


def main() -> None:
    """Train, judge, store and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="icu")
    parser.add_argument("--name", default="plain", help="of the option, in the table")
    parser.add_argument("--set", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--repeats", type=int, default=2, help="of each evaluation")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--show", action="store_true", help="print the table only")
    asked = parser.parse_args()
    lines = asked.out.read_text().splitlines() if asked.out.exists() else []
    rows: list[Row] = [json.loads(line) for line in lines]
    for seed in [] if asked.show else map(int, asked.seeds.split(",")):
        key = {"data": asked.data, "name": asked.name, "seed": seed, "steps": asked.steps}
        if any(key.items() <= row.items() for row in rows):
            continue
        row = {**key, "set": asked.set, "machine": machine()}
        rows.append(row | train_and_judge(resolved(asked, seed)))
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        with asked.out.open("a", encoding="utf-8") as out:
            out.write(json.dumps(rows[-1]) + "\n")
    print(table(rows))


if __name__ == "__main__":
    try:
        main()
    except RganError as error:
        sys.exit(str(error))
