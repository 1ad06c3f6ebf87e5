"""The configuration section ``data``: where sequences come from and how they are cut and split."""

from __future__ import annotations

import shlex
from typing import Literal, NamedTuple

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from rgan.errors import ConfigError, nearest
from rgan.layouts import IMAGE_ORDERS

BinRule = Literal["last", "mean", "count", "gaps"]
SplitKind = Literal["auto", "subject", "time", "random", "official"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class DataConfig:
    """What to read, and how to make training, validation and test sequences of it.

    Raises:
        ConfigError: a value breaks its field's rule.
    """

    source: str = ""
    """A built-in name ("icu", "digits", ...) or the path of a file or folder."""

    id: str = ""
    """Table column that says which sequence a row belongs to."""

    time: str = ""
    """Table column of time: numbers, dates or timestamps."""

    label: str = ""
    """Table column that holds each sequence's class or condition."""

    subject: str = ""
    """Table column that says whose sequence it is; the id where it is not named."""

    static: tuple[str, ...] = ()
    """Table columns with one value per sequence (age, sex)."""

    nan: Literal["error", "missing"] = "error"
    """What a NaN without a mask means: a fault, or not measured."""

    step: float = 0.0
    """Bin width that puts irregular times on a grid (hours for timestamps); 0 infers the grid."""

    bin: BinRule = "last"
    """What stands for the values of a bin: the last, their mean, or how many they are. gaps: no
    bins; each event is a step and has the time since the one before it as a feature."""

    category: tuple[str, ...] = ()
    """Feature columns of text, each with its levels: in order "pain=none<some<severe", or without
    one "rhythm=sinus|paced|AF"."""

    implausible: Literal["auto", "keep", "missing", "error"] = "auto"
    """Known vitals outside their possible range: kept, taken as not measured, or refused; counted
    and said always. auto: missing for folders of stays, whose units are known, else keep."""

    window: int = 0
    """Cut series into windows of this many steps; 0 keeps them whole."""

    stride: int = 1
    """Steps between the starts of two windows."""

    size: str = ""
    """Resample images to "28" (square) or "64x48" (height x width)."""

    layout: str = "rows"
    """How images are read as sequences: rows, columns, pixels or patches."""

    patch: str = ""
    """Size of a patch, "4" or "4x4" (height x width), for layout "patches"."""

    subject_from_name: bool = False
    """Take the subject from image names such as First_Last_0001.pgm."""

    drop: tuple[str, ...] = ()
    """Features to leave out."""

    mask: tuple[str, ...] = ()
    """Rules that hide values of the data before anything sees them: "random:0.2", "steps:24-47",
    "block:6", "feature:HR", "region:8x8", "like-data"; see imputation.md."""

    data_dir: str = ""
    """Folder with local copies of downloadable data; else the variable RGAN_DATA."""

    max_sequences: int = 0
    """Keep at most this many sequences, drawn by seed; 0 keeps all."""

    split: SplitKind = "auto"
    """How to split: by official parts, subject, time, or (only when named) windows at random."""

    validation: float = 0.15
    """Share of the sequences (or subjects, or time) held out for validation."""

    test: float = 0.15
    """Share of the sequences (or subjects, or time) held out for the final test."""

    def __post_init__(self) -> None:
        for name, least in (("window", 0), ("stride", 1), ("max_sequences", 0), ("step", 0)):
            value = getattr(self, name)
            if not value >= least:
                raise ConfigError(
                    f"data.{name} is {value}",
                    rule=f"at least {least}",
                    repair=f"--set data.{name}={least}",
                )
        for entry in self.category:
            parse_category(entry)
        if self.mask:
            from rgan.data.masks import parse_mask  # which needs numpy, and settings do not

            for rule in self.mask:
                parse_mask(rule)
        if self.step == float("inf"):
            raise ConfigError("data.step is infinite", rule="a finite bin width, 0 to infer it")
        if self.window == 1:
            raise ConfigError(
                "data.window is 1",
                rule="a window has at least 2 steps, 0 keeps series whole",
                repair="--window 24",
            )
        for name in ("validation", "test"):
            share = getattr(self, name)
            if not 0 < share < 1:
                raise ConfigError(
                    f"data.{name} is {share}",
                    rule="a share between 0 and 1, both excluded",
                    reason="what is judged must not have been trained on",
                    repair=f"--set data.{name}=0.15",
                )
        if self.validation + self.test >= 1:
            raise ConfigError(
                f"data.validation + data.test is {self.validation + self.test:g}",
                rule="together less than 1, or nothing is left to train on",
                repair="--set data.validation=0.15 --set data.test=0.15",
            )
        if self.layout not in IMAGE_ORDERS:
            raise ConfigError(
                f'data.layout is "{self.layout}"',
                rule=f"one of {', '.join(IMAGE_ORDERS)}",
                repair=nearest(self.layout, IMAGE_ORDERS),
            )
        for name in ("size", "patch"):
            parse_size(getattr(self, name), f"data.{name}")
        if (self.layout == "patches") != bool(self.patch):
            raise ConfigError(
                f'data.layout is "{self.layout}" and data.patch is "{self.patch}"',
                rule='layout "patches" needs a patch size, and no other layout has one',
                repair="--layout patches --patch 4x4",
            )


class CategoryText(NamedTuple):
    """What an entry of ``data.category`` says.

    Args:
        name: the column.
        levels: in order, or as they came.
        nominal: whether they have no order.
    """

    name: str
    levels: tuple[str, ...]
    nominal: bool = False


def parse_category(text: str) -> CategoryText:
    """Column and levels of "pain=none<some<severe", or, without an order, "rhythm=sinus|paced|AF".

    Raises:
        ConfigError: no column, fewer than two levels, a level twice, or both marks.

    >>> parse_category("rhythm=sinus|paced")
    CategoryText(name='rhythm', levels=('sinus', 'paced'), nominal=True)
    """
    name, _, rest = text.partition("=")
    if "<" in rest and "|" in rest:
        raise ConfigError(
            f'data.category has "{text}", with < and | in it',
            rule="< between all levels of a column, or | between all of them",
            reason="< says that levels have an order, and | that they have none",
            repair=f"--category {shlex.quote(text.replace('<', '|'))}",
        )
    mark = "|" if "|" in rest else "<"
    levels = tuple(level.strip() for level in rest.split(mark))
    if not name.strip() or len(levels) < 2 or len(set(levels)) < len(levels) or "" in levels:
        raise ConfigError(
            f'data.category has "{text}"',
            rule="a column, =, and at least two levels, each once, with < between them where they "
            "have an order and | where they have none",
            repair="--category 'pain=none<some<severe' or --category 'rhythm=sinus|paced|AF'",
        )
    return CategoryText(name.strip(), levels, mark == "|")


def parse_size(text: str, what: str = "size") -> tuple[int, int] | None:
    """(height, width) in pixels of "28" or "64x48"; None of "".

    Raises:
        ConfigError: the text is not one or two positive whole numbers.

    >>> parse_size("64x48")
    (64, 48)
    """
    if not text:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() for part in parts):
        sides: list[int] = []
    else:
        sides = [int(part) for part in parts]
    if not sides or min(sides) < 1 or max(sides) > 16384:
        raise ConfigError(
            f'{what} is "{text}"',
            rule="one side or height x width, whole pixels from 1 to 16384",
            repair="--size 28 or --size 64x48",
        )
    return sides[0], sides[-1]
