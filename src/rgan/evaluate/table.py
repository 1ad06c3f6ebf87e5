"""An evaluation as a table: for a terminal by rich, and as plain lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rgan.evaluate.result import Evaluation, Score

if TYPE_CHECKING:
    from rich.table import Table

HEADER = ("score", "synthetic", "real (floor)", "copy", "better", "note")


def number(value: float | None) -> str:
    """Three digits that matter, or a dash.

    >>> number(0.12345), number(0.00012345), number(None)
    ('0.123', '0.00012', '-')
    """
    if value is None:
        return "-"
    return f"{value:.3f}" if abs(value) >= 0.01 or value == 0 else f"{value:.2g}"


def row(score: Score) -> tuple[str, ...]:
    """The cells of one score."""
    shown = number(score.value)
    if len(score.values) > 1:
        shown += f" ± {number(score.spread)}"
    if score.interval:
        shown += f" [{number(score.interval[0])}, {number(score.interval[1])}]"
    controls = number(score.floor), number(score.copy)
    return score.label, shown, *controls, score.better, score.note


def footer(evaluation: Evaluation) -> list[str]:
    """Lines under the table: sizes, the verdict on copying, and what was left out."""
    sizes = evaluation.sizes
    lines = []
    if sizes:
        lines.append(
            f"{sizes['synthetic']} synthetic sequences against {sizes['test_used']} held-out real "
            f"ones; generator trained on {sizes['train']}"
        )
    if evaluation.memorised is not None:
        p = number(evaluation["three_sample_p"].value)
        lines.append(
            f"SIGNS OF COPYING: closer to the training set than to held-out data (p = {p})"
            if evaluation.memorised
            else f"no sign of copying (three-sample test, p = {p}); this is no privacy guarantee"
        )
    lines.extend(f"not computed: {name}: {why}" for name, why in evaluation.skipped.items())
    return lines


def rich_table(evaluation: Evaluation) -> Table:
    """The table for a terminal, its footer as caption."""
    from rich.markup import escape
    from rich.table import Table

    caption = "\n".join(escape(line) for line in footer(evaluation))
    table = Table(title="Evaluation", caption=caption, caption_justify="left")
    for i, name in enumerate(HEADER):
        table.add_column(name, justify="right" if i in (1, 2, 3) else "left", no_wrap=i in (2, 3))
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
