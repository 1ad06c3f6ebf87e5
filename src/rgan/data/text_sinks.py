"""Tables and text written in chunks: ``.csv``, ``.parquet`` and ``.ts``.

Shape letters: N sequences, L steps of one sequence, F features.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from rgan.data.frames import to_frame
from rgan.errors import DataError
from rgan.layouts import TableLayout
from rgan.sequences import Sequences


class _LongTable:
    """Chunks as frames whose ids go on from chunk to chunk."""

    def __init__(self) -> None:
        self._count = 0
        self._schema: dict[str, Any] = {}
        self._ids: set[Any] = set()

    def frame(self, chunk: Sequences) -> pl.DataFrame:
        """The next rows of the table."""
        frame = to_frame(chunk, "polars", first_id=self._count)
        schema = dict(frame.schema)
        self._count += len(chunk)
        if chunk.subjects is not None:
            ids = set(frame[_id_name(chunk)].unique().to_list())
            if ids & self._ids:
                raise _subjects_repeat()
            self._ids |= ids
        if self._schema and list(schema) != list(self._schema):
            raise _subjects_repeat()
        self._schema = self._schema or schema
        return frame


def _id_name(chunk: Sequences) -> str:
    return chunk.layout.id if isinstance(chunk.layout, TableLayout) else TableLayout().id


def _subjects_repeat() -> DataError:
    return DataError(
        "a subject occurs in two chunks of a table",
        rule="subjects are the table's ids, each within one chunk",
        repair="write all sequences at once",
    )


class CsvSink:
    """A long table as text; floats with as many digits as float32 has."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "table.csv"
        self._table = _LongTable()
        self._begun = False

    def add(self, chunk: Sequences) -> None:
        """Append the chunk's rows."""
        frame = self._table.frame(chunk)
        values = [*chunk.feature_names, *(info.name for info in chunk.static_info)]
        floats = [name for name, kind in frame.schema.items() if kind == pl.Float64]
        short = [pl.col(name).cast(pl.Float32) for name in values if name in floats]
        with self._path.open("ab") as file:
            frame.with_columns(short).write_csv(file, include_header=not self._begun)
        self._begun = True

    def finish(self) -> Path:
        """The finished file."""
        return self._path


class ParquetSink:
    """A long table in parts that are joined at the end without being held in memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts: list[Path] = []
        self._table = _LongTable()

    def add(self, chunk: Sequences) -> None:
        """Write the chunk's rows as a part."""
        part = self._folder / f"{len(self._parts):06d}.parquet"
        self._table.frame(chunk).write_parquet(part)
        self._parts.append(part)

    def finish(self) -> Path:
        """The finished file."""
        if len(self._parts) == 1:
            return self._parts[0]
        path = self._folder / "table.parquet"
        pl.scan_parquet(self._parts, glob=False).sink_parquet(path)
        return path


class TsSink:
    """The archive's text format; the header, which needs all lines, is put first at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._body = folder / "body"
        self._labels: set[str] = set()
        self._lengths: set[int] = set()
        self._missing = False
        self._first: Sequences | None = None

    def add(self, chunk: Sequences) -> None:
        """Append a line for each sequence."""
        self._first = self._first if self._first is not None else chunk[:1]
        self._missing |= not chunk.fully_observed
        self._lengths |= set(chunk.lengths.tolist())
        labels = [] if chunk.labels is None else chunk.labels.astype(str).tolist()
        if chunk.has_classes:
            self._labels |= set(labels)
            _check_labels(labels)
        with self._body.open("a", encoding="utf-8") as file:
            for row in range(len(chunk)):
                # a float32 as text has the fewest digits that read back as the same number
                values_FL = chunk.values[row, : chunk.lengths[row]].T
                text_FL = np.where(np.isnan(values_FL), "?", values_FL.astype(str))
                parts = [",".join(dimension) for dimension in text_FL.tolist()]
                file.write(":".join(parts + labels[row : row + 1]) + "\n")

    def finish(self) -> Path:
        """The finished file."""
        path = self._folder / "all.ts"
        with path.open("w", encoding="utf-8") as file:
            file.write("\n".join(self._header()) + "\n")
            with self._body.open(encoding="utf-8") as body:
                shutil.copyfileobj(body, file)
        return path

    def _header(self) -> list[str]:
        first = self._first
        assert first is not None
        flag = {True: "true", False: "false"}
        equal = len(self._lengths) == 1
        lines = [
            f"@problemName {'_'.join(first.name.split()) or 'data'}",
            "@timeStamps false",
            f"@missing {flag[self._missing]}",
            f"@univariate {flag[first.n_features == 1]}",
            f"@dimensions {first.n_features}",
            f"@equalLength {flag[equal]}",
        ]
        if equal:
            lines.append(f"@seriesLength {next(iter(self._lengths))}")
        if first.labels is not None and not first.has_classes:
            lines.append("@targetLabel true")
        else:
            lines.append(" ".join(["@classLabel", flag[bool(self._labels)], *sorted(self._labels)]))
        return [*lines, "@data"]


def _check_labels(labels: list[str]) -> None:
    for label in labels:
        if not label or any(mark.isspace() or mark in ":,?" for mark in label):
            raise DataError(
                f'the class "{label}" cannot stand in a .ts file',
                rule="classes there have no spaces, colons, commas or question marks",
                repair="-o with the ending .npz",
            )
