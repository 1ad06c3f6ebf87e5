"""A path to ``Sequences``, by what lies there: an array, a table, a ``.ts`` file or images."""

from __future__ import annotations

import zipfile
from pathlib import Path

from rgan.data.config import DataConfig
from rgan.errors import DataError, SourceError, nearest
from rgan.sequences import Sequences

READABLE: tuple[str, ...] = (".npy", ".npz", ".csv", ".csv.gz", ".parquet", ".ts", ".zip")


def read_path(path: Path, config: DataConfig, seed: int = 0) -> Sequences:
    """The sequences of a file or folder.

    Args:
        path: ``.npy``, ``.npz``, ``.csv`` (also gzipped), ``.parquet``, ``.ts``, a ``.zip`` or
            folder of images, or a folder with one NAME_TRAIN.ts and NAME_TEST.ts.
        config: column names, grid, image size and layout.
        seed: draws the images where ``max_sequences`` asks for fewer.

    Raises:
        SourceError: the path is missing, of an unknown kind, or damaged.
        DataError: what is in it breaks a rule.
    """
    if not path.exists():
        raise _missing(path)
    kind = _kind(path)
    if kind not in (".csv", ".csv.gz", ".parquet"):
        _refuse_table_options(path, kind, config)
    if kind in (".csv", ".csv.gz", ".parquet"):
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
    """What lies at the path: one of ``READABLE``, "ts folder" or "images"."""
    if path.is_dir():
        pairs = [list(path.glob(f"*_{part}.ts")) for part in ("TRAIN", "TEST")]
        return "ts folder" if all(len(files) == 1 for files in pairs) else "images"
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


def _refuse_table_options(path: Path, kind: str, config: DataConfig) -> None:
    """An option that would be ignored is a mistake that would go unseen."""
    named = {"id": config.id, "time": config.time, "static": config.static, "step": config.step}
    if kind != ".npz":
        named |= {"label": config.label, "subject": config.subject}
    for option, value in named.items():
        if value:
            raise DataError(
                f'--{option} {value} is given and "{path.name}" is not a table',
                rule=f"--{option} belongs to .csv and .parquet",
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
    hint = nearest(path.name, names)
    return SourceError(
        f'"{path}" does not exist',
        rule="SOURCE is a built-in name, or the path of a file or folder",
        repair=hint if hint.startswith("did you") else f"ls {parent}",
    )
