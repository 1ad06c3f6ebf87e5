"""Finding the run that a user means by a path, a pattern, a few letters, or "latest"."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from rgan.errors import RunError
from rgan.runs.folder import Run
from rgan.runs.lineage import newest_first
from rgan.runs.select import matches, no_match, run_folders, select


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
    if Path(text).exists():
        return Run.open(text)  # which says why it is not one, here and below
    meant = matches(text, root)
    if not meant and "/" in text and not glob.has_magic(text):
        return Run.open(text)
    if not meant:
        raise no_match(text, root)
    if len(meant) == 1:
        return Run.open(meant[0])
    runs = _newest_first(meant)
    if newest and runs:
        return runs[0]
    raise RunError(
        f'"{text}" matches {len(meant)} runs, newest first:\n'
        + "\n".join(f"    {run.path}" for run in runs),
        rule="one run is meant",
        repair=("--newest, which takes the first" if newest is not None else f'"{runs[0].path}"')
        if runs
        else "",
    )


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


def list_runs(root: str | Path = "runs") -> list[Run]:
    """The runs in a folder, the one trained last first; folders that cannot be read are left out.

    Args:
        root: the folder of all runs; it need not exist.
    """
    return _newest_first(run_folders(root))


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
        raise no_match("latest", root)
    return runs[0]
