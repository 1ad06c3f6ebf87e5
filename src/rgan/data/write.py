"""``write`` and ``Writer``: sequences into a file, whole or not at all.

Everything is written into a hidden folder beside the target and moved to its name at the end, so
that a file under the final name is complete, however the program ended.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol

from rgan.errors import DataError, InputError, RganError
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


SINKS: dict[str, Callable[[Path], Sink]] = {
    ".npy": _array,
    ".npz": _archive,
    ".csv": _csv,
    ".parquet": _parquet,
    ".ts": _ts,
    ".png": _png,
}
"""Ending to format: the (N, T, F) array; everything; long tables; UCR text; a picture."""


def write(sequences: Sequences, path: Path | str) -> Path:
    """Write sequences in the format that the path's ending names (``SINKS``).

    ``.npz`` keeps everything and reads back equal. ``.npy`` is the array (N, T, F) in the dtype
    that came, NaN where nothing was observed. ``.csv`` and ``.parquet`` are the long table under
    the column names that came. ``.ts`` has no room for names and static attributes. ``.png`` shows
    at most ``tiles.MOST_TILES`` sequences.

    Raises:
        InputError: an unknown ending, or a folder that is not there or cannot be written.
        DataError: the format cannot hold these sequences.
    """
    with Writer(path, total=len(sequences)) as writer:
        writer.append(sequences)
    return Path(path)


class Writer:
    """A file written chunk by chunk, so that memory does not grow with the number of sequences.

    Args:
        path: the file; its ending names the format.
        total: the number of sequences to come, where known: a format that cannot hold so many
            says so before they are made.

    Raises:
        InputError: an unknown ending, or a folder that is not there or cannot be written.

    Used as a context manager it closes at the end, and leaves nothing behind after an error:

        with Writer("out.npz") as writer:
            for chunk in chunks:
                writer.append(chunk)
    """

    def __init__(self, path: Path | str, total: int | None = None) -> None:
        self.path = Path(path).expanduser()
        check_target(self.path, total)
        try:
            name = tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._folder = Path(name)
        self._sink: Sink | None = SINKS[self.path.suffix.lower()](self._folder)
        self._first: Sequences | None = None
        self.written = 0

    def append(self, chunk: Sequences) -> None:
        """Write some more sequences, of the same features, steps and layout as the first.

        Raises:
            DataError: the chunk differs from the first, or the format cannot hold it.
            InputError: the disk refuses; nothing remains.
        """
        if self._sink is None:
            raise InputError(f'"{self.path}" is closed', rule="append before close")
        try:
            if self._first is None:
                self._first = chunk[:1]  # only its description is needed
            else:
                _check_same(self._first, chunk)
            self._sink.add(chunk)
        except OSError as error:
            self.abort()
            raise _unwritable(self.path, error) from error
        except RganError:
            self.abort()
            raise
        self.written += len(chunk)

    def close(self) -> Path:
        """Finish the file and give it its name.

        Raises:
            InputError: nothing was appended, or the disk refuses; nothing remains.
        """
        if self._sink is None:
            return self.path
        try:
            if not self.written:
                raise InputError(f'nothing was written to "{self.path}"', rule="at least one chunk")
            self._sink.finish().replace(self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        finally:
            self.abort()
        return self.path

    def abort(self) -> None:
        """Throw away what is not finished; does nothing after ``close``."""
        self._sink = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


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
            rule=f"the ending names the format: {', '.join(SINKS)}",
            repair=f"-o {path.stem or 'samples'}.npz",
        )
    if path.is_dir():
        raise InputError(f'"{path}" is a folder', rule="a file")
    if not path.parent.is_dir():
        raise InputError(
            f'the folder "{path.parent}" does not exist',
            rule="the file's folder exists",
            repair=f"mkdir -p {path.parent}",
        )
    if ending == ".png" and total is not None:
        from rgan.data.tiles import check_count

        check_count(total)


def _check_same(first: Sequences, chunk: Sequences) -> None:
    plain = ("feature_names", "n_steps", "layout", "static_info", "step", "step_unit")
    for what in plain:
        if getattr(first, what) != getattr(chunk, what):
            raise DataError(
                f"{what} differs: {getattr(chunk, what)}, first {getattr(first, what)}",
                rule="all chunks of a file have one description",
            )
    for what in ("labels", "static", "subjects", "starts", "part"):
        if (getattr(first, what) is None) != (getattr(chunk, what) is None):
            raise DataError(
                f"{what} are in some chunks only", rule="all chunks have them, or none has"
            )


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f'"{path}" cannot be written: {error.strerror or error}',
        rule="the folder can be written and has room",
        repair="-o with a path in another folder",
    )
