"""Files of a run as no program would write them: for the fuzz, and for whoever wants more of it."""

from __future__ import annotations

import contextlib
import copy
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from hypothesis import strategies as st

DEEP = 3000
"""Nested lists: more than Python's own stack takes."""

ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**31, 2**63, -(2**63), 10**30, 10**400),
    *(0.5, -0.0, 1e308, float("nan"), float("inf"), "nan"),
    *("", "x", "../../outside", "/etc/passwd", "latest", "a\x00b", "\ud800", "\u202e", "e" * 5000),
    *([], {}, [[]], [1, 2], {"x": 1}, [None], {"": {}}, ["a", "b"], [[1, 2], [3, 4]]),
]
"""Values that stand where others are expected."""


def _paths(data: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield here
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _paths(value, (*here, key))


def altered(data: Any, path: tuple[Any, ...], how: str, value: Any) -> Any:
    """A copy of plain data with something else at a path.

    Args:
        data: mappings and lists.
        path: the keys and indices that lead there.
        how: "put" the value, "drop" the entry, or put the value under the name of the "key".
        value: see there.
    """
    if not path:
        return value
    data = copy.deepcopy(data)
    place = data
    for step in path[:-1]:
        place = place[step]
    if how == "drop":
        del place[path[-1]]
    elif how == "key" and isinstance(place, dict):
        place[str(value)] = place.pop(path[-1])
    else:
        place[path[-1]] = value
    return data


@st.composite
def odd_data(draw: st.DrawFn, data: Any, most: int = 2) -> Any:
    """Plain data with one thing, or two, that do not belong there."""
    for _ in range(draw(st.integers(1, most))):
        paths = list(_paths(data))
        path = paths[draw(st.integers(0, len(paths) - 1))]
        how = draw(st.sampled_from(["put", "put", "put", "drop", "key"]))
        data = altered(data, path, how, draw(st.sampled_from(ODD)))
        if not isinstance(data, dict | list):
            break
    return data


@st.composite
def odd_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """A file with flipped bits, cut short, with bytes put in, or of anything at all."""
    kind = draw(st.sampled_from(["flip", "cut", "insert", "zeros", "random", "twice", "deep"]))
    at = draw(st.integers(0, max(0, len(content) - 1)))
    if kind == "flip" and content:
        data = bytearray(content)
        for _ in range(draw(st.integers(1, 4))):
            data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
        return bytes(data)
    if kind == "cut":
        return content[:at]
    if kind == "insert":
        return content[:at] + draw(st.binary(min_size=1, max_size=40)) + content[at:]
    if kind == "zeros":
        return content[:at] + bytes(len(content) - at)
    if kind == "twice":
        return content + content
    if kind == "deep":
        return b"[" * 100_000 if draw(st.booleans()) else b'{"a":' * 100_000
    return draw(st.binary(max_size=200))


def text_of(data: Any) -> bytes:
    """JSON as a careless program would write it, with NaN and half surrogates."""
    return json.dumps(data, indent=1).encode("ascii")


def doubled(data: dict[str, Any], key: str, value: Any) -> bytes:
    """JSON in which a key stands twice."""
    return text_of(data)[:-2] + f",\n {json.dumps(key)}: {json.dumps(value)}\n}}".encode()


@contextlib.contextmanager
def bounded(seconds: int = 60, more_bytes: int = 3 * 2**30) -> Iterator[None]:
    """Neither a hang nor a huge allocation goes unseen: both raise."""
    import resource

    def too_long(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"not done after {seconds} s")

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + more_bytes, before[1]))
    handler = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)
