"""Finding the run that a user means by a path, a pattern, a few letters, or "latest"."""

from __future__ import annotations

import glob
from pathlib import Path

from rgan.errors import RunError, nearest
from rgan.runs.folder import Run
from rgan.runs.lineage import newest_first


def find_run(text: str | Path, root: str | Path = "runs", *, newest: bool | None = None) -> Run:
    """The one run that ``text`` means.

    Args:
        text: the path of a run folder; "latest", the run trained last by its run.json; a glob, from
            here or from ``root``; or the beginning of a run's path, folder name, name or id.
        root: the folder of all runs.
        newest: take the newest where several match: the youngest of a lineage, and of unrelated
            ones that trained last. None where the caller offers no such choice.

    Raises:
        RunError: no run or several match (newest first), or the run cannot be used.
    """
    text, root = str(text), Path(root)
    if (Path(text) / "run.json").is_file():
        return Run.open(text)
    if text == "latest":
        return _latest(root)
    if glob.has_magic(text):
        matches = _by_glob(text, root)
    elif Path(text).exists():
        return Run.open(text)  # which says why it is not one
    elif "/" in text:
        matches = _by_glob(f"{glob.escape(text)}*", Path())
        if not matches:
            return Run.open(text)
    else:
        matches = _by_beginning(text, root)
    if len(matches) == 1:
        return Run.open(matches[0])
    if not matches:
        raise _none(text, root)
    runs = _newest_first(matches)
    if newest and runs:
        return runs[0]
    raise RunError(
        f'"{text}" matches {len(matches)} runs, newest first:\n'
        + "\n".join(f"    {run.path}" for run in runs),
        rule="one run is meant",
        repair=("--newest, which takes the first" if newest is not None else f'"{runs[0].path}"')
        if runs
        else "",
    )


def list_runs(root: str | Path = "runs") -> list[Run]:
    """The runs in a folder, the one trained last first; folders that cannot be read are left out.

    Args:
        root: the folder of all runs; it need not exist.
    """
    return _newest_first(_folders(Path(root)))


def _folders(root: Path) -> list[Path]:
    # What begins with a dot is being made, or was left by a crash.
    found = (path.parent for path in root.glob("*/run.json"))
    return sorted(folder for folder in found if not folder.name.startswith("."))


def _newest_first(folders: list[Path]) -> list[Run]:
    readable = []
    for folder in folders:
        try:
            Run(folder).info  # noqa: B018  reading it is the check
        except RunError:
            continue
        readable.append(Run(folder))
    return newest_first(readable)


def _latest(root: Path) -> Run:
    runs = list_runs(root)
    if not runs:
        raise _none("latest", root)
    return runs[0]


def _by_glob(pattern: str, root: Path) -> list[Path]:
    found = {
        Path(path).resolve(): Path(path)
        for wanted in (pattern, str(root / pattern))
        for path in glob.glob(wanted)  # noqa: PTH207  patterns may be absolute
        if (Path(path) / "run.json").is_file()
    }
    return sorted(found.values())


def _by_beginning(text: str, root: Path) -> list[Path]:
    names: dict[Path, set[str]] = {folder: {folder.name} for folder in _folders(root)}
    for run in _newest_first(list(names)):
        info = run.info
        names[run.path] |= {str(info["id"]), str(info["name"])}
    exact = [folder for folder, called in names.items() if text in called]
    if exact or not text:
        return exact
    return [folder for folder, called in names.items() if any(n.startswith(text) for n in called)]


def _none(text: str, root: Path) -> RunError:
    folders = _folders(root)
    if not folders:
        return RunError(
            f'no run "{text}": there are no runs in "{root}"',
            rule="a run is named by its path, a glob, the beginning of its name or id, or latest",
            repair="rgan train icu, or name the folder of runs with --runs DIR",
        )
    hint = nearest(text, {folder.name for folder in folders[-5:]})
    return RunError(
        f'no run "{text}" among the {len(folders)} in "{root}"; {hint}',
        rule="a run is named by its path, a glob, the beginning of its name or id, or latest",
        repair=f'rgan runs list --runs "{root}"',
    )
