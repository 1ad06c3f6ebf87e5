"""What the rules of ``masks`` do: each picks the values to hide, whether or not they are there.

Shape letters: N sequences, T steps, F features; H, W, C of an image.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rgan.errors import InputError, nearest
from rgan.layouts import ImageLayout, Layout
from rgan.sequences import Sequences

Bools = NDArray[np.bool_]
Random = np.random.Generator


@dataclass(frozen=True)
class Shape:
    """What a rule is checked against: the features' names, T, and the layout."""

    feature_names: tuple[str, ...]
    steps: int
    layout: Layout

    @classmethod
    def of(cls, sequences: Sequences) -> Shape:
        """The shape of sequences."""
        return cls(sequences.feature_names, sequences.n_steps, sequences.layout)


class Mask(ABC):
    """One rule."""

    def check(self, shape: Shape) -> None:  # noqa: B027  # most rules fit every shape
        """Refuse a shape that the rule cannot be used on.

        Raises:
            InputError: a feature, step or region that is not there.
        """

    @abstractmethod
    def pick(
        self, observed_NTF: Bools, lengths_N: NDArray[np.int64], shape: Shape, rng: Random
    ) -> Bools:
        """(N, T, F), or what broadcasts to it: True where to hide."""


@dataclass(frozen=True)
class RandomValues(Mask):
    """``random:0.2``: each value with this chance, on its own."""

    share: float

    def pick(
        self, observed_NTF: Bools, lengths_N: NDArray[np.int64], shape: Shape, rng: Random
    ) -> Bools:
        return np.asarray(rng.random(observed_NTF.shape, dtype=np.float32) < self.share)


@dataclass(frozen=True)
class Features(Mask):
    """``feature:HR,Temp``: these features, as a whole."""

    names: tuple[str, ...]

    def check(self, shape: Shape) -> None:
        for name in self.names:
            if name not in shape.feature_names:
                raise InputError(
                    f'the rule "feature:{name}": there is no feature "{name}"',
                    rule="the rule names features, with commas between them",
                    repair=nearest(name, shape.feature_names),
                )

    def pick(
        self, observed_NTF: Bools, lengths_N: NDArray[np.int64], shape: Shape, rng: Random
    ) -> Bools:
        return np.isin(np.array(shape.feature_names), self.names)[None, None, :]


@dataclass(frozen=True)
class Steps(Mask):
    """``steps:24-47``: these steps, counted from 0, both ends included."""

    first: int
    last: int

    def check(self, shape: Shape) -> None:
        if self.last >= shape.steps:
            raise InputError(
                f'the rule "steps:{self.first}-{self.last}": there are {shape.steps} steps',
                rule=f"steps are counted from 0 to {shape.steps - 1}",
                repair=f"steps:{min(self.first, shape.steps - 1)}-{shape.steps - 1}",
            )

    def pick(
        self, observed_NTF: Bools, lengths_N: NDArray[np.int64], shape: Shape, rng: Random
    ) -> Bools:
        step_T = np.arange(shape.steps)
        return ((step_T >= self.first) & (step_T <= self.last))[None, :, None]


@dataclass(frozen=True)
class Block(Mask):
    """``block:6``: so many steps in a row of all features, at a random place in each sequence."""

    length: int

    def check(self, shape: Shape) -> None:
        if self.length >= shape.steps:
            raise InputError(
                f'the rule "block:{self.length}": there are {shape.steps} steps',
                rule="a block leaves some steps",
                repair=f"block:{max(1, shape.steps // 4)}",
            )

    def pick(
        self, observed_NTF: Bools, lengths_N: NDArray[np.int64], shape: Shape, rng: Random
    ) -> Bools:
        room_N = np.maximum(lengths_N - self.length, 0) + 1
        start_N1 = (rng.random(len(lengths_N)) * room_N).astype(np.int64)[:, None]
        step_1T = np.arange(shape.steps)[None, :]
        return ((step_1T >= start_N1) & (step_1T < start_N1 + self.length))[:, :, None]


@dataclass(frozen=True)
class Region(Mask):
    """``region:8x8``: a rectangle of pixels (height x width) at a random place in each image."""

    height: int
    width: int

    def check(self, shape: Shape) -> None:
        layout = shape.layout
        if not isinstance(layout, ImageLayout):
            raise InputError(
                f'the rule "region:{self.height}x{self.width}", and the sequences are not images',
                rule="only an image has regions",
                repair="block:6",
            )
        if self.height > layout.height or self.width > layout.width:
            raise InputError(
                f'the rule "region:{self.height}x{self.width}": images are '
                f"{layout.height}x{layout.width}",
                rule="a region lies within the image, height x width",
                repair=f"region:{max(1, layout.height // 2)}x{max(1, layout.width // 2)}",
            )

    def pick(
        self, observed_NTF: Bools, lengths_N: NDArray[np.int64], shape: Shape, rng: Random
    ) -> Bools:
        layout = shape.layout
        assert isinstance(layout, ImageLayout)  # check has seen to it
        n, h, w = len(lengths_N), layout.height, layout.width
        inside = []
        for size, side in ((h, self.height), (w, self.width)):
            start_N1 = rng.integers(0, size - side + 1, n)[:, None]
            place = np.arange(size)[None, :]
            inside.append((place >= start_N1) & (place < start_N1 + side))
        region_NHW = inside[0][:, :, None] & inside[1][:, None, :]
        region_NHWC = np.repeat(region_NHW[..., None], layout.channels, axis=3)
        return np.asarray(layout.to_sequences(region_NHWC), dtype=np.bool_)


@dataclass(frozen=True)
class LikeData(Mask):
    """``like-data``: what another sequence of the same data, drawn at random, has not observed."""

    def pick(
        self, observed_NTF: Bools, lengths_N: NDArray[np.int64], shape: Shape, rng: Random
    ) -> Bools:
        n = len(lengths_N)
        if n < 2:
            raise InputError('the rule "like-data", and there is one sequence', rule="at least two")
        other_N = (np.arange(n) + rng.integers(1, n, n)) % n
        return ~observed_NTF[other_N]
