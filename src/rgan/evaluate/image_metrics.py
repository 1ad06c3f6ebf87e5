"""Metrics of images, in the features of the frozen classifier (``rgan.evaluate.image_features``).

Real images are the held-out ones. Shape letters: N real images, M generated ones, K features,
L classes of the data.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.evaluate.classes import class_probe
from rgan.evaluate.mmd import BLOCK, square_distances
from rgan.evaluate.trial import About, Measure, Metric, Trial, Unscorable, register
from rgan.sequences import Sequences

NEIGHBOURS, NEIGHBOURS_DENSITY = 3, 5  # as the two papers have them
LEAST = NEIGHBOURS_DENSITY + 1
LEAST_RIGHT = 0.8  # of held-out images, for the classifier to be believed
NO_IMAGES = "the data are no images"
Floats = NDArray[np.float32]


def frechet(x_NK: Floats, y_MK: Floats) -> float:
    """Fréchet distance between the normal distributions of two sets of features.

    |m_x - m_y|² + tr(S_x + S_y - 2 (S_x S_y)^½), which is FID where the features are images'
    (Heusel et al. 2017, arXiv 1706.08500, section 3.1). The fewer images the larger, also between
    real ones.

    Args:
        x_NK, y_MK: features, N and M at least 2.
    """
    x, y = x_NK.astype(np.float64), y_MK.astype(np.float64)
    cov_x, cov_y = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    values, axes = np.linalg.eigh(np.atleast_2d(cov_x))
    root_x = (axes * np.sqrt(np.maximum(values, 0))) @ axes.T
    # tr (S_x S_y)^½ is that of a symmetric matrix, whose eigenvalues are real
    inner = np.linalg.eigvalsh(root_x @ np.atleast_2d(cov_y) @ root_x)
    means = float(((x.mean(0) - y.mean(0)) ** 2).sum())
    traces = float(np.trace(np.atleast_2d(cov_x)) + np.trace(np.atleast_2d(cov_y)))
    return max(0.0, means + traces - 2 * float(np.sqrt(np.maximum(inner, 0)).sum()))


def neighbourhoods(real_NK: Floats, made_MK: Floats) -> dict[str, float]:
    """Precision and recall, density and coverage, by balls around each image.

    A real image's ball reaches to its k-th nearest other real image. Precision: the share of made
    images that lie in any real ball; recall: the share of real images in any made ball (k = 3;
    Kynkäänniemi et al. 2019, arXiv 1904.06991, equation 2). Density: in how many real balls a made
    image lies, over k, so above 1 is possible; coverage: the share of real balls that hold a made
    image (k = 5; Naeem et al. 2020, arXiv 2002.09797, equations 3 and 4).

    Args:
        real_NK, made_MK: features of equally many images each, at least 6.
    """
    real_k_NJ, made_k_MJ = _reach(real_NK), _reach(made_MK)
    recalled_N, nearest_N = np.zeros(len(real_NK), np.bool_), np.full(len(real_NK), np.inf)
    precise = inside = 0
    for start in range(0, len(made_MK), BLOCK):
        square = square_distances(made_MK[start : start + BLOCK], real_NK)
        precise += int((square <= real_k_NJ[:, 0]).any(1).sum())
        inside += int((square <= real_k_NJ[:, 1]).sum())
        recalled_N |= (square <= made_k_MJ[start : start + BLOCK, :1]).any(0)
        nearest_N = np.minimum(nearest_N, square.min(0))
    return {
        "image_precision": precise / len(made_MK),
        "image_recall": float(recalled_N.mean()),
        "image_density": inside / (NEIGHBOURS_DENSITY * len(made_MK)),
        "image_coverage": float((nearest_N <= real_k_NJ[:, 1]).mean()),
    }


def _reach(x_NK: Floats) -> NDArray[np.float32]:
    """(N, 2) squared distance of each row to its third and fifth nearest other row."""
    found = []
    for start in range(0, len(x_NK), BLOCK):
        square = square_distances(x_NK[start : start + BLOCK], x_NK)
        i = np.arange(len(square))
        square[i, start + i] = np.inf
        kth = (NEIGHBOURS - 1, NEIGHBOURS_DENSITY - 1)
        found.append(np.partition(square, kth, axis=1)[:, list(kth)])
    return np.concatenate(found)


def _features(trial: Trial, images: Sequences) -> Floats:
    """Features, computed once in an evaluation for the same images."""
    from rgan.evaluate.image_features import image_features  # which needs torch

    seen = hashlib.blake2b(images.values.tobytes())
    seen.update(images.observed.tobytes())
    key = ("image_features", seen.digest())
    if key not in trial.cache:
        trial.cache[key] = image_features(images)
    found: Floats = trial.cache[key]
    return found


class Images(Metric):
    """FID, precision, recall, density and coverage against held-out images."""

    name = "images"

    def about(self, quick: bool) -> tuple[About, ...]:
        return (
            About("image_fid", "FID (own features)", "lower", "no Inception FID"),
            About("image_precision", "precision of images", "higher"),
            About("image_recall", "recall of images", "higher"),
            About("image_density", "density of images", "higher", "1 is ideal, may be above"),
            About("image_coverage", "coverage of images", "higher"),
        )

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        return "" if test.is_image else NO_IMAGES

    def measure(self, trial: Trial) -> dict[str, Measure]:
        n = min(len(trial.test), len(trial.candidate))
        if n < LEAST:
            raise Unscorable(f"it needs {LEAST} images on each side")
        real_NK = _features(trial, trial.test)
        made_MK = _features(trial, trial.candidate)
        found = {"image_fid": frechet(real_NK, made_MK)}
        found.update(neighbourhoods(real_NK[:n], made_MK[:n]))
        return {name: Measure(value) for name, value in found.items()}


class ImageClasses(Metric):
    """How often each class is drawn, and whether images show their labels."""

    name = "image_classes"

    def about(self, quick: bool) -> tuple[About, ...]:
        note = "share of the class that is drawn least, over its real share"
        return (
            About("image_least_class", "least class", "higher", note),
            About("image_label_agreement", "images that show their label", "higher"),
        )

    def unfit(self, train: Sequences, test: Sequences, candidate: Sequences) -> str:
        if not test.is_image:
            return NO_IMAGES
        if not (train.has_classes and test.has_classes) or len(train.classes) < 2:
            return "the images have no classes"
        return ""

    def measure(self, trial: Trial) -> dict[str, Measure]:
        assert trial.train.labels is not None and trial.test.labels is not None
        classify = class_probe(_features(trial, trial.train), trial.train.labels)
        real_N = classify(_features(trial, trial.test))
        right = float((real_N == trial.test.labels).mean())
        if right < LEAST_RIGHT:
            raise Unscorable(
                f"in the frozen features a linear classifier finds the class of {right:.0%} of the "
                f"held-out images only; under {LEAST_RIGHT:.0%} its counts say little"
            )
        made_M = classify(_features(trial, trial.candidate))
        shares = class_shares(real_N, made_M, trial.train.classes)
        agreement = float("nan")
        if trial.candidate.has_classes:
            agreement = float((made_M == trial.candidate.labels).mean())
        return {
            "image_least_class": Measure(min(shares.values()), shares),
            "image_label_agreement": Measure(agreement),
        }


def class_shares(
    real_N: NDArray[Any], made_M: NDArray[Any], classes_L: NDArray[Any]
) -> dict[str, float]:
    """Share of each class in generated images over its share in real ones; 1 is ideal.

    Args:
        real_N, made_M: the classes that one classifier finds in either set.
        classes_L: all of them, in order.

    >>> class_shares(np.array([0, 1]), np.array([0, 0, 0, 1]), np.array([0, 1]))
    {'0': 1.5, '1': 0.5}
    """
    real_L, made_L = (
        np.array([(found == c).mean() for c in classes_L]) for found in (real_N, made_M)
    )
    ratio_L = made_L / np.maximum(real_L, 1 / len(real_N))
    return dict(zip(map(str, classes_L), ratio_L.tolist(), strict=True))


register(Images())
register(ImageClasses())
