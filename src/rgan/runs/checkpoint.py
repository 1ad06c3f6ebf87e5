"""Checkpoints: tensors as safetensors, everything else as JSON, whole or not at all.

    checkpoints/
      00001200/  model.safetensors  optimizer.safetensors  state.json
      latest     the name of a checkpoint, as text; so are "best" and other marks

``state.json`` holds the size and SHA-256 of each tensor file, and of itself, so damage is noticed
before anything is used. Nothing is pickled: loading a stranger's checkpoint runs no code.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from rgan.errors import ConfigError, RunError
from rgan.runs import atomic
from rgan.runs.info import utc_now
from rgan.runs.sealed import (
    NAME,
    SCHEMA,
    Checkpoint,
    check_plain,
    read_checkpoint,
    seal,
    serial_of,
    to_bytes,
)

__all__ = ["Checkpoint", "CheckpointStore"]

LOOKS = 5
"""How often a run that is being written is looked at before it is said to have nothing."""
_FOLDER = re.compile(r"[0-9]{8,20}")


class CheckpointStore:
    """The checkpoints of one run. One process writes; any number may read meanwhile.

    Args:
        folder: ``Run.checkpoints``; made by the first save.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    # -- writing -----------------------------------------------------------------------------

    def save(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, torch.Tensor]],
        state: Mapping[str, Any],
        *,
        keep: int = 3,
    ) -> Path:
        """Writes a checkpoint, points ``latest`` to it, and removes old ones.

        Args:
            step: generator updates made; a checkpoint of the same step is replaced.
            tensors: groups by name, each a file; any dtype, device, view or shared memory.
            state: JSON data with text keys; tuples come back as lists.
            keep: how many of the last saved stay; marked ones stay besides.

        Returns:
            The checkpoint's folder.

        Raises:
            ConfigError: ``keep`` is below 1.
            RunError: it cannot be written; the checkpoints before it are untouched.
            TypeError: the state is not JSON data; nothing has been written.
        """
        if keep < 1:
            raise ConfigError(f"keep is {keep}", rule="at least one checkpoint is kept")
        check_plain(state, "state")
        files = {f"{group}.safetensors": to_bytes(group, t) for group, t in tensors.items()}
        with atomic.explain_os_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic.clean(self.folder)
        document = seal(
            {
                "schema": SCHEMA,
                "step": int(step),
                "serial": 1 + max((serial_of(path) for path in self._folders()), default=0),
                "saved": utc_now(),
                "files": {
                    name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                    for name, data in files.items()
                },
                "state": dict(state),
            }
        )
        target = self.folder / f"{int(step):08d}"
        self._write_folder(target, {**files, "state.json": document})
        atomic.write_text(self.folder / "latest", f"{target.name}\n")
        self._prune(keep)
        return target

    def _write_folder(self, target: Path, files: Mapping[str, bytes]) -> None:
        temporary = self.folder / f"{atomic.TEMPORARY}{secrets.token_hex(4)}"
        try:
            with atomic.explain_os_errors(target):
                temporary.mkdir()
                for name, data in files.items():
                    atomic.write_synced(temporary / name, data)
            atomic.replace_folder(temporary, target)
        except BaseException:  # a full disk and Ctrl-C alike leave nothing behind
            shutil.rmtree(temporary, ignore_errors=True)
            raise

    def _prune(self, keep: int) -> None:
        marked = set(self.marks().values())
        newest_first = sorted(self._folders(), key=serial_of, reverse=True)
        for path in newest_first[keep:]:
            if path.name not in marked:
                # renamed first, so that a reader never sees a checkpoint with half its files
                aside = self.folder / f"{atomic.TEMPORARY}{path.name}"
                with atomic.explain_os_errors(path):
                    path.rename(aside)
                shutil.rmtree(aside, ignore_errors=True)

    def mark(self, step: int, name: str) -> None:
        """Gives the checkpoint of ``step`` a name, under which it loads and for which it stays.

        Raises:
            RunError: there is no checkpoint of that step.
            ValueError: the name is "latest", a number, or not a word.
        """
        if name == "latest" or not NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be a mark")
        atomic.write_text(self.folder / name, f"{self._named(step).name}\n")

    def mark_best(self, step: int) -> None:
        """Marks the checkpoint of ``step`` as "best".

        Raises:
            RunError: there is no checkpoint of that step.
        """
        self.mark(step, "best")

    # -- reading -----------------------------------------------------------------------------

    def steps(self) -> list[int]:
        """The steps of all checkpoints, ascending."""
        return sorted(int(path.name) for path in self._folders())

    def marks(self) -> dict[str, str]:
        """Mark to the name of its checkpoint's folder, {"latest": "00001200", ...}."""
        if not self.folder.is_dir():
            return {}
        found = {}
        for path in sorted(self.folder.iterdir()):
            if path.is_file() and NAME.fullmatch(path.name):
                text = _line(path)
                if _FOLDER.fullmatch(text):
                    found[path.name] = text
        return found

    def load(self, which: str | int = "latest") -> Checkpoint:
        """Reads a checkpoint, checking every byte against its hash.

        Args:
            which: "latest", where a damaged checkpoint is passed over for the one saved before it,
                and ``warning`` says so; "best" or another mark; or a step, as number or text.

        Raises:
            RunError: there is none, or the one asked for (for "latest": every one) is damaged.
        """
        if which != "latest":
            return read_checkpoint(self._named(which))
        for _ in range(LOOKS):
            candidates = self._latest_first()
            found, problems = _first_sound(candidates)
            if found is not None:
                return replace(found, warning=_passed_over(problems, found.step))
            if self._latest_first() == candidates:
                break
            # What was listed was taken away meanwhile: the run is being written, or synced.
        if not problems:
            raise self._empty()
        raise RunError(
            "no checkpoint can be used:\n" + "\n".join(f"    {problem}" for problem in problems),
            rule="every file of a checkpoint is as it was written",
            repair=f'restore "{self.folder}" from a copy of the run; '
            "where a newer version wrote it: pip install --upgrade rgan",
        )

    def _folders(self) -> list[Path]:
        """Every checkpoint's folder, with those that a crash left moved aside."""
        if not self.folder.is_dir():
            return []
        named = [p for p in self.folder.iterdir() if p.is_dir() and _FOLDER.fullmatch(p.name)]
        return sorted(named)

    def _latest_first(self) -> list[Path]:
        pointed = self.marks().get("latest")
        aside = [p for n, p in atomic.set_aside(self.folder).items() if _FOLDER.fullmatch(n)]
        paths = sorted([*self._folders(), *aside], key=serial_of, reverse=True)
        return sorted(paths, key=lambda path: path.name != pointed)  # stable: the rest stay in turn

    def _named(self, which: str | int) -> Path:
        if isinstance(which, str) and which.isascii() and which.isdigit():
            which = int(which)  # as a command line has it
        if isinstance(which, int):
            path = self.folder / f"{which:08d}"
            if path.is_dir():
                return path
            found = f'there is no checkpoint of step {which} in "{self.folder}"'
        else:
            name = self.marks().get(which)
            if name is not None:
                return self.folder / name
            found = f'no checkpoint in "{self.folder}" is marked "{which}"'
        if not self._folders():
            raise self._empty()
        known = [*self.marks(), *map(str, self.steps())]
        raise RunError(found, rule=f"a checkpoint is one of {', '.join(known)}")

    def _empty(self) -> RunError:
        return RunError(
            f'there is no checkpoint in "{self.folder}"',
            rule="a checkpoint is written while training goes on",
            repair="train the run for longer, or choose another: rgan runs list",
        )


def _first_sound(candidates: list[Path]) -> tuple[Checkpoint | None, list[str]]:
    """The first that can be read, and what is wrong with those before it; one that is gone by now
    was replaced and not damaged."""
    problems: list[str] = []
    for path in candidates:
        try:
            return read_checkpoint(path), problems
        except RunError as error:
            if path.is_dir():
                problems.append(error.found)
    return None, problems


def _line(path: Path) -> str:
    try:
        return atomic.read_bytes(path, 1024).decode("ascii").strip()
    except (OSError, ValueError):
        return ""


def _passed_over(problems: list[str], step: int) -> str:
    if not problems:
        return ""
    return "; ".join(problems) + f". The checkpoint of step {step} is used instead."
