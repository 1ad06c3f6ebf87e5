"""What is asked of samples: labels, values of conditions, and how often each class comes.

Shape letters: N sequences, K classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rgan.errors import InputError
from rgan.transforms.conditions import ClassCondition
from rgan.transforms.joint import Joint
from rgan.transforms.packing import Packer

EVEN = "even"


@dataclass(frozen=True)
class Asked:
    """Labels and conditions of a sample, checked.

    Args:
        labels: (N,) or more, None where they are drawn.
        given: (N,) values of the conditions that are not drawn, as ``Joint.values`` gives them.
    """

    labels: NDArray[Any] | None
    given: Mapping[str, NDArray[np.float64]]

    def block(self, number: int, size: int) -> Asked:
        """Those of one block, the first one repeated where there are fewer than ``size``."""
        rows = slice(number * size, (number + 1) * size)

        def cut(column: NDArray[Any]) -> NDArray[Any]:
            part = column[rows]
            return np.concatenate([part, np.repeat(part[:1], size - len(part))])

        labels = None if self.labels is None else cut(self.labels)
        return Asked(labels, {name: cut(column) for name, column in self.given.items()})


def asked_labels(packer: Packer, labels: ArrayLike, n: int) -> NDArray[Any]:
    """(n,) labels.

    Args:
        labels: one for all, or (n,).

    Raises:
        InputError: the model has no labels, did not see these, or they are not n.
    """
    if not packer.labels.columns:
        raise InputError(
            "this model was trained without labels",
            rule="a label can be asked of an RCGAN only",
            repair="leave --label out, or train with --model rcgan",
        )
    column = _column(labels, n, "label", "labels")
    packer.labels.encode(column)  # refuse unknown ones
    return column


def mixed_labels(packer: Packer, mix: Mapping[Any, float] | str, n: int) -> NDArray[Any]:
    """(n,) classes with these shares, each beginning as near to them as whole sequences can be.

    The j-th sequence of a class of share s has its place at (j + 1/2) / s, and all stand in order
    (the method of Sainte-Laguë).

    Args:
        mix: class to share, or "even" for all classes alike.

    Raises:
        InputError: the model has no classes, did not see one of these, or a share is not positive.
    """
    shares = shares_of(packer, mix)
    classes = packer.labels
    assert isinstance(classes, ClassCondition)  # or there would be no shares
    places = [(np.arange(int(np.ceil(n * share)) + 1) + 0.5) / share for share in shares.values()]
    which_N = np.repeat(np.arange(len(places)), [len(part) for part in places])
    order_N = np.argsort(np.concatenate(places), kind="stable")[:n]
    labels_K = np.asarray(list(shares), dtype=classes.dtype)
    return np.asarray(labels_K[which_N[order_N]])


def shares_of(packer: Packer, mix: Mapping[Any, float] | str) -> dict[Any, float]:
    """Class to share of 1, of what ``mixed_labels`` takes; its errors."""
    labels = packer.labels
    if not isinstance(labels, ClassCondition):
        raise InputError(
            "a mix of classes is asked for, and this model has none",
            rule="shares are those of classes",
            reason="its label is continuous" if labels.columns else "it was trained without labels",
            repair="leave --label-mix out",
        )
    if isinstance(mix, str):
        if mix != EVEN:
            raise InputError(f'the mix is "{mix}"', rule='class to share, or "even"')
        return dict.fromkeys(labels.classes, 1 / len(labels.classes))
    if not mix:
        raise InputError("the mix of classes is empty", rule="at least one class has a share")
    shares: dict[Any, float] = {}
    for (asked, share), place in zip(mix.items(), labels.indices(list(map(str, mix))), strict=True):
        if not (share > 0 and np.isfinite(share)):
            raise InputError(
                f'the share of class "{asked}" is {share:g}',
                rule="a positive number",
                reason="classes that are not named do not come",
                repair="--label-mix even",
            )
        shares[labels.classes[place]] = float(share)
    total = sum(shares.values())
    return {label: share / total for label, share in shares.items()}


def asked_conditions(
    joint: Joint | None, conditions: Mapping[str, ArrayLike], n: int, label_name: str
) -> dict[str, NDArray[np.float64]]:
    """(n,) numbers of the conditions that are asked for.

    Args:
        joint: the model's, None where it has no conditions.
        conditions: name to one value for all, or (n,).
        label_name: what the label is called.

    Raises:
        InputError: the model has no such condition, or did not see these values.
    """
    given: dict[str, NDArray[np.float64]] = {}
    for name, asked in conditions.items():
        if joint is None or (name == label_name and name not in joint.names):
            label = name == label_name
            raise InputError(
                f'"{name}" is the label, and no condition of this model'
                if label
                else f'"{name}" is asked for, and this model was trained without conditions',
                rule="--condition takes what --condition named in training",
                repair="--label VALUE" if label else f"rgan train SOURCE --condition {name}",
            )
        given[name] = joint.values(name, _column(asked, n, "value", f'values of "{name}"'))
    return given


def _column(asked: ArrayLike, n: int, one: str, many: str) -> NDArray[Any]:
    column = np.asarray(asked)
    if column.ndim == 0:
        column = np.full(n, column)
    if column.shape != (n,):
        raise InputError(
            f"{column.shape} {many} for {n} sequences", rule=f"one for all, or one {one} each"
        )
    return column


def parse_conditions(texts: Iterable[str]) -> dict[str, str]:
    """``["age=70,sex=male"]`` to ``{"age": "70", "sex": "male"}``.

    Raises:
        InputError: an entry is not name=value, or a name comes twice.

    >>> parse_conditions(["age=70,unit=medical, general", "sex=male"])
    {'age': '70', 'unit': 'medical, general', 'sex': 'male'}
    """
    return _pairs(texts, "--condition", "age=70,sex=male")


def parse_mix(text: str) -> dict[str, float] | str:
    """``"0=0.5,1=0.5"`` to ``{"0": 0.5, "1": 0.5}``; "even" as it is.

    Raises:
        InputError: an entry is not class=share, or a class comes twice.

    >>> parse_mix("0=1,1=3")
    {'0': 1.0, '1': 3.0}
    """
    if text == EVEN:
        return EVEN
    mix: dict[str, float] = {}
    for label, share in _pairs([text], "--label-mix", "0=0.5,1=0.5").items():
        try:
            mix[label] = float(share)
        except ValueError as error:
            raise InputError(
                f'the share of class "{label}" is "{share}"',
                rule="a positive number",
                repair="--label-mix even, or --label-mix 0=0.5,1=0.5",
            ) from error
    return mix


def _pairs(texts: Iterable[str], option: str, example: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        for part in re.split(r",(?=[^,=]*=)", text):  # a level's name may hold a comma
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if not (name and equals and value) or name in pairs:
                raise InputError(
                    f'{option} has "{part}"' + (" again" if name in pairs else ""),
                    rule="name=value, each name once, a comma between two",
                    repair=f"{option} {example}",
                )
            pairs[name] = value
    return pairs
