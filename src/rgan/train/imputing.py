"""Fitting an imputer: hide part of what was observed, and score two draws of it.

Shape letters: N sequences, T steps, F features, S static columns, V validation sequences.

The score is the continuous ranked probability score of each hidden value, estimated with two draws
x and x' of the value y: (|x-y| + |x'-y|)/2 - |x-x'|/2, beside the energy score of a sequence's
hidden values together, the same with Euclidean distances (Gneiting & Raftery 2007, "Strictly proper
scoring rules, prediction, and estimation"). Both are least in expectation where draws are spread as
the values are, so neither a mean alone nor wild guesses pay.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rgan.nets.imputer import Imputer, ImputerSizes, Partial
from rgan.train.randomness import Stream, batch_rows, numpy_random, stream_seed, torch_random

BATCH = 64
RATE = 2e-3
WARMUP = 50
LOOKS = 10  # at the validation sequences
JOINT = 0.5
"""Weight of the energy score beside the score of single values."""
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Known:
    """Sequences to learn from, scaled.

    Args:
        values_NTF: float32, 0 where not observed.
        observed_NTF: bool.
        static_NS: float32.
        lengths_N: int64.
        owner: the feature of each of the F columns, where several stand for one, which are hidden
            together; else empty.
    """

    values_NTF: NDArray[np.float32]
    observed_NTF: Bools
    static_NS: NDArray[np.float32]
    lengths_N: NDArray[np.int64]
    owner: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.values_NTF)

    def hidden(self, rows: NDArray[np.int64], rng: np.random.Generator) -> Bools:
        """What to hide of these rows."""
        observed_NTF = self.observed_NTF[rows]
        if not self.owner:
            return some_hidden(observed_NTF, rng)
        _, first_F = np.unique(self.owner, return_index=True)
        return some_hidden(observed_NTF[:, :, first_F], rng)[:, :, list(self.owner)]

    def partial(self, rows: NDArray[np.int64], hidden_NTF: Bools | None = None) -> Partial:
        """These rows with what is hidden taken away."""
        visible_NTF = self.observed_NTF[rows]
        if hidden_NTF is not None:
            visible_NTF = visible_NTF & ~hidden_NTF
        return Partial(
            torch.from_numpy(self.values_NTF[rows] * visible_NTF),
            torch.from_numpy(visible_NTF.astype(np.float32)),
            torch.from_numpy(self.static_NS[rows]),
            torch.from_numpy(self.lengths_N[rows]),
        )


@dataclass(frozen=True)
class Fitting:
    """How a fit ended.

    Args:
        imputer: with the averaged weights that were best on the validation sequences.
        score: theirs there.
        steps: updates that they had.
        stopped: why it ended early, "" if it did not.
    """

    imputer: Imputer
    score: float
    steps: int
    stopped: str = ""


def fit_imputer(
    train: Known,
    validation: Known,
    *,
    steps: int,
    seed: int,
    device: torch.device | str = "cpu",
    progress: Callable[[int, float], None] = lambda step, score: None,
    should_stop: Callable[[], str] = lambda: "",
) -> Fitting:
    """A new imputer fitted to these sequences.

    Args:
        train: to learn from.
        validation: to choose among the averaged weights of ten moments.
        steps: updates.
        seed: of weights, order, masks and noise; two fits with one seed and one thread are equal.
        device: to train on.
        progress: is told (updates made, score of the last batch).
        should_stop: asked after each update; not "" ends the fit.
    """
    sizes = ImputerSizes(train.values_NTF.shape[2], train.static_NS.shape[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, Stream.WEIGHTS))
        imputer = Imputer(sizes).to(device)
    average = copy.deepcopy(imputer).requires_grad_(False)
    best, best_score, best_step, reason = average, float("inf"), 0, ""
    fused = torch.device(device).type in ("cpu", "cuda")
    optimizer = torch.optim.Adam(imputer.parameters(), lr=RATE, fused=fused)
    size = min(BATCH, len(train))
    for step in range(1, steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = RATE * _schedule(step, steps)
        rows = batch_rows(seed, step - 1, len(train) // size, size, len(train))
        loss = _loss(imputer, train, rows, seed, step, device)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(imputer.parameters(), 1.0)
        optimizer.step()
        _follow(average, imputer, min(0.99, step / (step + 10)))
        progress(step, float(loss.detach()))
        reason = should_stop()
        if step % max(1, steps // LOOKS) == 0 or step == steps or reason:
            score = validation_score(average, validation, seed, device)
            if score < best_score:
                best, best_score, best_step = copy.deepcopy(average), score, step
        if reason:
            break
    return Fitting(best.eval(), best_score, best_step, reason)


@torch.no_grad()
def validation_score(
    imputer: Imputer, known: Known, seed: int, device: torch.device | str = "cpu"
) -> float:
    """The score on these sequences, the same values hidden each time.

    Of at most 512 of them; few stand in several times, with other values hidden, so that something
    is hidden at all.
    """
    rows = np.resize(np.arange(len(known)), min(512, max(128, len(known))))
    return float(_loss(imputer, known, rows, seed, 0, device))


def _schedule(step: int, steps: int) -> float:
    """The rate's factor: up in the first steps, then half a cosine down."""
    return min(1.0, step / WARMUP) * (0.02 + 0.49 * (1 + np.cos(np.pi * step / steps)))


@torch.no_grad()
def _follow(average: Imputer, imputer: Imputer, keep: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(imputer.parameters()), 1 - keep)


def _loss(
    imputer: Imputer,
    known: Known,
    rows: NDArray[np.int64],
    seed: int,
    step: int,
    device: torch.device | str,
) -> Tensor:
    hidden_NTF = known.hidden(rows, numpy_random(seed, Stream.LABELS, step))
    partial = known.partial(rows, hidden_NTF)
    noise = imputer.draw_noise(
        2 * len(rows), hidden_NTF.shape[1], torch_random(seed, Stream.NOISE, step)
    )
    reading = imputer.read(partial.to(device))
    one_NTF, two_NTF = imputer.draw(reading.twice(), noise.to(device)).chunk(2)
    true_NTF = torch.from_numpy(known.values_NTF[rows]).to(device)
    return draw_score(one_NTF, two_NTF, true_NTF, torch.from_numpy(hidden_NTF).to(device))


def draw_score(one_NTF: Tensor, two_NTF: Tensor, true_NTF: Tensor, hidden_NTF: Tensor) -> Tensor:
    """The score of two draws where values were hidden, a number; 0 where nothing was."""
    weight_NTF = hidden_NTF.to(true_NTF.dtype)
    gaps = [one_NTF - true_NTF, two_NTF - true_NTF, one_NTF - two_NTF]
    away, other, apart = (gap.abs() * weight_NTF for gap in gaps)
    single = ((away + other - apart) / 2).sum() / weight_NTF.sum().clamp(min=1)
    count_N = weight_NTF.sum(dim=(1, 2))
    away_N, other_N, apart_N = (_length(gap * weight_NTF, count_N) for gap in gaps)
    joint = ((away_N + other_N - apart_N) / 2 * count_N).sum() / count_N.sum().clamp(min=1)
    return single + JOINT * joint


def _length(gap_NTF: Tensor, count_N: Tensor) -> Tensor:
    """(N,) root of the mean square over the hidden values; the small number keeps the root's
    gradient finite at 0."""
    return (gap_NTF.square().sum(dim=(1, 2)) / count_N.clamp(min=1) + 1e-8).sqrt()


def some_hidden(observed_NTF: Bools, rng: np.random.Generator) -> Bools:
    """(N, T, F) bool: observed values to hide, of each sequence in one of five ways.

    Single values with a chance of its own, whole features, all features for some steps, a rectangle
    of steps and features, or what another sequence has not observed.
    """
    n, steps, features = observed_NTF.shape
    chance_N11 = rng.uniform(0.05, 0.6, (n, 1, 1))
    single = rng.random(observed_NTF.shape, dtype=np.float32) < chance_N11
    whole = rng.random((n, 1, features)) < np.minimum(chance_N11, 0.4)
    stretch = _interval(n, steps, rng)[:, :, None]
    rectangle = _interval(n, steps, rng)[:, :, None] & _interval(n, features, rng)[:, None, :]
    alike = ~observed_NTF[rng.permutation(n)]
    kind_N = rng.choice(5, size=(n, 1, 1), p=[0.5, 0.125, 0.125, 0.125, 0.125])
    ways = (single, whole, stretch, rectangle, alike)
    picked = np.select(
        [kind_N == i for i in range(5)], [np.broadcast_to(way, observed_NTF.shape) for way in ways]
    )
    return np.asarray(picked & observed_NTF, dtype=np.bool_)


def _interval(n: int, size: int, rng: np.random.Generator) -> Bools:
    """(n, size) bool: a random stretch of at most half of ``size``, at least 1."""
    length_N1 = rng.integers(1, max(2, size // 2 + 1), n)[:, None]
    start_N1 = (rng.random((n, 1)) * (size - length_N1 + 1)).astype(np.int64)
    place = np.arange(size)[None, :]
    return np.asarray((place >= start_N1) & (place < start_N1 + length_N1))
