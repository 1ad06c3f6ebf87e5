"""``rgan runs``: what has been trained, and what can be made of it."""

from __future__ import annotations

import typer

from rgan.cli import runs_combine, runs_list, runs_show, sync

app = typer.Typer(
    no_args_is_help=True,
    help="List, show, compare, combine, average, prune and sync runs.",
)
app.command("list")(runs_list.list_runs)
app.command("tree")(runs_list.tree)
app.command("show")(runs_show.show)
app.command("compare")(runs_show.compare)
app.command("combine")(runs_combine.combine)
app.command("average")(runs_combine.average)
app.command("prune")(runs_combine.prune)
app.command("sync")(sync.sync)
