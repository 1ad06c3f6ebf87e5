"""Context-FID: the Fréchet distance between TS2Vec encodings of real and synthetic sequences.

Shape letters: N, M sequences, T steps, F features, D inputs of a step, K numbers of an encoding.

Jeha et al. 2022, "PSA-GAN: Progressive Self Attention GANs for Synthetic Time Series" (ICLR);
settings as in Yuan & Qiao 2024, "Diffusion-TS" (ICLR, arXiv 2403.01742), whose tables compare by
it: values scaled to [0, 1] by the real set's least and greatest, the encoder fitted to real
sequences, whole-sequence encodings by max-pooling.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rgan.errors import DataError
from rgan.evaluate.comparable import check_comparable
from rgan.evaluate.scale import Scale
from rgan.evaluate.trial import About, Measure, Metric, Trial, Unscorable, register
from rgan.sequences import Sequences

if TYPE_CHECKING:
    from rgan.evaluate.ts2vec import TS2VecSettings

MOST_STEPS = 1024  # of a sequence, above which an encoder takes hours and gigabytes
FEWEST = 20  # sequences on each side, below which a covariance says nothing
Floats = NDArray[np.float32]


def frechet(a_NK: NDArray[np.floating], b_MK: NDArray[np.floating]) -> float:
    """|m_a - m_b|² + tr(C_a + C_b - 2 (C_a C_b)^½), the distance of two normal laws.

    The trace of the root is the sum of the roots of the eigenvalues of C_a^½ C_b C_a^½, which are
    real. Biased upwards where N and M are small: compare only sets of the same sizes.

    Args:
        a_NK, b_MK: at least two rows each.

    >>> x = np.random.default_rng(0).normal(size=(100, 3))
    >>> round(frechet(x, x), 6), round(frechet(x, x + 2), 6)
    (0.0, 12.0)
    """
    a, b = a_NK.astype(np.float64), b_MK.astype(np.float64)
    gap_K = a.mean(0) - b.mean(0)
    cov_a, cov_b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    power_K, axes_KK = np.linalg.eigh(cov_a)
    root_KK = (axes_KK * np.sqrt(np.clip(power_K, 0, None))) @ axes_KK.T
    crossed_K = np.linalg.eigvalsh(root_KK @ cov_b @ root_KK)
    roots = np.sqrt(np.clip(crossed_K, 0, None)).sum()
    return max(0.0, float(gap_K @ gap_K + np.trace(cov_a) + np.trace(cov_b) - 2 * roots))


def inputs(scale: Scale, *sets: Sequences) -> list[Floats]:
    """(N, T, D) of each set: values scaled to [0, 1] by the real set, gaps at the feature's mean.

    Masks stand beside them where any set has gaps, so that a wrong pattern of gaps counts.
    """
    masks = not all(s.fully_observed for s in sets)
    out = []
    for s in sets:
        x_NTF = scale.minmax(s)
        out.append(np.concatenate([x_NTF, s.observed.astype(np.float32)], 2) if masks else x_NTF)
    return out


def context_fid(
    real: Sequences, synthetic: Sequences, *, seed: int = 0, settings: TS2VecSettings | None = None
) -> float:
    """Context-FID as published: the encoder is fitted to the real set that is compared with.

    Args:
        real: (N, T, F) sequences, original units.
        synthetic: (M, T, F) sequences, the same units.
        seed: of the encoder.
        settings: of the encoder; None: the published ones.

    Raises:
        DataError: the sets are not comparable, or too short, too long or too few.
    """
    from rgan.evaluate.ts2vec import encode, fit_encoder

    check_comparable(real, synthetic)
    reason = unfit(real.n_steps, len(real), len(synthetic))
    if reason:
        raise DataError(reason, rule=f"2 to {MOST_STEPS} steps, and {FEWEST} sequences in each set")
    x_NTD, y_MTD = inputs(Scale.of(real), real, synthetic)
    encoder = fit_encoder(x_NTD, seed=seed, settings=settings)
    return frechet(encode(encoder, x_NTD), encode(encoder, y_MTD))


def unfit(steps: int, *counts: int) -> str:
    """Why no distance can be computed; "" where it can."""
    if steps > MOST_STEPS:
        return f"sequences have {steps} steps; encodings are made up to {MOST_STEPS}"
    if steps < 2:
        return "sequences have one step"
    if min(counts) < FEWEST:
        return f"there are {min(counts)} sequences; it needs {FEWEST} in each set"
    return ""


class ContextFID(Metric):
    """Against held-out real sequences; one encoder, fitted to the training set, for all trials."""

    name = "context_fid"

    def about(self, quick: bool) -> tuple[About, ...]:
        note = "TS2Vec encodings; few sequences raise it, so read it beside its floor"
        return (About("context_fid", "Context-FID", "lower", note),)

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        return unfit(train.n_steps, len(train), len(test), len(candidate))

    def measure(self, trial: Trial) -> dict[str, Measure]:
        if trial.quick:
            raise Unscorable("it trains an encoder: not in quick evaluations")
        from rgan.evaluate.ts2vec import encode, fit_encoder

        reason = self.unfit(trial.train, trial.test, trial.candidate)  # a floor's are fewer
        if reason:
            raise Unscorable(reason)
        train, test, candidate = inputs(trial.scale, trial.train, trial.test, trial.candidate)
        # Floor and copy are judged by the encoder of the first trial, which is an encoder of real
        # sequences as good as another; fitting it is most of the cost. Masks decide its width.
        key = (self.name, train.shape[2])
        if key not in trial.cache:
            encoder = fit_encoder(train, seed=trial.seed)
            trial.cache[key] = encoder, encode(encoder, test)
        encoder, real_MK = trial.cache[key]
        return {self.name: Measure(frechet(real_MK, encode(encoder, candidate)))}


register(ContextFID())
