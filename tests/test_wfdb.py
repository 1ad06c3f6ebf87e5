"""WFDB records as long series: one, or a folder of them, and windows."""

from __future__ import annotations

import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import TINY, rgan
from rgan.data.config import DataConfig
from rgan.data.load import load
from rgan.data.split import split
from rgan.errors import DataError, InputError, SourceError
from rgan.sequences import Sequences

wfdb = pytest.importorskip("wfdb", reason="the extra signals is not installed")


def read(path: Path, **fields: Any) -> Sequences:
    return load(DataConfig(source=str(path), **fields))


def record(folder: Path, name: str = "r1", samples: int = 400, **fields: Any) -> np.ndarray:
    """A record of two signals, one of which has a gap; what was written."""
    folder.mkdir(exist_ok=True)
    time = np.arange(samples) / 50
    signal = np.stack([np.sin(time), 80 + 5 * np.cos(time)], axis=1)
    signal[10:15, 1] = np.nan
    given = {"fs": 50, "units": ["mV", "mmHg"], "sig_name": ["ECG", "BP"], "fmt": ["16", "16"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library writes with what pandas has deprecated
        wfdb.wrsamp(name, p_signal=signal, write_dir=str(folder), **{**given, **fields})
    return signal


def test_a_record_is_one_series(tmp_path: Path) -> None:
    signal = record(tmp_path / "rec")
    s = read(tmp_path / "rec/r1.hea")
    assert s.values.shape == (1, 400, 2) and s.feature_names == ("ECG", "BP")
    assert (s.units, s.step, s.step_unit) == (("mV", "mmHg"), 0.02, "s")
    assert np.allclose(s.values[0], signal, atol=1e-3, equal_nan=True)
    assert (~s.observed[0, :, 1]).sum() == 5 and s.observed[0, :, 0].all()
    assert s.subjects is not None and s.subjects.tolist() == ["r1"]


def test_a_folder_of_records_and_windows_of_them(tmp_path: Path) -> None:
    for number in range(12):
        record(tmp_path / "rec", f"r{number:02d}", 300 + 10 * number)
    s = read(tmp_path / "rec")
    assert len(s) == 12 and s.lengths.tolist() == [300 + 10 * n for n in range(12)]
    windows = read(tmp_path / "rec", window=50, stride=50)
    assert windows.values.shape == (5 * 6 + 5 * 7 + 2 * 8, 50, 2)
    assert split(windows, DataConfig(source="x"), seed=0).kind == "subject"
    one = read(tmp_path / "rec/r05.hea", window=20, stride=10)
    assert split(one, DataConfig(source="x"), seed=0).kind == "time"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"fs": 60}, "fs 60"),
        ({"sig_name": ["ECG", "CVP"]}, "CVP"),
        ({"units": ["mV", "kPa"]}, "kPa"),
    ],
)
def test_records_that_differ_are_refused(tmp_path: Path, fields: dict[str, Any], says: str) -> None:
    record(tmp_path / "rec")
    record(tmp_path / "rec", "r2", **fields)
    with pytest.raises(DataError, match="same signals, units and sampling rate") as caught:
        read(tmp_path / "rec")
    assert says in caught.value.found and '"r2.hea"' in caught.value.found


def test_leads_of_one_name_are_told_apart(tmp_path: Path) -> None:
    record(tmp_path / "rec")
    header = tmp_path / "rec/r1.hea"
    header.write_text(header.read_text().replace("BP", "ECG"))
    assert read(tmp_path / "rec").feature_names == ("ECG", "ECG_2")


def test_damaged_and_absent_records(tmp_path: Path) -> None:
    record(tmp_path / "rec")
    (tmp_path / "rec/r1.dat").unlink()
    with pytest.raises(SourceError, match="signal files that it names"):
        read(tmp_path / "rec/r1.hea")
    (tmp_path / "rec/r1.hea").write_text("nonsense\n")
    with pytest.raises(SourceError, match="cannot be read as a WFDB record"):
        read(tmp_path / "rec")
    with pytest.raises(SourceError, match="does not exist") as caught:
        read(tmp_path / "rec/r1")
    assert "r1.hea" in caught.value.repair


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(tmp_path / "rec")
    monkeypatch.setitem(sys.modules, "wfdb", None)  # as if it were not installed
    with pytest.raises(InputError, match=r"rgan\[signals\]"):
        read(tmp_path / "rec")


def test_table_options_are_refused(tmp_path: Path) -> None:
    record(tmp_path / "rec")
    with pytest.raises(DataError, match="--step"):
        read(tmp_path / "rec", step=0.1)


def test_record_100(tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = real_data / "wfdb"
    if not (source / "100.hea").exists():
        pytest.skip("MIT-BIH record 100 is not there")
    s = read(source / "100.hea")
    assert s.values.shape == (1, 650_000, 2) and s.feature_names == ("MLII", "V5")
    assert s.step == 1 / 360 and s.fully_observed
    plain = wfdb.rdrecord(str(source / "100")).p_signal
    assert np.array_equal(s.values[0], plain.astype(np.float32))
    shutil.copytree(source, tmp_path / "wfdb")
    monkeypatch.chdir(tmp_path)
    few = (*TINY, "--set", "train.check_memory=false", "--set", "train.steps=3")
    cut = ("--window", 180, "--stride", 3600)
    done = rgan("train", "wfdb", *cut, *few)
    assert done.code == 0, done.err
    assert "181 sequences of 180 steps and 2 features" in done.out
    assert rgan("sample", "latest", "-n", 3, "-o", "x.npz", "-q").code == 0
    assert read(tmp_path / "x.npz").values.shape == (3, 180, 2)
