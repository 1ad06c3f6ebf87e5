"""The runs that patterns mean: folders, globs, and the beginnings of names and ids."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from rgan.errors import RunError, nearest
from rgan.runs.atomic import REPLACED, TEMPORARY
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
        meant = matches(pattern, root)
        if not meant:
            raise no_match(pattern, root)
        for path in meant:
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _is_run(path: Path) -> bool:
    return any((path / sign).exists() for sign in _SIGNS)


def matches(pattern: str, root: Path) -> list[Path]:
    """The folders that one pattern means, damaged runs among them; it may be none."""
    here = Path(pattern)
    if _is_run(here):
        return [here]
    if here.is_dir() and run_folders(here):
        return run_folders(here)
    if glob.has_magic(pattern):
        return _globbed(pattern, str(root / pattern))
    if "/" in pattern:
        return _globbed(f"{glob.escape(pattern)}*")
    called = {path: _names(path) for path in run_folders(root)}
    exact = [path for path, names in called.items() if pattern in names]
    if exact or not pattern:
        return exact
    return [path for path, names in called.items() if any(n.startswith(pattern) for n in names)]


def _globbed(*patterns: str) -> list[Path]:
    """The runs that any of these matches, none twice; not what is being made or was left over."""
    found = [Path(path) for pattern in patterns for path in sorted(glob.glob(pattern))]  # noqa: PTH207
    runs = [p for p in found if _is_run(p) and not p.name.startswith((TEMPORARY, REPLACED))]
    return list({path.resolve(): path for path in runs}.values())


def _names(path: Path) -> set[str]:
    try:
        info = read_info(path / "run.json")
    except (RunError, RecursionError):
        return {path.name}
    return {path.name, text(info["id"]), text(info["name"])} - {""}


def no_match(pattern: str, root: Path) -> RunError:
    """What to say where a pattern means no run."""
    rule = "a run is named by its path, a glob, the beginning of its name or id, or latest"
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
