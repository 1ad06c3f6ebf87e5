"""Tables and sizes as plain text, quicker than rich: a thousand rows take no time."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Sequence

GAP = "  "
WIDE = 1_000_000


def terminal_width() -> int:
    """Columns of the terminal, or of ``COLUMNS``; no limit where the output goes to a file."""
    if os.environ.get("COLUMNS", "").isdigit() or sys.stdout.isatty():
        return shutil.get_terminal_size((80, 24)).columns
    return WIDE


def width_of(cell: str) -> int:
    """The columns that text takes on a terminal."""
    if cell.isascii():
        return len(cell)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in cell)
    return len(cell) + wide - sum(bool(unicodedata.combining(letter)) for letter in cell)


def grid(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> list[str]:
    """Rows under their heads, in columns as wide as their widest cell.

    Args:
        head: one name a column.
        rows: cells, as many in each row.
        right: the columns that stand at the right.

    >>> grid(("run", "steps"), [("a", "1,200"), ("bcde", "7")], right=(1,))
    ['run   steps', '----  -----', 'a     1,200', 'bcde      7']
    """
    widths = [max(map(width_of, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = []
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            space = " " * (width - width_of(cell))
            padded.append(space + cell if number in right else cell + space)
        return GAP.join(padded).rstrip()

    return [line(head), GAP.join("-" * width for width in widths), *map(line, rows)]


def wrap(words: str, width: int, indent: str = "") -> list[str]:
    """Text in lines no wider than ``width`` where its words allow, each after ``indent``."""
    lines, now = [], indent
    for word in words.split(" "):
        if now.strip() and width_of(now) + 1 + width_of(word) > width:
            lines.append(now)
            now = indent
        now += word if now == indent else f" {word}"
    return [*lines, now]


def size(count: int) -> str:
    """Bytes in the unit that suits.

    >>> size(999), size(45_356), size(3_200_000_000)
    ('999 B', '45.4 kB', '3.2 GB')
    """
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def figure(value: float | None) -> str:
    """A number with four digits that matter, or a dash.

    >>> figure(0.333004), figure(12345.6), figure(None)
    ('0.333', '1.235e+04', '-')
    """
    return "-" if value is None else f"{value:.4g}"
