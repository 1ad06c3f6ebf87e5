"""How well hidden values are filled in: errors, calibration, and what simple ways reach.

Shape letters: N sequences, T steps, F features, K draws, M hidden values, R rows (steps that have
something hidden), L levels of intervals.

All errors are in the features' deviations in training, so that features count alike.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.errors import InputError
from rgan.evaluate.threads import one_thread
from rgan.sequences import Sequences

Floats = NDArray[np.floating[Any]]
LEVELS = tuple(np.round(np.arange(0.1, 1.0, 0.1), 1).tolist())
"""Shares of the truth that intervals are to hold; the largest, 90 %, is the headline."""
LEAST_DRAWS = 19
"""Of fewer draws the outermost two hold less than 90 % of what may come."""
MICE_ROWS, MICE_ROUNDS, MICE_MOST = 5000, 4, 128
MICE_PENALTY = 100.0
"""Of the ridge regression; with scikit-learn's own choice of it, rounds of equations for features
that are hardly ever observed run away."""


@dataclass(frozen=True)
class Errors:
    """What one way of filling in reaches.

    Args:
        mae: mean absolute error.
        rmse: root of the mean squared error.
        crps: continuous ranked probability score of the draws; for a single guess its mae.
    """

    mae: float
    rmse: float
    crps: float


@dataclass(frozen=True)
class Calibration:
    """Whether the draws are spread as the truth is.

    Args:
        levels_L: shares that the intervals are to hold.
        covered_L: shares that they do hold.
        width: mean width of the widest interval.
        ranks: (K + 1,) shares of the truth at each rank among its draws; flat is best.
    """

    levels_L: tuple[float, ...]
    covered_L: tuple[float, ...]
    width: float
    ranks: tuple[float, ...]


def errors_of(guess_M: Floats, truth_M: Floats, mean_M: Floats | None = None) -> Errors:
    """Errors of one guess for each value: its absolute ones by the middle of what may be, its
    squared ones by the mean, where another is given."""
    away_M = np.abs(guess_M - truth_M)
    other_M = guess_M if mean_M is None else mean_M
    rmse = float(np.sqrt(np.mean((other_M - truth_M) ** 2)))
    return Errors(float(away_M.mean()), rmse, float(away_M.mean()))


def errors_of_draws(draws_KM: Floats, truth_M: Floats) -> Errors:
    """Errors of draws: of their median, of their mean, and of all of them (CRPS, the fair estimate:
    Ferro 2014, "Fair scores for ensemble forecasts")."""
    k = len(draws_KM)
    plain = errors_of(np.median(draws_KM, axis=0), truth_M, draws_KM.mean(axis=0))
    if k < 2:
        return plain
    sorted_KM = np.sort(draws_KM, axis=0)
    weight_K1 = (2 * np.arange(k) - k + 1)[:, None] / (k * (k - 1))
    apart_M = (weight_K1 * sorted_KM).sum(axis=0)  # half the mean distance of two draws
    crps = float((np.abs(draws_KM - truth_M).mean(axis=0) - apart_M).mean())
    return Errors(plain.mae, plain.rmse, crps)


def calibration_of(draws_KM: Floats, truth_M: Floats, seed: int = 0) -> Calibration:
    """Coverage of central intervals and ranks of the truth; equal values are ranked at random.

    Args:
        draws_KM: K draws, at least ``LEAST_DRAWS``.
        truth_M: what was hidden.
        seed: of the ranks among equals.

    Raises:
        InputError: too few draws.
    """
    if len(draws_KM) < LEAST_DRAWS:
        raise InputError(
            f"{len(draws_KM)} draws",
            rule=f"at least {LEAST_DRAWS} for an interval of 90 %",
            repair="--draws 20",
        )
    covered, width = [], 0.0
    for level in LEVELS:
        ends = np.array([(1 - level) / 2, (1 + level) / 2])
        low_M, high_M = np.quantile(draws_KM, ends, axis=0, method="weibull")
        covered.append(float(((truth_M >= low_M) & (truth_M <= high_M)).mean()))
        width = float((high_M - low_M).mean())
    below_M = (draws_KM < truth_M).sum(axis=0)
    equal_M = (draws_KM == truth_M).sum(axis=0)
    rank_M = below_M + np.random.default_rng(seed).integers(0, equal_M + 1)
    counts = np.bincount(rank_M, minlength=len(draws_KM) + 1) / len(truth_M)
    return Calibration(LEVELS, tuple(covered), width, tuple(counts.tolist()))


# -- simple ways -----------------------------------------------------------------------------------


def forward_fill(visible: Sequences, mean_F: Floats) -> Floats:
    """(N, T, F): the last value seen before or at each step, the training mean where none was."""
    value_NTF, _ = _carried(visible.values, visible.observed, at_once=True)
    return np.where(np.isnan(value_NTF), mean_F.astype(np.float32), value_NTF)


def mice(
    train: Sequences,
    visible: Sequences,
    wanted_NTF: NDArray[np.bool_],
    mean_F: Floats,
    std_F: Floats,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Floats:
    """(M,) what chained equations put in place of the wanted values, in original units.

    A row is a step: its F values, some of them missing, and beside each feature the last value seen
    before the step and the next one after it (the mean, where there is none). scikit-learn's
    ``IterativeImputer`` with ridge regression learns on 5,000 steps of the training data drawn at
    random, in 4 rounds, and stays in the range that it learnt (van Buuren & Groothuis-Oudshoorn
    2011, "mice", without its draws).

    Args:
        train: real training sequences.
        visible: sequences without what is hidden.
        wanted_NTF: what is to be filled in.
        mean_F, std_F: of the training data, to standardise by.
        seed: draws the rows.
        progress: is told (rows done, rows).

    Raises:
        InputError: more than ``MICE_MOST`` features, whose equations would take hours.
    """
    features = train.n_features
    if features > MICE_MOST:
        raise InputError(f"{features} features", rule=f"chained equations for up to {MICE_MOST}")
    rng = np.random.default_rng([seed, 0x111CE])
    learnt_RW = _learnt_from(train, mean_F, std_F, rng)
    wide_NTW = _wide(visible, mean_F, std_F)
    rows, steps = np.nonzero(wanted_NTF.any(axis=2))
    found_NTF = np.full(wanted_NTF.shape, np.nan, np.float32)
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore")  # it says that four rounds are few
        model = _chained_equations(learnt_RW, seed)
        for start in range(0, len(rows), MICE_ROWS):
            r, t = rows[start : start + MICE_ROWS], steps[start : start + MICE_ROWS]
            filled_RW = model.transform(wide_NTW[r, t])
            found_NTF[r, t] = filled_RW[:, :features] * std_F + mean_F
            progress(min(start + MICE_ROWS, len(rows)), len(rows))
    return found_NTF[wanted_NTF]


def _learnt_from(
    train: Sequences, mean_F: Floats, std_F: Floats, rng: np.random.Generator
) -> Floats:
    """(R, 3F): steps of the training data, drawn at random."""
    rows, steps = np.nonzero(train.observed.any(axis=2))
    picked = rng.permutation(len(rows))[:MICE_ROWS]
    few, place = np.unique(rows[picked], return_inverse=True)
    learnt_RW = _wide(train[few], mean_F, std_F)[place, steps[picked]]
    # what is never missing gets no equation, so a tenth of it is taken away
    features = train.n_features
    complete_F = ~np.isnan(learnt_RW[:, :features]).any(axis=0)
    taken_RF = (rng.random((len(learnt_RW), features)) < 0.1) & complete_F
    learnt_RW[:, :features][taken_RF] = np.nan
    return learnt_RW


def _chained_equations(learnt_RW: Floats, seed: int) -> Any:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer
    from sklearn.linear_model import Ridge

    empty_W = np.isnan(learnt_RW).all(axis=0)
    whole_RW = np.where(empty_W, 0, learnt_RW)
    model = IterativeImputer(
        Ridge(MICE_PENALTY),
        max_iter=MICE_ROUNDS,
        random_state=seed,
        skip_complete=True,
        keep_empty_features=True,
        min_value=np.nanmin(whole_RW, axis=0) - 1e-3,  # so that a constant has a range too
        max_value=np.nanmax(whole_RW, axis=0) + 1e-3,
    )
    return model.fit(learnt_RW)


def _wide(sequences: Sequences, mean_F: Floats, std_F: Floats) -> Floats:
    """(N, T, 3F) standardised: values, NaN where missing, those before a step and those after."""
    z_NTF = ((sequences.values - mean_F) / std_F).astype(np.float32)
    before_NTF, _ = _carried(z_NTF, sequences.observed)
    after_NTF, _ = _carried(z_NTF[:, ::-1], sequences.observed[:, ::-1])
    around = (np.nan_to_num(before_NTF), np.nan_to_num(after_NTF[:, ::-1]))
    return np.concatenate([z_NTF, *around], axis=2)


def _carried(
    values_NTF: Floats, observed_NTF: NDArray[np.bool_], at_once: bool = False
) -> tuple[Floats, NDArray[np.bool_]]:
    """The last observed value before each step (``at_once``: or at it), NaN where there is none,
    and whether there is one."""
    step_1T1 = np.arange(values_NTF.shape[1])[None, :, None]
    last_NTF = np.maximum.accumulate(np.where(observed_NTF, step_1T1, -1), axis=1)
    if not at_once:
        last_NTF = np.concatenate([np.full_like(last_NTF[:, :1], -1), last_NTF[:, :-1]], axis=1)
    found_NTF = np.take_along_axis(values_NTF, np.maximum(last_NTF, 0), axis=1)
    there_NTF = last_NTF >= 0
    return np.where(there_NTF, found_NTF, np.nan), there_NTF
