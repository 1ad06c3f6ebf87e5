"""``rgan evaluate``: is a run's synthetic data realistic, useful, and not a copy?"""

from __future__ import annotations

from typing import Annotated

import typer

from rgan.cli import options as o


def evaluate(
    run: Annotated[str, typer.Argument(help="A path, the start of a name, or latest.")],
    against: Annotated[
        str, typer.Option(help="Test on this source instead of the held-out split.")
    ] = "",
    quick: Annotated[bool, typer.Option("--quick", help="A first look, with fewer steps.")] = False,
    repeats: Annotated[int | None, typer.Option(help="Repeats behind each spread.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="Only this metric; repeatable.")] = None,
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

    from rgan.workflow.judge import evaluate_run

    with stages(quiet) as progress:
        result = evaluate_run(
            folder,
            against=against,
            settings=settings,
            which=checkpoint,
            progress=progress,
            say=lambda text: typer.echo(text, err=True),
        )
    Console().print(result.table())
    if not quiet:
        typer.echo(f"figures and evaluation.json: {folder.path}")
