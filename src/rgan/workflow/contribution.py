"""What features contribute: a run judged with them and without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rgan.errors import InputError, nearest
from rgan.evaluate.core import evaluate
from rgan.evaluate.result import Evaluation, Score
from rgan.runs.atomic import write_json
from rgan.runs.folder import Run
from rgan.sequences import Sequences
from rgan.workflow.judge import Progress, prepare, trained_sampler

FILE = "contribution.json"


@dataclass(frozen=True)
class Contribution:
    """A run judged twice.

    Args:
        features: those in question.
        whole: judged with all features.
        rest: judged without those in question, real and synthetic alike.
    """

    features: tuple[str, ...]
    whole: Evaluation
    rest: Evaluation

    def pairs(self) -> list[tuple[Score, Score]]:
        """Scores that have a number with the features and without them."""
        rest = {score.name: score for score in self.rest.scores}
        return [(s, rest[s.name]) for s in self.whole.scores if s.name in rest]


def contribution(
    run: Run,
    features: tuple[str, ...],
    *,
    against: str = "",
    settings: dict[str, Any] | None = None,
    which: str = "auto",
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Contribution:
    """Judge a run with and without features; writes ``contribution.json`` into the run.

    The same samples are judged both times: the generator is the same, and makes all features.

    Args:
        run: the run folder.
        features: to leave out.
        against, settings, which, progress, say: as for ``judge.evaluate_run``.

    Raises:
        InputError: a feature is not there, none is left, or the sequences are images; otherwise as
            ``judge.evaluate_run``.
    """
    bench = prepare(run, against=against, settings=settings, which=which, say=say)
    keep = _kept(bench.test, features)
    sampler = trained_sampler(bench.trained)
    train, test, config = bench.splits.train, bench.test, bench.config.evaluate
    whole = evaluate(train, test, sampler, config, progress)
    rest = evaluate(
        train.with_features(keep),
        test.with_features(keep),
        lambda n, seed: sampler(n, seed).with_features(keep),
        config,
        progress,
    )
    document = {
        "run": run.info["id"],
        "checkpoint": which,
        "against": against or f"held-out test split ({bench.splits.kind})",
        "features": list(features),
        "with": whole.to_dict(),
        "without": rest.to_dict(),
    }
    write_json(run.path / FILE, document)
    return Contribution(features, whole, rest)


def _kept(test: Sequences, features: tuple[str, ...]) -> list[str]:
    if not features:
        raise InputError("--without names no feature", rule="at least one, such as HR,Temp")
    if test.is_image:
        raise InputError("features of images are pixels", rule="an image keeps its pixels")
    for name in features:
        if name not in test.feature_names:
            raise InputError(
                f'--without {name}: there is no feature "{name}"',
                rule="--without names features, with commas between them",
                repair=nearest(name, test.feature_names),
            )
    keep = [name for name in test.feature_names if name not in features]
    if not keep:
        raise InputError("every feature is left out", rule="at least one feature stays")
    return keep
