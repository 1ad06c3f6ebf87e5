"""The built-in data sources by name. This module holds text only; loaders import what they need.

A source is bundled with the package, made by a formula, or downloaded. Downloaded ones are looked
for on this machine first: in the folder that ``data_dir`` or the variable RGAN_DATA names, then in
the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rgan.errors import ConfigError, SourceError, nearest

if TYPE_CHECKING:
    from rgan.sequences import Sequences

SourceKind = Literal["bundled", "computed", "download"]


@dataclass(frozen=True)
class LoadOptions:
    """How a built-in source is to be read.

    Args:
        data_dir: folder with local copies of downloadable data; "" uses the variable RGAN_DATA.
        size: resample images by area to "28" (square) or "64x48" (height x width).
        layout: how images are read as sequences: rows, columns, pixels or patches.
        patch: "4" or "4x4", for layout patches.
        max_sequences: keep at most this many sequences, drawn by ``seed``; 0 keeps all.
        seed: of that draw. The data themselves do not depend on it.
        quiet: no progress bar while downloading.
    """

    data_dir: str = ""
    size: str = ""
    layout: str = "rows"
    patch: str = ""
    max_sequences: int = 0
    seed: int = 0
    quiet: bool = False


@dataclass(frozen=True)
class Source:
    """One built-in source: what ``rgan data list`` prints, and the loader.

    Args:
        name: what the user types.
        summary: one line.
        kind: "bundled", "computed" or "download".
        load: reads it; imports its needs only then.
        shape: sequences x steps x features, as text.
        licence: of the data.
        images: whether size, layout and patch apply.
    """

    name: str
    summary: str
    kind: SourceKind
    load: Callable[[LoadOptions], Sequences]
    shape: str
    licence: str
    images: bool = False


def _icu(options: LoadOptions) -> Sequences:
    from rgan.data.icu import load_icu

    return load_icu(options)


def _sines(options: LoadOptions) -> Sequences:
    from rgan.data.toy import load_sines

    return load_sines(options)


def _gp(options: LoadOptions) -> Sequences:
    from rgan.data.toy import load_gp

    return load_gp(options)


def _digits(options: LoadOptions) -> Sequences:
    from rgan.data.builtin_images import load_digits

    return load_digits(options)


def _mnist(options: LoadOptions) -> Sequences:
    from rgan.data.builtin_images import load_idx_set

    return load_idx_set("mnist", options)


def _fashion(options: LoadOptions) -> Sequences:
    from rgan.data.builtin_images import load_idx_set

    return load_idx_set("fashion-mnist", options)


def _lfw(options: LoadOptions) -> Sequences:
    from rgan.data.builtin_images import load_lfw

    return load_lfw(options)


_ALL = (
    Source(
        "icu",
        "ICU stays, hourly vitals and labs with gaps; died or not",
        "bundled",
        _icu,
        "2,000 x 48 x 20",
        "ODC-BY 1.0",
    ),
    Source(
        "digits",
        "handwritten digits, 8x8 grey, 10 classes",
        "bundled",
        _digits,
        "1,797 x 8 x 8",
        "CC BY 4.0",
        images=True,
    ),
    Source(
        "sines",
        "sine waves of the RGAN paper",
        "computed",
        _sines,
        "10,000 x 30 x 1",
        "-",
    ),
    Source(
        "gp",
        "smooth functions of the RGAN paper",
        "computed",
        _gp,
        "10,000 x 30 x 1",
        "-",
    ),
    Source(
        "mnist",
        "handwritten digits, 28x28 grey, 10 classes",
        "download",
        _mnist,
        "70,000 x 28 x 28",
        "CC BY-SA 3.0",
        images=True,
    ),
    Source(
        "fashion-mnist",
        "pictures of clothes, 28x28 grey, 10 classes",
        "download",
        _fashion,
        "70,000 x 28 x 28",
        "MIT",
        images=True,
    ),
    Source(
        "lfw",
        "faces (LFWcrop), 64x64 grey, 5,749 people",
        "download",
        _lfw,
        "13,233 x 64 x 64",
        "research use",
        images=True,
    ),
)

SOURCES: dict[str, Source] = {source.name: source for source in _ALL}


def load_builtin(name: str, options: LoadOptions | None = None) -> Sequences:
    """Read a built-in source.

    Args:
        name: one of ``SOURCES``.
        options: how; the defaults where None.

    Raises:
        SourceError: the name is not known, or the data is not here and cannot be downloaded.
        ConfigError: an option that does not apply to this source, or breaks a rule.
    """
    options = options or LoadOptions()
    source = SOURCES.get(name)
    if source is None:
        raise SourceError(
            f'there is no built-in source "{name}"',
            rule=f"built-in sources are: {', '.join(SOURCES)}",
            repair=nearest(name, SOURCES),
        )
    if options.max_sequences < 0:
        raise ConfigError(
            f"max_sequences is {options.max_sequences}", rule="at least 1, or 0 for all"
        )
    asked = {"size": options.size, "patch": options.patch}
    if options.layout != "rows":
        asked["layout"] = options.layout
    for option, value in asked.items():
        if value and not source.images:
            raise ConfigError(
                f'{option} is "{value}", and "{name}" is not images',
                rule="size, layout and patch say how images are read as sequences",
                repair=f"leave {option} out",
            )
    return source.load(options)
