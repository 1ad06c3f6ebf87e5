"""A linear classifier on features: which class an image shows.

Shape letters: N images, K features.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Classify = Callable[[Floats], NDArray[Any]]
PENALTY = 1.0  # on weights of standardised features


def class_probe(features_NK: Floats, labels_N: NDArray[Any]) -> Classify:
    """Logistic regression on standardised features, which gives classes of other features.

    The same rows give the same classifier: nothing in it is drawn.

    Args:
        features_NK: of real images.
        labels_N: what they show, at least two classes.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    mean_K = features_NK.mean(0)
    scale_K = np.maximum(features_NK.std(0), 1e-6)
    model = LogisticRegression(C=1 / PENALTY, max_iter=300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # nearly there is good enough
        model.fit((features_NK - mean_K) / scale_K, labels_N)
    return lambda x_NK: np.asarray(model.predict((x_NK - mean_K) / scale_K))
