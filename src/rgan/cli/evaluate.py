"""``rgan evaluate``: is a run's synthetic data realistic, useful, and not a copy?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rgan.cli import options as o

if TYPE_CHECKING:
    from rgan.workflow.contribution import Contribution


def evaluate(
    run: Annotated[str, typer.Argument(help="A path, the start of a name, or latest.")],
    against: Annotated[
        str, typer.Option(help="Test on this source instead of the held-out split.")
    ] = "",
    quick: Annotated[bool, typer.Option("--quick", help="A first look, with fewer steps.")] = False,
    repeats: Annotated[int | None, typer.Option(help="Repeats behind each spread.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Only this metric; repeatable.")] = None,
    without: Annotated[
        str, typer.Option(help="What do these features contribute? Judge without them too: HR,Temp")
    ] = "",
    checkpoint: Annotated[str, typer.Option(help="auto, latest, best, or a step.")] = "auto",
    set_: o.SetOption = None,
    runs: o.Runs = "runs",
    quiet: o.Quiet = False,
) -> None:
    """Evaluate RUN on real sequences that it was not trained on.

    Beside each number stand the floor (real against real) and a copy of the training set offered
    as synthetic. Writes evaluation.json and figures into the run.
    """
    from rich.console import Console

    from rgan.cli.bars import stages
    from rgan.config import parse_settings
    from rgan.runs.find import find_run

    settings = o.settings_of("evaluate", quick=quick, repeats=repeats, metrics=metric)
    settings |= parse_settings(set_ or [])
    folder = find_run(run, runs)  # a wrong name is told at once, without loading torch

    from rgan.workflow.contribution import contribution
    from rgan.workflow.judge import evaluate_run

    def say(text: str) -> None:
        typer.echo(text, err=True)

    if without:
        names = tuple(dict.fromkeys(name.strip() for name in without.split(",") if name.strip()))
        with stages(quiet) as progress:
            both = contribution(
                folder, names, against=against, settings=settings, which=checkpoint,
                progress=progress, say=say,
            )  # fmt: skip
        _print_both(both)
        return
    with stages(quiet) as progress:
        result = evaluate_run(
            folder,
            against=against,
            settings=settings,
            which=checkpoint,
            progress=progress,
            say=say,
        )
    Console().print(result.table())
    if not quiet:
        typer.echo(f"figures and evaluation.json: {folder.path}")


def _print_both(both: Contribution) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from rgan.evaluate.table import ARROWS, number

    table = Table(title=f"Without {', '.join(both.features)}", title_justify="left",
                  box=SIMPLE_HEAD, pad_edge=False)  # fmt: skip
    for name in ("", "score", "synthetic", "without", "real", "without"):
        table.add_column(name, justify="left" if name in ("", "score") else "right")
    for whole, rest in both.pairs():
        cells = (whole.value, rest.value, whole.floor, rest.floor)
        table.add_row(ARROWS[whole.better], escape(whole.label), *map(number, cells))
    table.caption_justify = "left"
    table.caption = (
        "the same samples judged with all features and without these, which real data lack too"
    )
    Console().print(table)
