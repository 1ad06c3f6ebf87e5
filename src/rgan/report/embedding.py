"""Whole sequences as points in a plane, real and synthetic together.

Shape letters: N sequences, T steps, F features.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from rgan.report.canvas import REAL, SYNTHETIC, Canvas
from rgan.sequences import Sequences

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_POINTS = 1000
_ENOUGH = 5  # sequences that a cell must hold to be drawn, where single ones may not be shown


def draw_embedding(
    real: Sequences,
    synthetic: Sequences,
    path: str | Path,
    *,
    method: Literal["pca", "tsne"] = "pca",
    title: str = "",
    singles: bool = True,
) -> Path:
    """Every sequence as one point in a plane; the two clouds should cover each other.

    Up to 1,000 sequences a side are drawn by lot. Each feature is scaled by the real data (an
    image's pixels all alike); what is missing stands at the real mean of its step.

    Args:
        real, synthetic: sequences of the same shape, in the same units.
        path: the PNG to write.
        method: "pca", the two directions in which the real data varies most; or "tsne", which keeps
            neighbours together, fitted to both sides at once (Maaten and Hinton 2008).
        title: stands above everything.
        singles: whether single real sequences may be shown; if not, the real side is a shade, dark
            where many lie, and empty where there are fewer than five.

    Raises:
        RunError: the file cannot be written.
    """
    lot = np.random.default_rng(0)
    parts = [s[np.sort(lot.permutation(len(s))[:_MOST_POINTS])] for s in (real, synthetic)]
    flat_real, flat_synthetic = _flatten(parts[0], parts[1])
    if method == "pca":
        places, labels = _pca(flat_real, flat_synthetic)
    else:
        places, labels = _tsne(flat_real, flat_synthetic)
    colours = np.repeat(np.array([REAL, SYNTHETIC]), [len(flat_real), len(flat_synthetic)])
    order = lot.permutation(len(places))  # in turn, so that neither side covers the other
    if not singles:
        order = order[order >= len(flat_real)]
    with Canvas(5.2, 4.9, title=title) as canvas:
        canvas.legend(real=True)
        ax = canvas.figure.subplots()
        if not singles:
            _draw_shade(ax, places[: len(flat_real)])
        ax.scatter(
            places[order, 0], places[order, 1], c=colours[order], s=13, alpha=0.5, linewidths=0
        )
        ax.set(xlabel=labels[0], ylabel=labels[1])
        ax.tick_params(length=2.5)
        return canvas.save(path)


def _draw_shade(ax: Axes, places_N2: NDArray[np.float64]) -> None:
    """How many points lie where, in cells that hold five or more."""
    from matplotlib.colors import LinearSegmentedColormap

    cells = int(np.clip(np.sqrt(len(places_N2) / 8), 3, 16))
    shades = LinearSegmentedColormap.from_list("real", ["#FFFFFF", REAL])
    ax.hist2d(places_N2[:, 0], places_N2[:, 1], bins=cells, cmin=_ENOUGH, cmap=shades, alpha=0.7)


def _flatten(
    real: Sequences, synthetic: Sequences
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, T·F) for each side, scaled by the real features' mean and deviation, nothing missing."""
    values_NTF = real.values.astype(np.float64)
    count_TF = real.observed.sum(axis=0)
    total_TF = np.where(real.observed, values_NTF, 0.0).sum(axis=0)
    centre_F = total_TF.sum(axis=0) / np.maximum(1, count_TF.sum(axis=0))
    mean_TF = np.where(count_TF > 0, total_TF / np.maximum(1, count_TF), centre_F)
    square_F = np.where(real.observed, (values_NTF - centre_F) ** 2, 0.0).sum(axis=(0, 1))
    deviation_F = np.sqrt(square_F / np.maximum(1, count_TF.sum(axis=0)))
    if real.is_image:  # a pixel at the border that is hardly ever lit must not weigh most
        deviation_F = np.full_like(deviation_F, np.sqrt((deviation_F**2).mean()))
    deviation_F = np.where(deviation_F > 0, deviation_F, 1.0)

    def scaled(s: Sequences) -> NDArray[np.float64]:
        score_NTF = np.where(s.observed, (s.values - mean_TF) / deviation_F, 0.0)
        return score_NTF.reshape(len(s), -1)

    return scaled(real), scaled(synthetic)


def _pca(
    real: NDArray[np.float64], synthetic: NDArray[np.float64]
) -> tuple[NDArray[np.float64], tuple[str, str]]:
    centre = real.mean(axis=0)
    _, sizes, directions = np.linalg.svd(real - centre, full_matrices=False)
    plane = np.zeros((2, real.shape[1]))
    plane[: min(2, len(directions))] = directions[:2]
    # a direction's sign is free: the largest part is made positive, the same on every machine
    strongest = np.abs(plane).argmax(axis=1)
    plane *= np.where(plane[np.arange(2), strongest] < 0, -1.0, 1.0)[:, None]
    shares = np.pad(sizes**2, (0, 2))[:2] / max(float((sizes**2).sum()), 1e-12)
    places = np.concatenate([real - centre, synthetic - centre]) @ plane.T
    labels = [
        f"component {i + 1}: {share:.0%} of the real variance" for i, share in enumerate(shares)
    ]
    return places, (labels[0], labels[1])


def _tsne(
    real: NDArray[np.float64], synthetic: NDArray[np.float64]
) -> tuple[NDArray[np.float64], tuple[str, str]]:
    from sklearn.manifold import TSNE

    together = np.concatenate([real, synthetic])
    perplexity = min(30.0, (len(together) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(together)
    return places.astype(np.float64), ("t-SNE 1", "t-SNE 2")
