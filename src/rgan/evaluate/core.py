"""Judge a generator: every metric on its samples, on fresh real data and on copies, repeated.

Shape letters: N sequences, T steps, F features.

Three candidates are offered to each metric as if they were synthetic, of one size wherever
size matters:

- synthetic: what the sampler made;
- floor: real training sequences that are put aside for it, so the best that can be expected;
- copy: rows of the training set, as a generator that memorised would give.

A metric on which the copy does as well as the floor cannot see memorising; the memorisation scores
are there for that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rgan.errors import DataError
from rgan.evaluate.comparable import check_comparable
from rgan.evaluate.config import LEAST, EvaluateConfig
from rgan.evaluate.result import Evaluation, Score
from rgan.evaluate.scale import Scale
from rgan.evaluate.split import split_rows
from rgan.evaluate.threads import one_thread
from rgan.evaluate.trial import About, Kind, Measure, Metric, Trial, Unscorable, choose
from rgan.sequences import Sequences

Sampler = Callable[[int, int], Sequences]
Progress = Callable[[int, int, str], None]
MOST, MOST_QUICK = 2000, 1000
KINDS: tuple[Kind, ...] = ("synthetic", "floor", "copy")


def evaluate(
    train: Sequences,
    test: Sequences,
    sampler: Sampler | Sequences,
    config: EvaluateConfig | None = None,
    progress: Progress | None = None,
    kinds: tuple[Kind, ...] = KINDS,
) -> Evaluation:
    """Judge synthetic sequences against real ones, with a floor and a copy beside each number.

    Args:
        train: (N, T, F) real sequences that the generator was trained on, original units.
        test: (M, T, F) real sequences, of other subjects, that it has not seen.
        sampler: (n, seed) -> n synthetic sequences in original units, labels drawn like the
            training set's; or a synthetic set, of which each repeat draws again.
        config: which metrics, how often, how large.
        progress: called with (done, total, metric) as trials end.
        kinds: which candidates besides "synthetic" are judged; floor and copy do not depend on the
            generator, so that one computation of them serves many generators.

    Returns:
        Scores, the metrics that do not apply with their reasons, and the sizes used.

    Raises:
        DataError: the sets are not comparable or too small, or the sampler gives another number
            than asked for.
        ConfigError: a setting is out of range.
    """
    config = config or EvaluateConfig()
    config.check()
    metrics = choose(config.metrics)
    bench = _Bench.make(train, test, sampler, config, metrics)
    skipped, plans = {}, []
    for metric in metrics:
        reason = metric.unfit(bench.train, bench.test, bench.drawn[0])
        if reason:
            skipped[metric.name] = reason
        else:
            plan = _plan(metric, config)
            plans.append((metric, [p for p in plan if p[1] == "synthetic" or p[1] in kinds]))
    total, done, scores = sum(len(plan) for _, plan in plans), 0, []
    for metric, plan in plans:

        def tick(name: str = metric.name) -> None:
            nonlocal done
            done += 1
            if progress:
                progress(min(done, total), total, name)

        before = done
        try:
            trials = [bench.trial(metric, repeat, kind) for repeat, kind in plan]
            with one_thread():
                found = metric.run(trials, tick)
        except Unscorable as reason_:
            skipped[metric.name] = str(reason_)
        else:
            for about in metric.about(config.quick):
                score = _gather(about, plan, found)
                if score is None:
                    skipped[about.name] = (
                        "it is not a number here (one class, or too little to compare?)"
                    )
                else:
                    scores.append(score)
        while done < before + len(plan):
            tick()
    return Evaluation(tuple(scores), skipped, bench.sizes(), _as_dict(config))


def _plan(metric: Metric, config: EvaluateConfig) -> list[tuple[int, Kind]]:
    once = metric.controls_once in (("always", "quick") if config.quick else ("always",))
    return [
        (repeat, kind)
        for repeat in range(config.repeats)
        for kind in KINDS
        if kind == "synthetic" or repeat == 0 or not once
    ]


def _gather(
    about: About, plan: list[tuple[int, Kind]], found: list[dict[str, Measure]]
) -> Score | None:
    by_kind: dict[Kind, list[Measure]] = {kind: [] for kind in KINDS}
    for (_, kind), measures in zip(plan, found, strict=True):
        if math.isfinite(measures[about.name].value):
            by_kind[kind].append(measures[about.name])
    if not by_kind["synthetic"]:
        return None
    values = {kind: tuple(m.value for m in by_kind[kind]) for kind in KINDS}
    mean = {kind: float(np.mean(v)) if v else None for kind, v in values.items()}
    ends = [m.interval for m in by_kind["synthetic"] if m.interval]
    low_high = tuple(np.mean(ends, axis=0).tolist()) if ends else None
    return Score(
        name=about.name,
        label=about.label,
        value=float(np.mean(values["synthetic"])),
        spread=float(np.std(values["synthetic"], ddof=1)) if len(values["synthetic"]) > 1 else 0.0,
        values=values["synthetic"],
        floor=mean["floor"],
        copy=mean["copy"],
        better=about.better,
        note=about.note,
        floor_values=values["floor"],
        copy_values=values["copy"],
        interval=(low_high[0], low_high[1]) if low_high else None,
        parts=_mean_parts(by_kind["synthetic"]),
        floor_parts=_mean_parts(by_kind["floor"]),
    )


def _mean_parts(measures: list[Measure]) -> dict[str, float]:
    names = list(dict.fromkeys(name for m in measures for name in m.parts))
    found = {name: [m.parts[name] for m in measures if name in m.parts] for name in names}
    means = {name: float(np.mean(values)) for name, values in found.items()}
    return {name: value for name, value in means.items() if math.isfinite(value)}


def _as_dict(config: EvaluateConfig) -> dict[str, Any]:
    names = ("metrics", "repeats", "size", "times", "quick", "seed")
    return {n: list(v) if isinstance(v := getattr(config, n), tuple) else v for n in names}


@dataclass
class _Bench:
    """The data of one evaluation, and the trials cut from it."""

    all_train: Sequences
    all_test: Sequences
    train: Sequences
    test: Sequences
    drawn: list[Sequences]  # one synthetic set for each repeat
    scale: Scale
    config: EvaluateConfig
    cache: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def make(
        cls,
        train: Sequences,
        test: Sequences,
        sampler: Sampler | Sequences,
        config: EvaluateConfig,
        metrics: list[Metric],
    ) -> _Bench:
        check_comparable(train, test)
        for what, data in (("training", train), ("test", test)):
            if len(data) < LEAST:
                raise DataError(
                    f"the {what} set has {len(data)} sequences", rule=f"at least {LEAST}"
                )
        most = config.size or (MOST_QUICK if config.quick else MOST)
        rng = np.random.default_rng(config.seed)
        # A random order lets "the first n rows" stand for a random draw everywhere below.
        train, test = train[rng.permutation(len(train))], test[rng.permutation(len(test))]
        bench = cls(train, test, train[:most], test[:most], [], Scale.of(train), config)
        bench._draw(sampler, max(bench._wanted(m) for m in metrics))
        return bench

    def _wanted(self, metric: Metric, kind: Kind = "synthetic") -> int:
        n = len(self.train)
        if metric.grows and kind == "synthetic":
            return n * self.config.times
        whole = metric.fresh == 0 or (metric.many and kind != "floor")
        return n if whole else max(2, round(metric.fresh * n))

    def _draw(self, sampler: Sampler | Sequences, n: int) -> None:
        for repeat in range(self.config.repeats):
            seed = self.config.seed + 1000 * (repeat + 1)
            if isinstance(sampler, Sequences):
                order = np.random.default_rng(seed).permutation(len(sampler))
                drawn = sampler[order[:n]]
            else:
                drawn = sampler(n, seed)
                if len(drawn) != n:
                    raise DataError(
                        f"the sampler gave {len(drawn)} sequences",
                        rule=f"it was asked for {n}, and every set must have that size",
                    )
            check_comparable(self.all_train, drawn)
            if len(drawn) < 2:
                raise DataError("there is one synthetic sequence", rule="at least 2")
            self.drawn.append(drawn)

    def trial(self, metric: Metric, repeat: int, kind: Kind) -> Trial:
        """What this metric sees of this candidate in this repeat."""
        train = self.all_train if metric.all_rows else self.train
        test = self.all_test if metric.all_rows else self.test
        synthetic = self.drawn[repeat]
        n = min(self._wanted(metric, kind), len(synthetic))
        seed = self.config.seed + 1000 * (repeat + 1)
        rng = np.random.default_rng([seed, KINDS.index(kind)])
        if kind == "synthetic":
            candidate = synthetic[:n]
        elif kind == "copy":
            candidate = train[rng.permutation(len(train))[:n]]
        elif metric.fresh == 0:
            candidate = train
        else:
            rest, part = split_rows(train, min(metric.fresh, (n + 0.5) / len(train)), rng)
            train, candidate = train[rest], train[part[:n]]
        return Trial(kind, train, test, candidate, self.scale, seed, self.config.quick, self.cache)

    def sizes(self) -> dict[str, int]:
        """How many sequences of each set there are and were used."""
        return {
            "train": len(self.all_train),
            "test": len(self.all_test),
            "train_used": len(self.train),
            "test_used": len(self.test),
            "synthetic": len(self.drawn[0]),
        }
