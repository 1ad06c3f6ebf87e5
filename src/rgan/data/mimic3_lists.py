"""Which stays a folder of mimic3-benchmarks lists, with what outcome and in which part.

The layout (Harutyunyan et al. 2019, "Multitask learning and benchmarking with clinical time series
data", Scientific Data 6:96): a folder with ``listfile.csv`` (columns stay, y_true) and a file for
each stay; or a task's folder with two of those, ``train`` and ``test``, and beside them, where the
training set has been divided, ``train_listfile.csv``, ``val_listfile.csv`` and
``test_listfile.csv``.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rgan.errors import DataError, SourceError

Part = Literal["", "train", "validation", "test"]
LIST = "listfile.csv"
HEADER = ["stay", "y_true"]
ROOT_LISTS: dict[str, Part] = {
    "train_listfile.csv": "train",
    "val_listfile.csv": "validation",
    "test_listfile.csv": "test",
}
STAY_NAME = re.compile(r"(\d+)_episode(\d+)_timeseries\.csv")


@dataclass(frozen=True)
class Listed:
    """One line of a list.

    Args:
        file: of the stay.
        died: y_true.
        part: "" where the folder has no parts.
        where: list and line, for messages.
    """

    file: Path
    died: int
    part: Part
    where: str

    @property
    def subject(self) -> int:
        """The patient, by the file's name."""
        match = STAY_NAME.fullmatch(self.file.name)
        if match is None:
            raise DataError(
                f'{self.where}: the stay is "{self.file.name}"',
                rule="stays are named SUBJECT_episodeNUMBER_timeseries.csv",
                reason="the subject is what the data are split by",
            )
        return int(match[1])


def is_mimic3(path: Path) -> bool:
    """Whether a folder looks like one of mimic3-benchmarks."""
    return any((path / name).is_file() for name in (LIST, f"train/{LIST}", f"test/{LIST}")) or any(
        (path / name).is_file() for name in ROOT_LISTS
    )


def read_lists(path: Path) -> tuple[list[Listed], list[str]]:
    """The stays of a folder, and notes on what is odd but harmless.

    Raises:
        SourceError: a list cannot be read or is one of another task.
        DataError: a stay is listed twice, listed and not there, or two lists disagree.
    """
    if (path / LIST).is_file():
        stays = _read_list(path / LIST, path, "")
    else:
        stays = [
            stay
            for part in ("train", "test")
            if (path / part / LIST).is_file()
            for stay in _read_list(path / part / LIST, path / part, part)
        ]
        stays = _with_root_lists(path, stays)
        parts = {stay.part for stay in stays}
        if not {"train", "test"} <= parts:  # nothing is held out by the folder itself
            stays = [replace(stay, part="") for stay in stays]
    _check_twice(stays)
    _check_there(stays)
    return stays, _notes(stays)


def _read_list(path: Path, folder: Path, part: Part) -> list[Listed]:
    try:
        lines = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f'"{path}" cannot be read: {error}', rule="a text file") from error
    name = f"{path.parent.name}/{path.name}"
    if not lines or [cell.strip() for cell in lines[0]] != HEADER:
        raise SourceError(
            f'"{name}" line 1 is "{",".join(lines[0] if lines else [])[:60]}"',
            rule=f'"{",".join(HEADER)}", as the in-hospital-mortality task writes it',
            reason="the lists of the other tasks have other columns",
        )
    stays = []
    for number, cells in enumerate(lines[1:], start=2):
        where = f'"{name}" line {number}'
        if not cells:
            continue
        if len(cells) != 2 or cells[1].strip() not in ("0", "1"):
            raise DataError(
                f'{where} is "{",".join(cells)[:80]}"',
                rule="the name of a stay, a comma, and 0 (survived) or 1 (died)",
            )
        stays.append(Listed(folder / cells[0].strip(), int(cells[1]), part, where))
    if not stays:
        raise DataError(f'"{name}" lists no stay', rule="at least one line under the header")
    _check_twice(stays)
    return stays


def _with_root_lists(path: Path, stays: list[Listed]) -> list[Listed]:
    """The lists beside ``train`` and ``test`` say who is validation; they must agree with them."""
    known = {stay.file: stay for stay in stays}
    seen: set[Path] = set()
    for name, part in ROOT_LISTS.items():
        if not (path / name).is_file():
            continue
        inside = path / ("test" if part == "test" else "train")
        folder = inside if inside.is_dir() else path
        for stay in _read_list(path / name, folder, part):
            base = known.get(stay.file)
            if base is not None and base.died != stay.died:
                raise DataError(
                    f"{stay.where} says {stay.died} of {stay.file.name}, {base.where} says "
                    f"{base.died}",
                    rule="all lists agree about a stay",
                )
            if base is None and stays and (folder / LIST).is_file():
                raise DataError(
                    f"{stay.where} lists {stay.file.name}, and {folder.name}/{LIST} does not",
                    rule="the lists beside train and test divide the stays of those two",
                )
            if stay.file in seen:
                raise _twice(stay, "another list beside train and test")
            seen.add(stay.file)
            known[stay.file] = stay
    for part in ("train", "test"):
        left = [s for s in stays if s.part == part and s.file not in seen]
        if left and (path / f"{part}_{LIST}").is_file():
            raise DataError(
                f"{left[0].where} lists {left[0].file.name}, and none of the lists beside train "
                f"and test does ({len(left)} such stays)",
                rule="the lists beside train and test divide the stays of those two",
            )
    return list(known.values())


def _check_twice(stays: list[Listed]) -> None:
    first: dict[str, Listed] = {}
    for stay in stays:
        other = first.setdefault(stay.file.name, stay)
        if other is not stay:
            raise _twice(stay, other.where)


def _twice(stay: Listed, other: str) -> DataError:
    return DataError(
        f"{stay.where} lists {stay.file.name}, as does {other}",
        rule="each stay is listed once",
        reason="a stay that counts twice, or is both trained on and judged by, flatters a model",
        repair="take one of the lines out",
    )


def _check_there(stays: list[Listed]) -> None:
    missing = [stay for stay in stays if not stay.file.is_file()]
    if missing:
        raise SourceError(
            f"{missing[0].where} lists {missing[0].file.name}, which is not in "
            f'"{missing[0].file.parent}" ({len(missing)} of {len(stays)} stays are missing)',
            rule="each stay that is listed has its file",
            repair="copy the files that are missing, or take their lines out of the list",
        )


def _notes(stays: list[Listed]) -> list[str]:
    notes = []
    folders = {stay.file.parent for stay in stays}
    listed = {stay.file for stay in stays}
    lying = [f for folder in folders for f in folder.glob("*_timeseries.csv")]
    unlisted = sum(file not in listed for file in lying)
    if unlisted:
        notes.append(f"{unlisted:,} files of stays are in no list: left out")
    parts: dict[int, set[str]] = {}
    for stay in stays:
        parts.setdefault(stay.subject, set()).add(stay.part)
    both = sum(len(of) > 1 for of in parts.values())
    if both:
        notes.append(f"{both:,} subjects have stays in more than one part of the folder's split")
    return notes
