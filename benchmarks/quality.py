"""How good the samples of each preset are, over several training seeds.

    python benchmarks/quality.py                                  digits: default and paper
    python benchmarks/quality.py --data icu
    python benchmarks/quality.py --data icu --resume              after it was cut short
    python benchmarks/quality.py --out FILE --show                print a table from a file

Each preset is trained with each seed as the package has it (nothing is chosen here) and judged on
the held-out TEST split. A seed draws the split too, so the spread covers weights, noise and split.
Every finished training goes into the JSON file at once; --resume skips those that are in it.

The bars: on digits, TSTR accuracy of at least 0.90, and a discriminative score far below that of
``paper``, read as: the mean is at most half of paper's, and default's worst seed is better than
paper's best. On icu, TSTR AUROC at most 0.05 below the same classifier trained on real stays.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from common import machine, markdown, reached

from rgan.config import Config, changed, differences, from_sections, preset
from rgan.errors import RganError
from rgan.evaluate.core import evaluate
from rgan.report.progress import make_progress
from rgan.runs.atomic import write_json
from rgan.workflow.fit import fit
from rgan.workflow.judge import trained_sampler

RESULTS = Path(__file__).parent / "results"
VERSION = 1
Row = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """What is judged on one source.

    Args:
        metrics: as ``EvaluateConfig.metrics`` calls them.
        scores: what the table shows.
    """

    metrics: tuple[str, ...]
    scores: tuple[str, ...]


TASKS = {
    "digits": Task(
        ("discriminative", "discriminative_legacy", "tstr"),
        (
            *("tstr_linear_accuracy", "tstr_boosting_accuracy"),
            *("discriminative", "discriminative_legacy"),
        ),
    ),
    "icu": Task(
        ("discriminative", "tstr"),
        ("tstr_linear_auroc", "tstr_boosting_auroc", "discriminative"),
    ),
}
LEAST_ACCURACY, MOST_BELOW_REAL, WIDE = 0.90, 0.05, 0.5


# -- training and judging --------------------------------------------------------------------


def resolved(data: str, name: str, seed: int, options: argparse.Namespace) -> Config:
    """The configuration of one training: the preset, and what the options say."""
    settings: dict[str, Any] = {
        "data.source": data,
        "train.seed": seed,
        "train.figures": 0,
        "train.device": options.device,
        "evaluate.metrics": list(TASKS[data].metrics),
        "evaluate.repeats": options.repeats,
        "evaluate.quick": options.quick,
    }
    if options.steps:
        settings["train.steps"] = options.steps
    return changed(preset(name), settings)


def train_and_judge(config: Config, quiet: bool) -> Row:
    """Train in a temporary folder, judge on the test split, and give the numbers."""
    with tempfile.TemporaryDirectory() as runs, make_progress(quiet) as progress:
        outcome = fit(config, runs=runs, listeners=(progress,), command="benchmarks/quality.py")
        if outcome.ended.status != "finished":
            sys.exit(f"stopped by {outcome.ended.reason}; what was finished is kept: --resume")
        trained = outcome.trained
    session, began = outcome.session, time.monotonic()
    splits = session.splits
    sampler = trained_sampler(trained)
    result = evaluate(splits.train, splits.test, sampler, config.evaluate)
    return {
        "seed": config.train.seed,
        "steps": outcome.ended.step,
        "train_seconds": outcome.ended.seconds,
        "evaluate_seconds": time.monotonic() - began,
        "parameters": session.state.parameters(),
        "machine": machine(),
        "config": config.to_sections(),
        "evaluation": result.to_dict(),
    }


# -- the file --------------------------------------------------------------------------------


def read(path: Path, data: str) -> list[Row]:
    """The rows of an earlier file of the same source; none where there is no file."""
    if not path.exists():
        return []
    document = json.loads(path.read_text(encoding="utf-8"))
    if document.get("version") != VERSION or document.get("data") != data:
        sys.exit(f"{path} is not of --data {data}; name another file with --out")
    return list(document["rows"])


def finished(rows: list[Row], name: str, config: Config) -> bool:
    """Whether this training is in the file; ends the program if it is there of other settings."""
    for row in rows:
        if (row["preset"], row["seed"]) == (name, config.train.seed):
            other = differences(from_sections(row["config"]), config)
            if other:
                lines = "\n".join(f"  {key}: {old} -> {new}" for key, (old, new) in other.items())
                sys.exit(
                    f"{name}, seed {row['seed']} is in the file with other settings:\n{lines}\n"
                    "numbers of different settings do not go into one table; try --out FILE"
                )
            return True
    return False


# -- the table -------------------------------------------------------------------------------


def values(rows: list[Row], score: str, which: str = "value") -> list[float]:
    """One number of a score from each row; those that could not be computed are left out."""
    found = (s for row in rows for s in row["evaluation"]["scores"] if s["name"] == score)
    return [s[which] for s in found if s[which] is not None]


def spread(numbers: list[float], digits: int = 3) -> str:
    """Mean ± standard deviation over the seeds, or a dash."""
    if not numbers:
        return "-"
    if len(numbers) == 1:
        return f"{numbers[0]:.{digits}f}"
    return f"{mean(numbers):.{digits}f} ± {stdev(numbers):.{digits}f}"


def bar(score: str, mine: list[Row], paper: list[Row]) -> tuple[str, str]:
    """What this score should reach, and whether its mean does; "" where nothing is asked."""
    got = values(mine, score)
    if not got:
        return "", ""
    if score.endswith("accuracy"):
        return f">= {LEAST_ACCURACY:.2f}", reached(mean(got) >= LEAST_ACCURACY)
    if score.endswith("auroc"):
        least = mean(values(mine, score, "floor")) - MOST_BELOW_REAL
        return f">= {least:.3f} (real - {MOST_BELOW_REAL})", reached(mean(got) >= least)
    theirs = values(paper, score)
    if not theirs or score != "discriminative":
        return "", ""
    far = mean(got) <= WIDE * mean(theirs) and max(got) < min(theirs)
    return f"<= {WIDE * mean(theirs):.3f} (half of paper), seeds apart", reached(far)


def table(data: str, rows: list[Row]) -> str:
    """Mean ± spread over the training seeds of every preset, with its floor, copy and bar."""
    header = ["preset", "score", "synthetic", "real (floor)", "copy", "bar", "reached"]
    header += ["seeds", "steps", "training, s"]
    paper = [row for row in rows if row["preset"] == "paper"]
    cells = []
    for name in dict.fromkeys(row["preset"] for row in rows):
        mine = [row for row in rows if row["preset"] == name]
        for score in TASKS[data].scores:
            # the bars are for the package's own recipe; paper is what it is compared with
            asked = bar(score, mine, paper) if name == "default" else ("", "")
            numbers = (spread(values(mine, score, w)) for w in ("value", "floor", "copy"))
            steps = "/".join(map(str, sorted({row["steps"] for row in mine})))
            seconds = spread([row["train_seconds"] for row in mine], 0)
            cells.append([name, score, *numbers, *asked, str(len(mine)), steps, seconds])
    return markdown(header, cells)


def show(data: str, rows: list[Row]) -> None:
    """Print what there is."""
    print(f"{data}, held-out test split; mean ± standard deviation over training seeds")
    for line in dict.fromkeys(row["machine"] for row in rows):
        print(line)
    print()
    print(table(data, rows))


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", choices=tuple(TASKS), default="digits")
    parser.add_argument("--presets", default="default,paper", help="comma-separated")
    parser.add_argument("--seeds", type=int, default=3, help="0 to N - 1")
    parser.add_argument("--steps", type=int, default=0, help="instead of the presets' own")
    parser.add_argument("--repeats", type=int, default=3, help="of each evaluation")
    parser.add_argument("--quick", action="store_true", help="quick evaluation, for a try")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=None, help="results/quality-DATA.json")
    parser.add_argument("--resume", action="store_true", help="go on with the file")
    parser.add_argument("--show", action="store_true", help="print the file's table only")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    found = parser.parse_args()
    found.out = found.out or RESULTS / f"quality-{found.data}.json"
    if found.out.exists() and not (found.resume or found.show):
        parser.error(f"{found.out} is there already: --resume, --show, or --out FILE")
    return found


def main() -> None:
    """Train, judge, store and print."""
    asked = options()
    rows = read(asked.out, asked.data)
    if not asked.show:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        # seed by seed, so that a run cut short has every preset with the same seeds
        for seed in range(asked.seeds):
            for name in asked.presets.split(","):
                config = resolved(asked.data, name, seed, asked)
                if finished(rows, name, config):
                    continue
                print(f"{asked.data}, {name}, seed {seed}", file=sys.stderr, flush=True)
                rows.append({"preset": name, **train_and_judge(config, asked.quiet)})
                document = {"version": VERSION, "data": asked.data, "rows": rows}
                write_json(asked.out, document)
    show(asked.data, rows)


if __name__ == "__main__":
    try:
        main()
    except RganError as error:
        sys.exit(str(error))
