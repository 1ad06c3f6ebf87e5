"""What is to be filled in: read as the run's own data was, and held against what the model knows.

Shape letters: N sequences, T steps, F features, A static attributes.
"""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rgan.data.config import DataConfig
from rgan.data.load import load
from rgan.errors import DataError, nearest
from rgan.layouts import ArrayLayout, ImageLayout, TableLayout, levels_of
from rgan.sequences import Sequences
from rgan.transforms.packing import Packer
from rgan.transforms.sequence import Differences, LocalMax
from rgan.workflow.encoder import Encoder


def read_partial(config: DataConfig, file: str, step: float = 0.0) -> Sequences:
    """The sequences of a file, read with a run's own settings.

    NaN means not measured, series are kept whole, nothing is masked or left out. A label, which
    nothing is filled in by, need not be there.

    Args:
        config: ``data`` of the run.
        file: a path or a built-in name.
        step: the model's time between two steps, for a table whose own smallest gap is greater.

    Raises:
        DataError: the file cannot be read as such data.
    """
    config = replace(config, source=file, nan="missing", window=0, max_sequences=0, mask=())
    path = Path(file).expanduser()
    there = _columns(path)
    if there:
        label, subject = (name if name in there else "" for name in (config.label, config.subject))
        drop = config.drop if path.suffix == ".npz" else tuple(n for n in config.drop if n in there)
        config = replace(config, label=label, subject=subject, drop=drop)
    found = load(config)
    several = step and isinstance(found.layout, TableLayout) and not config.step
    if several and found.step > step and np.isclose(found.step / step % 1, 0):
        found = load(replace(config, step=step))
    return found


def _columns(path: Path) -> set[str]:
    """Names of a table's columns or an archive's members; empty where it has none or is damaged,
    of which the reader tells."""
    try:
        if path.name.endswith((".csv", ".csv.gz")):
            import polars as pl

            return set(pl.read_csv(path, n_rows=0).columns)
        if path.suffix == ".parquet":
            import polars as pl

            return set(pl.read_parquet_schema(path))
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return {name.removesuffix(".npy") for name in archive.namelist()}
    except Exception:  # whatever a damaged file leads to is told by its reader
        return set()
    return set()


def matched(sequences: Sequences, encoder: Encoder, windowed: bool = False) -> Sequences:
    """The sequences with features and attributes in the model's order.

    Args:
        sequences: to be filled in.
        encoder: of the run.
        windowed: whether the run was trained on windows, so that series may be longer.

    Raises:
        DataError: a feature, attribute, level, unit, step, length or layout that the model does not
            know.
    """
    packer = encoder.packer
    sequences = _named(_images(sequences, packer), packer)
    _check_names(sequences.feature_names, packer.feature_names, "feature")
    if sequences.feature_names != packer.feature_names:
        sequences = sequences.with_features(packer.feature_names)
    sequences = _timed(sequences, packer)
    _check_units(sequences, packer)
    _check_levels(sequences, packer)
    if sequences.n_steps > packer.spec.steps and not windowed:
        raise DataError(
            f"the longest sequence has {sequences.n_steps} steps",
            rule=f"at most the {packer.spec.steps} steps of those that the run was trained on",
            repair="train with --window, and series of any length are filled in",
        )
    sequences = _statics(sequences, encoder)
    layout = sequences.layout
    if isinstance(layout, TableLayout) and isinstance(packer.layout, TableLayout):
        known = {name: packer.layout.dtypes.get(name, "") for name in packer.feature_names}
        wider = {n: kind for n, kind in known.items() if kind.startswith("float")}
        own = {n: wider.get(n, kind) for n, kind in layout.dtypes.items()}
        sequences = replace(sequences, layout=replace(layout, dtypes=own))
    return sequences


def _images(sequences: Sequences, packer: Packer) -> Sequences:
    """Arrays of an image's shape as such images; other layouts are refused."""
    known, layout = packer.layout, sequences.layout
    if not isinstance(known, ImageLayout) and not isinstance(layout, ImageLayout):
        return sequences
    fits = isinstance(known, ImageLayout) and sequences.values.shape[1:] == known.shape
    if fits and isinstance(layout, ArrayLayout):
        names, units = packer.feature_names, packer.units
        return replace(sequences, layout=known, feature_names=names, units=units)
    if layout != known:
        raise DataError(
            f"the layout is {layout}",
            rule=f"as of the data that the run was trained on: {known}",
            reason="another order of pixels means other features",
            repair="--set data.size=HxW resamples images",
        )
    return sequences


def _named(sequences: Sequences, packer: Packer) -> Sequences:
    """An array without names has the model's, in the model's order, where it has as many."""
    plain = tuple(f"x{f}" for f in range(len(packer.feature_names)))
    if sequences.feature_names != plain or not isinstance(sequences.layout, ArrayLayout):
        return sequences
    if plain == packer.feature_names:
        return sequences
    names = ", ".join(packer.feature_names)
    note = f"the array has no names; its columns are taken as {names}"
    return replace(sequences, feature_names=packer.feature_names, notes=(*sequences.notes, note))


def _timed(sequences: Sequences, packer: Packer) -> Sequences:
    """A table says no unit of time: its numbers are taken to be in the model's."""
    if sequences.step_unit != "step" or packer.step_unit == "step":
        return sequences
    note = f"time has no unit in the file; it is taken to be in {packer.step_unit}"
    return replace(sequences, step_unit=packer.step_unit, notes=(*sequences.notes, note))


def _check_names(found: tuple[str, ...], known: tuple[str, ...], what: str) -> None:
    unknown = [name for name in found if name not in known]
    if unknown:
        raise DataError(
            f'the model does not know the {what} "{unknown[0]}" ({len(unknown)} such)',
            rule=f"{what}s are those that the run was trained with",
            repair=f"{nearest(unknown[0], known)} Else --set data.drop={','.join(unknown)}"
            if what == "feature"
            else nearest(unknown[0], known),
        )
    absent = [name for name in known if name not in found]
    if absent:
        raise DataError(
            f'the {what} "{absent[0]}" is not there ({len(absent)} such)',
            rule=f"all {what}s that the run was trained with: {', '.join(known)}",
            repair=f'a column "{absent[0]}", empty where nothing is known',
        )


def _check_units(sequences: Sequences, packer: Packer) -> None:
    pairs = zip(packer.feature_names, sequences.units, packer.units, strict=True)
    for name, found, known in pairs:
        if found and known and found != known:
            raise DataError(
                f'"{name}" is in {found}',
                rule=f"the run was trained on {known}",
                repair="convert the values, and name the unit so",
            )
    same = np.isclose(sequences.step, packer.step) and sequences.step_unit == packer.step_unit
    if not same:
        raise DataError(
            f"a step is {sequences.step:g} {sequences.step_unit}",
            rule=f"the run was trained on steps of {packer.step:g} {packer.step_unit}",
            repair=f"--set data.step={packer.step:g} puts irregular times in such bins",
        )


def _check_levels(sequences: Sequences, packer: Packer) -> None:
    for f, name in enumerate(packer.feature_names):
        known, own = levels_of(packer.layout, name), levels_of(sequences.layout, name)
        if not known:
            continue
        odd = [level for code, level in own.items() if known.get(code) != level]
        codes = np.unique(sequences.values[:, :, f][sequences.observed[:, :, f]])
        odd += [f"{code:g}" for code in codes if code not in known]
        if odd:
            raise DataError(
                f'"{name}" has the level "{odd[0]}" ({len(odd)} such)',
                rule=f"levels of the run's data, in this order: {', '.join(known.values())}",
                reason="nothing was learnt about another level",
            )


def _statics(sequences: Sequences, encoder: Encoder) -> Sequences:
    """Static attributes in the model's order, with the codes that the model has for levels."""
    adding = [s for s in encoder.pipeline.steps if isinstance(s, Differences | LocalMax)]
    added = {name for step in adding for name in step.columns}
    statics = encoder.packer.static_info
    known = {info.name: info for info in statics if info.name not in added}
    found = tuple(info.name for info in sequences.static_info)
    _check_names(found, tuple(known), "static attribute")
    if sequences.static is None:
        return sequences
    columns: list[NDArray[Any]] = []
    for name, info in known.items():
        place = found.index(name)
        own, column_N = sequences.static_info[place], sequences.static[:, place]
        if info.levels and own.levels != info.levels:
            column_N = _codes(column_N, own.levels, info.levels, name)
        elif not info.levels and own.levels not in ((), ("0", "1")):
            raise DataError(f'static "{name}" is text', rule="a number, as in the run's data")
        columns.append(column_N)
    return replace(sequences, static=np.stack(columns, axis=1), static_info=tuple(known.values()))


def _codes(
    column_N: NDArray[Any], own: tuple[str, ...], known: tuple[str, ...], name: str
) -> NDArray[np.float32]:
    """Codes of one list of levels as those of another."""
    seen = column_N[~np.isnan(column_N)]
    texts = [own[int(c)] if own else f"{c:g}" for c in np.unique(seen)]
    for text in texts:
        if text not in known:
            raise DataError(
                f'static "{name}" is "{text}" somewhere',
                rule=f"a level of the run's data: {', '.join(known)}",
                reason="nothing was learnt about another level",
            )
    new = {code: known.index(text) for code, text in zip(np.unique(seen), texts, strict=True)}
    return np.array([new.get(code, np.nan) for code in column_N], dtype=np.float32)
