"""The errors a user can meet, as a tree.

    RganError                  anything this package raises on purpose     exit code 1
    ├── InputError             what was asked cannot be done as asked      exit code 2
    │   ├── DataError          the data breaks a rule
    │   │   └── SourceError    the data is not there, or not readable
    │   ├── ConfigError        a setting breaks a rule
    │   └── RunError           a run folder or checkpoint cannot be used
    │       └── StorageError   what is to be kept cannot be written      exit code 1
    └── TrainingError          training went wrong while it ran            exit code 1
        └── DivergedError      a loss or a weight is no longer finite

Every message has up to four parts: what was found (the value), the rule it breaks, the reason for
the rule, and a line to paste that repairs it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RganError(Exception):
    """Base of all errors that this package raises on purpose.

    Args:
        found: what was found, with the value, in one sentence.
        rule: what is required instead.
        reason: why the rule exists, where that is not plain.
        repair: a line to paste, or a step to take.
    """

    exit_code = 1

    def __init__(self, found: str, *, rule: str = "", reason: str = "", repair: str = "") -> None:
        self.found, self.rule, self.reason, self.repair = found, rule, reason, repair
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """The whole error as lines of plain text."""
        parts = [self.found]
        if self.rule:
            parts.append(f"  rule: {self.rule}")
        if self.reason:
            parts.append(f"  why:  {self.reason}")
        if self.repair:
            parts.append(f"  try:  {self.repair}")
        return "\n".join(parts)


class InputError(RganError, ValueError):
    """What was asked cannot be done as it was asked; nothing has been changed."""

    exit_code = 2


class DataError(InputError):
    """The data breaks a rule; the message names row and column."""


class SourceError(DataError):
    """The data is not there, or is not in a form that can be read."""


class ConfigError(InputError):
    """A setting is unknown or breaks a rule."""


class RunError(InputError):
    """A run folder or a checkpoint is missing, damaged, or not one."""


class StorageError(RunError):
    """What is to be kept cannot be written: a full disk, or a folder that may not be written."""

    exit_code = 1


class TrainingError(RganError):
    """Training went wrong while it ran; what was saved before stays."""


class DivergedError(TrainingError):
    """A loss or a weight is no longer finite, or a training is ill in another way.

    Attributes:
        networks: whose learning rate is to blame.
        rollback: whether the training is to go back to its last checkpoint and on from there.
    """

    networks: tuple[str, ...] = ("generator", "critic")
    rollback: bool = False


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint naming the known word nearest to ``word``, or all of them if none is near.

    >>> nearest("mnits", ["mnist", "icu"])
    'did you mean "mnist"?'
    """
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known: {', '.join(words)}"
