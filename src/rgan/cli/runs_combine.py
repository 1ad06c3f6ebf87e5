"""``rgan runs combine``, ``average`` and ``prune``: runs made of runs, and made smaller."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rgan.cli import options as o
from rgan.cli.lineage_text import size
from rgan.cli.runs_show import RunNames

if TYPE_CHECKING:
    from rgan.runs.prune import Pruning


def combine(
    names: RunNames,
    name: Annotated[str, typer.Option(help="What the new run is called.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    runs: o.Runs = "runs",
    quiet: o.Quiet = False,
) -> None:
    """Make one run of a chain of runs.

    Each of them but the first was branched from another one; the order does not matter. Each
    counts up to the step where the next one was branched off, the last one up to its last good
    checkpoint. The originals are moved to the folder archive beside them. After a crash, the same
    command finishes the job.
    """
    from rgan.runs.archive import finish_pending
    from rgan.runs.find import select_each

    folders = {Path(runs), *(Path(word).parent for word in names if "/" in word)}
    if not dry_run:
        finished = [job for folder in sorted(folders) for job in finish_pending(folder)]
        for job in finished:
            _done(job.root / job.target, [o.name for o in job.originals], quiet)
        if finished and all(any(job.means(word) for job in finished) for word in names):
            return
    found = select_each(names, runs)

    from rgan.runs.combine import plan

    wanted = plan(found)
    if not quiet or dry_run:
        for part in wanted.parts:
            typer.echo(f"{part.run.path.name}  steps {part.begin:,} to {part.end:,}")
    if dry_run:
        for note in wanted.notes:
            typer.echo(note)
        return

    from rgan.workflow.combining import combine_runs

    run = combine_runs(
        found,
        name=name,
        command=shlex.join(["rgan", *sys.argv[1:]]),
        say=lambda text: typer.echo(text, err=True),
    )
    _done(run.path, [part.run.path.name for part in wanted.parts], quiet)


def average(
    names: RunNames,
    weights: Annotated[
        str, typer.Option(help="One weight a run: 0.7,0.3; all alike if not given.")
    ] = "",
    greedy: Annotated[
        str, typer.Option(help="Take a run in only while this metric or score improves.")
    ] = "",
    checkpoint: Annotated[str, typer.Option(help="latest, best or another mark.")] = "latest",
    name: Annotated[str, typer.Option(help="What the new run is called.")] = "",
    set_: o.SetOption = None,
    runs: o.Runs = "runs",
    quiet: o.Quiet = False,
) -> None:
    """Average the generators of runs into a new run.

    Critic and optimisers are those of the first, or with --greedy of the best. Greedy ranks the
    runs by a metric on the validation split, takes the best, and each other one only if the mean
    with it is better. The runs must have the same network, the same data and the same scaling.
    """
    from rgan.config import parse_settings
    from rgan.runs.find import select_each

    shares = _numbers(weights)
    settings = parse_settings(set_ or [])
    found = select_each(names, runs)

    from rgan.workflow.average import average_runs

    run = average_runs(
        found,
        weights=shares,
        which=checkpoint,
        greedy=greedy,
        settings=settings,
        name=name,
        command=shlex.join(["rgan", *sys.argv[1:]]),
        say=lambda text: typer.echo(text, err=True),
    )
    if run is None:
        return
    if quiet:
        typer.echo(str(run.path))
        return
    info = run.info
    called = {one.id: one.path.name for one in found}
    for parent, share in zip(info["parents"], info["average"]["weights"], strict=True):
        typer.echo(f"{share:.3f}  {called[parent['id']]}, step {parent['step']:,}")
    typer.echo(f"averaged: {run.path}")
    typer.echo(f"evaluate:  rgan evaluate {shlex.quote(str(run.path))}")


def _numbers(words: str) -> list[float] | None:
    from rgan.errors import ConfigError

    if not words:
        return None
    try:
        return [float(word) for word in words.split(",")]
    except ValueError as error:
        raise ConfigError(
            f'--weights is "{words}"', rule="numbers with commas", repair="--weights 0.7,0.3"
        ) from error


def _done(path: Path, originals: list[str], quiet: bool) -> None:
    if quiet:
        typer.echo(str(path))
        return
    typer.echo(f"combined: {path}")
    typer.echo(f"moved to {path.parent / 'archive'}: {', '.join(originals)}")


def prune(
    globs: Annotated[
        list[str], typer.Argument(help="Paths, globs, or beginnings of names or ids.")
    ],
    keep: Annotated[
        str, typer.Option(help="best or another mark, last, the newest N, step:1200.")
    ] = "best,last,3",
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it, only say what.")] = False,
    runs: o.Runs = "runs",
    quiet: o.Quiet = False,
) -> None:
    """Remove checkpoints, or say which would go.

    The last good checkpoint always stays: what stays is read and its hashes are checked, and a
    damaged one counts for nothing. Runs in training are left alone. What killed writers left
    behind goes too.
    """
    from rgan.runs.prune import Keep
    from rgan.runs.select import select

    wanted = Keep.of(keep)
    paths = select(globs, runs)

    from rgan.runs.prune import plan, remove_leftovers, root_leftovers
    from rgan.runs.prune import prune as remove

    total = count = 0
    for path in paths:
        pruning = plan(path, wanted)
        if yes and pruning.going:
            pruning = remove(pruning)
        total, count = total + pruning.bytes, count + len(pruning.going)
        _say_pruning(pruning, quiet)
    left = root_leftovers({Path(runs), *(path.parent for path in paths)})
    if yes:
        remove_leftovers(left)
    for path, left_bytes in left.items():
        total, count = total + left_bytes, count + 1
        typer.echo(f"{path}  left behind")
    said = f"{size(total)} in {count} checkpoints and leftovers"
    if not count:
        typer.echo("nothing to remove")
    elif yes:
        typer.echo(f"removed {said}")
    else:
        typer.echo(f"{said} would go; to remove them, the same with --yes")


def _say_pruning(pruning: Pruning, quiet: bool) -> None:
    if pruning.notes or (pruning.going and not quiet):
        typer.echo(pruning.run.path.name)
    for note in pruning.notes:
        typer.echo(f"  {note}")
    if quiet:
        return
    for path, count in pruning.going.items():
        typer.echo(f"  goes   {path.name}  {size(count)}")
    if pruning.going and pruning.staying:
        typer.echo(f"  stays  {', '.join(f'{step:08d}' for step in pruning.staying)}")
