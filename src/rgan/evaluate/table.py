"""An evaluation as a table: for a terminal by rich, and as plain lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rgan.evaluate.result import Evaluation, Score

if TYPE_CHECKING:
    from rich.table import Table

HEADER = ("", "score", "synthetic", "real", "copy")
ARROWS = {"lower": "↓", "higher": "↑"}


def number(value: float | None) -> str:
    """Three digits that matter, or a dash.

    >>> number(0.12345), number(0.00012345), number(None)
    ('0.123', '0.00012', '-')
    """
    if value is None:
        return "-"
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def row(score: Score) -> tuple[str, ...]:
    """The cells of one score; its interval, parts and note stand in evaluation.json only."""
    shown = number(score.value)
    if len(score.values) > 1:
        shown += f" ± {number(score.spread)}"
    return ARROWS[score.better], score.label, shown, number(score.floor), number(score.copy)


def footer(evaluation: Evaluation) -> list[str]:
    """Lines under the table: sizes, the verdict on copying, and what was left out."""
    sizes = evaluation.sizes
    lines = [
        "↓ lower is better, ↑ higher; real: what fresh real data score; copy: what a copy of the "
        "training set scores"
    ]
    if sizes:
        lines.append(
            f"{sizes['synthetic']} synthetic sequences against {sizes['test_used']} held-out real "
            f"ones; generator trained on {sizes['train']}"
        )
    if evaluation.memorised is not None:
        lines.append(
            "SIGNS OF COPYING: the samples are closer to the training set than to held-out data"
            if evaluation.memorised
            else "no sign of copying the training set; this is no privacy guarantee"
        )
    lines.extend(f"not computed: {name}: {why}" for name, why in evaluation.skipped.items())
    return lines


def rich_table(evaluation: Evaluation) -> Table:
    """The table for a terminal, its footer as caption."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Evaluation", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.caption = "\n".join(escape(line) for line in footer(evaluation))
    table.caption_justify = "left"
    for i, name in enumerate(HEADER):
        table.add_column(name, justify="right" if i > 1 else "left", no_wrap=i != 1)
    for score in evaluation.scores:
        table.add_row(*(escape(cell) for cell in row(score)))
    return table


def plain_table(evaluation: Evaluation) -> str:
    """The same as lines of text."""
    rows = [HEADER, *(row(score) for score in evaluation.scores)]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(HEADER))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in rows
    ]
    lines.insert(1, "-" * max(len(line) for line in lines))
    return "\n".join([*lines, *footer(evaluation)])
