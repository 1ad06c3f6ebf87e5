"""Copying runs between two places, in one round or in many over one connection."""

from __future__ import annotations

import contextlib
from pathlib import Path

from rgan.errors import RunError
from rgan.runs.moving.ends import End
from rgan.runs.moving.faults import ConnectionLost
from rgan.runs.moving.places import Place, open_end
from rgan.runs.moving.round import Round
from rgan.runs.moving.survey import RUN_JSON
from rgan.runs.moving.wishes import Outcome, Watcher, Wishes

__all__ = ["Line", "Outcome", "Watcher", "Wishes", "check_apart", "sync"]


def sync(
    source: Place, dest: Place, wishes: Wishes | None = None, watcher: Watcher | None = None
) -> list[Outcome]:
    """Copies what is new from one place to another; can be broken off and called again at any time.

    Args:
        source: a run folder or a folder of runs.
        dest: a folder of runs; or a run folder, which takes the one run of SOURCE.
        wishes: which parts, which runs.
        watcher: is told how it goes.

    Returns:
        What became of each run.

    Raises:
        ConnectionLost: one side does not answer any more; what has arrived is kept.
        RunError: there is no run at SOURCE, or a place cannot be used.
        StorageError: DEST cannot be written.
    """
    with Line(source, dest) as line:
        return line.round(wishes or Wishes(), watcher or Watcher())


class Line:
    """The connection between two places; it stays open from one round to the next.

    Args:
        source, dest: the places.

    Raises:
        RunError: one lies in the other.
    """

    def __init__(self, source: Place, dest: Place) -> None:
        check_apart(source, dest)
        self.source, self.dest = source, dest
        self._ends: list[End] = []
        self.reached = False
        """Whether both ends have answered once."""

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of both ends; the next round connects anew."""
        while self._ends:
            with contextlib.suppress(Exception):  # a line that is cut cannot be closed well
                self._ends.pop().close()

    def round(self, wishes: Wishes, watcher: Watcher) -> list[Outcome]:
        """Copies what is new; raises as ``sync`` does."""
        try:
            for place in (self.source, self.dest)[len(self._ends) :]:
                self._ends.append(open_end(place))
            self.reached = True
            for end in self._ends:
                end.refresh()
            here, there = self._ends
            return Round(here, there, self.source, self.dest, wishes, watcher).all()
        except ConnectionLost:
            self.close()
            raise


def check_apart(source: Place, dest: Place) -> None:
    """Refuses to copy a folder into itself.

    Raises:
        RunError: one folder of this machine holds the other.
    """
    if source.kind != dest.kind:
        return
    if source.kind == "local":
        here, there = Path(source.path).resolve(), Path(dest.path).resolve()
        same = here == there or here in there.parents or there == here.parent
        same |= (here / RUN_JSON).is_file() and there == here
    else:
        same = (source.host, source.user, source.path) == (dest.host, dest.user, dest.path)
    if same:
        raise RunError(
            f'SOURCE "{source.shown}" and DEST "{dest.shown}" are one folder, or one in the other',
            rule="runs are copied from one folder to another",
        )
