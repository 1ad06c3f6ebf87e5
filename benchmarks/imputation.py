"""How well hidden values are filled in: PhysioNet 2012, and the lower half of MNIST's digits.

    python benchmarks/imputation.py --train set-a --test set-b
    python benchmarks/imputation.py --train set-a --test set-b --resume    after it was cut short
    python benchmarks/imputation.py --show                                 print the results file

``set-a`` and ``set-b`` are the unpacked folders of the challenge. The imputer is fitted to set-a
as ``rgan impute`` fits it, its weights chosen on a part of set-a, and nothing is chosen on set-b,
where a fifth of the observed values is hidden at random, and six hours in a row of all features.
MNIST is looked for in ``--data-dir``; it is left out where it is not there.

Bars: on PhysioNet 2012 the mean absolute error at least 15 % below forward-fill's and the mean's,
and 85 to 95 % of the truth within the intervals of 90 %.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import machine, markdown, reached

from rgan.data.config import DataConfig
from rgan.data.load import load
from rgan.data.split import Splits, split
from rgan.errors import SourceError
from rgan.report.imputation import draw_calibration
from rgan.runs.atomic import write_json
from rgan.sequences import Sequences
from rgan.transforms.config import TransformConfig
from rgan.workflow.encoder import Encoder
from rgan.workflow.fill_score import score
from rgan.workflow.imputer import STEPS, fit_to
from rgan.workflow.imputer_input import matched

RESULTS = Path(__file__).parent / "results" / "imputation.json"
PHYSIONET, MNIST = "PhysioNet 2012", "MNIST"
RULES = {PHYSIONET: ("random:0.2", "block:6"), MNIST: ("steps:14-27",)}
DIGITS = 8000
Row = dict[str, Any]


def sets(name: str, options: argparse.Namespace) -> tuple[Splits, Sequences]:
    """What is fitted to and chosen by, and what is judged on."""
    if name == MNIST:
        config = DataConfig(source="mnist", max_sequences=DIGITS, data_dir=options.data_dir)
        splits = split(load(config, seed=options.seed), config, options.seed)
        return splits, splits.test
    # the least that a split takes: what is judged stands in the other set
    config = DataConfig(source=str(options.train), test=0.01)
    splits = split(load(config), config, options.seed)
    return splits, load(replace(config, source=str(options.test)))


def rows_of(name: str, rules: list[str], options: argparse.Namespace) -> list[Row]:
    """Fit once, and score each rule."""
    splits, test = sets(name, options)
    encoder = Encoder.fit(splits.train, TransformConfig())
    test = matched(test, encoder)

    def told(step: int, loss: float) -> None:
        if step % 100 == 0 and not options.quiet:
            print(f"  {name}: {step:,} of {options.steps:,}, score {loss:.3f}", flush=True)

    began = time.monotonic()
    fitted = fit_to(encoder, splits, steps=options.steps, seed=options.seed, progress=told)
    seconds = time.monotonic() - began
    rows: list[Row] = []
    for rule in rules:
        began = time.monotonic()
        found = score(fitted, test, splits.train, [rule], draws=options.draws, seed=options.seed)
        row = {"data": name, "rule": rule, "train": len(splits.train), **found.to_dict()}
        row |= {"fit": fitted.about, "fit_seconds": seconds}
        row["score_seconds"] = time.monotonic() - began
        rows.append(row)
        if options.figures:
            options.figures.mkdir(parents=True, exist_ok=True)
            draw_calibration(
                found.calibration.levels_L,
                found.calibration.covered_L,
                found.calibration.ranks,
                options.figures / f"imputation-{name.split()[0].lower()}-{rule.split(':')[0]}.png",
                errors={way: errors.mae for way, errors in found.errors.items()},
                features=found.features,
                title=f"{name}: {found.hidden:,} values hidden by {rule}",
            )
    return rows


def table(rows: list[Row]) -> str:
    """Mean absolute errors, in deviations; RMSE behind the bar."""
    lines = []
    for row in rows:
        errors, covered = row["errors"], row["calibration"]["covered_L"][-1]
        ways = ("rgan", "forward-fill", "mean", "MICE")
        cells = [
            f"{errors[way]['mae']:.3f} | {errors[way]['rmse']:.3f}".replace("|", "/")
            if way in errors
            else "-"
            for way in ways
        ]
        worst = max(errors["rgan"]["mae"] / errors[way]["mae"] for way in ("forward-fill", "mean"))
        yes = worst <= 0.85 and 0.85 <= covered <= 0.95
        bar = reached(yes) if row["data"] == PHYSIONET else "no bar"
        least = f"{1 - worst:.0%}"
        crps = f"{errors['rgan']['crps']:.3f}"
        lines.append([row["data"], row["rule"], *cells, crps, least, f"{covered:.1%}", bar])
    header = ["", "hidden", "rgan", "forward-fill", "mean", "MICE", "CRPS", "below both by",
              "90 % holds", "reached"]  # fmt: skip
    return markdown(header, lines)


def main() -> None:
    """Score what is not in the file yet, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=Path, default=Path("set-a"))
    parser.add_argument("--test", type=Path, default=Path("set-b"))
    parser.add_argument("--data-dir", default="", help="folder with a copy of MNIST")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(RULES), help="one of the data sets")
    parser.add_argument("--figures", type=Path, help="a folder for calibration figures")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--resume", action="store_true", help="keep what the file holds")
    parser.add_argument("--show", action="store_true", help="print the file and fit nothing")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    document: dict[str, Any] = {"machine": machine(), "rows": []}
    if options.show or (options.resume and options.out.exists()):
        document = json.loads(options.out.read_text())
    rows = document["rows"]
    done = {(row["data"], row["rule"]) for row in rows}
    for name, rules in RULES.items():
        left = [rule for rule in rules if (name, rule) not in done]
        if options.show or not left or options.only not in (None, name):
            continue
        try:
            rows += rows_of(name, left, options)
        except SourceError as error:
            if name == PHYSIONET:
                raise
            print(f"{name} is left out: {error.found}")
        write_json(options.out, document)
    print(document["machine"])
    print("mean absolute error / root mean squared error, in deviations of each feature\n")
    print(table(rows))


if __name__ == "__main__":
    main()
