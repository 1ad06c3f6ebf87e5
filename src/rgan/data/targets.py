"""What can be written where: the formats by ending, folders of stays by layout, and the checks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from rgan.errors import DataError, InputError
from rgan.layouts import Layout, StaysLayout
from rgan.sequences import Sequences


class Sink(Protocol):
    """One file format, fed in chunks."""

    def add(self, chunk: Sequences) -> None:
        """Take some more sequences."""

    def finish(self) -> Path:
        """The finished file, still in the hidden folder."""


def _array(folder: Path) -> Sink:
    from rgan.data.sinks import NpySink

    return NpySink(folder)


def _archive(folder: Path) -> Sink:
    from rgan.data.sinks import NpzSink

    return NpzSink(folder)


def _csv(folder: Path) -> Sink:
    from rgan.data.text_sinks import CsvSink

    return CsvSink(folder)


def _parquet(folder: Path) -> Sink:
    from rgan.data.text_sinks import ParquetSink

    return ParquetSink(folder)


def _ts(folder: Path) -> Sink:
    from rgan.data.text_sinks import TsSink

    return TsSink(folder)


def _png(folder: Path) -> Sink:
    from rgan.data.tiles import PngSink

    return PngSink(folder)


def _mimic3(folder: Path) -> Sink:
    from rgan.data.folder_sinks import Mimic3Sink

    return Mimic3Sink(folder)


def _physionet(folder: Path) -> Sink:
    from rgan.data.folder_sinks import PhysioNetSink

    return PhysioNetSink(folder)


SINKS: dict[str, Callable[[Path], Sink]] = {
    ".npy": _array,
    ".npz": _archive,
    ".csv": _csv,
    ".parquet": _parquet,
    ".ts": _ts,
    ".png": _png,
}
"""Ending to format: the (N, T, F) array; everything; long tables; UCR text; a picture."""

FOLDERS: dict[str, Callable[[Path], Sink]] = {"mimic3": _mimic3, "physionet2012": _physionet}
"""What stays came in (``StaysLayout.form``) to the same for writing."""


def is_folder(path: Path | str) -> bool:
    """Whether a target is a folder of stays: text that ends in "/".

    >>> is_folder("stays/"), is_folder("stays.npz")
    (True, False)
    """
    return str(path).endswith(("/", os.sep))


def form_of(layout: Layout) -> str:
    if not isinstance(layout, StaysLayout):
        raise DataError(
            "a folder of stays is asked for, and the data came in none",
            rule="what came as a folder of stays (mimic3-benchmarks, PhysioNet 2012) is written "
            "back as one",
            repair="-o synthetic.npz, or .csv for a long table",
        )
    return layout.form


def check_folder(path: Path) -> None:
    """Refuse a folder that cannot be made, before work is spent on what should go there.

    Raises:
        InputError: it is there and not empty, or there is no folder to put it in.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(
            f'"{path}" is there already',
            rule="stays are written into a new or empty folder",
            reason="files of another sample would stand among them",
            repair=f"-o {path.name}-2/",
        )
    check_parent(path)


def check_target(path: Path, total: int | None = None) -> None:
    """Refuse a target that cannot be written, before work is spent on what should go there.

    Raises:
        InputError: an unknown ending, a missing folder, a folder in the file's place, or more
            sequences than the format holds.
    """
    ending = path.suffix.lower()
    if ending not in SINKS:
        raise InputError(
            f'"{path}" ends in "{ending}"',
            rule=f"the ending names the format: {', '.join(SINKS)}; / a folder of stays",
            repair=f"-o {path.stem or 'samples'}.npz",
        )
    if path.is_dir():
        raise InputError(
            f'"{path}" is a folder',
            rule="a file; or a new folder, with / at the end, for stays that came in one",
        )
    check_parent(path)
    if ending == ".png" and total is not None:
        from rgan.data.tiles import check_count

        check_count(total)


def check_parent(path: Path) -> None:
    if not path.parent.is_dir():
        raise InputError(
            f'the folder "{path.parent}" does not exist',
            rule="the file's folder exists",
            repair=f"mkdir -p {path.parent}",
        )
