"""WFDB records (``.hea`` with its signal files, as PhysioNet keeps them) as long series.

Read with the library ``wfdb``, the extra ``signals``. Samples that a record marks as missing are
not observed. Annotations (``.atr``) are not read.

Shape letters: N records, T samples, F signals.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rgan.data.arrays import pad
from rgan.errors import DataError, InputError, SourceError
from rgan.sequences import Sequences

MOST_VALUES = 1_000_000_000
"""Samples of all signals beyond which a folder is refused rather than padded."""


def read_records(path: Path) -> Sequences:
    """One record, or all records of a folder; each is one series, and its name is its subject.

    Args:
        path: a ``.hea`` file, or a folder of them.

    Raises:
        InputError: the library ``wfdb`` is not installed.
        SourceError: a record cannot be read, or holds no signal.
        DataError: records differ in their signals, units or sampling rate.
    """
    files = sorted(path.glob("*.hea")) if path.is_dir() else [path]
    if not files:
        raise SourceError(f'"{path}" holds no .hea file', rule="a record's header ends in .hea")
    records = [_read(file) for file in files]
    first = records[0]
    for file, record in zip(files, records, strict=True):
        for what in ("sig_name", "units", "fs"):
            mine, other = getattr(record, what), getattr(first, what)
            if mine != other:
                raise DataError(
                    f'"{file.name}" has {what} {mine}, "{files[0].name}" has {other}',
                    rule="all records of a folder have the same signals, units and sampling rate",
                    repair="put those that are alike into a folder of their own",
                )
    samples = max(record.sig_len for record in records) * first.n_sig * len(records)
    if samples > MOST_VALUES:
        raise DataError(
            f"{len(records)} records padded to one length have {samples:.2g} samples",
            rule=f"at most {MOST_VALUES:.0e}",
            repair="fewer records at a time",
        )
    values, lengths = pad([record.p_signal for record in records])
    names = _unique(first.sig_name)
    return Sequences(
        values,
        observed=~np.isnan(values),
        lengths=lengths,
        subjects=np.array([file.stem for file in files]),
        feature_names=names,
        units=tuple(first.units),
        step=1 / float(first.fs),
        step_unit="s",
        name=path.stem if path.suffix == ".hea" else path.resolve().name,
    )


def _read(file: Path) -> Any:
    try:
        import wfdb
    except ImportError as error:
        raise InputError(
            f'"{file.name}" is a WFDB record, and the library wfdb is not installed',
            rule="WFDB records need the extra signals",
            repair="pip install 'rgan[signals]'",
        ) from error
    try:
        record = wfdb.rdrecord(str(file.with_suffix("")))
    except Exception as error:  # the library raises whatever its parsing runs into
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise SourceError(
            f'"{file}" cannot be read as a WFDB record: {first[:120]}',
            rule="a header and the signal files that it names, in the same folder",
        ) from error
    if record.p_signal is None or not record.n_sig or not record.sig_len:
        raise SourceError(f'"{file}" holds no signal', rule="at least one signal and one sample")
    return record


def _unique(names: list[str]) -> tuple[str, ...]:
    """Signal names, told apart by a number where two leads have one name.

    >>> _unique(["ECG", "ECG", "BP"])
    ('ECG', 'ECG_2', 'BP')
    """
    found: list[str] = []
    for name in names:
        same = [other for other in found if other == name or other.startswith(f"{name}_")]
        found.append(f"{name}_{len(same) + 1}" if name in found else name)
    return tuple(found)
