"""Rules that hide values on purpose: ``random:0.2``, ``feature:HR,Temp``, ``steps:24-47``, ...

Shape letters: N sequences, T steps, F features.

A rule says where to hide, whether or not there is a value. What was not observed stays so, and what
is hidden counts as not observed from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from rgan.data.config import parse_size
from rgan.data.mask_rules import (
    Block,
    Bools,
    Features,
    LikeData,
    Mask,
    RandomValues,
    Region,
    Shape,
    Steps,
)
from rgan.errors import ConfigError, nearest
from rgan.sequences import Sequences

RULES = {
    "random": "random:0.2",
    "feature": "feature:HR,Temp",
    "steps": "steps:24-47",
    "block": "block:6",
    "region": "region:8x8",
    "like-data": "like-data",
}
"""Each rule and a line to paste."""


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
