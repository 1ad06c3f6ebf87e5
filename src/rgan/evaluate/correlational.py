"""The correlational score of earlier papers, for comparison with their tables.

Shape letters: N, M sequences, T steps, F features, P pairs of features.

``cross_correlation`` in ``temporal.py`` is the one to read: it does not grow with the number of
features.
"""

from __future__ import annotations

import numpy as np

from rgan.errors import DataError
from rgan.evaluate.comparable import check_comparable
from rgan.evaluate.scale import Scale
from rgan.evaluate.temporal import FEWEST_PAIRS, cross_correlation
from rgan.evaluate.trial import About, Measure, Metric, Trial, Unscorable, register
from rgan.sequences import Sequences


def correlational(real: Sequences, synthetic: Sequences, scale: Scale | None = None) -> float:
    """A tenth of the sum of |r_real - r_synthetic| over the pairs of features.

    r is the Pearson correlation of two features at the same step, sequences and steps pooled. The
    convention of Yuan & Qiao 2024, "Diffusion-TS" (ICLR, arXiv 2403.01742), after Liao et al. 2020
    (arXiv 2006.05421): each pair once, the sum divided by 10 and not by the number of pairs, so
    data sets are not to be compared with each other.

    With gaps, moments of a pair come from the steps where both features were observed; pairs with
    fewer than 30 such steps in either set are left out and stand for the mean of the others.

    Args:
        real: (N, T, F) sequences, original units.
        synthetic: (M, T, F) sequences, the same units.
        scale: only for numerical ease; None: of ``real``.

    Raises:
        DataError: the sets are not comparable, there is one feature, or no pair can be compared.
    """
    check_comparable(real, synthetic)
    if real.n_features < 2:
        raise DataError("there is one feature", rule="a correlation is between two features")
    scale = scale or Scale.of(real)
    (r_FF, pairs_r), (s_FF, pairs_s) = (cross_correlation(x, scale) for x in (real, synthetic))
    below = np.tril_indices(real.n_features, -1)
    use_P = np.minimum(pairs_r, pairs_s)[below] >= FEWEST_PAIRS
    if not use_P.any():
        raise DataError(
            "no two features are observed together often enough",
            rule=f"at least {FEWEST_PAIRS} steps in each set at which both were measured",
        )
    gap_P = np.abs(r_FF - s_FF)[below]
    return float(gap_P[use_P].mean() * len(use_P) / 10)


class Correlational(Metric):
    """Against held-out real sequences."""

    name = "correlational"

    def about(self, quick: bool) -> tuple[About, ...]:
        note = "a tenth of the sum over pairs of features, as in earlier papers"
        return (About("correlational", "correlational score", "lower", note),)

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        return "there is one feature" if train.n_features < 2 else ""

    def measure(self, trial: Trial) -> dict[str, Measure]:
        try:
            score = correlational(trial.test, trial.candidate, trial.scale)
        except DataError as error:
            raise Unscorable(error.found) from error
        return {self.name: Measure(score)}


register(Correlational())
