"""Judging a run: its samples against the sequences that it never trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rgan.config import Config, changed, from_sections
from rgan.data.load import load
from rgan.data.split import Splits, split
from rgan.evaluate.core import evaluate
from rgan.evaluate.result import Evaluation
from rgan.report.figures import (
    draw_autocorrelation,
    draw_embedding,
    draw_marginals,
    draw_samples,
)
from rgan.runs.atomic import write_json
from rgan.runs.folder import Run
from rgan.sequences import Sequences
from rgan.train.randomness import Stream, stream_seed
from rgan.workflow.sampling import load_trained
from rgan.workflow.session import resolve_kind
from rgan.workflow.trained import Trained

Progress = Callable[[int, int, str], None]


def evaluate_run(
    run: Run,
    *,
    against: str = "",
    settings: dict[str, Any] | None = None,
    which: str = "latest",
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Evaluate a run on its held-out test split, or against another source.

    Writes ``evaluation.json`` and figures into the run.

    Args:
        run: the run folder.
        against: a source to test on instead; read with the run's own data settings.
        settings: ``{"section.key": value}`` to change for this evaluation.
        which: "latest", "best" or a step.
        progress: is told (done, total, what).
        say: is told of a damaged checkpoint.

    Raises:
        RunError: the run has no usable checkpoint.
        DataError: its data are gone or differ, or the other source does not match.
    """
    config = changed(from_sections(run.read_config()), settings or {})
    trained, warning = load_trained(run, which=which)
    if warning:
        say(warning)
    splits = load_splits(config)
    test = splits.test
    if against:
        other = dataclasses.replace(config.data, source=against)
        _, test = resolve_kind(config, load(other, seed=config.train.seed))
    result = evaluate(splits.train, test, trained_sampler(trained), config.evaluate, progress)
    document = {
        "run": run.info["id"],
        "checkpoint": which,
        "against": against or f"held-out test split ({splits.kind})",
        "config": config.to_sections()["evaluate"],
        **result.to_dict(),
    }
    write_json(run.evaluation_json, document)
    draw_evaluation(test, trained, run.figures)
    return result


def trained_sampler(trained: Trained) -> Callable[[int, int], Sequences]:
    """(n, seed) to n synthetic sequences."""
    return lambda n, seed: trained.sample(n, seed=seed)


def load_splits(config: Config) -> Splits:
    """The sequences of a run's source, split as the run split them."""
    config, sequences = resolve_kind(config, load(config.data, seed=config.train.seed))
    return split(sequences, config.data, stream_seed(config.train.seed, Stream.SPLIT))


def draw_evaluation(test: Sequences, trained: Trained, folder: Path) -> list[Path]:
    """Samples beside held-out real sequences, marginals, autocorrelation and an embedding."""
    real = test[:1000]
    labels = real.labels if trained.encoder.packer.spec.condition else None
    synthetic = trained.sample(len(real), labels, seed=0)
    folder.mkdir(parents=True, exist_ok=True)
    drawings = {
        "samples": draw_samples,
        "marginals": draw_marginals,
        "autocorrelation": draw_autocorrelation,
        "embedding": draw_embedding,
    }
    paths = []
    for name, draw in drawings.items():
        paths.append(folder / f"{name}.png")
        draw(real, synthetic, paths[-1])
    return paths
