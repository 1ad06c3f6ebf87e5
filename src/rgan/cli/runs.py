"""``rgan runs``: what has been trained."""

from __future__ import annotations

import typer

from rgan.cli import options as o

app = typer.Typer(no_args_is_help=True, help="List the runs of a folder.")


@app.command("list")
def list_runs(runs: o.Runs = "runs") -> None:
    """List the runs, newest first: name, status, data, steps, and when they were last trained."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from rgan.runs.find import list_runs as find

    found = find(runs)
    if not found:
        typer.echo(f"no runs in {runs}; make one with: rgan train icu")
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("run", "status", "data", "steps", "last trained (UTC)"):
        table.add_column(name, overflow="fold", justify="right" if name == "steps" else "left")
    for run in found:
        info = run.info
        steps = max((segment["to_step"] for segment in info["segments"]), default=0)
        data = (info.get("data") or {}).get("name", "-")
        when = run.last_trained[:16].replace("T", " ")
        table.add_row(run.path.name, info["status"], data, f"{steps:,}", when)
    Console().print(table)
