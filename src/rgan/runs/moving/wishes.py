"""What is asked of a copy, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rgan.errors import RunError
from rgan.runs.moving.parts import Parts


@dataclass(frozen=True)
class Wishes:
    """What is to be copied and how.

    Args:
        parts: which parts of a run.
        include: patterns of folder names, ids or names; a run that matches one is copied.
        hashes: compare everything by its SHA-256.
        dry: only say what would be copied.
    """

    parts: Parts = field(default_factory=Parts)
    include: tuple[str, ...] = ()
    hashes: bool = False
    dry: bool = False


@dataclass
class Outcome:
    """What became of one run.

    Args:
        name: its folder at DEST.
        files, bytes: how many were copied, or would be.
        skipped: how many were there already.
        ahead: DEST is newer, so it was left alone.
        refused: why nothing was copied.
        notes: what else is to be said.
        damaged: what could not be copied, and why.
        training: whether the source says that it is running.
    """

    name: str
    files: int = 0
    bytes: int = 0
    skipped: int = 0
    ahead: bool = False
    refused: RunError | None = None
    notes: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    training: bool = False

    @property
    def clean(self) -> bool:
        """Whether DEST has now all that SOURCE has and DEST may take."""
        return self.refused is None and not self.damaged


@dataclass(frozen=True)
class Watcher:
    """Is told how a round goes on: the run at hand, more bytes to copy, more bytes copied."""

    run: Callable[[str], None] = lambda name: None
    expect: Callable[[int], None] = lambda count: None
    advance: Callable[[int], None] = lambda count: None
