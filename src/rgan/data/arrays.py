"""Arrays to ``Sequences``: from memory, from ``.npy``, and ragged lists of arrays.

Shape letters: N sequences, T steps, F features, L steps of one sequence (L <= T).

Nothing here unpickles: a file that holds objects is refused, since loading it could run the
code of whoever made the file.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rgan.errors import DataError, SourceError
from rgan.layouts import ArrayLayout
from rgan.sequences import Sequences


def pad(arrays: Sequence[ArrayLike]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Ragged sequences as one array and their lengths, padded with zeros that nothing reads.

    Args:
        arrays: N arrays of shape (L, F), or (L,) for one feature; L may differ.

    Returns:
        values (N, T, F) with T the greatest L, and lengths (N,).

    Raises:
        DataError: no arrays, an empty one, or a different number of features in one of them.

    >>> values, lengths = pad([[[1.0], [2.0]], [[3.0]]])
    >>> values.shape, lengths.tolist()
    ((2, 2, 1), [2, 1])
    """
    if not len(arrays):
        raise DataError("there are no sequences to pad", rule="at least one array")
    parts: list[NDArray[Any]] = []
    for row, array in enumerate(arrays):
        part = np.asarray(array)
        part = part[:, None] if part.ndim == 1 else part
        if part.ndim != 2 or 0 in part.shape or part.dtype.kind not in "fiub":
            raise DataError(
                f"sequence {row} is {part.dtype} of shape {part.shape}",
                rule="each sequence holds numbers, (steps, features), and at least one step",
            )
        if parts and part.shape[1] != parts[0].shape[1]:
            raise DataError(
                f"sequence {row} has {part.shape[1]} features, sequence 0 has {parts[0].shape[1]}",
                rule="every sequence has the same features",
            )
        parts.append(part)
    lengths = np.array([len(part) for part in parts], dtype=np.int64)
    dtype = np.result_type(*{part.dtype for part in parts})
    values = np.zeros((len(parts), lengths.max(), parts[0].shape[1]), dtype=dtype)
    for row, part in enumerate(parts):
        values[row, : len(part)] = part
    return values, lengths


def from_array(
    values: ArrayLike,
    *,
    observed: ArrayLike | None = None,
    lengths: ArrayLike | None = None,
    nan: Literal["error", "missing"] = "error",
    **description: Any,
) -> Sequences:
    """``Sequences`` of an array, remembering its dtype.

    Args:
        values: (N, T, F); (N, T) has one feature; (T,) is one series of one feature.
        observed: bool of the same shape, True = measured.
        lengths: (N,) steps of each sequence.
        nan: what NaN without a mask means: "error", or "missing" (not measured).
        description: further fields of ``Sequences``: labels, subjects, static, names, ...

    Raises:
        DataError: the array breaks a rule of ``Sequences``.
    """
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise _ragged() from error
    if array.dtype.kind == "O":
        raise _ragged()
    shaped = _three_dimensional(array)
    if observed is not None:
        observed = _three_dimensional(np.asarray(observed))
    elif nan == "missing" and array.dtype.kind == "f":
        observed = ~np.isnan(shaped)
    description.setdefault("layout", ArrayLayout(str(array.dtype), flat=array.ndim == 2))
    return Sequences(shaped, observed=observed, lengths=lengths, **description)  # type: ignore[arg-type]


def read_npy(path: Path, nan: Literal["error", "missing"] = "error") -> Sequences:
    """The sequences of a ``.npy`` file: (N, T, F), (N, T) or one series (T,).

    Raises:
        SourceError: the file is missing, damaged, or holds pickled objects.
        DataError: the array breaks a rule of ``Sequences``.
    """
    with opened(path) as array:
        if not isinstance(array, np.ndarray):
            raise SourceError(
                f'"{path}" is not an .npy file', repair=f"rename it to {path.stem}.npz"
            )
    return from_array(array, nan=nan, name=path.stem)


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """What numpy finds in a file, which is closed afterwards even if it is damaged.

    Raises:
        SourceError: the file is missing, damaged, or holds pickled objects.
    """
    try:
        with path.open("rb") as file:
            yield np.load(file, allow_pickle=False)
    except DataError:
        raise
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise SourceError(f'"{path}" cannot be read: {error}', rule="the file is whole") from error
    except ValueError as error:
        if "pickle" in str(error).lower():
            raise pickled(f'"{path.name}"') from error
        raise SourceError(f'"{path}" cannot be read: {error}', rule="the file is whole") from error


def pickled(what: str) -> SourceError:
    return SourceError(
        f"{what} holds pickled objects, or is not an array file",
        rule="arrays of numbers or text; objects are never loaded",
        reason="loading a pickle can run any code its maker put there",
        repair="np.savez(path, values=values.astype('float32'))",
    )


def _three_dimensional(array: NDArray[Any]) -> NDArray[Any]:
    if array.ndim == 1:
        return array[None, :, None]
    return array[:, :, None] if array.ndim == 2 else array


def _ragged() -> DataError:
    return DataError(
        "the sequences are ragged: their lengths or their numbers of features differ",
        rule="values are one array (N, T, F)",
        repair="from rgan.data.arrays import pad; values, lengths = pad(list_of_arrays)",
    )
