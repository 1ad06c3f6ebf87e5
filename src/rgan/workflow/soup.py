"""The greedy recipe of model soups (Wortsman et al. 2022, arXiv 2203.05482, recipe 1).

Runs are ranked by a metric on the validation split; the best is taken; each other one, in turn, is
taken in only where the mean with it is better. The test split is not looked at, so that what
``rgan evaluate`` then says of the mean is not what it was chosen for.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rgan.config import changed
from rgan.data.split import Splits
from rgan.errors import ConfigError, nearest
from rgan.evaluate.config import EvaluateConfig
from rgan.evaluate.core import evaluate
from rgan.evaluate.trial import About, all_metrics
from rgan.workflow.blend import blend
from rgan.workflow.judge import load_splits, trained_sampler
from rgan.workflow.session import trained_from_checkpoint

if TYPE_CHECKING:
    from rgan.workflow.average import Voice


def greedy_soup(
    voices: list[Voice], metric: str, settings: dict[str, Any], say: Callable[[str], None]
) -> tuple[list[Voice], list[dict[str, Any]]]:
    """The runs to average, the best first, and every try.

    Args:
        voices: alike, as ``check_alike`` says.
        metric: a metric or one of its scores.
        settings: ``{"evaluate.key": value}``.
        say: is told each try.

    Raises:
        ConfigError: the metric is not known, or does not apply to these data.
        RunError: the data are not those that the runs were trained on.
    """
    for path in settings:
        if not path.startswith("evaluate.") and path not in ("data.source", "data.data_dir"):
            raise ConfigError(f'"{path}" is to change', rule="--set takes evaluate.key here")
    config = changed(voices[0].config, settings)
    judge = _Judge(
        load_splits(config, voices[0].run), *find_score(metric, config.evaluate.quick),
        config.evaluate,
    )  # fmt: skip
    tries: list[dict[str, Any]] = []

    def attempt(soup: list[Voice], before: float | None) -> float:
        value = judge(soup)
        kept = before is None or judge.better(value, before)
        verdict = "" if before is None else ", kept" if kept else ", left out"
        say(f"{judge.about.name} {value:.4g}  {' + '.join(v.name for v in soup)}{verdict}")
        names = [voice.info["id"] for voice in soup]
        number = value if math.isfinite(value) else None
        tries.append({"runs": names, "value": number, "kept": kept})
        return value

    alone = {voice.name: attempt([voice], None) for voice in voices}
    ranked = sorted(voices, key=lambda voice: judge.rank(alone[voice.name]))
    soup, best = ranked[:1], alone[ranked[0].name]
    for voice in ranked[1:]:
        value = attempt([*soup, voice], best)
        if judge.better(value, best):
            soup, best = [*soup, voice], value
    return soup, tries


def find_score(name: str, quick: bool) -> tuple[str, About]:
    """The metric of this name, or that has a score of this name, and the score.

    Raises:
        ConfigError: there is none.
    """
    known: dict[str, tuple[str, About]] = {}
    for metric in all_metrics().values():
        for about in metric.about(quick):
            known[about.name] = metric.name, about
    for metric in all_metrics().values():
        known.setdefault(metric.name, (metric.name, metric.about(quick)[0]))
    if name not in known:
        raise ConfigError(
            f'there is no metric "{name}"',
            rule=f"metrics and scores are: {', '.join(known)}",
            repair=nearest(name, known),
        )
    return known[name]


@dataclasses.dataclass(frozen=True)
class _Judge:
    """Judges means of runs by one score on the validation split."""

    splits: Splits
    metric: str
    about: About
    config: EvaluateConfig

    def __call__(self, soup: list[Voice]) -> float:
        """The score of the mean of these runs.

        Raises:
            ConfigError: it cannot be computed on these data.
        """
        first = soup[0].checkpoint
        if len(soup) > 1:
            model = blend(soup, [1 / len(soup)] * len(soup))
            first = dataclasses.replace(first, tensors={**first.tensors, "model": model})
        trained = trained_from_checkpoint(first)
        config = dataclasses.replace(self.config, metrics=(self.metric,))
        splits = self.splits
        result = evaluate(splits.train, splits.validation, trained_sampler(trained), config)
        if self.about.name not in result:
            reason = result.skipped.get(self.about.name) or result.skipped.get(self.metric, "")
            raise ConfigError(
                f'"{self.about.name}" has no number on these data: {reason}',
                rule="a greedy average needs a metric that applies",
                repair="--greedy mmd",
            )
        return result[self.about.name].value

    def better(self, value: float, than: float) -> bool:
        """Whether one value is better than another; what is not a number never is."""
        return self.rank(value) < self.rank(than)

    def rank(self, value: float) -> float:
        """The lower the better."""
        if not math.isfinite(value):
            return math.inf
        return value if self.about.better == "lower" else -value
