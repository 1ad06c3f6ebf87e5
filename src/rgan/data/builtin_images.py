"""The built-in image sources: digits, mnist, fashion-mnist and lfw.

Shape letters: N images, H, W, C height, width, channels; T steps, F features.
"""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rgan.data.builtin import draw_rows
from rgan.data.builtin_files import LFW, idx_files
from rgan.data.config import parse_size
from rgan.data.download import fetch
from rgan.data.idx import read_idx
from rgan.data.images import ZIP_FAULTS, image_layout, resize_area
from rgan.errors import SourceError
from rgan.sequences import Sequences

if TYPE_CHECKING:
    from rgan.data.sources import LoadOptions

LFW_COUNT, LFW_SIDE = 13_233, 64
_PGM = re.compile(rb"P5\s+(\d+)\s+(\d+)\s+(\d+)\s")
_NAME_AND_NUMBER = re.compile(r"(.+)_\d+$")


def load_digits(options: LoadOptions) -> Sequences:
    """The source ``digits``: 1,797 digits of 8x8, pixels 0 to 16, labels 0 to 9."""
    from sklearn.datasets import load_digits as sklearn_digits

    bunch = sklearn_digits()
    rows = draw_rows(len(bunch.images), options)
    return _sequences(
        bunch.images[rows], options, "digits", high=16.0, labels=bunch.target[rows].astype(np.int64)
    )


def load_idx_set(name: str, options: LoadOptions) -> Sequences:
    """The sources ``mnist`` and ``fashion-mnist``: train and test as one, told apart by ``part``.

    Raises:
        SourceError: a file is not here and cannot be downloaded, or is not the published one.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for what, file in idx_files(name).items():
        path, data = fetch(file, options.data_dir, options.quiet)
        arrays[what] = read_idx(data, str(path))
    images = np.concatenate([arrays["train images"], arrays["test images"]])
    labels = np.concatenate([arrays["train labels"], arrays["test labels"]])
    n_train = len(arrays["train labels"])
    rows = draw_rows(len(images), options)
    part = np.where(rows < n_train, "train", "test")
    return _sequences(images[rows], options, name, labels=labels[rows].astype(np.int64), part=part)


def load_lfw(options: LoadOptions) -> Sequences:
    """The source ``lfw``: 13,233 grey faces of 64x64; subjects are the people's names.

    The official archive and copies made from the colour release pack the same pictures
    differently, so the rule here is on the content: 13,233 PGM images of 64x64 whose names are
    First_Last_0001.pgm.

    Raises:
        SourceError: the archive is not here and cannot be downloaded, or breaks that rule.
    """
    path, data = fetch(LFW, options.data_dir, options.quiet)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = sorted(n for n in archive.namelist() if n.endswith(".pgm"))
            if len(names) != LFW_COUNT:
                raise _not_lfw(path, f"holds {len(names):,} .pgm images")
            rows = draw_rows(LFW_COUNT, options)
            images = np.empty((len(rows), LFW_SIDE, LFW_SIDE), dtype=np.uint8)
            for i, row in enumerate(rows):
                images[i] = _read_pgm(archive, names[row], path)
    except ZIP_FAULTS as error:
        raise _not_lfw(path, f"is not a zip archive that can be read ({error})") from error
    subjects = np.array([_person(names[row], path) for row in rows])
    return _sequences(images, options, "lfw", subjects=subjects)


def _read_pgm(archive: zipfile.ZipFile, name: str, path: Path) -> NDArray[np.uint8]:
    pixels = LFW_SIDE * LFW_SIDE
    if archive.getinfo(name).file_size > pixels + 1024:
        raise _not_lfw(path, f"has {name} of {archive.getinfo(name).file_size:,} bytes")
    data = archive.read(name)
    header = _PGM.match(data)
    if not header or header.groups() != (b"64", b"64", b"255") or len(data) < header.end() + pixels:
        raise _not_lfw(path, f"has {name}, which is not 64x64 grey of 8 bits")
    return np.frombuffer(data, np.uint8, pixels, header.end()).reshape(LFW_SIDE, LFW_SIDE)


def _person(name: str, path: Path) -> str:
    match = _NAME_AND_NUMBER.match(Path(name).stem)
    if not match:
        raise _not_lfw(path, f"has {name}, which names no person")
    return match.group(1)


def _not_lfw(path: Path, what: str) -> SourceError:
    return SourceError(
        f"{path} {what}",
        rule=f"LFWcrop holds {LFW_COUNT:,} PGM images of 64x64 named First_Last_0001.pgm",
        repair=f"remove it, and it is downloaded; or pass it as a path: rgan data show {path}",
    )


def _sequences(
    images_NHW: NDArray[Any], options: LoadOptions, name: str, high: float = 255.0, **columns: Any
) -> Sequences:
    """Grey images as sequences, resampled and read as the options say."""
    images_NHWC = images_NHW[..., None]
    size = parse_size(options.size)
    if size:
        images_NHWC = resize_area(images_NHWC, size)
    layout = image_layout(images_NHWC, options.layout, options.patch, high)
    values_NTF = layout.to_sequences(images_NHWC)
    return Sequences(values_NTF, layout=layout, name=name, **columns)
