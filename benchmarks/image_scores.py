"""What ``images.py`` measures of generated images, and its pictures.

Shape letters: N images, H, W height, width, K features, L classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from rgan.evaluate.classes import class_probe
from rgan.evaluate.features import brightness
from rgan.evaluate.image_features import CLASSES, FeatureNetwork, grey_28, image_features
from rgan.evaluate.image_metrics import class_shares, frechet, neighbourhoods
from rgan.sequences import Sequences

MOST = 10_000
"""Images of each side."""
STEPS, BATCH, RATE = 1000, 128, 3e-3
"""Of the classifiers of TSTR and TRTS."""
PROBE = 10_000
"""Training images that the counting of classes is learnt from."""
Floats = NDArray[np.float32]
Scores = dict[str, Any]


@dataclass
class Judge:
    """Judges images against real ones that were held out.

    Args:
        train: real images, those that the makers saw.
        test: real images, others.
        most: at most so many images of each side.
        steps: of each classifier's training; 0 leaves TSTR and TRTS out.
        seed: of draws and classifiers.
    """

    train: Sequences
    test: Sequences
    most: int = MOST
    steps: int = STEPS
    seed: int = 0
    _features: dict[str, Floats] = field(default_factory=dict)

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        self.test = self.test[random.permutation(len(self.test))[: self.most]]
        self.train = self.train[random.permutation(len(self.train))]
        self.classes = np.array([])
        if self.train.has_classes:
            self.classes = self.train.classes

    @property
    def size(self) -> int:
        """How many images are compared: as many as are held out."""
        return min(len(self.test), len(self.train))

    @cached_property
    def real_NK(self) -> Floats:
        """Features of the held-out images."""
        return image_features(self.test)

    @cached_property
    def from_real(self) -> FeatureNetwork:
        """A classifier that was trained on the real training images."""
        return self._classifier(self.train)

    def floor(self) -> Scores:
        """What real images get: training images for generated ones; TRTR for TSTR and TRTS."""
        found = self.of_images(self.train[: self.size])
        if len(self.classes) and self.steps:
            found["tstr"] = found["trts"] = self._accuracy(self.from_real, self.test)
        return found

    def scores(self, made: Sequences) -> Scores:
        """Of generated images, as many as there are training images."""
        found = self.of_images(made[: self.size])
        if len(self.classes) and self.steps:
            found["tstr"] = self._accuracy(self._classifier(made), self.test)
            found["trts"] = self._accuracy(self.from_real, made[: self.size])
        return found

    def of_images(self, made: Sequences) -> Scores:
        """Everything for which no network has to be trained."""
        made_MK = image_features(made)
        n = min(len(made), len(self.test))
        found: Scores = {"fid": frechet(self.real_NK[:n], made_MK)}
        near = neighbourhoods(self.real_NK[:n], made_MK[:n])
        found |= {name.removeprefix("image_"): value for name, value in near.items()}
        found |= seams(brightness(self.test)[..., 0], brightness(made)[..., 0])
        if len(self.classes):
            classify = self._probe
            shares = class_shares(classify(self.real_NK), classify(made_MK), self.classes)
            found |= {"least_class": min(shares.values()), "class_shares": shares}
        return found

    @cached_property
    def _probe(self) -> Any:
        rows = self.train[:PROBE]
        assert rows.labels is not None
        return class_probe(image_features(rows), rows.labels)

    def _classifier(self, images: Sequences) -> FeatureNetwork:
        """The shape of the frozen network, trained from its beginning on these images."""
        x_N1HW, class_N = grey_28(images), self._codes(images)
        torch.manual_seed(self.seed)
        order = torch.Generator().manual_seed(self.seed)
        network = FeatureNetwork()
        optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2, fused=True)
        cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=self.steps)
        for _ in range(self.steps):
            rows = torch.randint(len(x_N1HW), (BATCH,), generator=order)
            loss = cross_entropy(network(x_N1HW[rows]), class_N[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            cycle.step()
        return network.eval()

    def _codes(self, images: Sequences) -> torch.Tensor:
        assert images.labels is not None and len(self.classes) <= CLASSES
        return torch.from_numpy(np.searchsorted(self.classes, images.labels))

    @torch.no_grad()
    def _accuracy(self, network: FeatureNetwork, images: Sequences) -> float:
        guess_N = torch.cat([network(x).argmax(1) for x in grey_28(images).split(500)])
        return float((guess_N == self._codes(images)).float().mean())


def seams(real_NHW: Floats, made_NHW: Floats) -> dict[str, float]:
    """How much rows stand out against columns, compared with real images; 1 is as in these.

    ``seam``: the mean absolute difference between neighbouring rows over that between neighbouring
    columns, in generated images over real ones. Above 1, rows do not fit; below, they are smeared.
    ``worst_seam``: difference between two neighbouring rows, made over real, of the pair of rows
    where it is largest, over its median pair: a seam that is always at the same place.

    Args:
        real_NHW, made_NHW: images from 0 to 1.

    >>> x = np.random.default_rng(0).random((50, 8, 8)).astype(np.float32)
    >>> seams(x, x)
    {'seam': 1.0, 'worst_seam': 1.0}
    """
    sides = []
    for x_NHW in (real_NHW, made_NHW):
        rows_H = np.abs(np.diff(x_NHW, axis=1)).mean((0, 2), dtype=np.float64)
        columns = float(np.abs(np.diff(x_NHW, axis=2)).mean(dtype=np.float64))
        sides.append((rows_H, columns))
    (real_H, real), (made_H, made) = sides
    tiny = 1e-6
    seam = (made_H.mean() / (made + tiny)) / (real_H.mean() / (real + tiny))
    # rows at the border of digits are nearly alike: what is added keeps them from deciding
    little = 0.2 * real_H.mean() + tiny
    ratio_H = (made_H + little) / (real_H + little)
    return {"seam": float(seam), "worst_seam": float(ratio_H.max() / np.median(ratio_H))}


def chosen(images: Sequences, columns: int = 10, rows: int = 8) -> NDArray[np.uint8]:
    """(rows · columns, H, W) of 0 to 255: a column for each class, or as they come."""
    picks = np.arange(rows * columns) % len(images)
    if images.has_classes:
        assert images.labels is not None
        found = [np.flatnonzero(images.labels == c) for c in images.classes[:columns]]
        picks = np.array([of_class[r % len(of_class)] for r in range(rows) for of_class in found])
    pixels = brightness(images[picks])[..., 0]
    return np.asarray((255 * pixels.clip(0, 1)).round(), np.uint8)


def draw_beside(grids: list[NDArray[np.uint8]], path: Path, columns: int = 10) -> Path:
    """A PNG of grids of grey images beside each other, every pixel drawn 2 x 2."""
    from PIL import Image

    gap = 2
    blocks = []
    for grid_NHW in grids:
        n, h, w = grid_NHW.shape
        tiles = np.full((n // columns, h + gap, columns, w + gap), 255, np.uint8)
        tiles[:, :h, :, :w] = grid_NHW.reshape(n // columns, columns, h, w).transpose(0, 2, 1, 3)
        blocks.append(tiles.reshape(n // columns * (h + gap), columns * (w + gap)))
        blocks.append(np.full((len(blocks[-1]), 6 * gap), 255, np.uint8))
    picture = np.concatenate(blocks[:-1], axis=1).repeat(2, 0).repeat(2, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, optimize=True)
    return path
