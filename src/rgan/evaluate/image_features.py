"""What a small frozen classifier sees of images: the features of the image metrics.

The network was trained by ``scripts/train_image_features.py`` on two sets whose licences let
weights be passed on: the handwritten digits that come with scikit-learn and Fashion-MNIST, 20
classes together. It is shipped with the package. Its weights never change, so that figures of two
papers, two machines and two years can be compared; the hash below is checked before it is used.

It sees grey images of 28 x 28 pixels. Other images are brought to that: brightness from the
layout's range to 0..1; colours to their luma; sides above 28 averaged down by area, sides below
drawn out bilinearly, height and width each by itself. Since averaging hides noise and seams, it
also sees pieces of 28 x 28 pixels of larger images as they are. It sees no colour.

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
from torch.nn.functional import adaptive_avg_pool2d, interpolate, pad

from rgan.errors import DataError, RganError
from rgan.evaluate.features import brightness
from rgan.sequences import Sequences

WEIGHTS = Path(__file__).parent / "assets" / "image_features.safetensors"
SHA256 = "6045385e001206fbeb8848c62a40148ba1a8e9dbb2fdaf12cc3af318b5dde3ff"
SIDE, FEATURES, CLASSES, BLOCK, MOST_PIECES = 28, 64, 20, 100, 4
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


def grey(images: Sequences) -> Tensor:
    """(N, 1, H, W) brightness from 0 to 1; what was not observed is the darkest."""
    x_NHWC = brightness(images)
    if x_NHWC.shape[3] in (3, 4):  # a fourth channel is opacity
        x_NHW = x_NHWC[..., :3] @ np.array(LUMA, np.float32)
    else:
        x_NHW = x_NHWC.mean(3)
    return torch.from_numpy(np.ascontiguousarray(x_NHW, np.float32))[:, None]


def fit_28(x_N1HW: Tensor) -> Tensor:
    """(N, 1, 28, 28) the same images, sides averaged down or drawn out."""
    height, width = x_N1HW.shape[2:]
    if height > SIDE or width > SIDE:
        x_N1HW = adaptive_avg_pool2d(x_N1HW, (min(height, SIDE), min(width, SIDE)))
    if height < SIDE or width < SIDE:
        x_N1HW = interpolate(x_N1HW, (SIDE, SIDE), mode="bilinear", align_corners=False)
    return x_N1HW


def grey_28(images: Sequences) -> Tensor:
    """(N, 1, 28, 28) whole images as the network sees them."""
    return fit_28(grey(images))


def cut_outs(x_N1HW: Tensor) -> list[Tensor]:
    """Pieces of 28 x 28 pixels in their own sharpness, evenly spread; none of images so small."""
    height, width = x_N1HW.shape[2:]
    if max(height, width) <= SIDE:
        return []
    return [
        fit_28(x_N1HW[:, :, top : top + SIDE, left : left + SIDE])
        for top in _places(height)
        for left in _places(width)
    ]


def _places(side: int) -> list[int]:
    """Where pieces begin: as many as fit, four at most, from edge to edge; a single one amid."""
    room, count = max(0, side - SIDE), min(MOST_PIECES, max(1, side // SIDE))
    if count == 1:
        return [room // 2]
    return [round(room * i / (count - 1)) for i in range(count)]


@torch.no_grad()
def image_features(images: Sequences) -> Floats:
    """(N, K) features of whole images, and, of larger ones, the means of those of their pieces.

    Args:
        images: (N, T, F) images in any layout, of any size and number of channels.

    Returns:
        K = 64 for images of at most 28 x 28 pixels, 128 for others.

    Raises:
        DataError: the sequences are no images.
        RganError: the network's file is missing, or is not the one that was shipped.
    """
    if not images.is_image:
        raise DataError(
            "these sequences are no images",
            rule="the frozen network sees sequences whose layout is an image's",
        )
    body, found = network().body, []
    for start in range(0, len(images), BLOCK):
        x_N1HW = grey(images[start : start + BLOCK])
        n = len(x_N1HW)
        # Always as many at once: for fewer, some processors add up in another order, and an image's
        # features would depend on how many others there are.
        x_N1HW = pad(x_N1HW, (0, 0, 0, 0, 0, 0, 0, BLOCK - n))
        views = [body(fit_28(x_N1HW))]
        pieces = [body(piece) for piece in cut_outs(x_N1HW)]
        if pieces:
            views.append(torch.stack(pieces).mean(0))
        found.append(torch.cat(views, 1)[:n].numpy())
    return np.concatenate(found)
