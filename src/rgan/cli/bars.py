"""Progress bars of commands that count something; silent where nobody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def counting(what: str, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; gives the function that advances it."""
    if quiet or not sys.stderr.isatty():
        yield lambda more: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda more: progress.advance(task, more)


@contextmanager
def stages(quiet: bool) -> Iterator[Callable[[int, int, str], None]]:
    """A bar of (done, total, what); on no terminal a line for each new ``what``."""
    if quiet:
        yield lambda done, total, what: None
        return
    if not sys.stderr.isatty():
        said: set[str] = set()

        def line(done: int, total: int, what: str) -> None:
            if what not in said:
                said.add(what)
                print(f"  {done}/{total} {what}", file=sys.stderr, flush=True)

        yield line
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("evaluating")
        yield lambda done, total, what: progress.update(
            task, completed=done, total=total, description=what
        )
