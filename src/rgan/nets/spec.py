"""What a generator has to make and a critic to judge: sizes and kinds, without data.

Shape letters: N sequences, T steps, F value features, M mask channels, D = F + M channels,
S static columns, C condition columns.

This module does not import torch, so that rooms that only describe data stay light.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

StaticOutput = Literal["continuous", "binary", "categorical"]
Levels = tuple[tuple[int, tuple[float, ...]], ...]
"""Features of few levels: the index of each, ascending, and its scaled values, ascending."""


@dataclass(frozen=True)
class SequenceSpec:
    """Sizes and kinds of one packed data set.

    A packed sequence is x (T, D): first F scaled values (0 where not observed or past the length),
    then M mask channels of 0 and 1 (1 = observed), one for each feature that is ever unobserved.
    Beside it stands static (S,): continuous columns scaled, binary columns 0 or 1, categorical ones
    one-hot.

    Args:
        steps: T.
        values: F.
        masks: the indices of the features that have a mask channel, ascending (M of them).
        statics: kind and number of columns of each static attribute; categorical ones have K.
        condition: C.
        classes: how many of the condition's first columns are a label's classes, one-hot; 0 where
            there is none, or where it is continuous.
        given: how many of the C, the last ones, are static attributes; the others are the label's.
        across: how many pixels a step has side by side, each with F / across channels, where steps
            are an image's rows or columns; 0 where they are something else.
        variable_length: whether sequences differ in length.
        bounded: whether values lie in [-1, 1], so that a generator may end in tanh.
        levels: the features that have few levels, for a generator that draws these as such.
    """

    steps: int
    values: int
    masks: tuple[int, ...] = ()
    statics: tuple[tuple[StaticOutput, int], ...] = ()
    condition: int = 0
    classes: int = 0
    variable_length: bool = False
    bounded: bool = False
    given: int = 0
    across: int = 0
    levels: Levels = ()

    @property
    def channels(self) -> int:
        """D = F + M."""
        return self.values + len(self.masks)

    @property
    def static(self) -> int:
        """S."""
        return sum(size for _, size in self.statics)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        fields = asdict(self)
        if not self.levels:  # as versions before wrote it, and read it
            del fields["levels"]
        return fields

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SequenceSpec:
        """The spec that ``to_dict`` wrote."""
        fields = dict(data)
        fields["masks"] = tuple(fields["masks"])
        fields["statics"] = tuple((kind, int(size)) for kind, size in fields["statics"])
        levels = ((int(f), tuple(map(float, of))) for f, of in fields.get("levels", ()))
        fields["levels"] = tuple(levels)
        return cls(**fields)
