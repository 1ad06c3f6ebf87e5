"""Which parts of a run are copied: ``--only checkpoints:best,latest,history,figures``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rgan.errors import ConfigError, nearest
from rgan.runs.moving.survey import HISTORY, MARK, RUN_JSON, STEP

_FILES = {
    "history": (HISTORY,),
    "figures": ("figures/",),
    "samples": ("samples/",),
    "tensorboard": ("tensorboard/",),
    "evaluation": ("evaluation.json", "privacy.json", "report.html"),
}
_ALWAYS = (RUN_JSON, "config.toml")


@dataclass(frozen=True)
class Parts:
    """The parts that are wanted.

    Args:
        named: parts by name; None is all.
        checkpoints: marks and steps; None is all, where checkpoints are wanted.
    """

    named: frozenset[str] | None = None
    checkpoints: frozenset[str] | None = None

    def file(self, path: str) -> bool:
        """Whether this file of a run is wanted; run.json and config.toml always are."""
        if self.named is None or path in _ALWAYS:
            return True
        prefixes = tuple(p for name in self.named for p in _FILES.get(name, ()))
        return any(path == p or (p.endswith("/") and path.startswith(p)) for p in prefixes)

    def checkpoint(self, name: str, marks: Mapping[str, str]) -> bool:
        """Whether the checkpoint in this folder is wanted."""
        if self.named is not None and "checkpoints" not in self.named:
            return False
        if self.checkpoints is None:
            return True
        called = {mark for mark, folder in marks.items() if folder == name}
        return bool(called & self.checkpoints) or str(int(name)) in self.checkpoints


def parse_only(text: str | None) -> Parts:
    """What ``--only`` means. Words after "checkpoints:" that are no part are checkpoints too.

    Raises:
        ConfigError: a word is neither a part, a mark nor a step.

    >>> sorted(parse_only("checkpoints:best,latest,history").checkpoints)
    ['best', 'latest']
    """
    if text is None:
        return Parts()
    known = {"checkpoints", *_FILES}
    named: set[str] = set()
    which: set[str] = set()
    every = in_list = False
    for word in (piece.strip() for piece in text.split(",")):
        part, colon, first = word.partition(":")
        if part in known and (not colon or part == "checkpoints"):
            named.add(part)
            in_list = part == "checkpoints" and bool(colon)
            every |= part == "checkpoints" and not colon
            word = first if colon else ""
        elif not in_list:
            raise ConfigError(f'--only "{word}" is no part of a run', rule=nearest(part, known))
        if word == "all":
            every = True
        elif word:
            which.add(_which(word))
    return Parts(frozenset(named), None if every or not which else frozenset(which))


def _which(word: str) -> str:
    if word.isascii() and word.isdigit() and len(word) <= 20:
        return str(int(word))
    if MARK.fullmatch(word) and not STEP.fullmatch(word):
        return word
    raise ConfigError(
        f'"{word}" is no checkpoint',
        rule="a checkpoint is named by its mark (best, latest) or its step",
        repair="--only checkpoints:best,latest,history,figures",
    )
