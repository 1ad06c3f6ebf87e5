"""``write`` and ``Writer``: sequences into a file or a folder, whole or not at all.

Everything is written into a hidden folder beside the target and moved to its name at the end, so
that a file under the final name is complete, however the program ended.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from rgan.data.targets import FOLDERS, SINKS, Sink, check_folder, check_target, form_of, is_folder
from rgan.errors import DataError, InputError, RganError
from rgan.layouts import Layout
from rgan.sequences import Sequences


def write(sequences: Sequences, path: Path | str) -> Path:
    """Write sequences in the format that the path's ending names (``SINKS``); into a folder as the
    stays came in, where it ends in "/".

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
        path: the file; its ending names the format. Text that ends in "/" is a new folder, for
            stays that came in one.
        total: the number of sequences to come, where known: a format that cannot hold so many
            says so before they are made.
        layout: of the sequences to come, where known, for the same.

    Raises:
        InputError: an unknown ending, a folder that is not there or cannot be written, or is
            there already and not empty.
        DataError: a folder, and the sequences came in none.

    Used as a context manager it closes at the end, and leaves nothing behind after an error:

        with Writer("out.npz") as writer:
            for chunk in chunks:
                writer.append(chunk)
    """

    def __init__(
        self, path: Path | str, total: int | None = None, layout: Layout | None = None
    ) -> None:
        self.path = Path(path).expanduser()
        self._in_folder = is_folder(path)
        if self._in_folder:
            check_folder(self.path)
            if layout is not None:
                form_of(layout)
        else:
            check_target(self.path, total)
        try:
            name = tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._folder = Path(name)
        self._sink: Sink | None = None
        self._first: Sequences | None = None
        self._open = True
        self.written = 0

    def append(self, chunk: Sequences) -> None:
        """Write some more sequences, of the same features, steps and layout as the first.

        Raises:
            DataError: the chunk differs from the first, or the format cannot hold it.
            InputError: the disk refuses; nothing remains.
        """
        if not self._open:
            raise InputError(f'"{self.path}" is closed', rule="append before close")
        try:
            if self._first is None or self._sink is None:
                self._first = chunk[:1]  # only its description is needed
                self._sink = self._make(chunk.layout)
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
        if not self._open:
            return self.path
        try:
            if not self.written or self._sink is None:
                raise InputError(f'nothing was written to "{self.path}"', rule="at least one chunk")
            self._sink.finish().replace(self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        finally:
            self.abort()
        return self.path

    def _make(self, layout: Layout) -> Sink:
        if self._in_folder:
            return FOLDERS[form_of(layout)](self._folder)
        return SINKS[self.path.suffix.lower()](self._folder)

    def abort(self) -> None:
        """Throw away what is not finished; does nothing after ``close``."""
        self._sink, self._open = None, False
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
