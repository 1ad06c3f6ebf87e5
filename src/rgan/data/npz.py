"""``.npz`` archives to ``Sequences``; what ``write`` writes reads back equal.

Shape letters: N sequences, T steps, F features.

Nothing here unpickles: an archive with a member that holds objects is refused as a whole.
"""

from __future__ import annotations

import difflib
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rgan.data.arrays import from_array, opened, pad, pickled
from rgan.errors import DataError, SourceError, nearest
from rgan.layouts import layout_from_dict
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
    with opened(path) as archive:
        if isinstance(archive, np.ndarray):
            raise SourceError(
                f'"{path}" is not an .npz file', repair=f"rename it to {path.stem}.npy"
            )
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
                raise pickled(f'"{path.name}" member "{name.removesuffix(".npy")}"')


def _read_member(archive: Any, name: str, path: Path) -> NDArray[Any]:
    try:
        member = archive[name]
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as error:
        raise SourceError(
            f'"{path.name}" member "{name}" cannot be read: {error}', rule="the file is whole"
        ) from error
    if not isinstance(member, np.ndarray):
        raise SourceError(f'"{path.name}" member "{name}" is not an array')
    return member


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
