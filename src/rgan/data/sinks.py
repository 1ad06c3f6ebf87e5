"""Arrays written in chunks: ``.npy`` and ``.npz``.

Shape letters: N sequences, T steps, F features.
"""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.data.long import as_dtype
from rgan.errors import DataError
from rgan.layouts import ArrayLayout, layout_to_dict
from rgan.sequences import Sequences

HEADER_BYTES = 256
"""Room for a header whose number of rows is filled in at the end; a multiple of 64."""

COLUMNS: tuple[str, ...] = ("lengths", "labels", "static", "subjects", "starts", "part")
"""One row a sequence: small, so kept in memory until the end."""


class NpyStream:
    """One ``.npy`` file of rows that come in chunks (numpy's format, version 1.0).

    The file is open only while rows are written, so that it can be thrown away at any time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._dtype: np.dtype[Any] | None = None
        self._row: tuple[int, ...] = ()
        self._rows = 0

    def add(self, array: NDArray[Any]) -> None:
        """Append rows, of the first rows' shape and dtype."""
        if self._dtype is None:
            self._dtype, self._row = array.dtype, array.shape[1:]
            self.path.write_bytes(b"\0" * HEADER_BYTES)
        with self.path.open("ab") as file:
            file.write(np.ascontiguousarray(array, dtype=self._dtype).data)
        self._rows += len(array)

    def finish(self) -> Path:
        """Write the header now that the number of rows is known."""
        assert self._dtype is not None
        descr = np.lib.format.dtype_to_descr(self._dtype)
        fields = {"descr": descr, "fortran_order": False, "shape": (self._rows, *self._row)}
        text = repr(fields).ljust(HEADER_BYTES - 11) + "\n"
        header = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
        with self.path.open("r+b") as file:
            file.write(header)
        return self.path


class NpySink:
    """The array in the shape and dtype that came; NaN where nothing was observed."""

    def __init__(self, folder: Path) -> None:
        self._stream = NpyStream(folder / "values.npy")

    def add(self, chunk: Sequences) -> None:
        """Append the chunk's values."""
        dtype = chunk.layout.dtype if isinstance(chunk.layout, ArrayLayout) else "float32"
        if np.dtype(dtype).kind != "f" and not chunk.observed.all():
            raise DataError(
                f"values are {dtype} and some are not observed",
                rule="an .npy of whole numbers has no NaN",
                repair="-o with the ending .npz, which holds the mask",
            )
        values = as_dtype(chunk, dtype)
        flat = isinstance(chunk.layout, ArrayLayout) and chunk.layout.flat
        self._stream.add(values[:, :, 0] if flat else values)

    def finish(self) -> Path:
        """The finished file."""
        return self._stream.finish()


class NpzSink:
    """Everything: values, mask, lengths, labels, static, subjects, names and description.

    Stored, not compressed: values hardly shrink, and packing them took longer than making them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._values = NpyStream(folder / "values.npy")
        self._observed = NpyStream(folder / "observed.npy")
        self._columns: dict[str, list[NDArray[Any]]] = {}
        self._first: Sequences | None = None

    def add(self, chunk: Sequences) -> None:
        """Append the chunk."""
        self._first = self._first if self._first is not None else chunk[:1]
        self._values.add(chunk.values)
        self._observed.add(chunk.observed)
        for name in COLUMNS:
            column = getattr(chunk, name)
            if column is not None:
                self._columns.setdefault(name, []).append(column)

    def finish(self) -> Path:
        """The finished archive."""
        assert self._first is not None
        small = {name: np.concatenate(parts) for name, parts in self._columns.items()}
        small["feature_names"] = np.array(self._first.feature_names)
        small["units"] = np.array(self._first.units)
        if self._first.static_info:
            small["static_names"] = np.array([info.name for info in self._first.static_info])
        small["meta"] = np.array(_description(self._first))
        path = self._folder / "all.npz"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            with self._values.finish().open("rb") as file:
                _put(archive, "values", file)
            with self._observed.finish().open("rb") as file:
                _put(archive, "observed", file)
            for name, array in small.items():
                buffer = io.BytesIO()
                np.save(buffer, array, allow_pickle=False)
                buffer.seek(0)
                _put(archive, name, buffer)
        return path


def _put(archive: zipfile.ZipFile, name: str, source: Any) -> None:
    info = zipfile.ZipInfo(f"{name}.npy")  # of 1980: the same data gives the same bytes
    with archive.open(info, "w", force_zip64=True) as member:
        shutil.copyfileobj(source, member, 1 << 20)


def _description(first: Sequences) -> str:
    """What the arrays alone do not say, as JSON."""
    return json.dumps(
        {
            "static_info": [asdict(info) for info in first.static_info],
            "layout": layout_to_dict(first.layout),
            "step": first.step,
            "step_unit": first.step_unit,
            "label_name": first.label_name,
            "name": first.name,
        }
    )
