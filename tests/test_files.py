"""Arrays, .npz, .ts and `load`: what is read, and what is refused with a reason."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from rgan.data.arrays import from_array, pad
from rgan.data.config import DataConfig
from rgan.data.files import read_path
from rgan.data.frames import from_any, to_like
from rgan.data.load import check_trainable, load
from rgan.data.write import write
from rgan.errors import DataError, SourceError
from rgan.sequences import Sequences, Static

DATA = Path(os.environ.get("RGAN_DATA", Path(__file__).parents[2] / "shared/data"))


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not in the data folder")
    return path


def read(path: Path, **fields: object) -> Sequences:
    return read_path(path, DataConfig(source=str(path), **fields))  # type: ignore[arg-type]


class Loaded:
    """Unpickling this would be seen."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (os.mkdir, (str(Path(os.environ["RGAN_TEST_MARK"])),))


def test_npy_of_two_and_three_dimensions(tmp_path: Path) -> None:
    values = np.arange(24).reshape(4, 3, 2)
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "b.npy", values[:, :, 0])
    np.save(tmp_path / "c.npy", np.arange(50.0))
    sequences = read(tmp_path / "a.npy")
    assert np.array_equal(sequences.values, values)
    back = to_like(sequences)
    assert back.dtype == values.dtype
    assert np.array_equal(back, values)
    assert read(tmp_path / "b.npy").values.shape == (4, 3, 1)
    assert read(tmp_path / "c.npy").values.shape == (1, 50, 1)


@pytest.mark.parametrize("whole", [True, False])
def test_a_pickle_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    mark = tmp_path / "was-run"
    monkeypatch.setenv("RGAN_TEST_MARK", str(mark))
    hostile = np.array([Loaded(), 1], dtype=object)
    if whole:
        path = tmp_path / "x.npy"
        path.write_bytes(pickle.dumps(Loaded()))
    else:
        path = tmp_path / "x.npz"
        np.savez(path, values=np.zeros((3, 4, 1)), other=hostile)
    with pytest.raises(SourceError, match="pickle"):
        read(path)
    assert not mark.exists()


def test_npz_names_and_near_misses(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(5, 4, 2))
    mask = np.ones((5, 4, 2), dtype=bool)
    mask[2, 1, 0] = False
    np.savez(tmp_path / "a.npz", X=values, mask=mask, y=np.arange(5), feature_names=["hr", "bp"])
    sequences = read(tmp_path / "a.npz")
    assert sequences.feature_names == ("hr", "bp")
    assert np.array_equal(sequences.labels, np.arange(5))
    assert np.isnan(sequences.values[2, 1, 0])
    np.savez(tmp_path / "b.npz", values=values, lenghts=np.full(5, 3))
    with pytest.raises(DataError, match='did you mean "lengths"'):
        read(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", first=values, second=values)
    with pytest.raises(DataError, match="has no values"):
        read(tmp_path / "c.npz")


def test_npz_concatenated_real_file() -> None:
    path = real("identity/smartwatch.npz")
    sequences = read(path, label="exercise")
    assert sequences.values.shape == (140, 2618, 6)
    assert sequences.lengths.min() == 947
    assert len(np.unique(sequences.subjects)) == 10
    assert len(sequences.classes) == 7
    with pytest.raises(DataError, match='"exercise"'):
        read(path, label="exercize")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", values=np.zeros((3, 400, 1)))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b.npy").write_bytes(b"")
    (tmp_path / "c.xyz").write_bytes(b"1")
    (tmp_path / "d.npy").write_text("1,2,3\n")
    for name in ("a.npz", "b.npy", "c.xyz", "d.npy"):
        with pytest.raises(SourceError, match=name):
            read(tmp_path / name)


def test_nan_without_a_mask(tmp_path: Path) -> None:
    values = np.zeros((3, 4, 1))
    values[1, 2, 0] = np.nan
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(DataError, match="row 1, step 2"):
        read(tmp_path / "a.npy")
    sequences = read(tmp_path / "a.npy", nan="missing")
    assert (~sequences.observed).sum() == 1


def test_ragged_lists_are_repaired_by_pad() -> None:
    ragged = [np.ones((3, 2)), np.ones((5, 2))]
    with pytest.raises(DataError, match="pad"):
        from_any(ragged)
    values, lengths = pad(ragged)
    sequences = from_array(values, lengths=lengths)
    assert sequences.lengths.tolist() == [3, 5]
    assert sequences.observed.sum() == 16
    with pytest.raises(DataError, match="sequence 1 has 3 features"):
        pad([np.ones((3, 2)), np.ones((5, 3))])
    with pytest.raises(DataError, match="sequence 1"):
        pad([np.ones((3, 2)), np.ones((0, 2))])


def test_from_any_refuses_what_it_would_ignore() -> None:
    sequences = Sequences(np.zeros((2, 3, 1)))
    assert from_any(sequences) is sequences
    with pytest.raises(DataError, match="labels"):
        from_any(sequences, labels=[0, 1])
    with pytest.raises(DataError, match="id"):
        from_any(np.zeros((2, 3, 1)), id="pid")


def test_ts_real_pair() -> None:
    real("identity/JapaneseVowels_TRAIN.ts")
    train = read(DATA / "identity/JapaneseVowels_TRAIN.ts")
    assert train.values.shape[0::2] == (270, 12)
    assert train.lengths.min() == 7
    assert train.classes.tolist() == list(range(1, 10))
    both = read(DATA / "identity")
    assert both.values.shape == (640, 29, 12)
    assert (both.part == "test").sum() == 370
    assert both.fully_observed


TS = "@problemName p\n@timeStamps false\n@univariate false\n@classLabel true a b\n@data\n"


def test_ts_missing_and_unequal(tmp_path: Path) -> None:
    path = tmp_path / "p.ts"
    path.write_text(TS + "1,2,?:3,4,5:a\n1:2:b\n")
    sequences = read(path)
    assert sequences.lengths.tolist() == [3, 1]
    assert sequences.labels is not None
    assert sequences.labels.tolist() == ["a", "b"]
    assert np.isnan(sequences.values[0, 2, 0])
    assert sequences.observed.sum() == 7


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1,2:3,4:c", 'class is "c"'),
        ("1,2:3:a", "dimension 1 has 1 steps"),
        ("1,x:3,4:a", "line 7, dimension 0"),
        ("1,2:a", "1 dimensions"),
    ],
)
def test_ts_errors_name_the_line(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "p.ts"
    path.write_text(TS + "1,2:3,4:a\n" + line + "\n")
    with pytest.raises(DataError, match=says) as caught:
        read(path)
    assert "line 7" in str(caught.value)


def test_ts_without_data(tmp_path: Path) -> None:
    path = tmp_path / "p.ts"
    path.write_text(TS)
    with pytest.raises(SourceError, match="no sequence"):
        read(path)
    path.write_text("hello\n")
    with pytest.raises(DataError):
        read(path)


def test_unknown_sources_name_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match='did you mean "digits"'):
        load(DataConfig(source="digit"))
    np.save(tmp_path / "vitals.npy", np.zeros((3, 4, 1)))
    with pytest.raises(SourceError, match=r'did you mean "vitals.npy"'):
        load(DataConfig(source=str(tmp_path / "vital.npy")))
    with pytest.raises(SourceError, match="no source"):
        load(DataConfig())


def test_load_drops_cuts_and_thins(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(2, 50, 3))
    static = np.array([[1.0], [2.0]])
    path = write(
        Sequences(values, feature_names=("a", "b", "c"), static=static, static_info=(Static("s"),)),
        tmp_path / "x.npz",
    )
    config = DataConfig(source=str(path), drop=("b",), window=10, stride=5, max_sequences=7)
    sequences = load(config, seed=3)
    assert sequences.values.shape == (7, 10, 2)
    assert sequences.feature_names == ("a", "c")
    assert sequences.equals(load(config, seed=3))
    assert not sequences.equals(load(config, seed=4))
    with pytest.raises(DataError, match='no feature "d"'):
        load(DataConfig(source=str(path), drop=("d",)))
    with pytest.raises(DataError, match="not a table"):
        load(DataConfig(source=str(path), id="pid"))


def test_what_cannot_be_trained_on() -> None:
    good = np.random.default_rng(0).normal(size=(6, 5, 2))
    check_trainable(Sequences(good, labels=np.array([0, 1] * 3)))
    with pytest.raises(DataError, match="only one sequence"):
        check_trainable(Sequences(good[:1]))
    flat = good.copy()
    flat[:, :, 1] = 2.5
    with pytest.raises(DataError, match=r"always 2.5[\s\S]*--drop bp"):
        check_trainable(Sequences(flat, feature_names=("hr", "bp")))
    mask = np.ones(good.shape, dtype=bool)
    mask[:, :, 0] = False
    with pytest.raises(DataError, match=r"never measured[\s\S]*--drop hr"):
        check_trainable(Sequences(good, observed=mask, feature_names=("hr", "bp")))
    with pytest.raises(DataError, match='label "9" is seen once'):
        check_trainable(Sequences(good, labels=np.array([0, 1, 0, 1, 0, 9])))


@pytest.mark.parametrize(
    "fields",
    [
        {"window": -1},
        {"window": 1},
        {"stride": 0},
        {"validation": 0.6, "test": 0.4},
        {"test": 0.0},
        {"layout": "row"},
        {"size": "28x"},
        {"layout": "patches"},
        {"patch": "4"},
        {"step": float("nan")},
    ],
)
def test_config_refuses(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        DataConfig(**fields)  # type: ignore[arg-type]
