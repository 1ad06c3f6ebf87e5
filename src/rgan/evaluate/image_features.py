"""What a small frozen classifier sees of images: the features of the image metrics.

The network was trained by ``scripts/train_image_features.py`` on two sets whose licences let
weights be passed on: the handwritten digits that come with scikit-learn and Fashion-MNIST, 20
classes together. It is shipped with the package. Its weights never change, so that figures of two
papers, two machines and two years can be compared; the hash below is checked before it is used.

It sees grey images of 28 x 28 pixels. Other images are brought to that: brightness from the
layout's range to 0..1; colours to their luma; sides above 28 averaged down by area, sides below
drawn out bilinearly, height and width each by itself. What that loses no metric here can see:
colour, and in larger images whatever is finer than a 28th of a side.

Shape letters: N images, H, W, C height, width, channels, K features, L classes.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate

from rgan.errors import DataError, RganError
from rgan.evaluate.features import brightness
from rgan.sequences import Sequences

WEIGHTS = Path(__file__).parent / "assets" / "image_features.safetensors"
SHA256 = "6045385e001206fbeb8848c62a40148ba1a8e9dbb2fdaf12cc3af318b5dde3ff"
SIDE, FEATURES, CLASSES, BLOCK = 28, 64, 20, 500
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
Floats = NDArray[np.float32]


class FeatureNetwork(nn.Module):
    """Four convolutions, 64 features, 20 classes: the digits, then Fashion-MNIST's ten."""

    def __init__(self) -> None:
        super().__init__()
        sizes = ((1, 24, 4, 2), (24, 48, 3, 2), (48, 64, 3, 1), (64, 96, 3, 2))
        layers: list[nn.Module] = []
        for inputs, outputs, kernel, stride in sizes:
            layers += [nn.Conv2d(inputs, outputs, kernel, stride, 1, bias=False)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(96 * 16, FEATURES), nn.ReLU())
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, x_N1HW: Tensor) -> Tensor:
        """(N, L) logits of images of 28 x 28 pixels from 0 to 1."""
        logits_NL: Tensor = self.head(self.body(x_N1HW))
        return logits_NL


@cache
def network() -> FeatureNetwork:
    """The frozen network that is shipped with the package.

    Raises:
        RganError: its file is missing, or is not the one that was shipped.
    """
    from safetensors.torch import load

    try:
        data = WEIGHTS.read_bytes()
    except OSError as error:
        raise _not_shipped(f"{WEIGHTS} cannot be read: {error}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        raise _not_shipped(f"{WEIGHTS} has the SHA-256 {found}")
    frozen = FeatureNetwork()
    frozen.load_state_dict({name: x.float() for name, x in load(data).items()}, strict=False)
    return frozen.eval().requires_grad_(False)


def _not_shipped(found: str) -> RganError:
    return RganError(
        found,
        rule=f"image metrics use one frozen network, SHA-256 {SHA256}",
        reason="figures of different networks cannot be compared",
        repair="pip install --force-reinstall rgan",
    )


def grey_28(images: Sequences) -> Tensor:
    """(N, 1, 28, 28) brightness from 0 to 1; what was not observed is the darkest."""
    x_NHWC = brightness(images)
    if x_NHWC.shape[3] in (3, 4):  # a fourth channel is opacity
        x_NHW = x_NHWC[..., :3] @ np.array(LUMA, np.float32)
    else:
        x_NHW = x_NHWC.mean(3)
    x_N1HW = torch.from_numpy(np.ascontiguousarray(x_NHW, np.float32))[:, None]
    height, width = x_N1HW.shape[2:]
    if height > SIDE or width > SIDE:
        x_N1HW = adaptive_avg_pool2d(x_N1HW, (min(height, SIDE), min(width, SIDE)))
    if height < SIDE or width < SIDE:
        x_N1HW = interpolate(x_N1HW, (SIDE, SIDE), mode="bilinear", align_corners=False)
    return x_N1HW


@torch.no_grad()
def image_features(images: Sequences) -> Floats:
    """(N, K) features of images.

    Args:
        images: (N, T, F) images in any layout, of any size and number of channels.

    Raises:
        DataError: the sequences are no images.
        RganError: the network's file is missing, or is not the one that was shipped.
    """
    if not images.is_image:
        raise DataError(
            "these sequences are no images",
            rule="the frozen network sees sequences whose layout is an image's",
        )
    body = network().body
    parts = (images[start : start + BLOCK] for start in range(0, len(images), BLOCK))
    return np.concatenate([body(grey_28(part)).numpy() for part in parts])
