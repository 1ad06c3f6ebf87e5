"""What a metric is, what it is given, and the list of all of them.

Shape letters: N sequences, T steps, F features.

A metric is one small file: a subclass of ``Metric`` that fills in ``measure`` and ends with
``register(ItsName())``; its module's name is added to ``BUILT_IN``. A metric from outside this
package calls ``register`` itself.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from rgan.errors import ConfigError, nearest
from rgan.evaluate.scale import Scale
from rgan.sequences import Sequences

Better = Literal["lower", "higher"]
Kind = Literal["synthetic", "floor", "copy"]
Tick = Callable[[], None]


@dataclass(frozen=True)
class Trial:
    """One computation of a metric: a candidate offered as synthetic, and the real data beside it.

    Args:
        kind: "synthetic"; "floor", where real sequences that are not in ``train`` are offered; or
            "copy", where rows of ``train`` are.
        train: real sequences that the candidate's maker saw.
        test: real sequences held out from it.
        candidate: what is judged.
        scale: of the whole real training set.
        seed: for every draw and every initial weight.
        quick: fewer steps.
        cache: what is shared between the trials of one evaluation, by a key of the metric's own.
    """

    kind: Kind
    train: Sequences
    test: Sequences
    candidate: Sequences
    scale: Scale
    seed: int = 0
    quick: bool = False
    cache: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measure:
    """One number, the parts it is made of (by feature, by judge), and a 95 % interval if any."""

    value: float
    parts: dict[str, float] = field(default_factory=dict)
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class About:
    """What one score is: its name in files, its label on screen, its direction, a note."""

    name: str
    label: str
    better: Better
    note: str = ""


class Unscorable(Exception):
    """A metric cannot be computed on this data; the message is the reason that is shown."""


class Metric(ABC):
    """One metric, which may give several scores.

    Attributes:
        name: what ``EvaluateConfig.metrics`` calls it.
        fresh: the share of the training set that is put aside and offered as the floor's candidate.
            All three candidates have that size, but where ``many`` is set. 0: the floor's candidate
            is the training set itself (usefulness: trained and tested on real data).
        many: whether synthetic and copy are as many as the training rows used, whatever ``fresh``,
            for metrics whose mean does not depend on the number of candidates.
        grows: whether it may have ``EvaluateConfig.times`` as many synthetic ones.
        all_rows: whether it must see every training and test row, whatever ``size`` says.
        controls_once: when floor and copy are computed in the first repeat only: never; in quick
            evaluations, for metrics that take seconds; always, for metrics that take minutes.
    """

    name: ClassVar[str]
    fresh: ClassVar[float] = 0.5
    many: ClassVar[bool] = False
    grows: ClassVar[bool] = False
    all_rows: ClassVar[bool] = False
    controls_once: ClassVar[Literal["never", "quick", "always"]] = "never"

    @abstractmethod
    def about(self, quick: bool) -> tuple[About, ...]:
        """Its scores."""

    @abstractmethod
    def measure(self, trial: Trial) -> dict[str, Measure]:
        """Score name to number.

        Raises:
            Unscorable: this data does not allow it; the message says why.
        """

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        """Why the metric does not apply to this data; "" where it does."""
        return ""

    def run(self, trials: Sequence[Trial], tick: Tick) -> list[dict[str, Measure]]:
        """All trials of one evaluation. ``tick`` is called once for each."""
        out = []
        for trial in trials:
            out.append(self.measure(trial))
            tick()
        return out


BUILT_IN = ("mmd", "context_fid", "marginals", "patterns", "temporal", "correlational",
            "discriminative", "predictive", "utility", "augmented", "tasks", "agreement", "groups",
            "image_metrics", "memorisation")  # fmt: skip
_METRICS: dict[str, Metric] = {}


def register(metric: Metric) -> Metric:
    """Add a metric under its name; a later one of the same name replaces it."""
    _METRICS[metric.name] = metric
    return metric


def all_metrics() -> dict[str, Metric]:
    """Every registered metric by name, in the order of the table."""
    for module in BUILT_IN:
        importlib.import_module(f"rgan.evaluate.{module}")
    place = {f"rgan.evaluate.{module}": i for i, module in enumerate(BUILT_IN)}
    order = sorted(_METRICS.items(), key=lambda m: place.get(type(m[1]).__module__, len(place)))
    return dict(order)


def choose(names: Sequence[str]) -> list[Metric]:
    """The metrics of these names; "all" means every one.

    Raises:
        ConfigError: a name is not a metric, or there are no names.
    """
    known = all_metrics()
    for name in names:
        if name != "all" and name not in known:
            raise ConfigError(
                f'there is no metric "{name}"',
                rule=f"metrics are: all, {', '.join(known)}",
                repair=nearest(name, ("all", *known)),
            )
    if not names:
        raise ConfigError("no metrics are named", rule='at least one, or "all"')
    return [m for n, m in known.items() if "all" in names or n in names]
