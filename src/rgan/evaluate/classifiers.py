"""The two classifiers that judge usefulness, and the scores of their answers.

Shape letters: N rows, K features of a row, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rgan.evaluate.threads import one_thread

Floats = NDArray[np.float64]
Kind = Literal["linear", "boosting"]
Predict = Callable[[NDArray[np.float32]], Floats]


def fit(
    kind: Kind, x_NK: NDArray[np.float32], y_N: NDArray[Any], classes_C: NDArray[Any], seed: int = 0
) -> Predict:
    """Train a classifier on rows that may hold NaN.

    linear: logistic regression on columns standardised by the training rows (NaN becomes 0), its
    penalty chosen among C = 0.001, 0.01, 0.1, 1 on a fifth of the rows by log loss. boosting:
    gradient-boosted trees, which take NaN as they are.

    Args:
        kind: which one.
        x_NK: training rows.
        y_N: their labels.
        classes_C: all classes, those that ``y_N`` lacks too.
        seed: of the row split and the trees.

    Returns:
        Rows (M, K) to probabilities (M, C). Classes not seen in training have probability 0; where
        only one was seen, it has probability 1.
    """
    codes_N = np.searchsorted(classes_C, y_N)
    seen = np.unique(codes_N)
    if len(seen) == 1:
        certain = np.eye(len(classes_C))[seen[0]]
        return lambda rows: np.tile(certain, (len(rows), 1))
    known_K = ~np.isnan(x_NK).all(0)  # a column that is never known cannot be learnt from
    with one_thread():
        inner = (_linear if kind == "linear" else _boosting)(x_NK[:, known_K], codes_N, seed)

    def predict(rows: NDArray[np.float32]) -> Floats:
        out = np.zeros((len(rows), len(classes_C)))
        with one_thread():
            out[:, seen] = inner(rows[:, known_K])
        return out

    return predict


def standardiser(x_NK: NDArray[Any]) -> Callable[[NDArray[Any]], Floats]:
    """Rows to numbers in deviations of these rows' columns; NaN and columns that do not vary become
    0, and nothing is further out than 10."""
    known = ~np.isnan(x_NK)
    count_K = np.maximum(known.sum(0), 1)
    mean_K = np.where(known, x_NK, 0).sum(0) / count_K
    std_K = np.sqrt((np.where(known, x_NK - mean_K, 0) ** 2).sum(0) / count_K)
    std_K = np.where(std_K > 1e-6, std_K, np.inf)

    def ready(rows_MK: NDArray[Any]) -> Floats:
        z_MK = np.nan_to_num((rows_MK - mean_K) / std_K)
        return np.asarray(np.clip(z_MK, -10, 10), dtype=np.float64)

    return ready


def _linear(x: NDArray[np.float32], y: NDArray[np.int64], seed: int) -> Predict:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss

    ready = standardiser(x)
    z = ready(x)
    held = np.zeros(len(z), dtype=bool)
    held[np.random.default_rng(seed).permutation(len(z))[: len(z) // 5]] = True
    best = 0.01
    if held.any() and np.array_equal(np.unique(y[~held]), np.unique(y)):
        losses = {}
        for c in (0.001, 0.01, 0.1, 1.0):
            model = LogisticRegression(C=c, max_iter=1000, tol=1e-3).fit(z[~held], y[~held])
            losses[c] = log_loss(y[held], model.predict_proba(z[held]), labels=model.classes_)
        best = min(losses, key=losses.__getitem__)
    final = LogisticRegression(C=best, max_iter=1000, tol=1e-3).fit(z, y)
    return lambda rows: final.predict_proba(ready(rows))


def _boosting(x: NDArray[np.float32], y: NDArray[np.int64], seed: int) -> Predict:
    from sklearn.ensemble import HistGradientBoostingClassifier

    classes = len(np.unique(y))
    trees = 60 if classes == 2 else max(10, 240 // classes)  # a tree for each class and round
    model = HistGradientBoostingClassifier(
        max_iter=trees,
        learning_rate=0.1 if classes == 2 else 0.2,
        max_leaf_nodes=8,
        max_features=0.3,
        max_bins=32,
        l2_regularization=1.0,
        early_stopping=False,
        random_state=seed,
    ).fit(x, y)
    return model.predict_proba


def accuracy(y_N: NDArray[np.int64], p_NC: Floats) -> float:
    """Share of rows whose likeliest class is right."""
    return float((p_NC.argmax(1) == y_N).mean())


def auroc(y_N: NDArray[np.int64], p_NC: Floats) -> float:
    """Area under the ROC curve: of class 1 where there are two, else the mean of one against rest.

    Classes without a row, or with every row, are left out; NaN where none is left.
    """
    return _over_classes(_auroc_one, y_N, p_NC)


def auprc(y_N: NDArray[np.int64], p_NC: Floats) -> float:
    """Average precision Σ (R_n - R_{n-1}) P_n; of class 1, or the mean over classes, as above."""
    return _over_classes(_auprc_one, y_N, p_NC)


def _over_classes(one: Callable[..., float], y_N: NDArray[np.int64], p_NC: Floats) -> float:
    wanted = [1] if p_NC.shape[1] == 2 else range(p_NC.shape[1])
    values = [one(y_N == c, p_NC[:, c]) for c in wanted if 0 < (y_N == c).sum() < len(y_N)]
    return float(np.mean(values)) if values else math.nan


def _auroc_one(hit_N: NDArray[np.bool_], score_N: Floats) -> float:
    values, which = np.unique(score_N, return_inverse=True)
    hits = np.bincount(which, hit_N, len(values))
    misses = np.bincount(which, ~hit_N, len(values))
    below = np.cumsum(misses) - misses
    return float((hits * (below + misses / 2)).sum() / (hits.sum() * misses.sum()))


def _auprc_one(hit_N: NDArray[np.bool_], score_N: Floats) -> float:
    values, which = np.unique(-score_N, return_inverse=True)
    hits = np.bincount(which, hit_N, len(values))
    found = np.cumsum(np.bincount(which, minlength=len(values)))
    return float((hits * np.cumsum(hits) / found).sum() / hits.sum())


def calibration(y_N: NDArray[np.int64], p_NC: Floats, bins: int = 10) -> dict[str, float]:
    """How far probabilities are from shares.

    Returns:
        "calibration error": over bins of equally many rows, the mean distance between the mean
        probability and the share of hits, of class 1 or the mean over classes (Naeini et al. 2015).
        "Brier": the mean squared distance of (p_1 ... p_C) from the truth, halved where C is 2 so
        that it is the usual one.
    """
    wanted = [1] if p_NC.shape[1] == 2 else range(p_NC.shape[1])
    errors = []
    for c in wanted:
        order = np.argsort(p_NC[:, c], kind="stable")
        parts = np.array_split(order, min(bins, max(1, len(order) // 5)))
        errors.append(
            sum(len(o) * abs(p_NC[o, c].mean() - (y_N[o] == c).mean()) for o in parts) / len(order)
        )
    truth_NC = np.eye(p_NC.shape[1])[y_N]
    brier = ((p_NC - truth_NC) ** 2).sum(1).mean() / (2 if p_NC.shape[1] == 2 else 1)
    return {"calibration error": float(np.mean(errors)), "Brier": float(brier)}


SCORES: dict[str, Callable[[NDArray[np.int64], Floats], float]] = {
    "accuracy": accuracy,
    "auroc": auroc,
    "auprc": auprc,
}


def bootstrap(
    score: Callable[[NDArray[np.int64], Floats], float],
    y_N: NDArray[np.int64],
    p_NC: Floats,
    *,
    seed: int = 0,
    draws: int = 200,
) -> tuple[float, float] | None:
    """95 % percentile interval of a score over redrawn rows; None where it cannot be had."""
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        rows = rng.integers(0, len(y_N), len(y_N))
        value = score(y_N[rows], p_NC[rows])
        if math.isfinite(value):
            values.append(value)
    if len(values) < draws / 2:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
