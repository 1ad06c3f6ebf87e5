"""The scores of the time series benchmark.

Shape letters: N windows.

Published scores (``published``) compare all real windows with as many synthetic ones, as TimeGAN
and Diffusion-TS do: the generator has been trained on these windows, and overlapping ones lie on
both sides of every split. Held-out scores (``held_out``) are the package's own: the generator has
seen some stretches of time, and what judges it is tested on others.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rgan.data.split import Splits
from rgan.evaluate.config import EvaluateConfig
from rgan.evaluate.context_fid import context_fid
from rgan.evaluate.core import evaluate
from rgan.evaluate.correlational import correlational
from rgan.evaluate.discriminative import LEGACY_UPDATES, legacy_scores
from rgan.evaluate.predictive import LEGACY_UPDATES as PREDICTIVE_UPDATES
from rgan.evaluate.predictive import legacy_errors
from rgan.evaluate.scale import Scale
from rgan.evaluate.trial import Kind, Trial
from rgan.evaluate.ts2vec import TS2VecSettings
from rgan.sequences import Sequences

PUBLISHED = ("discriminative_legacy", "predictive_legacy", "context_fid", "correlational")
HELD_OUT = ("discriminative", "predictive", "memorisation")
Values = dict[str, list[float]]
Sampler = Callable[[int, int], Sequences]
Pair = tuple[Sequences, Sequences]
FEWEST = 10  # windows that do not overlap, below which the three-sample test is left out
SIDE_BY_SIDE = 200_000_000  # numbers of real windows that are judged at once


@dataclass(frozen=True)
class Judges:
    """How scores are computed; the defaults are the published protocol.

    Args:
        repeats: of each score, with new draws and new judges.
        steps: updates of every judge instead of the published ones, and quick held-out judges; 0:
            as published.
        size: most windows of each side; 0: all (held out: 2,000).
    """

    repeats: int = 3
    steps: int = 0
    size: int = 0

    def seeds(self) -> list[int]:
        """One for each repeat."""
        return [1000 * (repeat + 1) for repeat in range(self.repeats)]


def nothing() -> None:
    """Judges are not asked how far they are."""


def published(name: str, real: Sequences, sampler: Sampler, judges: Judges) -> Values:
    """One of ``PUBLISHED`` for a generator, a value for each repeat."""

    def pair(seed: int) -> Pair:
        part = _some(real, judges.size, seed)
        return part, sampler(len(part), seed)

    return {name: _compare(name, "synthetic", pair, judges)}


def published_controls(name: str, real: Sequences, judges: Judges) -> dict[str, Values]:
    """The same for real windows: a random half against the other, and copies against all.

    Halves are half as many, so that the floor is on the high side. Copies are drawn with
    replacement, as a generator that has learnt its windows by heart would give them.
    """

    def halves(seed: int) -> Pair:
        part = _some(real, judges.size, seed)  # in random order
        return part[: len(part) // 2], part[len(part) // 2 :]

    def copies(seed: int) -> Pair:
        part = _some(real, judges.size, seed)
        return part, part[np.random.default_rng([seed, 1]).integers(len(part), size=len(part))]

    return {
        "floor": {name: _compare(name, "floor", halves, judges)},
        "copy": {name: _compare(name, "copy", copies, judges)},
    }


def _some(real: Sequences, size: int, seed: int) -> Sequences:
    """Windows in random order, at most ``size`` of them where that is not 0."""
    order = np.random.default_rng([seed, 0]).permutation(len(real))
    return real[order[: size or len(real)]]


def _compare(name: str, kind: Kind, pair: Callable[[int], Pair], judges: Judges) -> list[float]:
    """A published score of each repeat's (real, candidate)."""
    if name == "correlational":
        return [correlational(*pair(seed)) for seed in judges.seeds()]
    if name == "context_fid":
        settings = TS2VecSettings(steps=judges.steps)
        return [context_fid(*pair(seed), seed=seed, settings=settings) for seed in judges.seeds()]
    found: list[float] = []
    while left := judges.seeds()[len(found) :]:
        trials: list[Trial] = []
        numbers = 0
        for seed in left:  # side by side, which is faster, as far as memory goes
            real, other = pair(seed)
            trials.append(Trial(kind, real, real, other, Scale.of(real), seed))
            numbers += real.values.size
            if numbers + real.values.size > SIDE_BY_SIDE:
                break
        if name == "discriminative_legacy":
            found += legacy_scores(trials, judges.steps or LEGACY_UPDATES, nothing)
        else:
            found += legacy_errors(trials, judges.steps or PREDICTIVE_UPDATES, nothing)
    return found


def held_out(name: str, splits: Splits, sampler: Sampler, judges: Judges) -> Values:
    """One of ``HELD_OUT`` for a generator that was trained on ``splits.train``."""
    return _judge(name, splits.train, splits.test, sampler, judges)["synthetic"]


def held_out_controls(name: str, splits: Splits, judges: Judges) -> dict[str, Values]:
    """The same for training windows put aside (the floor) and for copies of training windows."""
    found = _judge(name, splits.train, splits.test, None, judges)
    return {"floor": found["floor"], "copy": found["synthetic"]}


def _judge(
    name: str, train: Sequences, test: Sequences, sampler: Sampler | None, judges: Judges
) -> dict[str, Values]:
    """A score of a sampler, or of copies and the floor where there is none.

    Rows of the three-sample test have to be independent, or it finds any two stretches of time
    different: it is computed on windows that do not overlap.
    """
    found = _evaluate(name, train, test, sampler, judges)
    if name == "memorisation":
        apart = _apart(train), _apart(test)
        again = _evaluate(name, *apart, sampler, judges) if min(map(len, apart)) >= FEWEST else {}
        for who, values in found.items():
            values.pop("three_sample_p", None)
            if again:
                values["three_sample_p"] = again[who]["three_sample_p"]
    return found


def _apart(data: Sequences) -> Sequences:
    """Windows that do not overlap; all sequences where they are no windows."""
    return data if data.starts is None else data[np.flatnonzero(data.starts % data.n_steps == 0)]


def _evaluate(
    name: str, train: Sequences, test: Sequences, sampler: Sampler | None, judges: Judges
) -> dict[str, Values]:
    def copier(n: int, seed: int) -> Sequences:
        return train[np.resize(np.random.default_rng(seed).permutation(len(train)), n)]

    config = EvaluateConfig(
        metrics=(name,), repeats=judges.repeats, size=judges.size, quick=judges.steps > 0
    )
    kinds: tuple[Kind, ...] = ("synthetic",) if sampler else ("synthetic", "floor")
    found = evaluate(train, test, sampler or copier, config, kinds=kinds)
    return {
        "synthetic": {score.name: list(score.values) for score in found.scores},
        "floor": {score.name: list(score.floor_values) for score in found.scores},
    }


def sampling_milliseconds(sampler: Sampler, n: int = 2000, times: int = 5) -> dict[str, Any]:
    """What n windows take on one core, after one draw that is not counted."""
    import torch

    threads = torch.get_num_threads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    taken = []
    try:
        if cores:  # threads that sampling starts are held to the same core
            os.sched_setaffinity(0, {min(cores)})
        torch.set_num_threads(1)
        for turn in range(times + 1):
            began = time.perf_counter()
            sampler(n, turn)
            taken.append(1000 * (time.perf_counter() - began))
    finally:
        torch.set_num_threads(threads)
        if cores:
            os.sched_setaffinity(0, cores)
    return {"drawn": n, "milliseconds": taken[1:], "pinned": bool(cores)}
