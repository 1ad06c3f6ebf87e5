"""``rgan export``: a generator as one file that samples without rgan."""

from __future__ import annotations

from typing import Annotated

import typer

from rgan.cli import options as o


def export(
    run: Annotated[str, typer.Argument(help="A path, the start of a name, or latest.")],
    to: Annotated[str, typer.Option(help="onnx, or torch for torch.export.")],
    output: Annotated[
        str | None,
        typer.Option("-o", "--output", help="The file; else the run's name, here."),
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="auto, latest, best, or a step.")] = "auto",
    runs: o.Runs = "runs",
    quiet: o.Quiet = False,
) -> None:
    """Write RUN's generator as one file that samples without rgan, in original units.

    Before it is written it is checked against rgan sample from the same noise.
    """
    from rgan.runs.find import find_run

    folder = find_run(run, runs)  # a wrong name is told at once, without loading torch

    from rgan.cli.bars import stages
    from rgan.workflow.export import export as write

    with stages(quiet) as stage:
        made = write(folder, to, output, checkpoint, stage)
    if made.warning:
        typer.echo(made.warning, err=True)
    if quiet:
        return
    typer.echo(f"{made.path}: step {made.step:,}, {made.size:,} bytes")
    if made.parity is None:
        typer.echo("not checked against rgan sample: pip install onnxruntime, and export again")
    else:
        typer.echo(f"checked against rgan sample: {made.parity}")
