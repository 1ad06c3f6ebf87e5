"""``RGAN`` and ``RCGAN`` from Python: the same kind back, in scikit-learn's manners."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.model_selection import ParameterGrid

import rgan as package
from command_line import rgan
from rgan import RCGAN, RGAN, Sequences, Static, load
from rgan.errors import ConfigError, DataError, InputError, RunError
from rgan.runs.folder import Run
from rgan.workflow.trained import BLOCK

FAST = {
    "preset": "default",
    "steps": 4,
    "batch_size": 10,
    "device": "cpu",
    "settings": {"generator.hidden": 6, "critic.hidden": 6, "critic.channels": 6},
}


def walks(n: int = 40, steps: int = 7, features: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, steps, features)).cumsum(axis=1)


def long_table(stays: int = 30) -> dict[str, list]:
    """Stays of unlike length; heart rates in whole numbers, a gap now and then."""
    rng = np.random.default_rng(1)
    columns: dict[str, list] = {k: [] for k in ("stay", "hour", "HR", "Lactate", "died", "age")}
    for stay in range(stays):
        for hour in range(5 + stay % 2):
            row = (f"s{stay}", hour, int(rng.integers(50, 120)), float(rng.gamma(2)), stay % 3 == 0)
            for name, value in zip(columns, (*row, 40.0 + stay), strict=True):
                columns[name].append(value)
    return columns


ROLES = {"id": "stay", "time": "hour", "label": "died", "static_columns": ("age",)}


@pytest.fixture(scope="module")
def model() -> RGAN:
    return RGAN(**FAST).fit(walks())


@pytest.fixture(scope="module")
def by_class() -> RCGAN:
    return RCGAN(**FAST).fit(walks(), labels=["a", "b"] * 20)


# -- what goes in comes back -----------------------------------------------------------------


def test_an_array_comes_back_as_an_array(model):
    X = walks()
    samples = model.sample(9)
    assert type(samples) is np.ndarray
    assert (samples.shape, samples.dtype) == ((9, 7, 2), X.dtype)
    assert np.isfinite(samples).all()
    assert samples.min() >= X.min() and samples.max() <= X.max()


def test_one_feature_and_other_types():
    flat = RGAN(**FAST).fit(walks()[:, :, 0].astype(np.float32))
    samples = flat.sample(3)
    assert (samples.shape, samples.dtype) == ((3, 7), np.float32)
    whole = RGAN(**FAST).fit(np.random.default_rng(0).integers(0, 9, size=(30, 5, 1)))
    samples = whole.sample(6)
    assert samples.dtype == np.int64 and samples.min() >= 0 and samples.max() <= 8
    listed = RGAN(**FAST).fit(walks().tolist())
    assert listed.sample(2).shape == (2, 7, 2)


def test_an_array_with_gaps():
    X = walks()
    X[::3, 2, 1] = np.nan
    with pytest.raises(DataError, match="NaN"):
        RGAN(**FAST).fit(X)
    model = RGAN(**FAST).fit(X, observed=~np.isnan(X), feature_names=("HR", "SpO2"))
    sequences = model.sample(5, as_sequences=True)
    assert sequences.feature_names == ("HR", "SpO2")
    assert np.array_equal(np.isnan(model.sample(5)), ~sequences.observed)
    assert sequences.observed[:, :, 0].all(), "what was always measured always is"


def test_a_pandas_frame_comes_back():
    frame = pd.DataFrame(long_table())
    frame.loc[::7, "Lactate"] = np.nan
    frame = frame.astype({"HR": "int32", "Lactate": "float64"})
    samples = RGAN(**FAST).fit(frame, **ROLES).sample(8)
    assert isinstance(samples, pd.DataFrame)
    assert list(samples.columns) == list(frame.columns)
    same = ["hour", "HR", "Lactate", "died", "age"]
    assert samples[same].dtypes.to_dict() == frame[same].dtypes.to_dict()
    assert samples["stay"].nunique() == 8
    assert set(samples["hour"]) <= set(range(6))


def test_a_polars_frame_comes_back():
    frame = pl.DataFrame(long_table()).with_columns(pl.col("HR").cast(pl.Int16))
    frame = frame.with_columns(
        pl.when(pl.int_range(pl.len()) % 7 == 0).then(None).otherwise("Lactate").alias("Lactate")
    )
    samples = RGAN(**FAST).fit(frame, **ROLES).sample(8)
    assert isinstance(samples, pl.DataFrame)
    assert samples.columns == frame.columns
    same = ["hour", "HR", "Lactate", "died", "age"]
    assert samples.select(same).schema == frame.select(same).schema
    assert samples["stay"].n_unique() == 8


def test_sequences_with_everything():
    rng = np.random.default_rng(0)
    sequences = Sequences(
        walks(),
        lengths=rng.integers(3, 8, size=40),
        labels=np.arange(40) % 2,
        static=np.column_stack([rng.normal(60, 9, 40), rng.integers(0, 3, 40)]),
        static_info=(Static("age"), Static("ward", "categorical", ("A", "B", "C"))),
        subjects=np.arange(40) // 2,
        feature_names=("HR", "SpO2"),
        units=("bpm", "%"),
    )
    samples = RGAN(**FAST).fit(sequences).sample(11, as_sequences=True)
    assert isinstance(samples, Sequences) and len(samples) == 11
    for what in ("feature_names", "units", "static_info", "layout", "step", "n_steps"):
        assert getattr(samples, what) == getattr(sequences, what)
    assert set(samples.lengths) <= set(sequences.lengths)
    assert set(samples.labels) <= {0, 1}
    assert samples.static is not None and set(samples.static[:, 1]) <= {0, 1, 2}


# -- labels ----------------------------------------------------------------------------------


def test_labels_make_it_conditional(by_class):
    assert by_class.config_.model.kind == "rcgan"
    assert RGAN(**FAST).fit(walks(), ["x", "y"] * 20).config_.model.kind == "rcgan"
    one = by_class.sample(6, labels="b", as_sequences=True)
    assert one.labels.tolist() == ["b"] * 6
    given = ["a", "b", "a"]
    assert by_class.sample(3, labels=given, as_sequences=True).labels.tolist() == given
    drawn = by_class.sample(400, as_sequences=True).labels
    assert 150 < (drawn == "a").sum() < 250, "as often as in the data"


def test_a_continuous_label():
    model = RCGAN(**FAST).fit(walks(), labels=np.linspace(0.0, 1.0, 40))
    sequences = model.sample(5, labels=0.25, as_sequences=True)
    assert sequences.labels == pytest.approx([0.25] * 5)
    with pytest.raises(InputError, match="not a number"):
        model.sample(2, labels="high")


def test_labels_that_do_not_fit(model, by_class):
    with pytest.raises(ConfigError, match="no labels"):
        RCGAN(**FAST).fit(walks())
    with pytest.raises(InputError, match="without labels"):
        model.sample(3, labels=1)
    with pytest.raises(InputError, match="'c' is not known"):
        by_class.sample(3, labels="c")
    with pytest.raises(InputError, match="one label each"):
        by_class.sample(3, labels=["a", "b"])
    with pytest.raises(DataError, match="labels"):
        RGAN(**FAST).fit(walks(), labels=[0, 1, 1])


def test_an_rgan_can_be_told_to_leave_labels_alone():
    settings = {**FAST["settings"], "model.kind": "rgan"}
    model = RGAN(**{**FAST, "settings": settings}).fit(walks(), labels=["a", "b"] * 20)
    assert model.sample(3, as_sequences=True).labels is None


# -- samples are what they are ---------------------------------------------------------------


def test_the_first_of_many_are_the_few(by_class):
    many = by_class.sample(BLOCK + 300, as_sequences=True)
    for n in (1, 10, BLOCK + 1):
        few = by_class.sample(n, as_sequences=True)
        assert np.array_equal(few.labels, many.labels[:n])
        np.testing.assert_allclose(few.values, many.values[:n], rtol=1e-5, atol=1e-5)


def test_blocks_are_the_sample_in_pieces(by_class):
    blocks = list(by_class.trained_.blocks(2 * BLOCK + 7, seed=3))
    assert [len(block) for block in blocks] == [BLOCK, BLOCK, 7]
    whole = by_class.sample(2 * BLOCK + 7, random_state=3)
    assert np.array_equal(np.concatenate([block.values for block in blocks]), whole)
    for what in ("values", "labels"):
        first, second = (getattr(block, what) for block in blocks[:2])
        assert not np.array_equal(first, second), "each block has numbers of its own"


def test_random_state(model):
    assert np.array_equal(model.sample(5, random_state=1), model.sample(5, random_state=1))
    assert not np.array_equal(model.sample(5, random_state=1), model.sample(5, random_state=2))
    again, other = (RGAN(**FAST, random_state=s).fit(walks()) for s in (0, 1))
    assert np.array_equal(again.sample(5), model.sample(5))
    assert not np.array_equal(other.sample(5), model.sample(5))


def test_what_cannot_be_asked(model):
    for n in (0, -3):
        with pytest.raises(InputError, match="at least 1"):
            model.sample(n)
    with pytest.raises(InputError, match="0 or more"):
        model.sample(3, random_state=-1)


# -- saving ----------------------------------------------------------------------------------


def test_save_and_load_give_the_same_samples(by_class, tmp_path):
    path = by_class.save(tmp_path / "kept" / "model")
    assert path == tmp_path / "kept" / "model"
    assert [p.name for p in path.parent.iterdir()] == ["model"]
    loaded = load(path)
    assert type(loaded) is RCGAN
    assert np.array_equal(loaded.sample(7), by_class.sample(7))
    assert loaded.config_ == by_class.config_ and loaded.history_ == by_class.history_
    twice = load(loaded.save(tmp_path / "again"))
    assert np.array_equal(twice.sample(7), by_class.sample(7))
    info = Run.open(path).info
    assert info["status"] == "finished" and info["data"]["sequences"] == 40


def test_a_loaded_model_knows_its_settings(by_class, tmp_path):
    loaded = load(by_class.save(tmp_path / "model"))
    retrained = clone(loaded).fit(walks(), labels=["a", "b"] * 20)
    assert retrained.config_.to_sections() == by_class.config_.to_sections()
    assert np.array_equal(retrained.sample(4), by_class.sample(4))


def test_what_was_saved_is_a_run_for_the_command_line(model, tmp_path):
    run = model.save(tmp_path / "model")
    target = tmp_path / "s.npy"
    answer = rgan("sample", run, "-n", 6, "-o", target)
    assert answer.code == 0, answer.err
    assert np.array_equal(np.load(target), model.sample(6))
    for words in (("train", "--resume", run), ("evaluate", run)):
        answer = rgan(*words)
        assert answer.code == 2 and "no source names" in answer.err
    np.save(tmp_path / "data.npy", walks())
    source = ("--set", f"data.source={tmp_path / 'data.npy'}", "--set", "train.steps=6")
    answer = rgan("train", "--resume", run, *source, "-q")
    assert answer.code == 0, answer.err


def test_a_run_of_the_command_line_is_loaded(tmp_path):
    words = ("--max-sequences", 40, "--device", "cpu", "--set", "train.steps=2")
    small = ("--set", "generator.hidden=4", "--set", "train.figures=0")
    answer = rgan("train", "sines", *words, *small, "--runs", tmp_path, "-q")
    model = package.load(answer.out.strip())
    assert model.sample(3).shape == (3, 30, 1)
    with pytest.raises(RunError, match="no checkpoint"):
        load(answer.out.strip(), checkpoint="best")
    with pytest.raises(RunError, match="is not a run"):
        load(tmp_path)


def test_a_folder_that_is_there_is_left_alone(model, tmp_path):
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(InputError, match="there already"):
        model.save(tmp_path)
    with pytest.raises(InputError, match="not a folder"):
        model.save(tmp_path / "note.txt" / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["note.txt"]


# -- scikit-learn's manners ------------------------------------------------------------------


def test_parameters():
    model = RGAN(**FAST, random_state=3)
    more = {"condition": None, "epochs": None, "random_state": 3, "verbose": False}
    assert model.get_params() == FAST | more
    assert model.set_params(steps=9) is model and model.steps == 9
    copy = clone(model)
    assert copy is not model and copy.get_params() == model.get_params()
    with pytest.raises(ValueError, match="stepps"):
        model.set_params(stepps=1)
    for parameters in ParameterGrid({"steps": [1, 2], "preset": ["default", "paper"]}):
        made = RGAN(**parameters).configuration()
        assert made.train.steps == parameters["steps"]
    assert "steps=9" in repr(model) and "random_state=3" in repr(model)


def test_parameters_are_checked_by_fit_and_not_before():
    model = RGAN(preset="papr", steps=-1)
    with pytest.raises(ConfigError, match="paper"):
        model.fit(walks())
    assert not hasattr(model, "trained_")


def test_fit_gives_itself_and_what_it_learnt_ends_in_an_underscore():
    model = RGAN(**FAST)
    assert model.fit(walks()) is model
    own = {k for k in vars(model) if k not in model.get_params() and not k.startswith("_")}
    assert own and all(name.endswith("_") for name in own)
    assert [e["epoch"] for e in model.history_] == [1, 2]
    assert model.ended_.status == "finished"
    first = model.sample(4)
    assert np.array_equal(model.fit(walks()).sample(4), first), "fitted anew, not on"


def test_epochs_instead_of_steps():
    model = RGAN(epochs=3, batch_size=10, device="cpu", settings=FAST["settings"]).fit(walks())
    assert [e["epoch"] for e in model.history_] == [1, 2, 3]


def test_not_fitted():
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    for use in (lambda m: m.sample(3), lambda m: m.save("nowhere")):
        with pytest.raises(InputError, match="not fitted"):
            use(RGAN())
    with pytest.raises(NotFittedError):
        check_is_fitted(RGAN())
    check_is_fitted(RGAN(**FAST).fit(walks()))


def test_the_callers_data_are_left_alone():
    X = walks()
    kept = X.copy()
    labels = np.array(["a", "b"] * 20)
    RGAN(**FAST).fit(X, labels=labels)
    assert np.array_equal(X, kept) and labels.tolist() == ["a", "b"] * 20


def test_verbose_shows_progress(capsys):
    RGAN(**FAST, verbose=True).fit(walks())
    assert "finished at step" in capsys.readouterr().err
    RGAN(**FAST).fit(walks())
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_the_package_offers_them():
    assert package.RGAN is RGAN and package.RCGAN is RCGAN and package.load is load
    assert set(package.__all__) <= set(dir(package))
    with pytest.raises(AttributeError, match="RGANN"):
        package.RGANN  # noqa: B018


def test_loading_says_which_damaged_checkpoint_it_passed_over(tmp_path):
    folder = RGAN(**FAST).fit(walks()).save(tmp_path / "walks")
    checkpoints = Path(folder, "checkpoints")
    newest = max(checkpoints.glob("0*"))
    broken = shutil.copytree(newest, newest.with_name("00999999"))
    (broken / "model.safetensors").write_bytes(b"cut")
    (checkpoints / "latest").write_text(broken.name)
    with pytest.warns(UserWarning, match="00999999"):
        load(folder)
