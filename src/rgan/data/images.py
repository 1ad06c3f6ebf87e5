"""A folder or zip of images as ``Sequences``.

Shape letters: N images, H, W, C height, width, channels of an image; h, w another size.

A zip is read member by member in memory: nothing is written to disk, so names in it cannot point
anywhere.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.data.config import parse_size
from rgan.errors import ConfigError, DataError, SourceError
from rgan.layouts import ImageLayout, ImageOrder
from rgan.sequences import Sequences

ENDINGS: tuple[str, ...] = (
    *(".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff"),
    *(".pgm", ".ppm", ".pbm", ".webp"),
)
"""What counts as an image; other files (a README) are passed over."""

MOST_BYTES = 256 * 2**20
"""A zip's member that claims to be larger is refused: a small file can unpack to fill a disk."""


def read_images(
    path: Path,
    *,
    size: str = "",
    order: str = "rows",
    patch: str = "",
    subject_from_name: bool = False,
    limit: int = 0,
    seed: int = 0,
) -> Sequences:
    """The images under a folder, or in a zip, in the order of their names.

    The name of the folder an image lies in is its label, where there are two or more such folders;
    folders ``train`` and ``test`` at the top are the official parts. Images are grey, or all of
    them RGB if one has colour; what is transparent is put on white.

    Args:
        path: a folder (read with its sub-folders) or a ``.zip``.
        size: "28" or "64x48" resamples by area; "" needs images of one size.
        order: how an image is read as a sequence: rows, columns, pixels or patches.
        patch: size of a patch, for order "patches".
        subject_from_name: names such as First_Last_0001.png give the subject, First_Last.
        limit: at most so many images, drawn by ``seed`` before any is decoded; 0 reads all.
        seed: draws the images.

    Raises:
        SourceError: there are no images, or one cannot be decoded.
        DataError: sizes or pixel depths differ, or a name gives no subject.
    """
    to = parse_size(size)
    with _opened(path) as (names, read):
        if limit and len(names) > limit:
            rows = np.random.default_rng([seed, 0x1336]).choice(len(names), limit, replace=False)
            chosen = [names[row] for row in np.sort(rows)]
        else:
            chosen = names
        images, high = _decode_all(chosen, read, to)
    layout = image_layout(images, order, patch, high)
    folders, tops = ([PurePosixPath(name).parts[at : at + 1] for name in chosen] for at in (-2, 0))
    split = {"train", "test"} == {top[0] for top in tops} and all("/" in n for n in chosen)
    labels = [
        folder[0] if "/" in name else "" for folder, name in zip(folders, chosen, strict=True)
    ]
    classes = set(labels) - ({"train", "test"} if split else set())
    return Sequences(
        layout.to_sequences(images),
        labels=np.array(labels) if len(classes) > 1 else None,
        subjects=np.array([_subject(name) for name in chosen]) if subject_from_name else None,
        part=np.array([top[0] for top in tops]) if split else None,
        layout=layout,
        name=path.stem,
    )


def image_layout(
    images_NHWC: NDArray[Any], order: str = "rows", patch: str = "", high: float = 255.0
) -> ImageLayout:
    """How images of this shape are read as sequences.

    Raises:
        ConfigError: an unknown order, or a patch that does not tile the image.
    """
    tile = parse_size(patch, "patch")
    if order == "patches" and tile is None:
        raise ConfigError(
            "layout is patches, and no patch size is given",
            rule="a patch has a height and a width",
            repair="--layout patches --patch 4x4",
        )
    h, w, c = images_NHWC.shape[1:]
    kind: ImageOrder = order  # type: ignore[assignment]  # ImageLayout refuses what it is not
    return ImageLayout(h, w, c, order=kind, patch=tile, high=high)


def resize_area(images_NHWC: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """Images resampled by area: a new pixel is the mean of what it covers.

    Args:
        images_NHWC: (N, H, W, C) of any numbers.
        size: (h, w) in pixels.

    Returns:
        (N, h, w, C) float32; the mean over an image is kept.

    >>> resize_area(np.arange(4.0).reshape(1, 2, 2, 1), (1, 1)).item()
    1.5
    """
    h, w = size
    down_hH, across_wW = _overlaps(images_NHWC.shape[1], h), _overlaps(images_NHWC.shape[2], w)
    result = np.empty((len(images_NHWC), h, w, images_NHWC.shape[3]), dtype=np.float32)
    for start in range(0, len(result), 4096):  # in pieces, so that memory stays small
        part = images_NHWC[start : start + 4096].astype(np.float32)
        part = np.einsum("hH,nHWc->nhWc", down_hH, part, optimize=True)
        result[start : start + 4096] = np.einsum("wW,nhWc->nhwc", across_wW, part, optimize=True)
    return result


def _overlaps(old: int, new: int) -> NDArray[np.float32]:
    """(new, old) the share of each old pixel in each new one; rows sum to 1."""
    edges = np.arange(new + 1) * (old / new)
    low = np.maximum(edges[:-1, None], np.arange(old)[None, :])
    high = np.minimum(edges[1:, None], np.arange(1, old + 1)[None, :])
    return np.asarray(np.maximum(0.0, high - low) * (new / old), dtype=np.float32)


ZIP_FAULTS = (zipfile.BadZipFile, zlib.error, RuntimeError)
"""What zipfile raises: no zip, damaged data, and RuntimeError for a password or (its child
NotImplementedError) a compression that it does not know."""


@contextmanager
def _opened(path: Path) -> Iterator[tuple[list[str], Any]]:
    """The names of the images, with "/" between folders, and a function that reads one's bytes."""
    if path.is_dir():
        files = (file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
        yield _images(files, path), lambda name: (path / name).read_bytes()
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info.filename for info in archive.infolist() if not info.is_dir()]
            yield _images(iter(members), path), lambda name: _member(archive, name)
    except ZIP_FAULTS as error:
        raise SourceError(
            f'"{path}" cannot be read: {error}', rule="a whole zip, without a password"
        ) from error


def _images(names: Iterator[str], path: Path) -> list[str]:
    hidden = (".", "__MACOSX")
    found = sorted(
        name
        for name in names
        if name.lower().endswith(ENDINGS)
        and not any(part.startswith(hidden) for part in PurePosixPath(name).parts)
    )
    if not found:
        raise SourceError(
            f'"{path}" holds no images', rule=f"at least one file ending in {', '.join(ENDINGS)}"
        )
    return found


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    size = archive.getinfo(name).file_size
    if size > MOST_BYTES:
        raise SourceError(f'"{name}" unpacks to {size} bytes', rule=f"at most {MOST_BYTES}")
    return archive.read(name)


def _decode_all(
    names: list[str], read: Any, to: tuple[int, int] | None
) -> tuple[NDArray[np.float32], float]:
    """Images (N, H, W, C) and the range of their pixels."""
    images: list[NDArray[Any]] = []
    highs: list[float] = []
    for name in names:
        image, high = _decode(name, read(name))
        images.append(image if to is None else resize_area(image[None], to)[0])
        highs.append(high)
        if high != highs[0]:
            raise DataError(
                f'"{name}" has pixels up to {high:g}, "{names[0]}" up to {highs[0]:g}',
                rule="all images have the same depth",
            )
        if images[-1].shape[:2] != images[0].shape[:2]:
            (h, w), (h0, w0) = images[-1].shape[:2], images[0].shape[:2]
            raise DataError(
                f'"{name}" has {h}x{w} pixels, "{names[0]}" {h0}x{w0}',
                rule="all images have one size, or are resampled to one",
                repair=f"--size {h0}x{w0}",
            )
    channels = max(image.shape[2] for image in images)
    same = [np.repeat(image, channels // image.shape[2], axis=2) for image in images]
    return np.stack(same).astype(np.float32), highs[0]


def _decode(name: str, data: bytes) -> tuple[NDArray[Any], float]:
    """One image (H, W, C) with C = 1 or 3, and its greatest possible pixel."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as opened:
                upright = ImageOps.exif_transpose(opened)
                return _pixels(upright, name)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombWarning) as error:
        if isinstance(error, DataError):
            raise
        raise SourceError(f'"{name}" cannot be read as an image: {error}') from error
    except Image.DecompressionBombError as error:
        raise SourceError(f'"{name}" is too large an image: {error}') from error


def _pixels(image: Any, name: str) -> tuple[NDArray[Any], float]:
    from PIL import Image

    if image.mode in ("I", "I;16", "I;16B", "I;16L"):
        return np.asarray(image).astype(np.float32)[:, :, None], 65535.0
    if image.mode == "F":
        raise DataError(f'"{name}" has floating-point pixels', rule="8 or 16 bits a pixel")
    if image.has_transparency_data:
        grey = image.mode == "LA"
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), layer)
        image = image.convert("L" if grey else "RGB")
    elif image.mode in ("1", "L"):
        image = image.convert("L")
    else:
        image = image.convert("RGB")
    pixels = np.asarray(image)
    return (pixels[:, :, None] if pixels.ndim == 2 else pixels), 255.0


def _subject(name: str) -> str:
    """First_Last of First_Last_0001.png."""
    stem = PurePosixPath(name).stem
    match = re.fullmatch(r"(.+)_\d+", stem)
    if match is None:
        raise DataError(
            f'the name "{stem}" gives no subject',
            rule="names are the subject, an underscore and a number: First_Last_0001",
            repair="leave subject_from_name out",
        )
    return match[1]
