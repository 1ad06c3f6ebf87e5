"""Stays written back in the layout that they came in, a file each; read again by the same readers.

What was not observed is blank or has no row. Levels stand under their names. A bin's values are put
at its middle. Stays that are nobody's get subjects that no such data set has.

Shape letters: N stays, T steps, F features.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.data.long import elapsed
from rgan.data.mimic3 import TIME
from rgan.data.mimic3_lists import HEADER, LIST
from rgan.data.mimic3_variables import NAMES, VARIABLES
from rgan.data.physionet import ABOUT, SERIES, STATIC
from rgan.data.physionet import HEADER as EVENT_HEADER
from rgan.data.physionet_lists import OUTCOME
from rgan.errors import DataError
from rgan.layouts import StaysLayout, levels_of
from rgan.sequences import Sequences

NOBODY_MIMIC3 = 900_000_001
"""The first subject of synthetic stays: above all ids of MIMIC-III and MIMIC-IV."""

NOBODY_PHYSIONET = 900_001
"""The first record of synthetic stays: above all of the challenge."""


class Mimic3Sink:
    """A folder with ``listfile.csv`` and a file for each stay; with the official parts, ``train``
    and ``test`` in it, and the lists beside them where some are validation."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "stays"
        self._folder.mkdir()
        self._listed: list[tuple[str, str, int]] = []  # part, file, y_true
        self._episodes: Counter[int] = Counter()

    def add(self, chunk: Sequences) -> None:
        """Write a file for each stay of the chunk."""
        labels = _deaths(chunk)
        assert labels is not None
        subjects = _numbers(chunk, NOBODY_MIMIC3 + len(self._listed))
        text_NTF = _texts(chunk)
        for row in range(len(chunk)):
            part = "" if chunk.part is None else str(chunk.part[row])
            self._episodes[subjects[row]] += 1
            name = f"{subjects[row]}_episode{self._episodes[subjects[row]]}_timeseries.csv"
            path = self._folder / _place(part) / name
            path.parent.mkdir(exist_ok=True)
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow([TIME, *NAMES])
                writer.writerows(_mimic3_rows(chunk, row, text_NTF[row]))
            self._listed.append((part, name, int(labels[row])))

    def finish(self) -> Path:
        """The finished folder."""
        lists: dict[Path, list[tuple[str, int]]] = defaultdict(list)
        divided = any(part == "validation" for part, _, _ in self._listed)
        for part, name, died in self._listed:
            lists[self._folder / _place(part) / LIST].append((name, died))
            if divided:
                short = "val" if part == "validation" else part
                lists[self._folder / f"{short}_{LIST}"].append((name, died))
        for path, lines in lists.items():
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerows([HEADER, *lines])
        return self._folder


class PhysioNetSink:
    """Folders ``set-a`` (and ``set-b`` for an official test set) and their ``Outcomes``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "stays"
        self._folder.mkdir()
        self._died: dict[str, list[tuple[int, int | None]]] = defaultdict(list)
        self._seen: set[int] = set()

    def add(self, chunk: Sequences) -> None:
        """Write a file for each stay of the chunk."""
        labels = _deaths(chunk, optional=True)
        records = _numbers(chunk, NOBODY_PHYSIONET + len(self._seen))
        if len(set(records) | self._seen) < len(records) + len(self._seen):
            raise DataError(
                "a subject has several stays",
                rule="in this layout, a file is named after its record, and there is one of each",
                repair="-o with the ending .npz",
            )
        self._seen |= set(records)
        text_NTF = _texts(chunk)
        for row, record in enumerate(records):
            letter = "b" if chunk.part is not None and chunk.part[row] == "test" else "a"
            path = self._folder / f"set-{letter}" / f"{record}.txt"
            path.parent.mkdir(exist_ok=True)
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(EVENT_HEADER)
                writer.writerows(_physionet_rows(chunk, row, record, text_NTF[row]))
            self._died[letter].append((record, None if labels is None else int(labels[row])))

    def finish(self) -> Path:
        """The finished folder."""
        for letter, lines in self._died.items():
            if any(died is None for _, died in lines):
                continue
            path = self._folder / f"Outcomes-{letter}.txt"
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(
                    ["RecordID", "SAPS-I", "SOFA", "Length_of_stay", "Survival", OUTCOME]
                )
                writer.writerows([record, -1, -1, -1, -1, died] for record, died in lines)
        return self._folder


def _place(part: str) -> str:
    """The folder of a part."""
    return {"": "", "test": "test"}.get(part, "train")


def _deaths(chunk: Sequences, optional: bool = False) -> NDArray[Any] | None:
    labels = chunk.labels
    if labels is None and optional:
        return None
    if labels is None or not np.isin(labels, (0, 1)).all():
        raise DataError(
            "the stays have no labels" if labels is None else "some labels are not 0 or 1",
            rule="in this layout, each stay is listed with 0 (survived) or 1 (died)",
            repair="-o with the ending .npz; or train with --model rcgan",
        )
    return labels


def _numbers(chunk: Sequences, first: int) -> list[int]:
    """The subjects where they are whole numbers, else new ones."""
    if chunk.subjects is None or chunk.subjects.dtype.kind not in "iu":
        return list(range(first, first + len(chunk)))
    return [int(subject) for subject in chunk.subjects.tolist()]


def _texts(chunk: Sequences) -> NDArray[np.str_]:
    """(N, T, F) what stands in the files, "" where nothing was observed."""
    points = {variable.name for variable in VARIABLES if variable.points}
    columns = []
    for f, name in enumerate(chunk.feature_names):
        values_NT, seen_NT = chunk.values[:, :, f], chunk.observed[:, :, f]
        levels = levels_of(chunk.layout, name)
        whole_NT = np.rint(np.where(seen_NT, values_NT, 0)).astype(np.int64)
        if levels:
            codes = np.array(sorted(levels))
            place_NT = np.abs(whole_NT[:, :, None] - codes).argmin(axis=2)
            text_NT = np.array([levels[code] for code in codes])[place_NT]
        elif name in points:
            text_NT = whole_NT.astype(str)
        else:
            # a float32 as text has the fewest digits that read back as the same number
            text_NT = _plain(values_NT)
        columns.append(np.where(seen_NT, text_NT, ""))
    return np.stack(columns, axis=2)


def _plain(values_NT: NDArray[np.float32]) -> NDArray[np.str_]:
    """Whole numbers without a point, others as they are."""
    text_NT = values_NT.astype(str)
    whole_NT = np.char.endswith(text_NT, ".0")
    return np.where(whole_NT, np.char.replace(text_NT, ".0", ""), text_NT)


def _hours(chunk: Sequences, row: int) -> NDArray[np.float64]:
    """(T,) when each step's values are said to have been measured."""
    assert isinstance(chunk.layout, StaysLayout)
    hours_T = elapsed(chunk)[row]
    return hours_T if chunk.layout.gap else np.round(hours_T + chunk.step / 2, 6)


def _mimic3_rows(chunk: Sequences, row: int, text_TF: NDArray[np.str_]) -> Iterator[list[str]]:
    places = {name: place for place, name in enumerate(chunk.feature_names)}
    own = [places.get(name, -1) for name in NAMES]
    hours_T = _hours(chunk, row)
    written = 0
    for step in range(int(chunk.lengths[row])):
        cells = ["" if place < 0 else str(text_TF[step, place]) for place in own]
        if any(cells):
            written += 1
            yield [f"{hours_T[step]:.6g}", *cells]
    if not written:  # readers of this layout want a row
        yield ["0.5", *[""] * len(NAMES)]


def _physionet_rows(
    chunk: Sequences, row: int, record: int, text_TF: NDArray[np.str_]
) -> Iterator[list[str]]:
    yield ["00:00", "RecordID", str(record)]
    columns = {info.name: column for column, info in enumerate(chunk.static_info)}
    for parameter, info in zip(ABOUT, STATIC, strict=True):
        value = np.float32(-1)
        if info.name in columns and chunk.static is not None:
            value = chunk.static[row, columns[info.name]] + np.float32(info.name == "unit")
        yield ["00:00", parameter, "-1" if np.isnan(value) else f"{value:g}"]
    hours_T = _hours(chunk, row)
    for step in range(int(chunk.lengths[row])):
        minutes = round(float(hours_T[step]) * 60)
        time = f"{minutes // 60:02d}:{minutes % 60:02d}"
        for place, name in enumerate(chunk.feature_names):
            if name in SERIES and text_TF[step, place]:
                yield [time, name, str(text_TF[step, place])]
