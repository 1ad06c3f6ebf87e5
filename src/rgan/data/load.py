"""``load``: the sequences that a configuration names, cut and thinned as it says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from rgan.data.config import DataConfig
from rgan.data.plausible import Judge, check_plausible
from rgan.data.split import drop_line
from rgan.errors import DataError, SourceError, nearest
from rgan.layouts import ArrayLayout
from rgan.sequences import Sequences


def load(config: DataConfig, *, seed: int = 0, quiet: bool = True) -> Sequences:
    """The sequences of a built-in source or a path: read, features dropped, values that cannot be
    told (``plausible``), windows cut, thinned, values hidden that ``mask`` names.

    Args:
        config: what to read and how.
        seed: draws the sequences where ``max_sequences`` asks for fewer, and synthetic sources.
        quiet: no progress bar for a download.

    Raises:
        SourceError: no such source; names the nearest one.
        DataError: the data breaks a rule; names row and column.
    """
    sequences = _read(config, seed, quiet)
    sequences = _drop(sequences, config.drop)
    if isinstance(sequences.layout, ArrayLayout) and config.bin != "count":
        # tables and stays are judged where they are read, before values are put in bins
        sequences = check_plausible(sequences, Judge.of(config.implausible))
    if config.window:
        from rgan.data.windows import cut_windows

        sequences = cut_windows(sequences, config.window, config.stride)
    return _masked(_thin(sequences, config.max_sequences, seed), config.mask, seed)


def check_trainable(sequences: Sequences) -> None:
    """Refuse what no generator can be trained on, before anything is spent on it.

    Raises:
        DataError: one sequence only, a feature never measured or (not for images) constant without
            a gap, or a class with one sequence.
    """
    if len(sequences) < 2:
        raise DataError(
            "there is only one sequence",
            rule="at least two, and many more to learn from",
            repair="--window 24 cuts one long series into windows",
        )
    _check_features(sequences)
    if sequences.has_classes and sequences.labels is not None:
        classes, counts = np.unique(sequences.labels, return_counts=True)
        once = classes[counts == 1]
        if len(once):
            raise DataError(
                f'{sequences.label_name} "{once[0]}" is seen once ({len(once)} such classes)',
                rule="every class has at least two sequences",
                reason="a class must be trained on and judged by different sequences",
                repair="leave these sequences out, merge the class, or train without labels",
            )


def _check_features(sequences: Sequences) -> None:
    seen = np.asarray(sequences.observed.any(axis=(0, 1)))
    never = [name for name, some in zip(sequences.feature_names, seen, strict=True) if not some]
    if never:
        raise DataError(
            f'feature "{never[0]}" is never measured ({len(never)} such features)',
            rule="each feature has at least one observed value",
            repair=drop_line(never),
        )
    if sequences.is_image:  # the border of a digit is constant, and that is as it should be
        return
    # initial values keep nanmin quiet about sequences where a feature is not observed
    low = np.where(sequences.observed, sequences.values, np.inf).min(axis=(0, 1))
    high = np.where(sequences.observed, sequences.values, -np.inf).max(axis=(0, 1))
    # Where there are gaps, when a constant was measured is what there is to learn of it.
    gaps = (~sequences.observed & sequences.valid[:, :, None]).any(axis=(0, 1))
    constant = [
        name
        for name, flat in zip(sequences.feature_names, (low == high) & ~gaps, strict=True)
        if flat
    ]
    if constant:
        value = low[sequences.feature_names.index(constant[0])]
        raise DataError(
            f'feature "{constant[0]}" is always {value:g} ({len(constant)} such features)',
            rule="a feature varies",
            reason="a constant has no scale, and nothing is to be learnt from it",
            repair=drop_line(constant),
        )


def _read(config: DataConfig, seed: int, quiet: bool) -> Sequences:
    from rgan.data.sources import SOURCES, LoadOptions, load_builtin

    if not config.source:
        raise SourceError(
            "no source is named", rule="a built-in name or a path", repair="rgan data list"
        )
    if config.source in SOURCES:
        options = LoadOptions(
            data_dir=config.data_dir,
            size=config.size,
            layout=config.layout,
            patch=config.patch,
            max_sequences=0 if config.window else config.max_sequences,
            seed=seed,
            quiet=quiet,
        )
        return load_builtin(config.source, options)
    path = Path(config.source).expanduser()
    if not path.exists() and path.name == config.source and not path.suffix:
        raise SourceError(
            f'there is no source "{config.source}", and no such file or folder',
            rule="SOURCE is a built-in name, or the path of a file or folder",
            repair=nearest(config.source, SOURCES),
        )
    from rgan.data.files import read_path

    return read_path(path, config, seed, quiet)


def _drop(sequences: Sequences, names: tuple[str, ...]) -> Sequences:
    for name in names:
        if name not in sequences.feature_names:
            raise DataError(
                f'--drop {name}: there is no feature "{name}"',
                rule="--drop names a feature",
                repair=nearest(name, sequences.feature_names),
            )
    if not names:
        return sequences
    if sequences.is_image:
        raise DataError("features of images cannot be dropped", rule="an image keeps its pixels")
    keep = [name for name in sequences.feature_names if name not in names]
    if not keep:
        raise DataError("every feature is dropped", rule="at least one feature stays")
    return sequences.with_features(keep)


def _thin(sequences: Sequences, limit: int, seed: int) -> Sequences:
    """At most ``limit`` sequences, drawn by seed and kept in order."""
    if not limit or len(sequences) <= limit:
        return sequences
    rows = np.random.default_rng([seed, 0x7417]).choice(len(sequences), limit, replace=False)
    return sequences[np.sort(rows)]


def _masked(sequences: Sequences, rules: tuple[str, ...], seed: int) -> Sequences:
    if not rules:
        return sequences
    from rgan.data.masks import hidden, parse_mask, without

    hidden_NTF = hidden(sequences, [parse_mask(rule) for rule in rules], seed)
    share = hidden_NTF.sum() / max(1, sequences.observed.sum())
    note = f"{share:.1%} of the observed values are hidden by {', '.join(rules)}"
    return replace(without(sequences, hidden_NTF), notes=(*sequences.notes, note))
