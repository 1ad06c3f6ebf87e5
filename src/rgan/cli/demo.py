"""``rgan demo``: the whole way on a bundled slice of real ICU stays."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from rgan.cli import options as o


def demo(
    steps: Annotated[int, typer.Option(help="Generator updates.")] = 900,
    runs: o.Runs = "runs",
    seed: Annotated[int, typer.Option(help="Everything random follows from it.")] = 0,
    quiet: o.Quiet = False,
) -> None:
    """Train on real ICU stays by outcome, sample, evaluate, and say where all lies."""
    from rich.console import Console

    from rgan.cli.bars import stages
    from rgan.cli.train import resolve, summary
    from rgan.data.load import load
    from rgan.data.write import write
    from rgan.report.progress import make_progress
    from rgan.workflow.fit import fit
    from rgan.workflow.judge import evaluate_run

    console = Console()
    settings: dict[str, Any] = {"train.steps": steps, "train.seed": seed, "model.kind": "rcgan"}
    settings["train.real_examples"] = "always"  # these stays are public
    settings["train.figures"] = 4  # a picture of stays takes as long as twenty steps
    config = resolve("icu", "feedback", "", {**settings, "evaluate.quick": True})
    sequences = load(config.data)
    console.print("[bold]1  Data[/]  real intensive-care stays (PhysioNet 2012, ODC-BY)")
    console.print("   " + summary(sequences), highlight=False)
    console.print("[bold]2  Train[/]  a recurrent generator, told whether the patient died")
    progress = make_progress(quiet)
    try:
        outcome = fit(
            config, runs=runs, sequences=sequences, listeners=(progress,), command="rgan demo"
        )
    finally:
        progress.close()
    if outcome.ended.status == "interrupted":
        typer.echo(f"stopped; go on with:  rgan train --resume {outcome.run.path}")
        raise typer.Exit(1)
    run = outcome.run
    console.print("[bold]3  Sample[/]  2,000 synthetic stays")
    table = write(outcome.trained.sample(2000, seed=seed), run.samples / "synthetic.csv")
    console.print("[bold]4  Evaluate[/]  against stays that it was not trained on")
    with stages(quiet) as tell:
        result = evaluate_run(run, progress=tell)
    console.print(result.table())
    _where(console, run.path, table)


def _where(console: object, path: object, table: object) -> None:
    lines = f"""
What came of it
  synthetic stays       {table}
  real beside synthetic {path}/figures/samples.png
  as it learnt          {path}/figures/samples.gif
  all figures           {path}/figures
  the table above       {path}/evaluation.json

What to try next
  rgan sample {path} -n 500 --label 1 -o died.parquet
  rgan train --resume {path} --set train.steps=2000
  rgan data show icu
  rgan train YOUR.csv --id patient --time hour --label outcome
  tensorboard --logdir {path}/tensorboard"""
    typer.echo(lines)
