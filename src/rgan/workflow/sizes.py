"""The sizes of a run's data from a file that may hold anything."""

from __future__ import annotations

from itertools import pairwise
from math import isfinite
from typing import Any

from rgan.errors import RunError
from rgan.nets.spec import SequenceSpec

MOST_LEVELS = 2**12
MOST_NUMBERS = 2**27
"""In one sequence on its way through a layer: beyond it a description is taken to be damaged."""
_LATER = {"classes": 0, "given": 0, "across": 0, "levels": ()}
_STATIC_KINDS = ("continuous", "binary", "categorical")


def read_spec(data: Any, source: str) -> SequenceSpec:
    """The spec that ``SequenceSpec.to_dict`` wrote, from a file that may hold anything.

    Args:
        data: what the file holds.
        source: the file, for messages.

    Raises:
        RunError: it is not one.
    """
    problem = _problem(data)
    if problem:
        raise RunError(
            f"what {source} says of the sizes of the data is damaged: {problem}",
            rule='"spec" is as rgan wrote it',
            repair="restore the file from a copy of the run",
        )
    return SequenceSpec.from_dict(data)


def _problem(data: Any) -> str:
    if not isinstance(data, dict):
        return f"it is {type(data).__name__}, not an object"
    sizes = (("steps", 1), ("values", 1), ("condition", 0), ("classes", 0), ("given", 0),
             ("across", 0))  # fmt: skip
    flags = ("variable_length", "bounded")
    known = {*(name for name, _ in sizes), *flags, "masks", "statics", "levels"}
    data = _LATER | data  # runs of earlier versions have none
    if data.keys() != known:
        return f"its keys are {', '.join(sorted(map(str, data)))}"
    for name, least in sizes:
        if not _whole(data[name], least):
            return f"{name} is {data[name]!r}"
    for name in flags:
        if not isinstance(data[name], bool):
            return f"{name} is {data[name]!r}"
    if data["classes"] + data["given"] > data["condition"]:
        return "the condition has fewer columns than its parts"
    if data["across"] and data["values"] % data["across"]:
        return "a step's values are no whole number of pixels"
    masks, statics = data["masks"], data["statics"]
    if not isinstance(masks, list | tuple) or not all(_whole(m, 0) for m in masks):
        return f"masks is {masks!r}"[:100]
    if list(masks) != sorted({m for m in masks if m < data["values"]}):
        return "masks are not places of values in ascending order"
    if not isinstance(statics, list | tuple) or not all(map(_is_static, statics)):
        return f"statics is {statics!r}"[:100]
    levels = data["levels"]
    if not isinstance(levels, list | tuple) or not all(map(_is_level, levels)):
        return f"levels is {levels!r}"[:100]
    places = [feature for feature, _ in levels]
    if places != sorted({place for place in places if place < data["values"]}):
        return "levels are not of places of values in ascending order"
    return ""


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST_NUMBERS


def _is_level(entry: Any) -> bool:
    """A place, and at least two numbers in ascending order."""
    if not (isinstance(entry, list | tuple) and len(entry) == 2 and _whole(entry[0], 0)):
        return False
    values = entry[1]
    if not isinstance(values, list | tuple) or not all(type(x) is float for x in values):
        return False
    rising = all(a < b for a, b in pairwise(values))  # which NaN is not
    return 2 <= len(values) <= MOST_LEVELS and rising and all(map(isfinite, values))


def _is_static(entry: Any) -> bool:
    return (
        isinstance(entry, list | tuple)
        and len(entry) == 2
        and entry[0] in _STATIC_KINDS
        and _whole(entry[1], 1)
    )
