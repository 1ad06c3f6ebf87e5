"""Judging a run: its samples against the sequences that it never trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rgan.config import Config, changed, differences, from_sections
from rgan.data.load import load
from rgan.data.split import Splits, split
from rgan.errors import ConfigError, RunError
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
from rgan.workflow.changes import check_same_data
from rgan.workflow.checks import resolve_kind
from rgan.workflow.pictures import may_show_singles
from rgan.workflow.sampling import load_trained
from rgan.workflow.trained import Trained

Progress = Callable[[int, int, str], None]


def evaluate_run(
    run: Run,
    *,
    against: str = "",
    settings: dict[str, Any] | None = None,
    which: str = "auto",
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Evaluation:
    """Evaluate a run on its held-out test split, or against another source.

    Writes ``evaluation.json`` and figures into the run.

    Args:
        run: the run folder.
        against: a source to test on instead; read with the run's own data settings.
        settings: ``{"section.key": value}`` to change for this evaluation.
        which: "auto", "latest", "best" or a step.
        progress: is told (done, total, what).
        say: is told of a damaged checkpoint, and of held-out sequences that are none.

    Raises:
        RunError: the run has no usable checkpoint, or its data differ from those trained on.
        DataError: its data are gone, or the other source does not match.
        ConfigError: a setting is not one of ``evaluate``.
    """
    bench = prepare(run, against=against, settings=settings, which=which, say=say)
    config, trained, test = bench.config, bench.trained, bench.test
    sampler = trained_sampler(trained)
    result = evaluate(bench.splits.train, test, sampler, config.evaluate, progress)
    document = {
        "run": run.info["id"],
        "checkpoint": which,
        "against": against or f"held-out test split ({bench.splits.kind})",
        "held_out": str(run.info.get("held_out") or ""),
        "config": config.to_sections()["evaluate"],
        **result.to_dict(),
    }
    write_json(run.evaluation_json, document)
    draw_evaluation(test, trained, run.figures, may_show_singles(test, config.train))
    return result


@dataclass(frozen=True)
class Bench:
    """What a run is judged with: its configuration, its generator, and real sequences.

    Args:
        config: with the settings of this evaluation.
        trained: what is judged.
        splits: the run's own.
        test: what it is judged against.
    """

    config: Config
    trained: Trained
    splits: Splits
    test: Sequences


def prepare(
    run: Run,
    *,
    against: str = "",
    settings: dict[str, Any] | None = None,
    which: str = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> Bench:
    """What ``evaluate_run`` judges with; arguments and errors are its own."""
    trained_with = from_sections(run.read_config())
    config = changed(trained_with, settings or {})
    _check_settings(differences(trained_with, config))
    config.evaluate.check()
    trained, warning = load_trained(run, which=which)
    if warning:
        say(warning)
    splits = load_splits(config, run)
    test = splits.test
    held_out = str(run.info.get("held_out") or "")
    if held_out and not against:
        say(f"careful: {held_out}; figures may flatter this run")
    if against:
        other = dataclasses.replace(config.data, source=against)
        _, test = resolve_kind(config, load(other, seed=config.train.seed))
    return Bench(config, trained, splits, test)


def trained_sampler(trained: Trained) -> Callable[[int, int], Sequences]:
    """(n, seed) to n synthetic sequences."""
    return lambda n, seed: trained.sample(n, seed=seed)


def _check_settings(changes: dict[str, Any]) -> None:
    for path in changes:
        if not path.startswith("evaluate.") and path not in ("data.source", "data.data_dir"):
            raise ConfigError(
                f'"{path}" is to change for an evaluation',
                rule="settings of an evaluation are named evaluate.key",
                reason="a run is judged as it was trained, on what was held out then",
                repair="--set evaluate.repeats=5",
            )


def load_splits(config: Config, run: Run) -> Splits:
    """The sequences of a run's source, split as the run split them.

    Raises:
        RunError: no source names them, or they are not those that the run was trained on.
    """
    if not config.data.source:
        raise RunError(
            f"{run.path} was trained on data that no source names",
            rule="a run is judged on sequences held out from its own data",
            repair="--set data.source=PATH, the file that holds them",
        )
    sequences = load(config.data, seed=config.train.seed)
    check_same_data(run, sequences)
    config, sequences = resolve_kind(config, sequences)
    return split(sequences, config.data, stream_seed(config.train.seed, Stream.SPLIT))


def draw_evaluation(test: Sequences, trained: Trained, folder: Path, singles: bool) -> list[Path]:
    """Samples beside held-out real sequences, marginals, autocorrelation and an embedding.

    Args:
        test: real sequences.
        trained: what is judged.
        folder: of the pictures.
        singles: whether single real sequences may be shown.
    """
    real, labels = test[:1000], None
    if trained.encoder.packer.labels.columns and real.labels is not None:
        classes = trained.encoder.packer.classes
        known = np.isin(real.labels, classes) if classes else np.ones(len(real), np.bool_)
        if known.any():  # another source may have classes that this model never saw
            real = real[known]
            labels = real.labels
    synthetic = trained.sample(len(real), labels, seed=0)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in ("samples", "marginals", "autocorrelation")]
    draw_samples(real, synthetic, paths[0], singles=singles)
    draw_marginals(real, synthetic, paths[1])
    draw_autocorrelation(real, synthetic, paths[2])
    paths.append(draw_embedding(real, synthetic, folder / "embedding.png", singles=singles))
    return paths
