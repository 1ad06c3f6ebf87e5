"""Maximum mean discrepancy: how far apart two sets are as distributions over whole sequences.

Shape letters: N real sequences, M synthetic ones, D numbers that stand for one sequence.

Sequences are rows of standardised values with the mask beside them (``rgan.evaluate.scale``).
Kernel matrices are walked in blocks of rows, so memory grows with N and not with its square.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rgan.errors import DataError
from rgan.evaluate.comparable import check_comparable
from rgan.evaluate.scale import Scale, vectors
from rgan.evaluate.trial import About, Measure, Metric, Trial, Unscorable, register
from rgan.sequences import Sequences

BLOCK = 512
MULTIPLES = (0.25, 0.5, 1.0, 2.0, 4.0)
Rows = NDArray[np.float32]


def square_distances(x_ND: Rows, y_MD: Rows) -> NDArray[np.float32]:
    """(N, M) squared Euclidean distances."""
    xx_N1 = np.einsum("nd,nd->n", x_ND, x_ND)[:, None]
    yy_M = np.einsum("md,md->m", y_MD, y_MD)
    return np.maximum(xx_N1 + yy_M - 2 * (x_ND @ y_MD.T), 0, dtype=np.float32)


@dataclass(frozen=True)
class Kernel:
    """The mean of Gaussian kernels exp(-d² / 2σ²), σ = 1/4, 1/2, 1, 2, 4 times ``median``."""

    median: float

    @classmethod
    def of(cls, real_ND: Rows, seed: int = 0, most: int = 1000) -> Kernel:
        """The kernel whose σ is the median distance between (up to ``most``) real rows."""
        rng = np.random.default_rng(seed)
        rows = real_ND[rng.permutation(len(real_ND))[:most]]
        upper = square_distances(rows, rows)[np.triu_indices(len(rows), 1)]
        median = float(np.sqrt(np.median(upper))) if len(upper) else 0.0
        return cls(median if median > 0 else 1.0)

    def __call__(self, square_NM: NDArray[np.float32]) -> NDArray[np.float32]:
        """Kernel values of squared distances."""
        # Each σ is twice the one before: its exponent is a quarter, so one exp serves all five.
        k = np.exp(square_NM * np.float32(-0.5 / (MULTIPLES[-1] * self.median) ** 2))
        total = k.copy()
        for _ in MULTIPLES[1:]:
            k *= k
            k *= k
            total += k
        return total / np.float32(len(MULTIPLES))


def kernel_means(x_ND: Rows, y_MD: Rows, kernel: Kernel) -> tuple[NDArray, NDArray]:
    """Mean kernel of each row of x with all of y (N,), and of each row of y with all of x (M,)."""
    rows_N, columns_M = np.zeros(len(x_ND)), np.zeros(len(y_MD))
    for start in range(0, len(x_ND), BLOCK):
        k = kernel(square_distances(x_ND[start : start + BLOCK], y_MD))
        rows_N[start : start + BLOCK] = k.mean(1, dtype=np.float64)
        columns_M += k.sum(0, dtype=np.float64)
    return rows_N, columns_M / len(x_ND)


def kernel_means_within(x_ND: Rows, kernel: Kernel) -> NDArray[np.float64]:
    """(N,) mean kernel of each row with all the *other* rows."""
    n = len(x_ND)
    means_N = np.zeros(n)
    for start in range(0, n, BLOCK):
        k = kernel(square_distances(x_ND[start : start + BLOCK], x_ND))
        i = np.arange(len(k))
        k[i, start + i] = 0
        means_N[start : start + BLOCK] = k.sum(1, dtype=np.float64) / (n - 1)
    return means_N


def mmd2_rows(x_ND: Rows, y_MD: Rows, kernel: Kernel) -> float:
    """Unbiased MMD² of two sets of rows (Gretton et al. 2012, JMLR 13, equation 3)."""
    return float(
        kernel_means_within(x_ND, kernel).mean()
        + kernel_means_within(y_MD, kernel).mean()
        - 2 * kernel_means(x_ND, y_MD, kernel)[0].mean()
    )


def mmd2(
    real: Sequences, synthetic: Sequences, *, scale: Scale | None = None, seed: int = 0
) -> float:
    """Unbiased squared maximum mean discrepancy between two sets of sequences.

    MMD²(X, Y) = E k(x, x') + E k(y, y') - 2 E k(x, y), each mean over pairs of different rows; 0
    in expectation where both come from one distribution, so it may be slightly negative.
    (Gretton et al. 2012, JMLR 13, equation 3; kernel bandwidths from the real set alone.)

    Args:
        real: (N, T, F) sequences, N >= 2, original units.
        synthetic: (M, T, F) sequences, M >= 2, the same units.
        scale: how values are standardised; None: by the real set.
        seed: of the draw of rows whose median distance is the kernel's width.

    Raises:
        DataError: the sets are not comparable, or one has a single sequence.
    """
    check_comparable(real, synthetic)
    x_ND, y_MD = vectors(scale or Scale.of(real), real, synthetic)
    _at_least_two(x_ND, y_MD)
    return mmd2_rows(x_ND, y_MD, Kernel.of(x_ND, seed))


def mmd_p_value(
    real: Sequences, synthetic: Sequences, *, permutations: int = 200, seed: int = 0
) -> float:
    """p-value of "both sets come from one distribution", by permuting who belongs to which.

    Holds the whole kernel matrix: memory grows with (N + M)².

    Args:
        real, synthetic: (N, T, F) and (M, T, F) sequences, original units.
        permutations: number of random relabellings; the least p-value is 1 / (permutations + 1).
        seed: of the relabellings.

    Raises:
        DataError: as ``mmd2``.
    """
    check_comparable(real, synthetic)
    x_ND, y_MD = vectors(Scale.of(real), real, synthetic)
    _at_least_two(x_ND, y_MD)
    both = np.concatenate([x_ND, y_MD])
    k = Kernel.of(x_ND, seed)(square_distances(both, both)).astype(np.float64)
    np.fill_diagonal(k, 0)
    rng, n, m = np.random.default_rng(seed), len(x_ND), len(y_MD)
    side_NP = np.zeros((n + m, permutations + 1))
    side_NP[:n, 0] = 1
    for p in range(permutations):
        side_NP[rng.permutation(n + m)[:n], p + 1] = 1
    kx_NP = k @ side_NP
    xx_P = (side_NP * kx_NP).sum(0)
    xy_P = ((1 - side_NP) * kx_NP).sum(0)
    yy_P = k.sum() - xx_P - 2 * xy_P
    mmd_P = xx_P / (n * (n - 1)) + yy_P / (m * (m - 1)) - 2 * xy_P / (n * m)
    return float((mmd_P >= mmd_P[0] - 1e-12).mean())


def _at_least_two(*sets: Rows) -> None:
    for rows in sets:
        if len(rows) < 2:
            raise DataError("one of the sets holds a single sequence", rule="MMD² needs two each")


class MMD(Metric):
    """Unbiased MMD² against held-out real sequences."""

    name = "mmd"

    def about(self, quick: bool) -> tuple[About, ...]:
        return (About("mmd2", "MMD² (whole sequences)", "lower", "0 is ideal, may be negative"),)

    def measure(self, trial: Trial) -> dict[str, Measure]:
        if min(len(trial.test), len(trial.candidate)) < 2:
            raise Unscorable("it needs two sequences on each side")
        train, x_ND, y_MD = vectors(trial.scale, trial.train, trial.test, trial.candidate)
        kernel = Kernel.of(train, seed=0)
        return {"mmd2": Measure(mmd2_rows(x_ND, y_MD, kernel))}


register(MMD())
