"""``rgan runs list`` and ``rgan runs tree``: many runs at a glance."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from rgan.cli import options as o

if TYPE_CHECKING:
    from rgan.runs.lineage import Lineage, Member
    from rgan.runs.summary import Row

Globs = Annotated[
    list[str] | None,
    typer.Argument(help="Paths, globs, or beginnings of names or ids; none: all of --runs."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_HEAD = ("run", "age", "status", "model", "data", "epochs", "steps", "best", "converged", "parent")
_RIGHT = (1, 5, 6)


def list_runs(globs: Globs = None, runs: o.Runs = "runs", as_json: Json = False) -> None:
    """List runs, the newest first.

    A child stands before its parents; else what was trained last comes first. A run that says it
    is running, and that nobody trains, was killed: it is shown as stopped, and can be resumed.
    Damaged runs are listed with the reason. Where a metric was watched, "converged" says at which
    batch it first came within 5 % of its best.
    """
    rows, lineage = _rows(globs or [], runs)
    if as_json:
        typer.echo(json.dumps([row.to_dict() for row in rows], indent=1, ensure_ascii=False))
        return
    if not rows:
        typer.echo(f"no runs in {runs}; make one with: rgan train icu")
        return
    from rgan.cli.lineage_text import terminal_width

    lines = _lines(rows, lineage, terminal_width())
    typer.echo("\n".join([*lines, *_notes(rows, lineage)]))


def tree(globs: Globs = None, runs: o.Runs = "runs") -> None:
    """Show which runs come from which.

    The newest root comes first; each branch says at which step it left its parent.
    """
    from rgan.runs.tree import tree_lines

    rows, lineage = _rows(globs or [], runs)
    if not rows:
        typer.echo(f"no runs in {runs}; make one with: rgan train icu")
        return
    by_member = {row.member: row for row in rows if row.member}
    lines = tree_lines(lineage, lambda member: _short(by_member[member]))
    lines += [f"{row.name}  damaged" for row in rows if row.damage]
    typer.echo("\n".join([*lines, *_notes(rows, lineage)]))


def _rows(patterns: list[str], runs: str) -> tuple[list[Row], Lineage]:
    """Rows in the order of the lineage, the damaged ones at the end."""
    from rgan.runs.lineage import Lineage
    from rgan.runs.select import select
    from rgan.runs.summary import summarise

    rows = [summarise(path) for path in select(patterns, runs)]
    by_member = {row.member: row for row in rows if row.member}
    lineage = Lineage(by_member)
    ordered = [by_member[member] for member in lineage.members]
    return [*ordered, *(row for row in rows if not row.member)], lineage


def _short(row: Row) -> str:
    parts = [row.status, f"step {row.progress.step:,}", _best(row)]
    return "  ".join(part for part in parts if part)


def _cells(row: Row, lineage: Lineage) -> tuple[str, ...]:
    from rgan.runs.summary import age

    done = row.progress
    epochs = f"{done.epoch:,}/{done.epochs:,}" if done.epochs else f"{done.epoch:,}"
    if row.damage:
        return (row.name, "", "damaged", *[""] * (len(_HEAD) - 3))
    return (
        row.name,
        age(row.updated),
        row.status,
        row.model or "-",
        row.data or "-",
        epochs,
        f"{done.step:,}",
        _best(row) or "-",
        f"batch {row.convergence.batches:,}" if row.convergence else "-",
        _parent(row.member, lineage) if row.member else "",
    )


def _best(row: Row) -> str:
    from rgan.cli.lineage_text import figure

    return f"{row.metric.name} {figure(row.metric.value)}" if row.metric else ""


def _parent(member: Member, lineage: Lineage, short: bool = False) -> str:
    names = []
    for parent in member.parents:
        found = lineage.find(parent, member)
        name = found.name if found else member.parent_name(parent)
        names.append(parent[:8] if short else name or parent)
    return ", ".join(names) or "-"


def _lines(rows: list[Row], lineage: Lineage, width: int) -> list[str]:
    """A line for each run; parents by id where names do not fit; else two lines for each run."""
    from rgan.cli.lineage_text import grid, width_of, wrap

    cells = [_cells(row, lineage) for row in rows]
    brief = [
        (*cell[:-1], _parent(row.member, lineage, short=True) if row.member else "")
        for cell, row in zip(cells, rows, strict=True)
    ]
    some = any(row.convergence for row in rows)
    keep = [i for i, name in enumerate(_HEAD) if some or name != "converged"]
    for table in (cells, brief):
        head, *body = [[cell[i] for i in keep] for cell in (_HEAD, *table)]
        lines = grid(head, body, _RIGHT)
        if max(map(width_of, lines)) <= width:
            return lines
    first = grid((*_HEAD[:3], *_HEAD[5:7]), [(*cell[:3], *cell[5:7]) for cell in cells], (1, 3, 4))
    lines = first[:2]
    for line, (_, _, _, model, data, _, _, best, near, parent), row in zip(
        first[2:], cells, rows, strict=True
    ):
        lines.append(line)
        if not row.damage:
            near = f"converged at {near}" if near != "-" else "-"
            more = [f"{model} on {data}", best, near, f"from {parent}" if parent != "-" else "-"]
            lines += wrap(", ".join(part for part in more if part != "-"), width, "    ")
    return lines


def _notes(rows: list[Row], lineage: Lineage) -> list[str]:
    notes = [f"damaged: {row.damage}" for row in rows if row.damage]
    notes += lineage.notes
    stopped = [shlex.quote(str(row.path)) for row in rows if row.status == "stopped"]
    if stopped:
        notes.append(f"stopped: killed or crashed; go on with: rgan train --resume {stopped[0]}")
    return ["", *notes] if notes else []
