"""Images read as sequences of rows, beside a plain DCGAN of as many weights and as many seconds.

    python benchmarks/images.py --data mnist                     the recipe's own length
    python benchmarks/images.py --data lfw64 --budget 3600       an hour of one thread for each
    python benchmarks/images.py --data mnist --resume            what is not in the file yet
    python benchmarks/images.py --data mnist --preset default    another recipe
    python benchmarks/images.py --show                           the tables of the file

The package's recipe for images is trained first, in one thread; then the DCGAN (``dcgan.py``), with
about as many weights, for the seconds of processor time that the first one took. With ``--budget``
the recipe gets the number of whole epochs that comes nearest to so many seconds, and its rates fall
along them; a single epoch that is longer is broken off, which the table says. Neither is looked at
while it trains, and nothing is chosen by what is printed: held-out images are the test split. What
the validation split says, by which a recipe may be chosen, is in the file only.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import dcgan
import numpy as np
import torch
from common import machine
from image_scores import MOST, STEPS, Judge, chosen, draw_beside
from image_tables import MODELS, show

from rgan.config import PRESETS, Config, changed, preset
from rgan.data.load import load
from rgan.errors import RganError
from rgan.evaluate.features import brightness
from rgan.runs.atomic import write_json
from rgan.sequences import Sequences
from rgan.train.events import Event, Stepped
from rgan.workflow.session import Session, open_session

RESULTS = Path(__file__).parent / "results" / "images.json"
SETS: dict[str, dict[str, Any]] = {
    "mnist": {"data.source": "mnist"},
    "mnist-pixels": {"data.source": "mnist", "data.layout": "pixels"},
    "fashion": {"data.source": "fashion-mnist"},
    "lfw28": {"data.source": "lfw", "data.size": "28"},
    "lfw64": {"data.source": "lfw"},
}
PROBE_STEPS, OVER = 20, 1.15
FULL, QUICK = [MOST, STEPS], [1000, 100]
"""Images of a side, and steps of each classifier's training."""
Row = dict[str, Any]


# -- training --------------------------------------------------------------------------------


def resolved(data: str, seed: int, extra: dict[str, str], recipe: str = "images") -> Config:
    """A preset on this set, in one thread."""
    settings = {**SETS[data], "train.seed": seed, "train.device": "cpu", "train.threads": 1}
    settings |= {"health.explosion": "warn", "health.nan": "stop", **extra}
    return changed(preset(recipe), settings)


def timed(session: Session, seconds: float, steps: int = 0) -> tuple[int, float]:
    """Train to the end, for so many seconds or so many steps: (steps, processor seconds)."""
    began = last = time.process_time()
    total = session.state.plan(len(session.batch)).total

    def listen(event: Event) -> None:
        nonlocal last
        if isinstance(event, Stepped) and time.process_time() - last > 10:
            last = time.process_time()
            say(f"recurrent: {event.step:,} of {total:,} steps, {last - began:.0f} s")

    def stop() -> str:
        enough = steps and session.state.step >= steps
        return "enough" if enough or 0 < seconds < time.process_time() - began else ""

    session.run(listen, stop)
    return session.state.step, time.process_time() - began


def within(config: Config, sequences: Sequences, budget: float) -> tuple[Config, float]:
    """The recipe with as many epochs as the budget holds; and the seconds for each of its steps."""
    probe = open_session(config, sequences)
    steps, seconds = timed(probe, 0, PROBE_STEPS)
    each = seconds / steps
    epoch = probe.state.plan(len(probe.batch)).steps
    epochs = max(1, round(budget / each / epoch))
    return changed(config, {"train.steps": epochs * epoch}), each


def recurrent(config: Config, sequences: Sequences, budget: float) -> tuple[Session, Row]:
    """The package's recipe, trained."""
    if budget:
        config, each = within(config, sequences, budget)
        say(f"recurrent: {1000 * each:.0f} ms a step, {config.train.steps:,} steps")
    session = open_session(config, sequences)
    began = time.monotonic()
    steps, seconds = timed(session, OVER * budget)
    total = session.state.plan(len(session.batch)).total
    return session, {
        "steps": steps,
        "planned": total,
        "train_cpu_seconds": seconds,
        "train_seconds": time.monotonic() - began,
        "parameters": sum(session.state.parameters().values()),
        "config": session.config.to_sections(),
    }


def rival(train: Sequences, row: Row, seed: int) -> tuple[dcgan.Pair, Row]:
    """The DCGAN, with the weights and the seconds of the first model's row."""
    classes = None
    if train.labels is not None:
        classes = np.searchsorted(train.classes, train.labels)
    began = time.monotonic()
    pair, found = dcgan.train(
        brightness(train)[..., 0], classes, row["parameters"], row["train_cpu_seconds"], seed, say
    )
    found |= {"train_seconds": time.monotonic() - began, "parameters": pair.parameters}
    return pair, found


def drawn_by(pair: dcgan.Pair, like: Sequences, seed: int) -> Sequences:
    """As many images as there are training images, of their classes, in their layout."""
    layout = like.layout
    codes = np.zeros(len(like), np.int64)
    if like.labels is not None:
        codes = np.searchsorted(like.classes, like.labels)
    x_NHW = pair.sample(codes, seed) * (layout.high - layout.low) + layout.low  # type: ignore[union-attr]
    values = layout.to_sequences(x_NHW[..., None])  # type: ignore[union-attr]
    return Sequences(values, layout=layout, labels=like.labels, name=like.name)


# -- one row after another -------------------------------------------------------------------


def train_and_judge(asked: argparse.Namespace, seed: int, rows: list[Row]) -> None:
    """The two rows of a seed, each stored when it is done."""
    key = {"data": asked.data, "seed": seed, "budget": asked.budget, "set": asked.set}
    key |= {"judged": asked.judged, "preset": asked.preset}
    done = {row["model"]: row for row in rows if all(row[k] == v for k, v in key.items())}
    if len(done) == len(MODELS):
        return
    extra = dict(entry.split("=", 1) for entry in asked.set)
    config = resolved(asked.data, seed, extra, asked.preset)
    sequences = load(config.data, seed=seed)
    splits = open_session(config, sequences).splits
    most, steps = asked.judged
    judge = Judge(splits.train, splits.test, most, steps, seed)
    chooser = Judge(splits.train, splits.validation, most, 0, seed)
    floor = next((row["floor"] for row in done.values()), None) or judge.floor()
    made: Sequences
    for model in (model for model in MODELS if model not in done):
        say(f"{asked.data}, seed {seed}: {model}")
        if model == "recurrent":
            session, found = recurrent(config, sequences, asked.budget)
            began = time.process_time()
            made = session.trained.sample(len(splits.train), seed=seed)
        else:
            pair, found = rival(splits.train, done["recurrent"], seed)
            began = time.process_time()
            made = drawn_by(pair, splits.train, seed)
        found["sample_ms"] = 1000 * (time.process_time() - began) / len(made)
        say(f"{asked.data}, seed {seed}: judging {model}")
        row = {**key, "model": model, **found, "machine": machine()}
        # in another order than the training images' own, or each class may have its own stretch
        made = made[np.random.default_rng(seed).permutation(len(made))]
        row |= {"scores": judge.scores(made), "floor": floor}
        row["validation"] = chooser.scores(made)
        done[model] = row
        rows.append(row)
        write_json(asked.out, {"version": 1, "rows": rows})
        keep_picture(asked, seed, model, made)


def keep_picture(asked: argparse.Namespace, seed: int, model: str, made: Sequences) -> None:
    """Some images of this model as .npy, and a PNG of both where both are there."""
    asked.pictures.mkdir(parents=True, exist_ok=True)
    name = f"{asked.data}-{seed}"
    np.save(asked.pictures / f"{name}-{model}.npy", chosen(made))
    files = [asked.pictures / f"{name}-{m}.npy" for m in MODELS]
    grids = [np.load(file, allow_pickle=False) for file in files if file.exists()]
    say(f"{draw_beside(grids, asked.pictures / f'{name}.png')}: recurrent left, DCGAN right")


def say(text: str) -> None:
    """To the person who waits."""
    print(text, file=sys.stderr, flush=True)


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", choices=tuple(SETS), default="mnist")
    parser.add_argument("--budget", type=float, default=0, help="seconds of training, each model")
    parser.add_argument("--seeds", type=int, default=1, help="0 to N - 1")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--preset", choices=tuple(PRESETS), default="images")
    parser.add_argument("--quick", action="store_true", help="fewer images judged, for a try")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--pictures", type=Path, default=Path("runs/images"))
    parser.add_argument("--resume", action="store_true", help="go on with the file")
    parser.add_argument("--show", action="store_true", help="print the file's tables only")
    found = parser.parse_args()
    found.judged = QUICK if found.quick else FULL
    if found.budget < 0 or found.seeds < 1:
        parser.error("--budget is 0 or more, --seeds 1 or more")
    if found.out.exists() and not (found.resume or found.show):
        parser.error(f"{found.out} is there already: --resume, --show, or --out FILE")
    return found


def main() -> None:
    """Train, judge, store and print."""
    asked = options()
    rows: list[Row] = []
    if asked.out.exists():
        rows = json.loads(asked.out.read_text("utf-8"))["rows"]
    torch.set_num_threads(1)
    if not asked.show:
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        for seed in range(asked.seeds):
            train_and_judge(asked, seed, rows)
    show(rows)


if __name__ == "__main__":
    try:
        main()
    except RganError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("stopped; what was finished is kept: --resume")
