"""Arrays to ``Sequences``: ``.npy``, ``.npz``, and ragged lists of arrays.

Shape letters: N sequences, T steps, F features, L steps of one sequence (L <= T).

Nothing here unpickles: a member that holds objects is refused, since loading it could run the
code of whoever made the file.
"""

from __future__ import annotations

import difflib
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rgan.errors import DataError, SourceError, nearest
from rgan.layouts import ArrayLayout, layout_from_dict
from rgan.sequences import Sequences, Static

NPZ_KEYS: dict[str, tuple[str, ...]] = {
    "values": ("values", "data", "X", "x"),
    "observed": ("observed", "mask", "masks"),
    "lengths": ("lengths", "length"),
    "labels": ("labels", "label", "y", "Y"),
    "static": ("static",),
    "static_names": ("static_names",),
    "subjects": ("subjects", "subject"),
    "starts": ("starts",),
    "part": ("part",),
    "feature_names": ("feature_names", "features"),
    "units": ("units",),
    "meta": ("meta",),
}
"""What each part of a ``.npz`` may be called; other members are left alone."""


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
    description.setdefault("layout", ArrayLayout(dtype=str(array.dtype)))
    return Sequences(shaped, observed=observed, lengths=lengths, **description)  # type: ignore[arg-type]


def read_npy(path: Path, nan: Literal["error", "missing"] = "error") -> Sequences:
    """The sequences of a ``.npy`` file: (N, T, F), (N, T) or one series (T,).

    Raises:
        SourceError: the file is missing, damaged, or holds pickled objects.
        DataError: the array breaks a rule of ``Sequences``.
    """
    array = _load(path)
    if not isinstance(array, np.ndarray):
        array.close()
        raise SourceError(f'"{path}" is not an .npy file', repair=f"rename it to {path.stem}.npz")
    return from_array(array, nan=nan, name=path.stem)


def read_npz(
    path: Path,
    nan: Literal["error", "missing"] = "error",
    *,
    label: str = "",
    subject: str = "",
) -> Sequences:
    """The sequences of a ``.npz`` file, by the names of its members (``NPZ_KEYS``).

    Values may also be concatenated, (sum of lengths, F), beside ``lengths``.

    Args:
        path: the file.
        nan: what NaN without a mask means.
        label, subject: the members that hold labels and subjects, if they have other names.

    Raises:
        SourceError: the file is missing, damaged, or a member holds pickled objects.
        DataError: there are no values, or they break a rule of ``Sequences``.
    """
    members = _members(path, {"labels": label, "subjects": subject})
    meta = _meta(members.pop("meta", None), path)
    values = members.pop("values")
    lengths = members.pop("lengths", None)
    if values.ndim == 2 and lengths is not None and lengths.shape != values.shape[:1]:
        if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or lengths.sum() != len(values):
            raise DataError(
                f'"{path.name}": values {values.shape} and lengths {lengths.shape} do not fit',
                rule="one length a sequence; concatenated values have sum(lengths) rows",
            )
        values, lengths = pad(np.split(values, np.cumsum(lengths)[:-1]))
    for what in ("feature_names", "units"):
        if what in members:
            members[what] = tuple(members[what].astype(str).tolist())  # type: ignore[assignment]
    static_names = members.pop("static_names", None)
    if "static" in members and "static_info" not in meta:
        columns = members["static"].shape[-1]
        names = [f"s{i}" for i in range(columns)] if static_names is None else static_names.tolist()
        meta["static_info"] = tuple(Static(str(name)) for name in names)
    fields: dict[str, Any] = {"name": path.stem, **members, **meta}
    return from_array(values, lengths=lengths, nan=nan, **fields)


def _members(path: Path, named: dict[str, str]) -> dict[str, NDArray[Any]]:
    """The members we know, under our names; object members are refused even if unused."""
    archive = _load(path)
    if isinstance(archive, np.ndarray):
        raise SourceError(f'"{path}" is not an .npz file', repair=f"rename it to {path.stem}.npy")
    with archive:
        _refuse_pickles(path)
        names = list(archive.files)
        found: dict[str, NDArray[Any]] = {}
        for what, aliases in NPZ_KEYS.items():
            if named.get(what):
                aliases = (named[what],)
                if named[what] not in names:
                    raise DataError(
                        f'"{path.name}" has no member "{named[what]}"',
                        rule=nearest(named[what], names),
                    )
            present = [alias for alias in aliases if alias in names]
            if len(present) > 1:
                raise DataError(f'"{path.name}" has {present}', rule=f"only one of them is {what}")
            if present:
                found[what] = _read_member(archive, present[0], path)
        known = [alias for aliases in NPZ_KEYS.values() for alias in aliases]
        for name in names:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
            if name not in known and close:
                raise DataError(
                    f'"{path.name}" has a member "{name}"', rule=f'did you mean "{close[0]}"?'
                )
        if "values" not in found and len(names) == 1:
            found["values"] = _read_member(archive, names[0], path)
    if "values" not in found:
        raise DataError(
            f'"{path.name}" has no values; its members are {", ".join(names) or "none"}',
            rule=f"the array (N, T, F) is called one of {', '.join(NPZ_KEYS['values'])}",
            repair="np.savez(path, values=values, labels=labels)",
        )
    return found


def _refuse_pickles(path: Path) -> None:
    """Read only the members' headers; a pickle anywhere in the file condemns all of it."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                try:
                    version = np.lib.format.read_magic(member)
                    header = {
                        (1, 0): np.lib.format.read_array_header_1_0,
                        (2, 0): np.lib.format.read_array_header_2_0,
                    }.get(version, np.lib.format.read_array_header_2_0)(member)
                except (ValueError, OSError, zipfile.BadZipFile):
                    continue  # not an array: only an error if it is asked for
            if header[2].hasobject:
                raise _pickled(f'"{path.name}" member "{name.removesuffix(".npy")}"')


def _read_member(archive: Any, name: str, path: Path) -> NDArray[Any]:
    try:
        member = archive[name]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise SourceError(
            f'"{path.name}" member "{name}" cannot be read: {error}', rule="the file is whole"
        ) from error
    if not isinstance(member, np.ndarray):
        raise SourceError(f'"{path.name}" member "{name}" is not an array')
    return member


def _load(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise SourceError(f'"{path}" cannot be read: {error}', rule="the file is whole") from error
    except ValueError as error:
        if "pickle" in str(error).lower():
            raise _pickled(f'"{path.name}"') from error
        raise SourceError(f'"{path}" cannot be read: {error}', rule="the file is whole") from error


def _pickled(what: str) -> SourceError:
    return SourceError(
        f"{what} holds pickled objects, or is not an array file",
        rule="arrays of numbers or text; objects are never loaded",
        reason="loading a pickle can run any code its maker put there",
        repair="np.savez(path, values=values.astype('float32'))",
    )


def _meta(member: NDArray[Any] | None, path: Path) -> dict[str, Any]:
    """The description that ``write`` put beside the arrays, as fields of ``Sequences``."""
    if member is None:
        return {}
    try:
        data = json.loads(str(member))
        info = tuple(
            Static(**{**entry, "levels": tuple(entry["levels"])}) for entry in data["static_info"]
        )
        return {
            "static_info": info,
            "layout": layout_from_dict(data["layout"]),
            "step": float(data["step"]),
            "step_unit": str(data["step_unit"]),
            "label_name": str(data["label_name"]),
            "name": str(data["name"]),
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise SourceError(
            f'"{path.name}" member "meta" is not a description: {error}',
            rule="the JSON that rgan writes; without it the arrays alone are read",
        ) from error


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
