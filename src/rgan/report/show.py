"""What a data set looks like, as text: shape, gaps, ranges, labels, static columns.

Shape letters: N sequences, T steps, F features. The pictures are in ``report/pictures.py``.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rgan.layouts import ImageLayout, is_nominal, levels_of
from rgan.sequences import Sequences

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

MOST_FEATURES = 60
MOST_CLASSES = 20


def number(value: float) -> str:
    """A number of any size in few characters: 4 significant digits, thousands marked.

    >>> number(1234567.0), number(0.00123456), number(float("nan"))
    ('1,234,567', '0.001235', '-')
    """
    if not np.isfinite(value):
        return "-"
    if 1_000 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def percent(share: float) -> str:
    """A share as per cent that never calls something nothing, nor nearly all all.

    >>> percent(0.5), percent(1.0), percent(0.0001), percent(0.9999)
    ('50.0 %', '100 %', '<0.1 %', '>99.9 %')
    """
    if share in (0.0, 1.0):
        return f"{100 * share:.0f} %"
    if share < 0.001 or share > 0.999:
        return "<0.1 %" if share < 0.001 else ">99.9 %"
    return f"{100 * share:.1f} %"


def describe(sequences: Sequences) -> RenderableType:
    """A data set as a rich renderable: heading, features, levels, labels, static columns, notes."""
    from rich.console import Group
    from rich.text import Text

    parts: list[Any] = [Text(line) for line in _heading(sequences)]
    parts.append(_feature_table(sequences))
    if any(levels_of(sequences.layout, name) for name in sequences.feature_names):
        parts.append(_level_table(sequences))
    if sequences.labels is not None:
        parts.append(_label_table(sequences))
    if sequences.static_info:
        parts.append(_static_table(sequences))
    parts += [Text(f"note: {note}") for note in sequences.notes]
    return Group(*parts)


def describe_text(sequences: Sequences, width: int = 100) -> str:
    """``describe`` as plain text of this many columns."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(describe(sequences))
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def _heading(s: Sequences) -> list[str]:
    plural = "" if s.n_features == 1 else "s"
    lines = [
        f"{s.name}: {len(s):,} sequences x {s.n_steps:,} steps x {s.n_features:,} feature{plural}"
    ]
    if isinstance(s.layout, ImageLayout):
        layout = s.layout
        lines.append(
            f"images   {layout.height} x {layout.width} x {layout.channels}, read as {layout.order}"
        )
    else:
        lines.append(f"step     {number(s.step)} {s.step_unit}" if s.step_unit != "step" else "")
    if s.fixed_length:
        lines.append(f"lengths  all {s.n_steps:,}")
    else:
        low, middle, high = np.quantile(s.lengths, [0, 0.5, 1])
        lines.append(f"lengths  {low:,.0f} to {high:,.0f}, median {middle:,.0f}")
    lines.append(f"observed {percent(s.share_observed)} of the values within the lengths")
    if s.subjects is not None:
        _, counts = np.unique(s.subjects, return_counts=True)
        each = (
            "one sequence each" if counts.max() == 1 else f"up to {counts.max():,} sequences each"
        )
        lines.append(f"subjects {len(counts):,}, {each}")
    if s.part is not None:
        parts, counts = np.unique(s.part, return_counts=True)
        told = ", ".join(f"{part} {count:,}" for part, count in zip(parts, counts, strict=True))
        lines.append(f"parts    {told}")
    return [line for line in lines if line]


def _table(title: str, *columns: str, right_from: int = 1) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, column in enumerate(columns):
        # names give way before numbers do
        table.add_column(column, justify="right" if i >= right_from else "left", no_wrap=i > 0)
    return table


def _feature_table(s: Sequences) -> Table:
    quantiles = ("min", "5 %", "median", "95 %", "max")
    table = _table("Features", "feature", "unit", "observed", *quantiles, right_from=2)
    if s.is_image:  # every pixel is of one kind, and thousands of rows tell nobody anything
        table.add_row("pixel", "", percent(s.share_observed), *_quantiles(s.values[s.observed]))
        return table
    steps = int(s.lengths.sum())
    for f in range(min(s.n_features, MOST_FEATURES)):
        known = s.values[:, :, f][s.observed[:, :, f]]
        table.add_row(
            s.feature_names[f], s.units[f], percent(len(known) / steps), *_quantiles(known)
        )
    if s.n_features > MOST_FEATURES:
        table.add_row(f"... and {s.n_features - MOST_FEATURES:,} more")
    return table


def _level_table(s: Sequences) -> Table:
    """How often each level of a category is what was observed."""
    table = _table("Levels", "feature", "share of each level", right_from=2)
    for f, name in enumerate(s.feature_names):
        levels = levels_of(s.layout, name)
        known = np.rint(s.values[:, :, f][s.observed[:, :, f]])
        if levels and len(known):
            shares = {text: float((known == code).mean()) for code, text in levels.items()}
            told = ", ".join(f"{text} {percent(share)}" for text, share in shares.items())
            table.add_row(name, told + (" (in no order)" if is_nominal(s.layout, name) else ""))
    table.columns[1].no_wrap = False
    return table


def _quantiles(known: NDArray[np.float32]) -> list[str]:
    if not len(known):
        return ["-"] * 5
    return [number(float(q)) for q in np.quantile(known, [0, 0.05, 0.5, 0.95, 1])]


def _label_table(s: Sequences) -> Table:
    assert s.labels is not None
    if not s.has_classes:
        table = _table(
            f'Label "{s.label_name}"', "min", "5 %", "median", "95 %", "max", right_from=0
        )
        table.add_row(*_quantiles(s.labels.astype(np.float32)))
        return table
    table = _table(f'Label "{s.label_name}"', "class", "sequences", "share")
    classes, counts = np.unique(s.labels, return_counts=True)
    for i in (
        np.argsort(-counts, kind="stable")[:MOST_CLASSES]
        if len(classes) > MOST_CLASSES
        else (range(len(classes)))
    ):
        table.add_row(str(classes[i]), f"{counts[i]:,}", percent(counts[i] / len(s)))
    if len(classes) > MOST_CLASSES:
        table.add_row(f"... and {len(classes) - MOST_CLASSES:,} more")
    return table


def _static_table(s: Sequences) -> Table:
    assert s.static is not None
    table = _table("Static", "attribute", "known", "what", right_from=3)
    for column, info in enumerate(s.static_info):
        known = s.static[:, column][~np.isnan(s.static[:, column])]
        if not len(known):
            what = "never known"
        elif info.kind == "continuous":
            low, middle, high = (number(float(q)) for q in np.quantile(known, [0, 0.5, 1]))
            what = f"{low} to {high}, median {middle} {info.unit}".rstrip()
        else:
            codes, counts = np.unique(known.astype(np.int64), return_counts=True)
            names = info.levels or ("0", "1")
            what = ", ".join(
                f"{names[code]} {percent(count / len(known))}"
                for code, count in zip(codes, counts, strict=True)
            )
        table.add_row(info.name, percent(len(known) / len(s)), what)
    table.columns[2].no_wrap = False
    return table
