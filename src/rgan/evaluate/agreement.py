"""Would an analyst who has only the synthetic data choose the same model and the same features?

Shape letters: N sequences, K columns, C classes, M models or features.

Each of several models is trained on the candidate and on the real training set, and tested on
held-out real sequences; the rank correlation of the two columns of scores says whether the order is
kept (after the synthetic ranking agreement of Jordon et al. 2018, arXiv 1806.11345). The same is
done with one classifier that reads one feature at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.evaluate.classifiers import Floats, auroc, fit, standardiser
from rgan.evaluate.features import summaries, table
from rgan.evaluate.trial import About, Measure, Metric, Trial, Unscorable, register
from rgan.evaluate.utility import labels_unfit
from rgan.sequences import Sequences

FEWEST_FEATURES = 4
Maker = Callable[[int], Any]


def _bank() -> dict[str, Maker]:
    """Classifiers of different kinds, by name: seed to a scikit-learn model."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.tree import DecisionTreeClassifier

    return {
        "logistic regression, C = 1": lambda seed: LogisticRegression(C=1.0, max_iter=500),
        "logistic regression, C = 0.001": lambda seed: LogisticRegression(C=1e-3, max_iter=500),
        "naive Bayes": lambda seed: GaussianNB(var_smoothing=1e-3),
        "5 nearest neighbours": lambda seed: KNeighborsClassifier(5),
        "50 nearest neighbours": lambda seed: KNeighborsClassifier(50),
        "tree of 3 levels": lambda seed: DecisionTreeClassifier(max_depth=3, random_state=seed),
        "whole tree": lambda seed: DecisionTreeClassifier(random_state=seed),
        "random forest": lambda seed: RandomForestClassifier(60, random_state=seed),
    }


def spearman(a: list[float], b: list[float]) -> float:
    """Rank correlation, ties by their mean rank; NaN where one side does not vary, or is empty.

    >>> spearman([1, 2, 3], [10, 20, 40])
    1.0
    """
    ranks = [_ranks(np.asarray(x)) for x in (a, b)]
    if not a or min(r.std() for r in ranks) == 0:
        return math.nan
    return float(round(np.corrcoef(ranks[0], ranks[1])[0, 1], 12))


def _ranks(x: Floats) -> Floats:
    _, which, counts = np.unique(x, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    mean: Floats = (ends - (counts - 1) / 2)[which]
    return mean


class ModelOrder(Metric):
    """Whether models keep their order."""

    name = "models_rank"
    fresh = 0.5
    controls_once = "always"
    label = "order of models kept"

    def about(self, quick: bool) -> tuple[About, ...]:
        note = "rank correlation of AUROCs: trained on it against trained on real"
        return (About(self.name, self.label, "higher", note),)

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        if train.is_image:
            return "it judges features, and an image has pixels"
        return labels_unfit(train, test, candidate)

    def scores(self, data: Sequences, trial: Trial, classes: NDArray[Any]) -> dict[str, float]:
        """AUROC on the real test set of each model, trained on ``data``."""
        return _by_model(data, trial, classes)

    def measure(self, trial: Trial) -> dict[str, Measure]:
        if trial.quick:
            raise Unscorable("it takes a dozen classifiers: not in quick evaluations")
        classes = np.union1d(trial.train.classes, trial.test.classes)
        real, synthetic = (self.scores(s, trial, classes) for s in (trial.train, trial.candidate))
        both = [m for m in real if math.isfinite(real[m]) and math.isfinite(synthetic[m])]
        parts = {f"{m}, trained on synthetic": synthetic[m] for m in both}
        parts |= {f"{m}, trained on real": real[m] for m in both}
        value = spearman([synthetic[m] for m in both], [real[m] for m in both])
        return {self.name: Measure(value, parts)}


class FeatureOrder(ModelOrder):
    """Whether features keep their order: does the same feature matter?"""

    name = "features_rank"
    label = "order of features kept"

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        if train.n_features < FEWEST_FEATURES:
            return f"{train.n_features} features have little order; it takes {FEWEST_FEATURES}"
        return super().unfit(train, test, candidate)

    def scores(self, data: Sequences, trial: Trial, classes: NDArray[Any]) -> dict[str, float]:
        """AUROC of a linear classifier of each feature alone."""
        return _by_feature(data, trial, classes)


def _by_model(data: Sequences, trial: Trial, classes: NDArray[Any]) -> dict[str, float]:
    """AUROC on the real test set of each model of the bank, trained on ``data``."""
    assert data.labels is not None and trial.test.labels is not None
    same = data.static_info == trial.test.static_info
    x_NK, test_MK = (table(s, trial.scale, with_static=same) for s in (data, trial.test))
    ready = standardiser(x_NK)
    learn_NK, judged_MK = ready(x_NK), ready(test_MK)
    y_N = np.searchsorted(classes, data.labels)
    y_M = np.searchsorted(classes, trial.test.labels)
    scores = {}
    for name, make in _bank().items():
        if len(np.unique(y_N)) < 2:
            scores[name] = 0.5
            continue
        model = make(trial.seed)
        if hasattr(model, "n_neighbors"):
            model.n_neighbors = min(model.n_neighbors, len(y_N))
        model.fit(learn_NK, y_N)
        p_MC = np.zeros((len(y_M), len(classes)))
        p_MC[:, model.classes_] = model.predict_proba(judged_MK)
        scores[name] = auroc(y_M, p_MC)
    return scores


def _by_feature(data: Sequences, trial: Trial, classes: NDArray[Any]) -> dict[str, float]:
    """AUROC of a linear classifier that reads the summaries of one feature alone."""
    assert data.labels is not None and trial.test.labels is not None
    f = data.n_features
    x_NK, test_MK = (summaries(s, trial.scale) for s in (data, trial.test))
    y_M = np.searchsorted(classes, trial.test.labels)
    scores = {}
    for i, name in enumerate(data.feature_names):
        columns = np.arange(i, x_NK.shape[1], f)
        predict = fit("linear", x_NK[:, columns], data.labels, classes, trial.seed)
        scores[name] = auroc(y_M, predict(test_MK[:, columns]))
    return scores


register(ModelOrder())
register(FeatureOrder())
