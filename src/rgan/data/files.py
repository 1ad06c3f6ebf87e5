"""A path to ``Sequences``, by what lies there: an array, a table, series, stays or images."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from rgan.data.config import DataConfig
from rgan.errors import DataError, SourceError, nearest
from rgan.sequences import Sequences

READABLE: tuple[str, ...] = (
    *(".npy", ".npz", ".csv", ".csv.gz", ".parquet", ".ts", ".zip", ".hea"),
)
TABLES = (".csv", ".csv.gz", ".parquet")
STAYS = ("mimic3 folder", "physionet2012 folder")


def read_path(path: Path, config: DataConfig, seed: int = 0, quiet: bool = True) -> Sequences:
    """The sequences of a file or folder.

    Args:
        path: ``.npy``, ``.npz``, ``.csv`` (also gzipped), ``.parquet``, ``.ts``, a WFDB record
            ``.hea``, a ``.zip`` or folder of images, or a folder: of WFDB records, of stays
            (mimic3-benchmarks, PhysioNet 2012), or with one NAME_TRAIN.ts and NAME_TEST.ts.
        config: column names, grid, image size and layout.
        seed: draws the images or stays where ``max_sequences`` asks for fewer.
        quiet: no bar.

    Raises:
        SourceError: the path is missing, of an unknown kind, or damaged.
        DataError: what is in it breaks a rule.
    """
    if not path.exists():
        raise _missing(path)
    kind = _kind(path)
    if kind not in TABLES:
        _refuse_table_options(path, kind, config)
    if kind in TABLES:
        from rgan.data.tables import read_table

        return read_table(path, config)
    if kind == ".npy":
        from rgan.data.arrays import read_npy

        return read_npy(path, config.nan)
    if kind == ".npz":
        from rgan.data.npz import read_npz

        return read_npz(path, config.nan, label=config.label, subject=config.subject)
    if kind == ".ts":
        from rgan.data.ts import read_ts

        return read_ts(path)
    if kind == "ts folder":
        from rgan.data.ts import read_ts_pair

        return read_ts_pair(path)
    if kind == "mimic3 folder":
        from rgan.data.mimic3 import read_mimic3

        return read_mimic3(path, config, seed, quiet)
    if kind == "physionet2012 folder":
        from rgan.data.physionet import read_physionet

        return read_physionet(path, config, seed, quiet)
    if kind in (".hea", "WFDB folder"):
        from rgan.data.records import read_records

        return read_records(path)
    from rgan.data.images import read_images

    limit = 0 if config.window else config.max_sequences
    return read_images(
        path,
        size=config.size,
        order=config.layout,
        patch=config.patch,
        subject_from_name=config.subject_from_name,
        limit=limit,
        seed=seed,
    )


def _kind(path: Path) -> str:
    """What lies at the path: one of ``READABLE``, a kind of folder, or "images"."""
    if path.is_dir():
        return _folder_kind(path)
    name = path.name.lower()
    kind = next((e for e in sorted(READABLE, key=len, reverse=True) if name.endswith(e)), "")
    if kind == ".zip":
        if not zipfile.is_zipfile(path):
            raise SourceError(f'"{path}" is not a zip archive', rule="the file is whole")
        return "images"
    if not kind:
        raise SourceError(
            f'"{path}" is of a kind that is not read',
            rule=f"a folder of images or a file ending in {', '.join(READABLE)}",
        )
    if not path.stat().st_size:
        raise SourceError(
            f'"{path}" is empty',
            rule="a file with at least one sequence",
            repair="write or copy the file again",
        )
    return kind


def _folder_kind(path: Path) -> str:
    from rgan.data.mimic3_lists import is_mimic3
    from rgan.data.physionet_lists import is_physionet

    pairs = [list(path.glob(f"*_{part}.ts")) for part in ("TRAIN", "TEST")]
    if all(len(files) == 1 for files in pairs):
        return "ts folder"
    if is_mimic3(path):
        return "mimic3 folder"
    if is_physionet(path):
        return "physionet2012 folder"
    return "WFDB folder" if any(path.glob("*.hea")) else "images"


def _refuse_table_options(path: Path, kind: str, config: DataConfig) -> None:
    """An option that would be ignored is a mistake that would go unseen."""
    named: dict[str, Any] = {"id": config.id, "time": config.time, "static": config.static}
    named["category"] = config.category
    if kind not in STAYS:
        named |= {"step": config.step, "bin": "" if config.bin == "last" else config.bin}
    if kind != ".npz":
        named |= {"label": config.label, "subject": config.subject}
    for option, value in named.items():
        if value:
            more = ", and to folders of stays" if option in ("step", "bin") else ""
            raise DataError(
                f'--{option} {value} is given and "{path.name}" is not a table',
                rule=f"--{option} belongs to .csv and .parquet{more}",
                repair=f"leave --{option} out",
            )


def _missing(path: Path) -> SourceError:
    parent = path.parent
    if not parent.is_dir():
        return SourceError(
            f'"{path}" does not exist, nor does its folder',
            rule="SOURCE is a built-in name, or the path of a file or folder",
            repair="rgan data list",
        )
    names = [entry.name for entry in parent.iterdir()]
    if f"{path.name}.hea" in names:
        return SourceError(
            f'"{path}" does not exist',
            rule="a WFDB record is named by its header, or by the folder of records",
            repair=f"{path}.hea",
        )
    hint = nearest(path.name, names)
    return SourceError(
        f'"{path}" does not exist',
        rule="SOURCE is a built-in name, or the path of a file or folder",
        repair=hint if hint.startswith("did you") else f"ls {parent}",
    )
