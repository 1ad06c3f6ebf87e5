"""Can a classifier tell synthetic sequences from real ones?

Shape letters: P trials, N sequences, T steps, F features, B sequences of a batch.

``discriminative_legacy`` is the protocol of earlier papers, for comparison with their tables.
``discriminative`` is the one to trust: strong judges, tested on real subjects that neither the
generator nor the judge has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.evaluate.classifiers import auroc
from rgan.evaluate.classifiers import fit as fit_classifier
from rgan.evaluate.features import table
from rgan.evaluate.scale import Scale, channels
from rgan.evaluate.split import split_rows
from rgan.evaluate.threads import one_thread
from rgan.evaluate.trial import About, Measure, Metric, Tick, Trial, Unscorable, register
from rgan.sequences import Sequences, concatenate

FEWEST = 10  # sequences on each side, below which a classifier's accuracy is noise
MOST_STEPS = 256  # of a sequence, above which the legacy protocols would take hours
LEGACY_UPDATES, QUICK_UPDATES = 2000, 120


class DiscriminativeLegacy(Metric):
    """|0.5 - accuracy| of a small GRU (Yoon et al. 2019, TimeGAN, section 5)."""

    name = "discriminative_legacy"
    controls_once = "always"

    def about(self, quick: bool) -> tuple[About, ...]:
        note = f"{QUICK_UPDATES} of {LEGACY_UPDATES} steps" if quick else "TimeGAN's protocol"
        return (About("discriminative_legacy", "discriminative (legacy)", "lower", note),)

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        return legacy_unfit(train)

    def measure(self, trial: Trial) -> dict[str, Measure]:
        return self.run([trial], lambda: None)[0]

    def run(self, trials: Sequence[Trial], tick: Tick) -> list[dict[str, Measure]]:
        quick = trials[0].quick
        scores = legacy_scores(trials, QUICK_UPDATES if quick else LEGACY_UPDATES, tick)
        return [{self.name: Measure(score)} for score in scores]


def legacy_unfit(data: Sequences) -> str:
    """Why a legacy protocol does not apply."""
    if data.n_steps > MOST_STEPS:
        return f"sequences have {data.n_steps} steps; the legacy protocol is run up to {MOST_STEPS}"
    return "sequences have one step" if data.n_steps < 2 else ""


def legacy_scores(trials: Sequence[Trial], updates: int, tick: Tick) -> list[float]:
    """|0.5 - accuracy| of a GRU of max(1, F // 2) units for each trial.

    Real training sequences and as many synthetic ones, min-max scaled by the real ones, split
    80/20 at random; Adam at 0.001 on cross-entropy over batches of 128 + 128. As published, but
    that what is not observed is the feature's mean, and that the state is read at a sequence's end.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

    from rgan.evaluate.small_gru import BATCH, SmallGRUs, as_steps, train_side_by_side

    rngs = [np.random.default_rng(t.seed) for t in trials]
    sides = [_legacy_sides(t, rng) for t, rng in zip(trials, rngs, strict=True)]
    batch = min(BATCH, min(len(side.train) for pair in sides for side in pair))
    f = trials[0].train.n_features
    networks = SmallGRUs([t.seed for t in trials], f, max(1, f // 2))
    y_2B = torch.cat([torch.ones(batch), torch.zeros(batch)])

    def loss(step: int) -> torch.Tensor:
        xs, ends = [], []
        for pair, rng in zip(sides, rngs, strict=True):
            rows = [side.train[rng.permutation(len(side.train))[:batch]] for side in pair]
            xs.append(np.concatenate([s.x[r] for s, r in zip(pair, rows, strict=True)]))
            ends.append(np.concatenate([s.end[r] for s, r in zip(pair, rows, strict=True)]))
        return sum_of_last(networks(as_steps(xs)), np.stack(ends), y_2B)

    def sum_of_last(
        out_TPB: torch.Tensor, end_PB: NDArray[np.int64], y_B: torch.Tensor
    ) -> torch.Tensor:
        logit_PB = out_TPB.gather(0, torch.from_numpy(end_PB)[None])[0]
        return cross_entropy(logit_PB, y_B.expand_as(logit_PB)) * len(logit_PB)

    with one_thread():
        train_side_by_side(networks, loss, updates, tick)
    scores = []
    for p, pair in enumerate(sides):
        right = [_legacy_right(networks, p, len(trials), side) for side in pair]
        accuracy = np.concatenate([right[0] > 0, right[1] <= 0]).mean()
        scores.append(abs(0.5 - float(accuracy)))
    return scores


class _Side:
    """One side of a legacy trial: scaled values, last steps, and rows for training and testing."""

    def __init__(self, data: Sequences, scale: Scale, rng: np.random.Generator) -> None:
        self.x, self.end = scale.minmax(data), data.lengths - 1
        order = rng.permutation(len(data))
        cut = min(max(1, int(0.8 * len(data))), len(data) - 1)
        self.train, self.test = order[:cut], order[cut:]


def _legacy_sides(trial: Trial, rng: np.random.Generator) -> tuple[_Side, _Side]:
    n = min(len(trial.train), len(trial.candidate))
    if n < FEWEST:
        raise Unscorable(f"there are {n} sequences; it needs {FEWEST} on each side")
    real = trial.train[rng.permutation(len(trial.train))[:n]]
    return _Side(real, trial.scale, rng), _Side(trial.candidate[:n], trial.scale, rng)


def _legacy_right(networks, p: int, copies: int, side: _Side) -> NDArray[np.float32]:  # type: ignore[no-untyped-def]
    """(B,) logits of network p on the side's test rows, in blocks that bound the memory."""
    import torch

    from rgan.evaluate.small_gru import as_steps

    found = []
    for start in range(0, len(side.test), 512):
        rows = side.test[start : start + 512]
        with torch.no_grad():
            out_TB = networks(as_steps([side.x[rows]] * copies))[:, p].numpy()
        found.append(out_TB[side.end[rows], np.arange(len(rows))])
    return np.concatenate(found)


class Discriminative(Metric):
    """Balanced accuracy - 0.5 of the better of two judges, the better by validation."""

    name = "discriminative"
    controls_once = "quick"

    def about(self, quick: bool) -> tuple[About, ...]:
        note = "balanced accuracy - 0.5 on held-out subjects"
        return (About("discriminative", "discriminative (held out)", "lower", note),)

    def measure(self, trial: Trial) -> dict[str, Measure]:
        score, parts = discriminate(trial)
        return {"discriminative": Measure(score, parts)}


def discriminate(trial: Trial) -> tuple[float, dict[str, float]]:
    """Balanced accuracy - 0.5 on held-out sequences, and each judge's figures.

    Judges are trained on training subjects against two thirds of the candidates, a fifth of both
    kept for validation, and tested on the held-out subjects against the other third. A
    convolutional bidirectional LSTM with early stopping, and gradient boosting on summaries and
    values; the one that is better on the validation part gives the score. 0 in expectation where
    the two sides cannot be told apart, at most 0.5; below 0 by chance only, and not cut off, so
    that repeats average to 0.

    Raises:
        Unscorable: fewer than 10 sequences on a side.
    """
    from rgan.evaluate.judges import Examples, fit_network

    rng = np.random.default_rng(trial.seed)
    sets = judge_sets(trial, rng)
    y = [np.concatenate([np.ones(len(a), int), np.zeros(len(b), int)]) for a, b in sets]
    same_static = trial.candidate.static_info == trial.train.static_info
    both = [_joined(a, b, same_static) for a, b in sets]
    x = [channels(trial.scale, part) for part in both]
    network = fit_network(
        Examples(x[0], y[0]), Examples(x[1], y[1]), seed=trial.seed, epochs=6 if trial.quick else 30
    )
    answers = {"network": [network(part) for part in x[1:]]}
    rows = [table(part, trial.scale, with_static=same_static) for part in both]
    boosting = fit_classifier("boosting", rows[0], y[0], np.array([0, 1]), trial.seed)
    answers["boosting"] = [boosting(part)[:, 1] for part in rows[1:]]
    parts, validation = {}, {}
    for name, (on_valid, on_test) in answers.items():
        validation[name] = balanced(y[1], on_valid)
        parts[f"{name}, accuracy - 0.5"] = balanced(y[2], on_test) - 0.5
        parts[f"{name}, AUROC"] = auroc(y[2], np.stack([1 - on_test, on_test], 1))
    best = max(validation, key=validation.__getitem__)
    return parts[f"{best}, accuracy - 0.5"], parts


def _joined(real: Sequences, candidate: Sequences, with_static: bool) -> Sequences:
    """Real rows, then candidates, without what one side may lack."""
    static: dict[str, Any] = {} if with_static else {"static": None, "static_info": ()}
    bare = [
        replace(s, labels=None, subjects=None, starts=None, part=None, layout=real.layout, **static)
        for s in (real, candidate)
    ]
    return concatenate(bare)


def judge_sets(trial: Trial, rng: np.random.Generator) -> list[tuple[Sequences, Sequences]]:
    """(real, candidate) pairs for training, validation and test."""
    learn, held = split_rows(trial.candidate, 1 / 3, rng)
    real = trial.train[rng.permutation(len(trial.train))[: len(learn)]]
    candidate = trial.candidate[learn]
    if min(len(real), len(candidate), len(trial.test), len(held)) < FEWEST:
        raise Unscorable(f"it needs {FEWEST} sequences in each of its parts")
    fit_r, valid_r = split_rows(real, 0.2, rng)
    fit_c, valid_c = split_rows(candidate, 0.2, rng)
    return [
        (real[fit_r], candidate[fit_c]),
        (real[valid_r], candidate[valid_c]),
        (trial.test, trial.candidate[held]),
    ]


def balanced(y_N: NDArray[np.int64], p_N: NDArray[np.float64]) -> float:
    """The mean of the shares of ones and of zeros that are told rightly."""
    right_N = (p_N > 0.5) == (y_N == 1)
    return float((right_N[y_N == 1].mean() + right_N[y_N == 0].mean()) / 2)


register(DiscriminativeLegacy())
register(Discriminative())
