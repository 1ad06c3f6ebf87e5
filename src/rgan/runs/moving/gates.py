"""Where at DEST a run goes, and whether it may."""

from __future__ import annotations

from rgan.errors import RunError
from rgan.runs.lock import holder
from rgan.runs.moving.ends import End, joined
from rgan.runs.moving.faults import ConnectionLost
from rgan.runs.moving.manifest import Manifest
from rgan.runs.moving.places import Place
from rgan.runs.moving.survey import LOCK, Copy, folders_of_runs, is_safe, read_copy


class Gate:
    """Knows DEST, and refuses what would do harm there.

    Args:
        dest: the end.
        here, there: SOURCE and DEST as they are called.
    """

    def __init__(self, dest: End, here: Place, there: Place) -> None:
        self.dest, self.here, self.there = dest, here, there
        self._ids: dict[str, str] | None = None  # id to folder, of all runs at DEST
        self._folders: list[str] | None = None  # of DEST, when the round began
        self._done: dict[str, str] = {}  # id to folder, of the runs of SOURCE seen so far

    def target(self, name: str, source: Copy) -> str:
        """The folder at DEST of this run: one that has its id, else the one of its name.

        Raises:
            RunError: DEST is another run.
        """
        if not is_safe(name):
            raise RunError(f"{name!r} cannot be the name of a run", rule="a plain folder name")
        twin = self._done.setdefault(source.id, name)
        if twin != name:
            raise RunError(
                f'"{name}" and "{twin}" are copies of one run (id {source.id})',
                rule="a run is copied from one folder",
                repair=f'rgan runs sync "{self.here.shown}" DEST --include "{twin}"',
            )
        if self._folders is None:
            try:
                self._folders = folders_of_runs(self.dest)
            except (FileNotFoundError, NotADirectoryError):
                self._folders = []
        folders = self._folders
        if folders == [""] or (source.path == "" and self.there.name == name):
            return ""
        if name in folders:
            existing = read_copy(self.dest, name)
            if existing is None or existing.id == source.id:
                return name
        if self._ids is None:
            self._ids = {}
            for folder in folders:
                try:
                    copy = read_copy(self.dest, folder)
                except ConnectionLost:
                    raise
                except RunError:
                    continue  # whatever it is, it is not this run
                if copy is not None:
                    self._ids.setdefault(copy.id, folder)
        return self._ids.get(source.id, name)

    def check_folder(
        self, source: Copy, existing: Copy | None, dest: Copy, manifest: Manifest
    ) -> None:
        """Refuses a folder at DEST that is something else.

        Raises:
            RunError: it is another run, or no run and not empty.
        """
        shown = f"{self.there.shown.rstrip('/')}/{dest.path}".rstrip("/")
        other = existing.id if existing is not None else manifest.run
        if other and other != source.id:
            raise RunError(
                f'"{shown}" is another run (id {other}, not {source.id})',
                rule="a run is copied onto itself or into a new folder",
                repair="name another folder as DEST, or rename the one that is there",
            )
        if existing is None and not manifest.run and dest.tree:
            raise RunError(
                f'"{shown}" is not a run and not empty',
                rule="a run is copied onto itself or into a new folder",
                repair="name another folder as DEST, or move away the one that is there",
            )

    def check_free(self, dest: Copy) -> None:
        """Refuses to write a run that is being trained at DEST.

        Raises:
            RunError: its lock is held; or, on another machine, is there.
        """
        shown = f"{self.there.shown.rstrip('/')}/{dest.path}".rstrip("/")
        if LOCK not in dest.tree:
            return
        if self.dest.local is not None:
            who = holder(self.dest.local / dest.path)
            if who is None or who.alive is False:
                return
            found = f'"{shown}" is being trained by {who}'
        else:
            found = f'"{shown}" has a {LOCK}: somebody may be training it'
        raise RunError(
            found,
            rule="one process at a time writes a run",
            repair=f'wait; or if that process is gone: rm "{shown}/{LOCK}"',
        )

    def apart(self, source: Copy, target: str) -> RunError:
        there = joined(self.there.shown.rstrip("/"), target)
        aside = f"{self.there.shown.rstrip('/')}-apart"
        return RunError(
            f'"{source.at("") or self.here.shown}" and "{there}" are one run (id {source.id}) that '
            "was trained on at both places",
            rule="a copy is only ever replaced by one that goes on from it",
            reason="either would lose steps that only it has",
            repair=f'rgan runs sync "{self.here.shown}" "{aside}"',
        )
