"""The runs that patterns mean: folders, globs, and the beginnings of names and ids."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from rgan.errors import RunError, nearest
from rgan.runs.atomic import REPLACED, TEMPORARY
from rgan.runs.find import find_run
from rgan.runs.folder import Run
from rgan.runs.info import read_info
from rgan.runs.lineage import text

_SIGNS = ("run.json", "config.toml", "history.jsonl", "checkpoints")
"""A folder with one of these is, or was, a run."""


def run_folders(root: str | Path) -> list[Path]:
    """The folders of runs in ``root``, also of those that have lost their run.json."""
    try:
        with os.scandir(root) as entries:
            names = [e.name for e in entries if e.is_dir() and not e.name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RunError(
            f'"{root}" cannot be read: {error.strerror}', rule="--runs names a folder of runs"
        ) from error
    return [Path(root, name) for name in sorted(names) if _is_run(Path(root, name))]


def select(patterns: Iterable[str], root: str | Path = "runs") -> list[Path]:
    """The folders of the runs that any of these patterns means.

    Args:
        patterns: paths of runs or of folders of runs, globs from here or from ``root``, beginnings
            of folder names, names or ids; none means every run of ``root``.
        root: the folder of all runs.

    Raises:
        RunError: a pattern means no run.
    """
    patterns, root = list(patterns), Path(root)
    if not patterns:
        return run_folders(root)
    found: dict[Path, Path] = {}
    for pattern in patterns:
        matches = _matches(pattern, root)
        if not matches:
            raise _none(pattern, root)
        for path in matches:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def select_each(words: Iterable[str], root: str | Path = "runs") -> list[Run]:
    """One run for each word, and all that a glob means, in the order given; none twice.

    Raises:
        RunError: a word means no run or several, or a run is damaged.
    """
    runs: dict[Path, Run] = {}
    for word in words:
        many = glob.has_magic(word) and not Path(word).exists()
        found = map(Run.open, select([word], root)) if many else [find_run(word, root)]
        for run in found:
            runs.setdefault(run.path.resolve(), run)
    return list(runs.values())


def _is_run(path: Path) -> bool:
    return any((path / sign).exists() for sign in _SIGNS)


def _matches(pattern: str, root: Path) -> list[Path]:
    here = Path(pattern)
    if _is_run(here):
        return [here]
    if here.is_dir() and run_folders(here):
        return run_folders(here)
    if glob.has_magic(pattern):
        return [
            Path(path)
            for wanted in (pattern, str(root / pattern))
            for path in sorted(glob.glob(wanted))  # noqa: PTH207  patterns may be absolute
            if _is_run(Path(path)) and not Path(path).name.startswith((TEMPORARY, REPLACED))
        ]
    called = {path: _names(path) for path in run_folders(root)}
    exact = [path for path, names in called.items() if pattern in names]
    if exact or not pattern:
        return exact
    return [path for path, names in called.items() if any(n.startswith(pattern) for n in names)]


def _names(path: Path) -> set[str]:
    try:
        info = read_info(path / "run.json")
    except (RunError, RecursionError):
        return {path.name}
    return {path.name, text(info["id"]), text(info["name"])} - {""}


def _none(pattern: str, root: Path) -> RunError:
    rule = "a path, a glob, or the beginning of a run's name or id"
    folders = run_folders(root)
    if not folders:
        return RunError(
            f'no run "{pattern}": there are no runs in "{root}"',
            rule=rule,
            repair="rgan train icu, or name the folder of runs with --runs DIR",
        )
    hint = nearest(pattern, {folder.name for folder in folders[-5:]})
    return RunError(
        f'no run "{pattern}" among the {len(folders)} in "{root}"; {hint}',
        rule=rule,
        repair=f'rgan runs list --runs "{root}"',
    )
