"""Are synthetic stays useful? PhysioNet 2012: trained on set-a, judged on set-b, beside real stays.

    python benchmarks/clinical.py --train set-a --test set-b
    python benchmarks/clinical.py --train set-a --test set-b --resume      after it was cut short
    python benchmarks/clinical.py --show                                   print the results file

``set-a`` and ``set-b`` are the unpacked folders of the challenge with Outcomes-a.txt and
Outcomes-b.txt beside them or inside. The preset "feedback" is trained as it is, once for each seed;
a seed draws the weights and the validation split. Nothing is chosen on set-b. "Real" is the same
classifier trained on the real training stays and tested on the same stays of set-b.

TSTR learns from as many synthetic stays as there are real ones, and once more from ``TIMES`` as
many: an outcome is drawn by lot, and what one draw holds by chance more draws average out.

Bars: TSTR AUROC of in-hospital mortality within .02 of real-trained and AUPRC within .04; TRTS
within .03; TSTR+real no worse than real; each threshold task's loss of AUROC below .03, the
smallest that Esteban et al. 2017 report on eICU; observed rates within .02, their hourly curves
correlated above .95, a judge of masks at most .10 above chance, lengths within a KS distance of
.05; at most 30 minutes of training and 4 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

from common import machine, markdown, reached

from rgan.config import Config, changed, differences, from_sections, preset
from rgan.data.load import load
from rgan.evaluate.config import EvaluateConfig
from rgan.evaluate.core import evaluate
from rgan.report.progress import make_progress
from rgan.runs.atomic import write_json
from rgan.workflow.checks import resolve_kind
from rgan.workflow.fit import fit
from rgan.workflow.judge import trained_sampler

RESULTS = Path(__file__).parent / "results" / "clinical.json"
KINDS = ("linear", "boosting", "gru")
METRICS = ("tstr", "trts", "augmented", "thresholds", "missingness", "missing_curve",
           "missing_pattern", "lengths", "groups", "models_rank", "features_rank")  # fmt: skip
TIMES = 4
"""Synthetic stays for each real one, in the second table of TSTR."""
Row = dict[str, Any]


def configuration(options: argparse.Namespace, seed: int) -> Config:
    """What a seed is trained with."""
    settings: dict[str, Any] = {
        "data.source": str(options.train),
        "data.test": 0.01,  # the least that a split takes: what is judged stands in the other set
        "train.seed": seed,
        "train.figures": 0,
        "train.device": options.device,
    }
    if options.steps:
        settings["train.steps"] = options.steps
    settings |= dict(entry.split("=", 1) for entry in options.set)
    return changed(preset(options.preset), settings)


def noted(config: Config) -> Config:
    """As it goes into the results: a folder's name, and nothing of where it lies."""
    return changed(config, {"data.source": Path(config.data.source).name})


def check_settings(rows: list[Row], config: Config) -> None:
    """End the program where the file has rows of other settings than a seed's."""
    for row in rows:
        other = differences(from_sections(row["config"]), noted(config))
        other.pop("train.seed", None)
        if other:
            lines = "\n".join(f"  {key}: {old} -> {new}" for key, (old, new) in other.items())
            sys.exit(
                f"seed {row['seed']} is in the file with other settings:\n{lines}\n"
                "numbers of different settings do not go into one table; try --out FILE"
            )


def trial(config: Config, options: argparse.Namespace) -> Row:
    """Train once and judge on the other set."""
    with tempfile.TemporaryDirectory() as runs, make_progress(options.quiet) as progress:
        outcome = fit(config, runs=runs, listeners=(progress,), command="benchmarks/clinical.py")
        if outcome.ended.status != "finished":
            sys.exit(f"stopped by {outcome.ended.reason}; what was finished is kept: --resume")
        trained = outcome.trained
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    session, began = outcome.session, time.monotonic()
    sets = session.splits.train, other_set(config, options.test), trained_sampler(trained)
    judged = EvaluateConfig(metrics=METRICS, repeats=options.repeats, size=options.size)
    result = evaluate(*sets, judged)
    more = evaluate(*sets, replace(judged, metrics=("tstr",), times=TIMES), kinds=("synthetic",))
    return {
        "seed": config.train.seed,
        "steps": outcome.ended.step,
        "stays": len(session.splits.train),
        "train_seconds": outcome.ended.seconds,
        "evaluate_seconds": time.monotonic() - began,
        "peak_bytes": peak,
        "config": noted(config).to_sections(),
        "evaluation": result.to_dict(),
        "more": more.to_dict(),
    }


def other_set(config: Config, source: Path) -> Any:
    """The stays of another folder, read as the first ones."""
    data = changed(config, {"data.source": str(source)}).data
    return resolve_kind(config, load(data, seed=0))[1]


def scores(row: Row, which: str = "evaluation") -> dict[str, Any]:
    """An evaluation's scores by name; none where a row is from before there was such a one."""
    return {score["name"]: score for score in row.get(which, {"scores": []})["scores"]}


def utility(rows: list[Row]) -> str:
    """Synthetic beside real, for each classifier."""
    lines = []
    for label, which, name, bar in (
        ("TSTR AUROC", "evaluation", "tstr_{}_auroc", 0.02),
        ("TSTR AUPRC", "evaluation", "tstr_{}_auprc", 0.04),
        (f"TSTR AUROC, {TIMES} stays for each real one", "more", "tstr_{}_auroc", 0.02),
        (f"TSTR AUPRC, {TIMES} stays for each real one", "more", "tstr_{}_auprc", 0.04),
        ("TRTS AUROC", "evaluation", "trts_{}_auroc", 0.03),
        ("TSTR+real AUROC", "evaluation", "augmented_{}_auroc", 0.0),
    ):
        for kind in KINDS:
            found = [s for row in rows if (s := scores(row, which).get(name.format(kind)))]
            if len(found) < len(rows):
                continue
            floor = mean(scores(row)[name.format(kind)]["floor"] for row in rows)
            gap = floor - mean(s["value"] for s in found)
            shown = ", ".join(f"{s['value']:.3f}" for s in found)
            lines.append(
                [
                    label,
                    kind,
                    shown,
                    f"{floor:.3f}",
                    f"{gap:+.3f}",
                    f"{bar:.2f}",
                    reached(gap <= bar),
                ]
            )
    header = ["mortality", "classifier", "synthetic, by seed", "real", "lost", "at most", "reached"]
    return markdown(header, lines)


def thresholds(rows: list[Row]) -> str:
    """The paper's table: each task, real-trained against synthetic-trained."""
    lines = []
    both = {
        name: [scores(row)[f"thresholds_{name}"] for row in rows] for name in ("auroc", "auprc")
    }
    for task in both["auroc"][0]["parts"]:
        cells = [task]
        for name in ("auroc", "auprc"):
            real = mean(s["floor_parts"].get(task, 0.0) for s in both[name])
            synthetic = mean(s["parts"].get(task, 0.0) for s in both[name])
            cells += [f"{real:.3f}", f"{synthetic:.3f}"]
            if name == "auroc":
                gap = real - synthetic
        lines.append([*cells, f"{gap:+.3f}", reached(gap < 0.03)])
    header = ["in the next hour", "AUROC real", "TSTR", "AUPRC real", "TSTR", "AUROC lost", "< .03"]
    return markdown(header, lines)


def shape(rows: list[Row]) -> str:
    """Missingness, lengths, cost."""
    lines = []

    def line(label: str, values: list[float], floor: list[float], bar: str, yes: bool) -> None:
        shown = ", ".join(f"{v:.3f}" for v in values)
        real = f"{mean(floor):.3f}" if floor else ""
        lines.append([label, shown, real, bar, reached(yes)])

    def of(name: str, key: str) -> list[float]:
        found = [scores(row).get(name) for row in rows]
        return [s[key] for s in found if s and s[key] is not None]

    worst = [max(scores(row)["missingness"]["parts"].values()) for row in rows]
    usual = [max(scores(row)["missingness"]["floor_parts"].values()) for row in rows]
    line("observed rate, worst feature", worst, usual, "<= .02", max(worst) <= 0.02)
    value = of("missing_curve", "value")
    line("rates by hour, mean correlation", value, of("missing_curve", "floor"), "> .95",
         min(value) > 0.95)  # fmt: skip
    value = of("missing_pattern", "value")
    line("judge of masks, above chance", value, of("missing_pattern", "floor"), "<= .10",
         max(value) <= 0.10)  # fmt: skip
    if value := of("length_ks", "value"):
        line("lengths, KS", value, of("length_ks", "floor"), "< .05", max(value) < 0.05)
    else:  # PhysioNet's stays all have 48 hours: there is nothing to reach
        lines.append(["lengths, KS", "all of one length", "", "< .05", "not judged"])
    for name, label in (("models_rank", "order of models kept"),
                        ("features_rank", "order of features kept"),
                        ("groups_gap", "AUROC lost in the worst group")):  # fmt: skip
        if of(name, "value"):
            shown = ", ".join(f"{v:.3f}" for v in of(name, "value"))
            lines.append([label, shown, f"{mean(of(name, 'floor')):.3f}", "", ""])
    minutes = [row["train_seconds"] / 60 for row in rows]
    line("minutes of training", minutes, [], "<= 30", max(minutes) <= 30)
    peak = [row["peak_bytes"] / 1e9 for row in rows]
    line("GB of memory at the most", peak, [], "< 4", max(peak) < 4)
    return markdown(["", "synthetic, by seed", "real", "bar", "reached"], lines)


def main() -> None:
    """Train what is not in the file yet, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=Path, default=Path("set-a"))
    parser.add_argument("--test", type=Path, default=Path("set-b"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--preset", default="feedback")
    parser.add_argument("--steps", type=int, default=0, help="in place of the preset's own")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--size", type=int, default=4000, help="most sequences of each set")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--resume", action="store_true", help="keep what the file holds")
    parser.add_argument("--show", action="store_true", help="print the file and train nothing")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    if options.out.exists() and not (options.resume or options.show):
        parser.error(f"{options.out} is there already: --resume, --show, or --out FILE")
    document: dict[str, Any] = {"machine": machine(), "rows": []}
    if options.show or (options.resume and options.out.exists()):
        document = json.loads(options.out.read_text())
    rows = document["rows"]
    for seed in [] if options.show else options.seeds:
        config = configuration(options, seed)
        check_settings(rows, config)
        if seed not in {row["seed"] for row in rows}:
            rows.append(trial(config, options))
            write_json(options.out, document)
    print(document["machine"])
    print(f"{rows[0]['stays']:,} stays to train, {rows[0]['steps']:,} steps\n")
    print(utility(rows), thresholds(rows), shape(rows), sep="\n\n")


if __name__ == "__main__":
    main()
