"""``rgan runs sync``: runs from a cluster to a laptop and back."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from rgan.cli import options as o

if TYPE_CHECKING:
    from rgan.runs.moving.sync import Line, Outcome, Watcher, Wishes

_WAITS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 60.0)  # seconds before trying again, ever longer
_TRIES = 4  # in a row without one byte arriving, where nobody asked to watch

From = Annotated[str, typer.Argument(help="A run, or a folder of runs: PATH, user@host:PATH, URL.")]
To = Annotated[str, typer.Argument(help="The folder of runs to copy to; or a copy of the run.")]
Only = Annotated[
    str | None, typer.Option(help="Parts: checkpoints:best,latest,history,figures,samples,...")
]
Include = Annotated[
    list[str] | None, typer.Option(help="Pattern of runs' names or ids; repeatable.")
]
Option = Annotated[
    list[str] | None,
    typer.Option("--option", help="key=value for what reaches the other machine; repeatable."),
]


def sync(
    source: From,
    dest: To,
    watch: Annotated[bool, typer.Option("--watch", help="Go on until training ends.")] = False,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 30.0,
    only: Only = None,
    include: Include = None,
    option: Option = None,
    hashes: Annotated[bool, typer.Option("--hashes", help="Compare all by SHA-256.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    quiet: o.Quiet = False,
) -> None:
    """Copy runs to or from another machine: only what is new, never newer by older."""
    from rgan.runs.moving.parts import parse_only
    from rgan.runs.moving.places import parse_options, parse_place
    from rgan.runs.moving.sync import Line, Wishes

    for_source, for_dest = parse_options(option or [])
    line = Line(parse_place(source, for_source), parse_place(dest, for_dest))
    wishes = Wishes(parse_only(only), tuple(include or ()), hashes, dry_run)
    with _stoppable(), line:
        code = _Sync(line, wishes, quiet).run(watch and not dry_run, interval)
    if code:
        raise typer.Exit(code)


class _Sync:
    """Rounds of copying, with what is printed about them."""

    def __init__(self, line: Line, wishes: Wishes, quiet: bool) -> None:
        self.line, self.wishes, self.quiet = line, wishes, quiet
        self._moved = False  # whether bytes arrived since the last failure
        self._busy = False  # whether a round is going on

    def run(self, watch: bool, interval: float) -> int:
        """Copies once, or until training has ended; gives the exit code."""
        code, said = 1, ""
        try:
            while True:
                outcomes = self._round(watch)
                code = exit_code(outcomes)
                summary = told(outcomes, self.wishes.dry)
                if summary != said and not (said and not any(o.files for o in outcomes)):
                    typer.echo(summary)
                said = summary
                if not watch or not any(o.training for o in outcomes):
                    return code
                time.sleep(interval)
        except KeyboardInterrupt:
            clean = code == 0 and not self._busy
            print(
                "stopped; what has arrived is kept, and the same command goes on from there",
                file=sys.stderr,
            )
            return 0 if clean else 1

    def _round(self, watch: bool) -> list[Outcome]:
        """One round; where the line is cut, it is tried again."""
        from rgan.runs.moving.faults import ConnectionLost

        failed = 0
        while True:
            self._busy, self._moved = True, False
            try:
                with progress(self.quiet, self._note_moved) as watcher:
                    outcomes = self.line.round(self.wishes, watcher)
            except ConnectionLost as error:
                failed = 1 if self._moved else failed + 1
                if not self.line.reached or (not watch and failed >= _TRIES):
                    raise  # a place that was never reached has a wrong name, most likely
                wait = _WAITS[min(failed, len(_WAITS)) - 1]
                print(f"{error.found}; again in {wait:g} s", file=sys.stderr, flush=True)
                time.sleep(wait)
            else:
                self._busy = False
                return outcomes

    def _note_moved(self) -> None:
        self._moved = True


def exit_code(outcomes: list[Outcome]) -> int:
    """0 where DEST has all it may take; 2 where every run was refused; else 1."""
    if all(outcome.clean for outcome in outcomes):
        return 0
    return 2 if all(outcome.refused is not None for outcome in outcomes) else 1


def told(outcomes: list[Outcome], dry: bool) -> str:
    """What is printed after a round: what is special about a run, then the sums."""
    lines = []
    for outcome in outcomes:
        if outcome.refused is not None:
            lines.append(f"{outcome.name}: refused\n  {outcome.refused.message}")
        if dry and outcome.files:
            lines.append(f"{outcome.name}: {outcome.files} files, {size(outcome.bytes)}")
        lines += [f"{outcome.name}: {text}" for text in outcome.notes + outcome.damaged]
    files, data = sum(x.files for x in outcomes), sum(x.bytes for x in outcomes)
    parts = [
        f"{len(outcomes)} run{'s' * (len(outcomes) != 1)}",
        f"{files} file{'s' * (files != 1)} {'to copy' if dry else 'copied'} ({size(data)})",
        f"{sum(x.skipped for x in outcomes)} already there",
    ]
    for count, what in (
        (sum(x.ahead for x in outcomes), "newer at DEST, left alone"),
        (sum(x.refused is not None for x in outcomes), "refused"),
        (sum(bool(x.damaged) for x in outcomes), "not whole"),
    ):
        parts += [f"{count} {what}"] if count else []
    return "\n".join([*lines, ", ".join(parts)])


def size(count: int) -> str:
    """Bytes for people: "1.5 MB"."""
    amount = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "bytes" else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("GB is the last unit")


@contextmanager
def progress(quiet: bool, moved: Any) -> Iterator[Watcher]:
    """A bar of bytes on a terminal; elsewhere nothing."""
    from rgan.runs.moving.sync import Watcher

    if quiet or not sys.stderr.isatty():
        yield Watcher(advance=lambda count: moved() if count > 0 else None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("looking", total=None)
        due = 0

        def expect(count: int) -> None:
            nonlocal due
            due += count
            bar.update(task, total=due or None)

        def advance(count: int) -> None:
            if count > 0:
                moved()
            bar.advance(task, count)

        yield Watcher(lambda name: bar.update(task, description=name[-40:]), expect, advance)


@contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM ends it as Ctrl-C does."""

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
