"""``rgan runs show`` and ``rgan runs compare``: one run in full, several side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rgan.cli import options as o
from rgan.cli.lineage_text import figure, grid, terminal_width, width_of, wrap
from rgan.cli.runs_list import Json
from rgan.cli.runs_page import MARGIN, page, plain

if TYPE_CHECKING:
    from rgan.runs.folder import Run

RunName = Annotated[str, typer.Argument(help="A path, the beginning of a name or id, or latest.")]
RunNames = Annotated[list[str], typer.Argument(help="Paths, globs, beginnings of names or ids.")]


def show(
    run: RunName,
    architecture: Annotated[
        bool, typer.Option("--architecture", help="The networks instead: layers, shapes, sizes.")
    ] = False,
    runs: o.Runs = "runs",
    as_json: Json = False,
) -> None:
    """Show all that is known of a run.

    Its origin, its training, its checkpoints, its results; or its networks, rebuilt from the
    configuration alone.
    """
    from rgan.runs.details import details
    from rgan.runs.find import find_run

    folder = find_run(run, runs)
    if architecture:
        _show_architecture(folder, as_json)
        return
    found = details(folder)
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    width = min(terminal_width(), 100) - MARGIN
    for title, lines in page(found):
        folded = [part for line in lines for part in _fold(line, width)]
        for number, line in enumerate(folded):
            typer.echo(f"{'' if number else title:<{MARGIN}}{line}".rstrip())


def _show_architecture(folder: Run, as_json: bool) -> None:
    from rgan.workflow.architecture import as_text, rebuild

    found = rebuild(folder)
    if as_json:
        layers = [vars(layer) for layer in found.layers]
        typer.echo(json.dumps({"parameters": found.parameters, "layers": layers}, indent=1))
        return
    typer.echo(as_text(found, terminal_width()))


def _fold(line: str, width: int) -> list[str]:
    if width_of(line) <= width:
        return [line]
    first, *rest = wrap(line, width)
    return [first, *wrap(" ".join(rest), width, "  ")]


def compare(names: RunNames, runs: o.Runs = "runs", as_json: Json = False) -> None:
    """Compare runs: settings that differ, then results."""
    from rgan.runs.compare import compare as side_by_side
    from rgan.runs.find import select_each

    found = side_by_side(select_each(names, runs))
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    letters = [_letter(number) for number in range(len(found["runs"]))]
    for letter, run in zip(letters, found["runs"], strict=True):
        typer.echo(f"{letter}  {plain(run['name'])}")
    for title, rows in (("setting", found["settings"]), ("result", found["results"])):
        typer.echo("")
        if not rows:
            typer.echo(f"no {title} differs")
            continue
        cells = [(plain(name), *map(_value, values)) for name, values in rows.items()]
        typer.echo("\n".join(grid((title, *letters), cells, range(1, len(letters) + 1))))
    if found["notes"]:
        typer.echo("\n" + "\n".join(found["notes"]))


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else f"#{number + 1}"


def _value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return figure(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return plain(value)
