"""The toy sets of Esteban, Hyland and Raetsch 2017 (arXiv 1706.02633, section 4): sines and gp.

Shape letters: N sequences, T steps, F features.

Both sets are the same on every machine: they are drawn with a fixed seed, and the option ``seed``
only picks among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rgan.data.builtin import draw_rows
from rgan.sequences import Sequences

if TYPE_CHECKING:
    from rgan.data.sources import LoadOptions

SET_SEED = 170602633  # the paper's number, so that everybody has the same set
SET_SIZE = 10_000
STEPS = 30

GP_DECAY = 0.1
GP_VARIANCE = 0.2


def sines(n: int = SET_SIZE, steps: int = STEPS, seed: int = SET_SEED) -> NDArray[np.float32]:
    """Sine waves a sin(2 pi f t / T + p) at t = 1..T, as (N, T, 1).

    Amplitude a is uniform in [0.1, 0.9], frequency f in [1, 5] periods a sequence, phase p in
    [-pi, pi] (the paper, section 4, and its authors' program).

    Args:
        n: N. steps: T. seed: of the draw.

    >>> sines(2).shape
    (2, 30, 1)
    """
    rng = np.random.default_rng(seed)
    frequency_N1 = rng.uniform(1.0, 5.0, size=(n, 1))
    amplitude_N1 = rng.uniform(0.1, 0.9, size=(n, 1))
    phase_N1 = rng.uniform(-np.pi, np.pi, size=(n, 1))
    turn_T = 2 * np.pi * np.arange(1, steps + 1) / steps
    values_NT = amplitude_N1 * np.sin(frequency_N1 * turn_T + phase_N1)
    return values_NT[:, :, None].astype(np.float32)


def gp_covariance(steps: int = STEPS) -> NDArray[np.float64]:
    """Covariance (T, T) of ``gp``: 0.2 exp(-0.1 (s - t)^2) for whole steps s, t.

    These are the constants of the paper's authors' program. As a length scale that is
    l = sqrt(5) steps in exp(-(s - t)^2 / (2 l^2)).
    """
    t = np.arange(steps, dtype=np.float64)
    return np.asarray(GP_VARIANCE * np.exp(-GP_DECAY * (t[:, None] - t[None, :]) ** 2))


def gp(n: int = SET_SIZE, steps: int = STEPS, seed: int = SET_SEED) -> NDArray[np.float32]:
    """Draws of a zero-mean Gaussian process with an RBF kernel (``gp_covariance``), (N, T, 1).

    Args:
        n: N. steps: T. seed: of the draw.

    >>> gp(2).shape
    (2, 30, 1)
    """
    rng = np.random.default_rng(seed)
    # The kernel is close to singular, so its roots come from eigenvalues cut at zero, not Cholesky.
    power_K, waves_TK = np.linalg.eigh(gp_covariance(steps))
    root_KT = (waves_TK * np.sqrt(np.clip(power_K, 0, None))).T
    # An eigenvector's sign is a matter of the linear algebra library: fix it.
    peak_K = np.abs(root_KT).argmax(axis=1)
    root_KT = root_KT * np.sign(root_KT[np.arange(steps), peak_K])[:, None]
    return (rng.standard_normal((n, steps)) @ root_KT)[:, :, None].astype(np.float32)


def load_sines(options: LoadOptions) -> Sequences:
    """The source ``sines``."""
    return _as_sequences(sines(), options, "sines")


def load_gp(options: LoadOptions) -> Sequences:
    """The source ``gp``."""
    return _as_sequences(gp(), options, "gp")


def _as_sequences(values_NT1: NDArray[np.float32], options: LoadOptions, name: str) -> Sequences:
    rows = draw_rows(len(values_NT1), options)
    return Sequences(values_NT1[rows], feature_names=("value",), name=name)
