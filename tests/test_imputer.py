"""Filling in: observed values stay, draws are spread as the truth is, odd files are refused."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from command_line import TINY, content, killed_at_last, rgan, start
from rgan.evaluate.imputation import (
    calibration_of,
    errors_of,
    errors_of_draws,
    forward_fill,
    mice,
)
from rgan.sequences import Sequences

QUICK = ("--steps", 100, "-q")
STEPS = 12


def waves(n: int, seed: int, steps: int = STEPS) -> dict[str, Any]:
    """Columns of a long table: two waves of one phase, the second in other units; sex shifts it."""
    rng = np.random.default_rng(seed)
    phase_N1, sex_N = rng.uniform(0, 6, (n, 1)), rng.integers(0, 2, n)
    angle_NT = phase_N1 + np.arange(steps) / 2
    hr_NT = np.round(80 + 15 * np.sin(angle_NT) + rng.normal(0, 1, (n, steps)), 1)
    temp_NT = np.round(37 + np.cos(angle_NT) + sex_N[:, None] + rng.normal(0, 0.1, (n, steps)), 2)
    return {
        "stay": np.repeat(np.arange(n) + 1000 * seed, steps),
        "hour": np.tile(np.arange(steps), n),
        "HR": hr_NT.ravel(),
        "Temp": temp_NT.ravel(),
        "sex": np.repeat(np.array(["F", "M"])[sex_N], steps),
    }


def table(path: Path, n: int, seed: int, missing: float, steps: int = STEPS) -> pl.DataFrame:
    """The same written as CSV with gaps."""
    frame = pl.DataFrame(waves(n, seed, steps))
    rng = np.random.default_rng(seed + 1)
    gaps = {name: pl.Series(rng.random(len(frame)) < missing) for name in ("HR", "Temp")}
    frame = frame.with_columns(
        [pl.when(~gap).then(pl.col(name)).alias(name) for name, gap in gaps.items()]
    )
    frame.write_csv(path)
    return frame


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on waves with gaps, with its imputer."""
    folder = tmp_path_factory.mktemp("imputer")
    table(folder / "train.csv", 200, 0, 0.2)
    table(folder / "new.csv", 40, 1, 0.4)
    columns = ("--id", "stay", "--time", "hour", "--static", "sex")
    small = (*TINY, "--set", "train.steps=2", "--set", "train.figures=0", "--epochs", 1, "-q")
    small = (*small, "--set", "train.check_memory=false", "--runs", folder / "runs")
    done = rgan("train", folder / "train.csv", *columns, *small)
    assert done.code == 0, done.err
    (path,) = (folder / "runs").iterdir()
    first = rgan("impute", path, folder / "new.csv", "-o", folder / "new-filled.csv", *QUICK)
    assert first.code == 0, first.err
    return path


def new(run: Path) -> Path:
    return run.parents[1] / "new.csv"


def test_every_gap_is_filled_and_what_was_observed_stays_to_the_last_bit(run: Path):
    gaps = pl.read_csv(new(run))
    filled = pl.read_csv(new(run).with_name("new-filled.csv"))
    assert filled.columns == gaps.columns and filled.null_count().sum_horizontal()[0] == 0
    assert filled.select("stay", "hour", "sex").equals(gaps.select("stay", "hour", "sex"))
    for name, decimals in (("HR", 1), ("Temp", 2)):
        known = gaps[name].is_not_null()
        assert filled[name].filter(known).equals(gaps[name].filter(known))
        drawn = filled[name].filter(~known).to_numpy()
        assert np.allclose(drawn, drawn.round(decimals), atol=1e-5)  # rounded as the data is
        truth = waves(40, 1)[name][~known.to_numpy()]
        assert np.abs(drawn - truth).mean() < 0.6 * np.abs(truth - truth.mean()).mean()


def test_a_seed_gives_the_same_draws_and_their_median_is_what_is_written(run: Path, tmp_path: Path):
    out = tmp_path / "out.npz"
    common = ("impute", run, new(run), "-q", "--draws", 3)
    assert rgan(*common, "--each", "-o", out).code == 0
    drawn = [np.load(tmp_path / f"out-{k}.npz")["values"] for k in (1, 2, 3)]
    middle = np.load(out)["values"]
    assert np.allclose(np.median(drawn, axis=0), middle, atol=1e-5)
    gaps = pl.read_csv(new(run))["HR"].is_null().to_numpy().reshape(40, STEPS)
    assert (drawn[0][:, :, 0] != drawn[1][:, :, 0])[gaps].mean() > 0.5
    assert np.array_equal(drawn[0][:, :, 0][~gaps], drawn[1][:, :, 0][~gaps])
    assert rgan(*common, "-o", tmp_path / "again.npz").code == 0
    assert (tmp_path / "again.npz").read_bytes() == out.read_bytes()
    assert rgan(*common, "-o", tmp_path / "other.npz", "--seed", 1).code == 0
    assert not np.array_equal(np.load(tmp_path / "other.npz")["values"], middle)
    assert rgan("impute", run, new(run), "-q", "--draws", 5, "--each", "-o", out).code == 0
    assert np.array_equal(np.load(tmp_path / "out-2.npz")["values"], drawn[1])  # of any number


def test_a_score_is_below_simple_ways_and_its_intervals_hold_the_truth(run: Path):
    answer = rgan("impute", run, new(run), "--score", "random:0.3", "-q")
    assert answer.code == 0, answer.err
    assert "forward-fill" in answer.out and "MICE" in answer.out and "90 %" in answer.out
    found = json.loads((run / "imputation.json").read_text())
    mae = {way: errors["mae"] for way, errors in found["errors"].items()}
    assert mae["rgan"] < 0.6 * min(mae["mean"], mae["forward-fill"])
    assert mae["MICE"] < 0.7 * mae["mean"]
    assert found["errors"]["rgan"]["crps"] < mae["rgan"]
    assert 0.75 < found["calibration"]["covered_L"][-1] < 0.98
    assert set(found["features"]) == {"HR", "Temp"} and found["sequences"] <= 40
    assert (run / "figures" / "imputation.png").stat().st_size > 1000


def test_the_run_s_own_source_is_scored_on_its_test_split(run: Path):
    answer = rgan("impute", run, new(run).with_name("train.csv"), "--score", "block:3")
    assert answer.code == 0, answer.err
    assert "its test split of 30 is scored" in answer.err
    assert json.loads((run / "imputation.json").read_text())["sequences"] <= 30


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lactate": pl.lit(1.0)}, ("does not know", "lactate")),
        ({"HR": None}, ('feature "HR" is not there',)),
        ({"Temp": pl.col("Temp") * 1.8 + 32}, ('"Temp"', "units")),
        ({"HR": pl.col("HR") / 60}, ('"HR"', "units")),
        ({"sex": pl.lit("X")}, ('"X"', "F, M")),
        ({"sex": None}, ("sex",)),
        ({"hour": pl.col("hour") / 2}, ("0.5", "steps of 1")),
    ],
)
def test_what_the_model_does_not_know_is_refused_and_nothing_written(
    run: Path, tmp_path: Path, change: dict[str, Any], words: tuple[str, ...]
):
    frame = pl.read_csv(new(run))
    for name, how in change.items():
        frame = frame.drop(name) if how is None else frame.with_columns(how.alias(name))
    frame.write_csv(tmp_path / "odd.csv")
    answer = rgan("impute", run, tmp_path / "odd.csv", "-o", tmp_path / "out.csv", "-q")
    assert answer.code == 2 and "Traceback" not in answer.err
    assert all(word in answer.err for word in words), answer.err
    assert not (tmp_path / "out.csv").exists()


def test_longer_stays_than_the_model_knows_are_refused(run: Path, tmp_path: Path):
    table(tmp_path / "long.csv", 5, 3, 0.2, steps=20)
    answer = rgan("impute", run, tmp_path / "long.csv", "-o", tmp_path / "out.csv", "-q")
    assert answer.code == 2 and "20 steps" in answer.err and "12 steps" in answer.err


def test_shorter_stays_other_orders_and_one_sex_alone_are_filled(run: Path, tmp_path: Path):
    frame = pl.DataFrame(waves(8, 4, 5)).filter(pl.col("sex") == "M")
    frame = frame.select("sex", "Temp", "stay", "hour", "HR")
    frame = frame.with_columns(pl.when(pl.col("hour") != 2).then(pl.col("HR")).alias("HR"))
    frame.write_csv(tmp_path / "short.csv")
    answer = rgan("impute", run, tmp_path / "short.csv", "-o", tmp_path / "out.csv", "-q")
    assert answer.code == 0, answer.err
    filled = pl.read_csv(tmp_path / "out.csv")
    assert filled.null_count().sum_horizontal()[0] == 0 and len(filled) == len(frame)
    assert set(filled["sex"]) == {"M"}
    assert filled.filter(pl.col("hour") != 2)["HR"].equals(frame.filter(pl.col("hour") != 2)["HR"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--hide", "random:2"), "between 0 and 1"),
        (("--hide", "feature:hr"), "feature"),
        (("--hide", "block:3", "--score", "block:3"), "--hide and --score"),
        (("--score", "block:3", "--draws", 5), "at least 19"),
        (("--draws", 0), "--draws is 0"),
        (("-o", "out.doc"), ".doc"),
        (("-o", "FILE"), "what is to be filled in"),
        (("--set", "train.seed=3"), "train.seed"),
    ],
)
def test_odd_requests_are_refused(run: Path, words: tuple[Any, ...], told: str):
    before = content(run.parents[1])
    words = tuple(new(run) if word == "FILE" else word for word in words)
    answer = rgan("impute", run, new(run), "-q", *words)
    assert answer.code == 2 and told in answer.err, answer.err
    assert content(run.parents[1]) == before


def test_the_imputer_is_kept_fitted_anew_when_asked_and_never_half_written(
    run: Path, tmp_path: Path
):
    mine = tmp_path / "run"
    shutil.copytree(run, mine)
    kept = (mine / "imputer" / "model.safetensors").read_bytes()
    out = ("-o", tmp_path / "out.npz", "-q")
    assert rgan("impute", mine, new(run), *out).code == 0
    assert (mine / "imputer" / "model.safetensors").read_bytes() == kept
    (mine / "imputer" / "model.safetensors").write_bytes(kept[:-1] + b"?")
    broken = rgan("impute", mine, new(run), *out)
    assert broken.code == 2 and "SHA-256" in broken.err and "--refit" in broken.err
    fits = []
    for _ in range(2):
        again = rgan("impute", mine, new(run), *out, "--refit", "--steps", 5)
        assert again.code == 0, again.err
        fits.append((mine / "imputer" / "model.safetensors").read_bytes())
    assert fits[0] == fits[1] != kept  # the same seed
    shutil.rmtree(mine / "imputer")
    with killed_at_last(start("impute", mine, new(run), "--steps", 90_000, cwd=tmp_path)) as child:
        assert child.stderr is not None
        while "fitting" not in child.stderr.readline():
            assert child.poll() is None
        time.sleep(1)
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == 1
        assert "stopped by Ctrl-C" in child.stderr.read()
    assert not (mine / "imputer").exists() and not (tmp_path / "completed.npz").exists()
    assert not [p for p in mine.iterdir() if "imputer" in p.name]


def test_halves_of_images_are_completed_from_arrays_with_gaps(tmp_path: Path):
    small = (*TINY, "--set", "train.steps=2", "--set", "train.figures=0", "--epochs", 1, "-q")
    small = (*small, "--set", "train.check_memory=false", "--runs", tmp_path / "runs")
    assert rgan("train", "digits", "--max-sequences", 300, *small).code == 0
    from sklearn.datasets import load_digits

    images = load_digits().images[-40:].astype(np.float32)
    gaps = images.copy()
    gaps[:, 4:6] = np.nan
    np.save(tmp_path / "gaps.npy", gaps)
    where = ("impute", "latest", tmp_path / "gaps.npy", "--runs", tmp_path / "runs")
    answer = rgan(*where, "-o", tmp_path / "out.npz", *QUICK)
    assert answer.code == 0, answer.err
    filled = np.load(tmp_path / "out.npz")["values"]
    seen = ~np.isnan(gaps)
    assert np.array_equal(filled[seen], gaps[seen])
    drawn, truth = filled[~seen], images[~seen]
    assert drawn.min() >= 0 and drawn.max() <= 16 and np.array_equal(drawn, drawn.round())
    column = np.broadcast_to(images.mean(axis=0), images.shape)[~seen]
    assert np.abs(drawn - truth).mean() < np.abs(column - truth).mean()
    picture = rgan(*where, "-o", tmp_path / "out.png", "--hide", "region:3x3", "-q")
    assert picture.code == 0 and (tmp_path / "out.png").exists(), picture.err
    np.save(tmp_path / "grey.npy", gaps / 16)
    answer = rgan("impute", "latest", tmp_path / "grey.npy", "--runs", tmp_path / "runs", "-q")
    assert answer.code == 2 and "units" in answer.err


def test_series_of_any_length_are_filled_where_the_run_has_windows(tmp_path: Path):
    values = np.sin(np.arange(400) / 3)[None, :, None].astype(np.float32)
    np.save(tmp_path / "series.npy", values)
    small = (*TINY, "--set", "train.steps=2", "--set", "train.figures=0", "--epochs", 1, "-q")
    small = (*small, "--set", "train.check_memory=false", "--runs", tmp_path / "runs")
    windows = ("--window", 20, "--stride", 2)
    assert rgan("train", tmp_path / "series.npy", *windows, *small).code == 0
    gaps = values[:, :77].astype(np.float64) + 1e-12  # more digits than 32 bits hold
    gaps[:, np.random.default_rng(0).random(77) < 0.3] = np.nan
    np.save(tmp_path / "gaps.npy", gaps)
    where = ("impute", "latest", tmp_path / "gaps.npy", "--runs", tmp_path / "runs")
    answer = rgan(*where, "-o", tmp_path / "out.npy", "-q", "--steps", 40)
    assert answer.code == 0, answer.err
    filled, seen = np.load(tmp_path / "out.npy"), ~np.isnan(gaps)
    assert filled.shape == (1, 77, 1) and np.array_equal(filled[seen], gaps[seen])
    away = np.abs(filled - values[:, :77])[~seen]
    assert away.mean() < 0.5 * np.abs(values[:, :77][~seen]).mean()


def test_samples_that_end_by_themselves_are_filled_within_their_lengths(tmp_path: Path):
    rng = np.random.default_rng(0)
    lengths_N = rng.integers(4, 10, 200)
    rows = [
        (i, t, rng.normal(i % 7), rng.normal()) for i, n in enumerate(lengths_N) for t in range(n)
    ]
    frame = pl.DataFrame(rows, schema=["stay", "hour", "HR", "Temp"], orient="row")
    kept = pl.Series(rng.random(len(frame)) > 0.3)
    frame = frame.with_columns(pl.when(kept).then(pl.col("Temp")).alias("Temp"))
    frame.write_csv(tmp_path / "stays.csv")
    columns = ("--id", "stay", "--time", "hour")
    small = ("--set", "generator.hidden=16", "--set", "train.steps=60", "--set", "train.figures=0")
    trained = rgan("train", tmp_path / "stays.csv", *columns, "--preset", "feedback", *small, "-q",
                   "--runs", tmp_path / "runs")  # fmt: skip
    assert trained.code == 0, trained.err
    (run,) = (tmp_path / "runs").iterdir()
    made, out = tmp_path / "made.csv", tmp_path / "out.csv"
    assert rgan("sample", run, "-n", 40, "-o", made).code == 0
    answer = rgan("impute", run, made, "-o", out, "--draws", 2, "--steps", 3, *columns, "-q")
    assert answer.code == 0, answer.err
    before, after = pl.read_csv(made), pl.read_csv(out)
    assert before.group_by("stay").len()["len"].n_unique() > 2  # nobody asked for lengths
    assert before["Temp"].null_count() > 20 and after["Temp"].null_count() == 0
    assert after.select("stay", "hour").equals(before.select("stay", "hour"))  # and not one more
    seen = before["Temp"].is_not_null()
    assert after["Temp"].filter(seen).equals(before["Temp"].filter(seen))


# -- scores ----------------------------------------------------------------------------------------


def test_scores_of_draws_are_what_theory_says():
    rng = np.random.default_rng(0)
    truth, draws = rng.normal(size=20_000), rng.normal(size=(40, 20_000))
    found = errors_of_draws(draws, truth)
    assert found.crps == pytest.approx(1 / np.sqrt(np.pi), rel=0.02)  # of a normal, by a normal
    right = calibration_of(draws, truth)
    assert right.covered_L == pytest.approx(right.levels_L, abs=0.02)
    assert max(right.ranks) < 1.2 / 41
    narrow = calibration_of(draws / 3, truth)
    assert narrow.covered_L[-1] < 0.6 and narrow.ranks[0] > 5 / 41
    assert errors_of(np.zeros(20_000), truth).rmse == pytest.approx(1, rel=0.02)


def test_simple_ways_are_what_they_are_called():
    nan = np.nan
    values = np.array([[[nan, 1.0], [2.0, nan], [nan, nan]], [[3.0, 4.0], [nan, 5.0], [nan, 6.0]]])
    data = Sequences(values, observed=~np.isnan(values), lengths=[3, 2])
    filled = forward_fill(data, np.array([10.0, 20.0]))
    assert filled[0].tolist() == [[10, 1], [2, 1], [2, 1]] and filled[1, 1].tolist() == [3, 5]
    rng = np.random.default_rng(0)
    one = rng.normal(size=(200, 6, 1))
    both = Sequences(np.concatenate([one, 2 * one + 1], axis=2))
    wanted = np.zeros(both.values.shape, bool)
    wanted[:, 3, 1] = True
    gaps = Sequences(both.values, observed=~wanted)
    guess = mice(both, gaps, wanted, np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    truth = both.values[wanted]
    assert np.abs(guess - truth).mean() < 0.2 * np.abs(truth - 1).mean()


def test_a_run_on_built_in_stays_fills_its_own_samples_written_as_a_table(tmp_path: Path):
    """The file names no unit of time, and the run knows hours."""
    trained = rgan("train", "icu", *TINY, "--max-sequences", 120, "--epochs", 1, "-q",
                   "--set", "train.check_memory=false", "--runs", tmp_path / "runs")  # fmt: skip
    assert trained.code == 0, trained.err
    (run,) = (tmp_path / "runs").iterdir()
    made, out = tmp_path / "made.csv", tmp_path / "out.csv"
    assert rgan("sample", run, "-n", 20, "-o", made).code == 0
    words = ("--id", "id", "--time", "time", "--label", "died")
    words += ("--static", "age", "--static", "sex", "--static", "unit")
    answer = rgan("impute", run, made, "-o", out, "--draws", 2, "--steps", 3, *words)
    assert answer.code == 0, answer.err
    assert "taken to be in h" in answer.err
    before, after = pl.read_csv(made), pl.read_csv(out)
    assert before["HR"].null_count() > 0 and after["HR"].null_count() == 0
    kept = before["HR"].is_not_null()
    assert (before["HR"].filter(kept) == after["HR"].filter(kept)).all()
