"""``rgan sample``: synthetic sequences from a run, in the form that the data came in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rgan.cli import options as o


def sample(
    run: Annotated[str, typer.Argument(help="A path, the start of a name, or latest.")],
    n: Annotated[int, typer.Option("-n", help="How many sequences.")] = 1000,
    label: Annotated[
        str | None,
        typer.Option(help="Only this label; else as often as in the data, or --label-mix."),
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(help="Values of conditions: age=70,sex=male; the others are drawn."),
    ] = None,
    label_mix: Annotated[
        str | None, typer.Option(help="Shares of the classes: 0=0.5,1=0.5; or even.")
    ] = None,
    output: Annotated[
        str,
        typer.Option(
            "-o", "--output", help=".npz, .npy, .csv, .parquet, .ts or .png; FOLDER/ for stays."
        ),
    ] = "synthetic.npz",
    mask: Annotated[
        list[str] | None,
        typer.Option(help="Hide values: random:0.2, feature:HR, block:6, ...; repeatable."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same sequences.")] = 0,
    checkpoint: Annotated[str, typer.Option(help="auto, latest, best, or a step.")] = "auto",
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps, auto.")] = "cpu",
    runs: o.Runs = "runs",
    quiet: o.Quiet = False,
) -> None:
    """Sample N synthetic sequences from RUN, in original units and names.

    Written in pieces, so memory does not grow with N; the file appears whole or not at all. What
    was trained on a folder of stays is written back as one with -o FOLDER/.
    """
    from rgan.cli.bars import counting
    from rgan.data.masks import hidden, parse_mask, without
    from rgan.data.write import Writer
    from rgan.runs.find import find_run
    from rgan.workflow.asking import parse_conditions, parse_mix, shares_of

    rules = [parse_mask(rule) for rule in mask or []]
    given = parse_conditions(condition or [])
    mix = None if label_mix is None else parse_mix(label_mix)

    folder = find_run(run, runs)  # a wrong name is told at once, without loading torch

    from rgan.workflow.sampling import load_trained

    trained, warning = load_trained(folder, which=checkpoint, device=device)
    if warning:
        typer.echo(warning, err=True)
    trained.asked(n, label, given, mix)  # refused before a file is begun
    with (
        Writer(output, n, trained.encoder.packer.layout) as writer,
        counting("sampling", n, quiet) as advance,
    ):
        taken, there = 0, 0
        for number, block in enumerate(trained.blocks(n, label, seed, given, mix)):
            if rules:
                hidden_NTF = hidden(block, rules, seed, number)
                taken, there = taken + int(hidden_NTF.sum()), there + int(block.observed.sum())
                block = without(block, hidden_NTF)
            writer.append(block)
            advance(len(block))
    if not quiet:
        told = f" ({taken / max(1, there):.1%} of the values hidden)" if rules else ""
        if mix is not None:
            shares = shares_of(trained.encoder.packer, mix)
            told += " (labels: " + ", ".join(f"{k} {v:.1%}" for k, v in shares.items()) + ")"
        typer.echo(f"{n:,} sequences{told}: {Path(output)}")
