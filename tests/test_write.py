"""What is written reads back; what cannot be written leaves nothing behind."""

from __future__ import annotations

import resource
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rgan.data.config import DataConfig
from rgan.data.files import read_path
from rgan.data.tiles import MOST_TILES
from rgan.data.write import SINKS, Writer, write
from rgan.errors import DataError, InputError
from rgan.layouts import ArrayLayout, ImageLayout
from rgan.sequences import Sequences, Static


def made(n: int = 7, seed: int = 0, **fields: Any) -> Sequences:
    """Sequences with everything: gaps, lengths, labels, static attributes."""
    generator = np.random.default_rng(seed)
    static = np.stack([generator.normal(60, 9, n), generator.integers(0, 3, n)], axis=1)
    static[0, 0] = np.nan
    given = {
        "observed": generator.random((n, 5, 2)) < 0.7,
        "lengths": generator.integers(1, 6, n),
        "labels": generator.integers(0, 2, n),
        "static": static,
        "static_info": (Static("age", unit="a"), Static("unit", "categorical", ("x", "y", "z"))),
        "feature_names": ("hr", "bp"),
        "units": ("1/min", "mmHg"),
        "label_name": "died",
    }
    return Sequences(generator.normal(size=(n, 5, 2)), **{**given, **fields})


def in_chunks(sequences: Sequences, path: Path, size: int = 3) -> Path:
    with Writer(path) as writer:
        for start in range(0, len(sequences), size):
            writer.append(sequences[start : start + size])
    return path


def only(folder: Path, *names: str) -> bool:
    return sorted(entry.name for entry in folder.iterdir()) == sorted(names)


LABELS = st.sampled_from(["int", "str", "bool", "float", "none"])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(0, 99), LABELS, st.booleans(), st.booleans())
def test_npz_reads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, n: int, seed: int, kind: str, bare: bool, parts: bool
) -> None:
    labels = {
        "int": np.arange(n) % 3,
        "str": np.array([f"c{i % 2}" for i in range(n)]),
        "bool": np.arange(n) % 2 == 0,
        "float": np.linspace(0, 1, n),
        "none": None,
    }[kind]
    fields: dict[str, Any] = {"labels": labels}
    if bare:
        fields |= {"static": None, "static_info": (), "layout": ArrayLayout("int16")}
    if parts:
        fields |= {
            "subjects": np.array([f"p{i}" for i in range(n)]),
            "starts": np.arange(n),
            "part": np.array(["train", "test"] * n)[:n],
            "step": 0.5,
            "step_unit": "h",
        }
    s = made(n, seed, **fields)
    path = in_chunks(s, tmp_path_factory.mktemp("npz") / "a.npz", 4)
    assert read_path(path, DataConfig()).equals(s)


def test_npz_is_plain_numpy_and_the_same_bytes(tmp_path: Path) -> None:
    s = made()
    write(s, tmp_path / "a.npz")
    in_chunks(s, tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as members:
        assert np.array_equal(members["values"], s.values, equal_nan=True)
        assert members["feature_names"].tolist() == ["hr", "bp"]
        assert members["static_names"].tolist() == ["age", "unit"]
    assert zipfile.ZipFile(tmp_path / "a.npz").testzip() is None


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8", "int64"])
def test_npy_in_the_dtype_that_came(tmp_path: Path, dtype: str) -> None:
    values = np.array([[[3.7], [-1.0]], [[255.9], [4.0]], [[1.0], [2.0]]])
    s = Sequences(values, layout=ArrayLayout(dtype))
    array = np.load(in_chunks(s, tmp_path / "a.npy", 2))
    expected = values.astype(np.float32)
    if dtype in ("uint8", "int64"):
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        expected = np.clip(np.rint(expected), low, min(high, 1e9))
    assert array.dtype == dtype
    assert np.array_equal(array, expected.astype(dtype))
    with pytest.raises(DataError, match="npz"):
        write(made(layout=ArrayLayout("int64")), tmp_path / "b.npy")
    assert only(tmp_path, "a.npy")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_tables_read_back(tmp_path: Path, ending: str) -> None:
    s = made(20)
    path = in_chunks(s, tmp_path / f"a.{ending}")
    config = DataConfig(id="id", time="time", label="died", static=("age", "unit"))
    back = read_path(path, config)
    assert np.array_equal(back.values, s.values, equal_nan=True)
    assert np.array_equal(back.lengths, s.lengths)
    assert np.array_equal(back.labels, s.labels)  # type: ignore[arg-type]
    assert np.array_equal(back.static, s.static, equal_nan=True)  # type: ignore[arg-type]
    assert back.subjects is not None
    assert back.subjects.tolist() == list(range(20))


def test_tables_keep_the_names_that_came(tmp_path: Path) -> None:
    text = "hr,when,pid,died\n60,0,a,0\n61,2,a,0\n70,0,b,1\n"
    (tmp_path / "in.csv").write_text(text)
    s = read_path(tmp_path / "in.csv", DataConfig(id="pid", time="when", label="died"))
    write(s, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == text


def test_subjects_of_several_sequences_have_a_column(tmp_path: Path) -> None:
    s = made(4, subjects=np.array(["a", "a", "b", "b"]))
    table = pl.read_csv(write(s, tmp_path / "a.csv"))
    assert table["id"].unique().sort().to_list() == [0, 1, 2, 3]
    assert table["subject"].unique().sort().to_list() == ["a", "b"]


@pytest.mark.parametrize("labels", [None, np.array(list("abcabca")), np.linspace(0, 1, 7)])
def test_ts_reads_back(tmp_path: Path, labels: Any) -> None:
    s = made(labels=labels)
    back = read_path(in_chunks(s, tmp_path / "a.ts"), DataConfig())
    assert np.array_equal(back.values, s.values[:, : back.n_steps], equal_nan=True)
    assert np.array_equal(back.lengths, s.lengths)
    assert (back.labels is None) == (labels is None)
    if labels is not None:
        assert np.array_equal(back.labels, labels)
    with pytest.raises(DataError, match='class "a b"'):
        write(made(labels=np.array(["a b"] * 7)), tmp_path / "b.ts")
    assert only(tmp_path, "a.ts")


@pytest.mark.parametrize("channels", [1, 3])
def test_png_tiles_are_the_images(tmp_path: Path, channels: int) -> None:
    layout = ImageLayout(64, 50, channels)
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 50, channels))
    s = Sequences(layout.to_sequences(images), layout=layout)
    with Image.open(in_chunks(s, tmp_path / "a.png")) as opened:
        picture = np.asarray(opened)
    assert np.array_equal(picture[2:66, 2:52], np.broadcast_to(images[0], (64, 50, 3)))
    assert (picture[:2] == 255).all()


def test_png_of_series_and_its_limit(tmp_path: Path) -> None:
    mask = np.zeros((3, 5, 2), dtype=bool)
    mask[:, :, 0] = True
    write(made(3, observed=mask), tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened:
        assert (np.asarray(opened) == 225).all(axis=2).any()  # the feature that was never measured
    with pytest.raises(InputError, match="at most"):
        Writer(tmp_path / "b.png", total=MOST_TILES + 1)
    assert only(tmp_path, "a.png")


def test_bad_targets(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.parquet"):
        Writer(tmp_path / "a.xlsx")
    with pytest.raises(InputError, match="mkdir -p"):
        Writer(tmp_path / "no" / "a.npz")
    (tmp_path / "b.npz").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        Writer(tmp_path / "b.npz")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError):
        Writer(tmp_path / "file" / "a.npz")
    with pytest.raises(InputError, match="cannot be written"):
        Writer("/proc/a.npz")  # a folder that nobody can write, root neither


@pytest.mark.parametrize("ending", list(SINKS))
def test_an_error_leaves_what_was_there(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), Writer(path) as writer:
        writer.append(made())
        raise ZeroDivisionError
    assert path.read_text() == "old"
    with pytest.raises(DataError, match="feature_names"), Writer(path) as writer:
        writer.append(made())
        writer.append(made(feature_names=("hr", "sp")))
    with pytest.raises(InputError, match="nothing"), Writer(path):
        pass
    assert only(tmp_path, path.name)
    assert path.read_text() == "old"
    write(made(), path)
    assert path.read_bytes() != b"old"
    assert only(tmp_path, path.name)


def test_a_full_disk_is_an_input_error(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(InputError, match="cannot be written"):
            write(Sequences(np.zeros((500, 50, 2))), tmp_path / "a.npz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert only(tmp_path)


def test_closed_writers_refuse(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "a.npz")
    writer.append(made())
    writer.close()
    writer.close()
    with pytest.raises(InputError, match="closed"):
        writer.append(made())
    assert read_path(tmp_path / "a.npz", DataConfig()).equals(made())
