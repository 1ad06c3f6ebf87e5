"""Folders of the PhysioNet / Computing in Cardiology Challenge 2012: a file for each stay.

A set (a, b or c) is 4,000 files ``RECORDID.txt`` of lines ``HH:MM,Parameter,Value``, in a folder or
in the archive that the challenge gives out; ``Outcomes-a.txt`` beside it says who died. Age,
gender, height and kind of unit stand at 00:00 and are attributes of the stay; -1 is not known. The
other 37 parameters are series.

Shape letters: N stays, V values of one stay.
"""

from __future__ import annotations

import csv
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgan.data.bins import GAP
from rgan.data.config import DataConfig
from rgan.data.icu import UNITS_OF_CARE
from rgan.data.physionet_lists import Record, check_record, read_outcomes, read_sets
from rgan.data.plausible import Judge
from rgan.data.stays import Grid, Stay, draw, gridded, read_all
from rgan.errors import DataError, SourceError, nearest
from rgan.layouts import ArrayLayout, StaysLayout
from rgan.sequences import Sequences, Static

SERIES: dict[str, str] = {
    **{"ALP": "IU/L", "ALT": "IU/L", "AST": "IU/L", "Albumin": "g/dL", "BUN": "mg/dL"},
    **{"Bilirubin": "mg/dL", "Cholesterol": "mg/dL", "Creatinine": "mg/dL", "DiasABP": "mmHg"},
    **{"FiO2": "fraction", "GCS": "points", "Glucose": "mg/dL", "HCO3": "mmol/L", "HCT": "%"},
    **{"HR": "bpm", "K": "mmol/L", "Lactate": "mmol/L", "MAP": "mmHg", "MechVent": ""},
    **{"Mg": "mmol/L", "NIDiasABP": "mmHg", "NIMAP": "mmHg", "NISysABP": "mmHg", "Na": "mmol/L"},
    **{"PaCO2": "mmHg", "PaO2": "mmHg", "Platelets": "1e9/L", "RespRate": "1/min", "SaO2": "%"},
    **{"SysABP": "mmHg", "Temp": "degC", "TroponinI": "ug/L", "TroponinT": "ug/L"},
    **{"Urine": "mL", "WBC": "1e9/L", "Weight": "kg", "pH": ""},
}
"""The 37 series and their units. MechVent is 1 wherever it is written at all."""

STATIC = (
    Static("age", "continuous", unit="years"),
    Static("sex", "binary", levels=("female", "male")),
    Static("height", "continuous", unit="cm"),
    Static("unit", "categorical", levels=UNITS_OF_CARE),
)
ABOUT = ("Age", "Gender", "Height", "ICUType")
"""The parameters of ``STATIC``, in the same order."""

HEADER = ["Time", "Parameter", "Value"]
_NAMES = tuple(SERIES)
_PLACES = {name: place for place, name in enumerate(_NAMES)}
_WHOLE = frozenset(("GCS", "MechVent"))


@dataclass
class _Found:
    """What is counted while files are read."""

    about: list[dict[str, float]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def read_physionet(path: Path, config: DataConfig, seed: int = 0, quiet: bool = True) -> Sequences:
    """The stays of a folder with one set or more, hour by hour.

    Bin h holds what was measured from h:00 to h:59, the last one also 48:00; the last value counts
    unless ``config.bin`` says otherwise. Rows without a parameter's name are left out and counted.
    With several sets, a is "train" and the others are "test".

    Args:
        path: a folder with ``set-a``, ``set-b`` (folders or ``.tar.gz``) and ``Outcomes-a.txt``, or
            the folder of one set.
        config: ``bin``, ``step`` (hours of a bin, 1 unless given), ``max_sequences``.
        seed: draws the stays where ``max_sequences`` asks for fewer.
        quiet: no bar.

    Raises:
        SourceError: a file cannot be read.
        DataError: records and outcomes do not match, or a row breaks a rule; names file and line.
    """
    sets = read_sets(path)
    outcomes = [read_outcomes(one) for one in sets]
    known = [died for died in outcomes if died is not None]
    notes = [] if len(known) == len(sets) else ["no Outcomes file beside it: no labels"]
    if known and len(known) < len(sets):
        missing = [one.letter for one, died in zip(sets, outcomes, strict=True) if died is None]
        raise SourceError(
            f'"{path}" has no Outcomes-{missing[0]}.txt',
            rule="all sets have their outcomes, or none has",
        )
    records = [record for one in sets for record in one.records]
    limit = 0 if config.window else config.max_sequences
    records = [records[row] for row in draw(len(records), limit, seed)]
    found = _Found()
    with _reader(records) as text_of:
        stays = read_all(records, lambda r: read_record(r, text_of(r), found), quiet)
    empty = found.counts["rows without a parameter's name"]
    notes += [f"{empty:,} rows without a parameter's name: left out"] if empty else []
    judge = Judge.of(config.implausible, stays=True, skip=config.drop)
    grid = Grid(config.bin, config.step or 1.0, closed="left")
    table = gridded(stays, _NAMES, tuple(SERIES.values()), grid, judge, whole=_WHOLE)
    static_NA, odd = _static(found.about, judge)
    died = {key: value for part in known for key, value in part.items()}
    gaps = config.bin == "gaps"
    return Sequences(
        **table.fields(),
        labels=np.array([died[r.number] for r in records], dtype=np.int64) if known else None,
        static=static_NA,
        static_info=STATIC,
        subjects=np.array([record.number for record in records], dtype=np.int64),
        part=_parts(records),
        step=1.0 if gaps else grid.width,
        step_unit="step" if gaps else "h",
        layout=ArrayLayout()
        if config.bin == "count"
        else StaysLayout("physionet2012", gap=GAP if gaps else ""),
        label_name="died",
        name=path.resolve().name,
        notes=(*notes, *table.notes, *odd),
    )


def _parts(records: list[Record]) -> NDArray[np.str_] | None:
    letters = {record.letter for record in records}
    if "a" not in letters or len(letters) < 2:
        return None
    return np.array(["train" if record.letter == "a" else "test" for record in records])


def _static(about: list[dict[str, float]], judge: Judge) -> tuple[NDArray[np.float32], list[str]]:
    """(N, A), and notes on impossible ages and heights; -1 in a file is not known."""
    table_NA = np.array([[a.get(name, -1.0) for name in ABOUT] for a in about], dtype=np.float32)
    table_NA[table_NA < 0] = np.nan
    table_NA[:, ABOUT.index("ICUType")] -= 1
    notes = []
    for name in ("Age", "Height"):
        a = ABOUT.index(name)
        table_NA[:, a], note = judge.judge_static(name, table_NA[:, a])
        notes += [note] if note else []
    return table_NA, notes


def read_record(record: Record, text: str, found: _Found) -> Stay:
    """The events of one file; what is known of the stay goes into ``found``."""
    lines = list(csv.reader(text.splitlines()))
    if not lines or lines[0] != HEADER:
        raise DataError(
            f'{record.where} line 1 is "{",".join(lines[0] if lines else [])[:40]}"',
            rule=f'"{",".join(HEADER)}"',
        )
    hours: list[float] = []
    features: list[int] = []
    values: list[float] = []
    about: dict[str, float] = {}
    for number, cells in enumerate(lines[1:], start=2):
        if len(cells) == 3 and not cells[1].strip():
            found.counts["rows without a parameter's name"] += 1
            continue
        hour, name, value = _row(cells, number, record)
        if name == "RecordID" or name in ABOUT:
            about[name] = value
        elif name in _PLACES:
            if name == "Weight" and value < 0:  # "not known", as for the attributes
                continue
            hours.append(hour)
            features.append(_PLACES[name])
            values.append(value)
        else:
            raise DataError(
                f'{record.where} line {number}: the parameter is "{name[:40]}"',
                rule="one of the challenge's 42 parameters",
                repair=_nearest(name),
            )
    check_record(record, about)
    found.about.append(about)
    hour_V = np.array(hours, dtype=np.float64)
    order = np.argsort(hour_V, kind="stable")
    return Stay(
        hour_V[order],
        np.array(features, dtype=np.int64)[order],
        np.array(values, dtype=np.float64)[order],
    )


def _nearest(name: str) -> str:
    """The parameter that may have been meant: the same letters in another case go first."""
    known = [*_NAMES, *ABOUT]
    same = [other for other in known if other.lower() == name.lower()]
    return nearest(same[0] if same else name, known)


def _row(cells: list[str], number: int, record: Record) -> tuple[float, str, float]:
    """Hours, parameter and value of a line."""
    try:
        time, name, text = cells
        hour, minute = time.split(":")
        hours, value = int(hour) + int(minute) / 60, float(text)
    except ValueError:
        value, hours, name = np.nan, 0.0, ""
    if not np.isfinite(value):
        raise DataError(
            f'{record.where} line {number} is "{",".join(cells)[:60]}"',
            rule="HH:MM, a parameter and a finite number",
        )
    return hours, name, value


@contextmanager
def _reader(records: list[Record]) -> Iterator[Callable[[Record], str]]:
    """What reads a record's text. Archives are read in their own order, and nothing is unpacked."""
    archives = {record.file for record in records if record.member}
    texts: dict[tuple[Path, str], str] = {}
    wanted = {(record.file, record.member) for record in records}
    for file in archives:
        with _opened(file) as archive:
            for member in archive:
                if (file, member.name) in wanted:
                    stream = archive.extractfile(member)
                    assert stream is not None
                    texts[file, member.name] = stream.read().decode("utf-8", "replace")

    def text_of(record: Record) -> str:
        if record.member:
            return texts.pop((record.file, record.member))
        try:
            return record.file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{record.where} cannot be read: {error}") from error

    yield text_of


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file, "r:gz") as archive:
            yield archive
    except (OSError, EOFError, tarfile.TarError) as error:
        raise SourceError(f'"{file}" cannot be read: {error}', rule="a whole .tar.gz") from error
