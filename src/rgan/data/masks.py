"""Rules that hide values on purpose: ``random:0.2``, ``feature:HR,Temp``, ``steps:24-47``, ...

Shape letters: N sequences, T steps, F features; H, W, C of an image.

A rule says where to hide, whether or not there is a value. What was not observed stays so, and what
is hidden counts as not observed from then on.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rgan.data.config import parse_size
from rgan.errors import ConfigError, InputError, nearest
from rgan.layouts import ImageLayout, Layout
from rgan.sequences import Sequences

Bools = NDArray[np.bool_]
RULES = {
    "random": "random:0.2",
    "feature": "feature:HR,Temp",
    "steps": "steps:24-47",
    "block": "block:6",
    "region": "region:8x8",
    "like-data": "like-data",
}
"""Each rule and a line to paste."""


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


Random = np.random.Generator


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


def parse_mask(text: str) -> Mask:
    """A rule from its text.

    Raises:
        ConfigError: not one of ``RULES``, or its argument breaks a rule.

    >>> parse_mask("steps:24-47")
    Steps(first=24, last=47)
    """
    name, _, argument = text.strip().partition(":")
    makers: dict[str, Callable[[str], Mask]] = {
        "random": _random,
        "feature": _features,
        "steps": _steps,
        "block": _block,
        "region": _region,
        "like-data": _like_data,
    }
    if name not in makers:
        raise ConfigError(
            f'the mask "{text}": "{name}" is not a rule',
            rule=f"one of {', '.join(RULES.values())}",
            repair=nearest(name, RULES),
        )
    try:
        return makers[name](argument)
    except (ValueError, ConfigError) as error:
        rules = {
            "random": "a share between 0 and 1, both excluded",
            "feature": "names of features, with commas between them",
            "steps": "the first and the last step, counted from 0",
            "block": "a number of steps from 1",
            "region": "height x width in pixels",
            "like-data": "nothing follows the name",
        }
        raise ConfigError(
            f'the mask "{text}": "{argument}" is not what this rule takes',
            rule=rules[name],
            repair=RULES[name],
        ) from error


def hidden(sequences: Sequences, rules: Iterable[Mask], seed: int, block: int = 0) -> Bools:
    """(N, T, F) bool: the observed values that these rules hide.

    Args:
        sequences: of which to hide.
        rules: each hides on its own; together they hide all that any of them hides.
        seed: the same seed hides the same values.
        block: the number of these sequences' block, where more come in blocks.

    Raises:
        InputError: a rule does not fit the sequences.
    """
    rng, shape = np.random.default_rng([seed, 0x3A5C, block]), Shape.of(sequences)
    picked = np.zeros(sequences.values.shape, np.bool_)
    for rule in rules:
        rule.check(shape)
        picked |= rule.pick(sequences.observed, sequences.lengths, shape, rng)
    return picked & sequences.observed


def without(sequences: Sequences, hidden_NTF: Bools) -> Sequences:
    """The sequences as if the hidden values had never been observed."""
    return replace(sequences, observed=sequences.observed & ~hidden_NTF)


def _random(argument: str) -> Mask:
    share = float(argument)
    if not 0 < share < 1:
        raise ValueError
    return RandomValues(share)


def _features(argument: str) -> Mask:
    names = tuple(name.strip() for name in argument.split(","))
    if "" in names:
        raise ValueError
    return Features(names)


def _steps(argument: str) -> Mask:
    first, dash, last = argument.partition("-")
    start, end = _whole(first), _whole(last if dash else first)
    if start > end:
        raise ValueError
    return Steps(start, end)


def _block(argument: str) -> Mask:
    if not _whole(argument):
        raise ValueError
    return Block(_whole(argument))


def _region(argument: str) -> Mask:
    size = parse_size(argument)
    if size is None:
        raise ValueError
    return Region(*size)


def _like_data(argument: str) -> Mask:
    if argument:
        raise ValueError
    return LikeData()


def _whole(text: str) -> int:
    """A whole number from 0, in plain digits and at most six of them."""
    if not (text.isascii() and text.isdigit() and len(text) < 7):
        raise ValueError
    return int(text)
