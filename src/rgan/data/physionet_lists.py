"""Which records the sets of a PhysioNet 2012 folder hold, and who of them died."""

from __future__ import annotations

import csv
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rgan.errors import DataError, SourceError

OUTCOME = "In-hospital_death"
_SET = re.compile(r"set-([abc])(\.tar\.gz)?")


@dataclass(frozen=True)
class Record:
    """One stay's file.

    Args:
        number: RecordID.
        letter: of its set.
        file: the file, or the archive.
        member: its name in the archive, "" where it is a file of its own.
    """

    number: int
    letter: str
    file: Path
    member: str = ""

    @property
    def where(self) -> str:
        """How messages name it."""
        return f'"{self.member or self.file.name}"'


@dataclass(frozen=True)
class RecordSet:
    """One set: its letter ("" if its folder has none), its records, and the file of outcomes."""

    letter: str
    records: tuple[Record, ...]
    outcomes: Path | None


def is_physionet(path: Path) -> bool:
    """Whether a folder looks like one of the challenge, or like one of its sets."""
    if any(_SET.fullmatch(entry.name) for entry in path.iterdir()):
        return True
    first = next((f for f in path.glob("*.txt") if f.stem.isdecimal()), None)
    if first is None:
        return False
    with first.open("rb") as file:
        return file.readline(64).startswith(b"Time,Parameter,Value")


def read_sets(path: Path) -> list[RecordSet]:
    """The sets of a folder, in the order of their letters.

    Raises:
        SourceError: a set holds no records, or its archive is damaged.
        DataError: a record is in two sets.
    """
    places = {m[1]: entry for entry in sorted(path.iterdir()) if (m := _SET.fullmatch(entry.name))}
    folders = {
        m[1]: entry
        for entry in path.iterdir()
        if entry.is_dir() and (m := _SET.fullmatch(entry.name))
    }
    places |= folders  # what has been unpacked goes before its archive
    if not places:
        match = _SET.fullmatch(path.resolve().name)
        letter = match[1] if match else ""
        return [_set(letter, path, [path, path.resolve().parent])]
    sets = [_set(letter, places[letter], [path]) for letter in sorted(places)]
    seen: dict[int, Record] = {}
    for record in (record for one in sets for record in one.records):
        other = seen.setdefault(record.number, record)
        if other is not record:
            raise DataError(
                f"record {record.number} is in set {other.letter} and in set {record.letter}",
                rule="each record is in one set",
            )
    return sets


def _set(letter: str, place: Path, beside: list[Path]) -> RecordSet:
    if place.is_dir():
        names = [(f.stem, f, "") for f in sorted(place.glob("*.txt")) if f.stem.isdecimal()]
    else:
        try:
            with tarfile.open(place, "r:gz") as archive:
                members = sorted(member.name for member in archive if member.isfile())
        except (OSError, EOFError, tarfile.TarError) as error:
            raise SourceError(
                f'"{place}" cannot be read: {error}', rule="a whole .tar.gz", repair="get it again"
            ) from error
        named = [(PurePosixPath(name), name) for name in members]
        names = [(p.stem, place, name) for p, name in named if p.stem.isdecimal()]
    if not names:
        raise SourceError(f'"{place}" holds no records', rule="files RECORDID.txt")
    records = tuple(Record(int(stem), letter, file, member) for stem, file, member in names)
    wanted = f"Outcomes-{letter}.txt" if letter else "Outcomes-*.txt"
    found = [file for folder in beside for file in sorted(folder.glob(wanted))]
    return RecordSet(letter, records, found[0] if found else None)


def read_outcomes(one: RecordSet) -> dict[int, int] | None:
    """RecordID to death in hospital, 0 or 1; None where there is no file of outcomes.

    Raises:
        SourceError: the file cannot be read.
        DataError: it has another form, names a record twice, or does not match the set's records.
    """
    if one.outcomes is None:
        return None
    name = one.outcomes.name
    try:
        lines = list(csv.reader(one.outcomes.read_text(encoding="utf-8-sig").splitlines()))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f'"{one.outcomes}" cannot be read: {error}') from error
    header = lines[0] if lines else []
    if not {"RecordID", OUTCOME} <= set(header):
        raise DataError(
            f'"{name}" line 1 is "{",".join(header)[:80]}"',
            rule=f"it has the columns RecordID and {OUTCOME}",
        )
    at, outcome = header.index("RecordID"), header.index(OUTCOME)
    died: dict[int, int] = {}
    for number, cells in enumerate(lines[1:], start=2):
        good = len(cells) == len(header) and cells[at].isdecimal() and cells[outcome] in ("0", "1")
        if not good or int(cells[at]) in died:
            raise DataError(
                f'"{name}" line {number} is "{",".join(cells)[:80]}"',
                rule=f"a record's id, once, and {OUTCOME} of 0 or 1",
            )
        died[int(cells[at])] = int(cells[outcome])
    _check_match(one, died, name)
    return died


def _check_match(one: RecordSet, died: Mapping[int, int], name: str) -> None:
    there = {record.number for record in one.records}
    without, missing = sorted(there - set(died)), sorted(set(died) - there)
    if without or missing:
        found = [
            f"{len(numbers)} records are {where}, the first is {numbers[0]}"
            for numbers, where in ((without, f"not in {name}"), (missing, f"in {name} only"))
            if numbers
        ]
        raise DataError(
            "; ".join(found),
            rule="the outcomes are those of this set's records, of all and of no others",
            reason="outcomes of another set would label nobody rightly",
            repair="unpack the whole set, and put the Outcomes file of the same letter beside it",
        )


def check_record(record: Record, about: Mapping[str, float]) -> None:
    """Refuse a file that says it is another record, or attributes that cannot be.

    Raises:
        DataError: names the file.
    """
    said = about.get("RecordID", record.number)
    if said != record.number:
        raise DataError(
            f"{record.where} says RecordID {said:g}", rule="a file is named after its record"
        )
    gender, unit = about.get("Gender", -1), about.get("ICUType", -1)
    if gender not in (-1, 0, 1) or unit not in (-1, 1, 2, 3, 4):
        raise DataError(
            f"{record.where} says Gender {gender:g} and ICUType {unit:g}",
            rule="Gender is 0 or 1, ICUType is 1 to 4, -1 where not known",
        )
