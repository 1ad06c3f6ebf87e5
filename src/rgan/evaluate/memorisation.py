"""Evidence of memorising: are synthetic sequences nearer to the training set than to held-out ones?

Shape letters: N training, M held-out, S synthetic sequences; D numbers for one sequence.

None of this proves privacy; it finds copying. A generator can leak without copying.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rgan.evaluate.comparable import check_comparable
from rgan.evaluate.mmd import (
    BLOCK,
    Kernel,
    Rows,
    kernel_means,
    kernel_means_within,
    square_distances,
)
from rgan.evaluate.scale import Scale, vectors
from rgan.evaluate.trial import About, Measure, Metric, Trial, Unscorable, register
from rgan.sequences import Sequences


def nearest_distances(x_SD: Rows, to_ND: Rows) -> NDArray[np.float64]:
    """(S,) Euclidean distance of each row to the nearest of the others, in blocks."""
    best_S = np.full(len(x_SD), np.inf)
    for start in range(0, len(to_ND), BLOCK):
        square = square_distances(x_SD, to_ND[start : start + BLOCK])
        best_S = np.minimum(best_S, square.min(1))
    return np.sqrt(best_S)


def balanced_share(closer_S: NDArray[np.float64], n_train: int, n_test: int) -> float:
    """Share of synthetics closer to train than to test, corrected for unequal sizes.

    Of n + m exchangeable rows the nearest is a training row with probability n / (n + m), so the
    odds are divided by n / m: s' = s m / (s m + (1 - s) n), 0.5 without memorising, 1 for copies.

    >>> round(balanced_share(np.array([1.0, 1, 1, 0]), 300, 100), 3)
    0.5
    """
    share = float(np.mean(closer_S))
    return share * n_test / (share * n_test + (1 - share) * n_train)


def three_sample_p(train_ND: Rows, test_MD: Rows, synthetic_SD: Rows, kernel: Kernel) -> float:
    """p-value of "the synthetic set is no closer to the training set than to the held-out set".

    t = MMD²(S, test) - MMD²(S, train), with its asymptotic normal law: each set's share of the
    variance is that of its rows' contributions (Bounliphone et al. 2015, arXiv 1511.04581, section
    3, written for three sets of unequal sizes; used so by Esteban et al. 2017, section 4.1).
    Small p: closer to train, evidence of memorising. Where all three sets come from one
    distribution the law is conservative: p gathers around 0.5.

    Args:
        train_ND, test_MD, synthetic_SD: standardised rows.
        kernel: bandwidths from real rows.
    """
    s_train_S, train_s_N = kernel_means(synthetic_SD, train_ND, kernel)
    s_test_S, test_s_M = kernel_means(synthetic_SD, test_MD, kernel)
    train_N = kernel_means_within(train_ND, kernel)
    test_M = kernel_means_within(test_MD, kernel)
    t = test_M.mean() - train_N.mean() + 2 * (s_train_S.mean() - s_test_S.mean())
    variance = (
        4 * np.var(train_N - train_s_N, ddof=1) / len(train_ND)
        + 4 * np.var(test_M - test_s_M, ddof=1) / len(test_MD)
        + 4 * np.var(s_train_S - s_test_S, ddof=1) / len(synthetic_SD)
    )
    if variance <= 0:
        return 0.5 if t == 0 else float(t < 0)
    return 0.5 * math.erfc(float(t / math.sqrt(variance)) / math.sqrt(2))


def directions(train_ND: Rows, *sets: Rows) -> list[Rows]:
    """Rows as unit vectors from the training mean.

    A sparsely measured sequence lies near the middle and would be everybody's nearest; on the
    sphere no row is (with many gaps, the share's noise halves).
    """
    mean_D = train_ND.mean(0)
    out = []
    for rows in (train_ND, *sets):
        centred = rows - mean_D
        norm = np.linalg.norm(centred, axis=1, keepdims=True)
        out.append((centred / np.maximum(norm, 1e-6)).astype(np.float32))
    return out


def nearest_neighbours(train: Rows, test: Rows, synthetic: Rows) -> tuple[float, float]:
    """The balanced share of synthetics closer to train, and the median ratio of the distances.

    Args:
        train, test, synthetic: (N, D), (M, D), (S, D) standardised rows.

    Returns:
        share: 0.5 without memorising, 1 for copies; ties count half.
        ratio: median of (distance to train) / (distance to test), near 1, and 0 for copies.
    """
    train_ND, test_MD, synthetic_SD = directions(train, test, synthetic)
    to_train_S = nearest_distances(synthetic_SD, train_ND)
    to_test_S = nearest_distances(synthetic_SD, test_MD)
    closer_S = np.where(to_train_S == to_test_S, 0.5, to_train_S < to_test_S)
    ratio_S = np.maximum(to_train_S, 1e-9) / np.maximum(to_test_S, 1e-9)
    return balanced_share(closer_S, len(train_ND), len(test_MD)), float(np.median(ratio_S))


class Memorisation(Metric):
    """Nearest neighbours and the three-sample test, against every training row."""

    name = "memorisation"
    fresh = 0.2  # the floor's training set must stay nearly as large as the whole one
    many = True
    all_rows = True
    most = 4000  # rows of each set in the three-sample test, whose cost is quadratic

    def about(self, quick: bool) -> tuple[About, ...]:
        return (
            About(
                "nn_share", "closer to training than held-out", "lower", "0.5 is ideal, 1 copies"
            ),
            About("nn_ratio", "distance to training / held-out", "higher", "1 is ideal, 0 copies"),
            About("three_sample_p", "three-sample test, p", "higher", "below 0.05: memorised"),
        )

    def measure(self, trial: Trial) -> dict[str, Measure]:
        if min(len(trial.train), len(trial.test), len(trial.candidate)) < 2:
            raise Unscorable("it needs two sequences in each set")
        train, test, s = vectors(trial.scale, trial.train, trial.test, trial.candidate)
        share, ratio = nearest_neighbours(train, test, s)
        # Rows of every set come in random order, so the first ones are a random draw.
        few = (train[: self.most], test[: self.most], s[: self.most])
        return {
            "nn_share": Measure(share),
            "nn_ratio": Measure(ratio),
            "three_sample_p": Measure(three_sample_p(*few, Kernel.of(train))),
        }


def memorisation(train: Sequences, test: Sequences, synthetic: Sequences) -> dict[str, float]:
    """Share, ratio and three-sample p-value of a synthetic set.

    Args:
        train: (N, T, F) what the generator saw, original units.
        test: (M, T, F) real sequences that it did not see.
        synthetic: (S, T, F) what it made.

    Returns:
        ``nn_share``, ``nn_ratio``, ``three_sample_p``.

    Raises:
        DataError: the sets are not comparable.
    """
    check_comparable(train, synthetic)
    check_comparable(train, test)
    trial = Trial("synthetic", train, test, synthetic, Scale.of(train))
    return {name: m.value for name, m in Memorisation().measure(trial).items()}


register(Memorisation())
