"""The ``.ts`` text format of the UCR and UEA archives, read into ``Sequences``.

Shape letters: N sequences, T steps, F dimensions, L steps of one sequence.

A header of ``@`` lines, ``@data``, then a line for each sequence: the dimensions divided by colons,
the values of each by commas, ``?`` for a value that is missing, and the class label last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.data.arrays import pad
from rgan.errors import DataError, SourceError
from rgan.sequences import Sequences, concatenate


@dataclass(frozen=True)
class _Header:
    name: str = ""
    labelled: bool = False
    continuous: bool = False
    classes: tuple[str, ...] = ()


def read_ts(path: Path) -> Sequences:
    """The sequences of one ``.ts`` file: of one or more dimensions, of equal or unequal lengths.

    Class labels that are all whole numbers are read as integers, others as text; the values of
    ``@targetlabel`` as a continuous condition.

    Raises:
        SourceError: the file cannot be read, or has no data.
        DataError: a line breaks the format; names the line.
    """
    header, first_line, lines = _lines(path)
    sequences: list[NDArray[np.float64]] = []
    labels: list[str] = []
    for number, line in enumerate(lines, first_line):
        if not line.strip() or line.lstrip().startswith(("#", "%")):
            continue
        parts = line.strip().split(":")
        where = f'"{path.name}" line {number}'
        if header.labelled:
            labels.append(_label(parts.pop().strip(), header, where))
        sequences.append(_sequence(parts, sequences[0].shape[1] if sequences else 0, where))
    if not sequences:
        raise SourceError(f'"{path}" has no sequence after @data', rule="at least one line of data")
    values, lengths = pad(sequences)
    return Sequences(
        values,
        observed=~np.isnan(values),  # within the lengths; Sequences clears the rest
        lengths=lengths,
        labels=_as_labels(labels, header) if header.labelled else None,
        feature_names=tuple(f"x{i}" for i in range(values.shape[2])),
        label_name="target" if header.continuous else "class",
        name=header.name or path.stem,
    )


def read_ts_pair(folder: Path) -> Sequences:
    """NAME_TRAIN.ts and NAME_TEST.ts of a folder as one set with its official parts.

    Raises:
        SourceError: there is not exactly one of each.
        DataError: a line breaks the format, or the two differ in their dimensions.
    """
    parts = []
    for part in ("train", "test"):
        files = list(folder.glob(f"*_{part.upper()}.ts"))
        if len(files) != 1:
            raise SourceError(
                f'"{folder}" has {len(files)} files *_{part.upper()}.ts', rule="exactly one of each"
            )
        sequences = read_ts(files[0])
        parts.append(replace(sequences, part=np.full(len(sequences), part)))
    steps = max(part.n_steps for part in parts)
    return concatenate([_widen(part, steps) for part in parts])


def _widen(sequences: Sequences, steps: int) -> Sequences:
    more = ((0, 0), (0, steps - sequences.n_steps), (0, 0))
    return replace(
        sequences,
        values=np.pad(sequences.values, more),
        observed=np.pad(sequences.observed, more),
    )


def _lines(path: Path) -> tuple[_Header, int, list[str]]:
    """The header, the number of the line after ``@data``, and the lines from there on."""
    try:
        # comments in the archive are in any encoding; what counts is ASCII
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SourceError(f'"{path}" cannot be read: {error}', rule="a text file") from error
    lines = text.splitlines()
    header = _Header()
    for number, line in enumerate(lines):
        words = line.strip().split()
        if not words or words[0].startswith(("#", "%")):
            continue
        tag, rest = words[0].lower(), words[1:]
        if tag == "@data":
            return header, number + 2, lines[number + 1 :]
        header = _read_tag(header, tag, rest, f'"{path.name}" line {number + 1}')
    raise SourceError(f'"{path}" has no line "@data"', rule="a .ts file of the UCR/UEA archive")


def _read_tag(header: _Header, tag: str, rest: list[str], where: str) -> _Header:
    true = bool(rest) and rest[0].lower() == "true"
    if tag == "@problemname" and rest:
        return replace(header, name=rest[0])
    if tag == "@classlabel":
        return replace(header, labelled=true, classes=tuple(rest[1:]))
    if tag == "@targetlabel":
        return replace(header, labelled=true, continuous=true)
    if tag == "@timestamps" and true:
        raise DataError(
            f"{where}: the series have time stamps",
            rule="only .ts files with @timeStamps false are read",
            repair="save a long table, and name its --id and --time",
        )
    if not tag.startswith("@"):
        raise DataError(f'{where} is "{tag[:40]}"', rule='before "@data" come lines with "@"')
    return header


def _label(text: str, header: _Header, where: str) -> str:
    if header.classes and text not in header.classes:
        raise DataError(
            f'{where}: the class is "{text[:40]}"',
            rule=f"one of {', '.join(header.classes[:20])}, as @classLabel says",
        )
    return text


def _sequence(parts: list[str], features: int, where: str) -> NDArray[np.float64]:
    """(L, F) of one line; NaN where it says ``?``."""
    if not parts or (features and len(parts) != features):
        raise DataError(
            f"{where} has {len(parts)} dimensions", rule=f"as many as the first line: {features}"
        )
    rows: list[NDArray[np.float64]] = []
    for index, part in enumerate(parts):
        cells = part.replace("?", "nan").split(",")
        try:
            row = np.array(cells, dtype=np.float64)
        except ValueError as error:
            raise DataError(f"{where}, dimension {index}: {error}", rule="numbers or ?") from error
        if rows and len(row) != len(rows[0]):
            raise DataError(
                f"{where}: dimension {index} has {len(row)} steps, dimension 0 has {len(rows[0])}",
                rule="all dimensions of a sequence have the same steps",
            )
        rows.append(row)
    return np.stack(rows, axis=1)


def _as_labels(labels: list[str], header: _Header) -> NDArray[Any]:
    if header.continuous:
        return np.array(labels, dtype=np.float64)
    if all(label.removeprefix("-").isdecimal() for label in labels):
        return np.array(labels, dtype=np.int64)
    return np.array(labels)
