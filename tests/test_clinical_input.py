"""What clinical data get wrong: impossible values, other units; and what they look like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import rgan
from rgan.data.config import DataConfig
from rgan.data.icu import FEATURES
from rgan.data.load import check_trainable, load
from rgan.data.plausible import Judge, check_plausible, possible
from rgan.data.sources import load_builtin
from rgan.errors import DataError, InputError
from rgan.layouts import StaysLayout
from rgan.report.clinical import draw_overview, draw_stays
from rgan.report.show import describe_text
from rgan.sequences import Sequences


def table(tmp_path: Path, heart: Any = 80, temp: Any = 37.1, stays: int = 20) -> Path:
    """Twenty stays of three rows; the first row has these values."""
    lines = ["id,hour,Heart_Rate,temp,K"]
    for stay in range(stays):
        for hour in range(3):
            first = (stay, hour) == (0, 0)
            values = (heart if first else 80 + stay, temp if first else 36 + hour / 2, -7 - hour)
            lines.append(",".join(map(str, (stay, hour, *values))))
    path = tmp_path / "vitals.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def read(path: Path, **fields: Any) -> Sequences:
    return load(DataConfig(source=str(path), id="id", time="hour", **fields))


# -- impossible values -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "labs", "low", "high"),
    [
        *(("Heart Rate", False, 20, 300), ("heart_rate", False, 20, 300), ("HR", False, 20, 300)),
        *(("NISysABP", False, 30, 300), ("SpO2", False, 20, 100), ("K", True, 1, 15)),
        ("Glascow coma scale total", True, 3, 15),
    ],
)
def test_names_that_are_known(name: str, labs: bool, low: float, high: float) -> None:
    found = possible(name, labs=labs)
    assert found is not None and (found.low, found.high) == (low, high)


def test_an_impossible_age_of_a_table_is_counted(tmp_path: Path) -> None:
    ages = (300, *range(40, 59), "")  # older than 89 is 300 in some records without names
    lines = [f"{stay},{hour},80,{age}" for stay, age in enumerate(ages) for hour in range(2)]
    path = tmp_path / "ages.csv"
    path.write_text("id,hour,HR,Age\n" + "\n".join(lines) + "\n")
    kept = read(path, static=("Age",))
    said = '"Age": 1 of 20 values outside 0 to 120 years (1 above)'
    assert kept.static is not None and kept.static[0, 0] == 300 and kept.notes == (f"{said}: kept",)
    unknown = read(path, static=("Age",), implausible="missing")
    assert unknown.static is not None and np.isnan(unknown.static[[0, 20], 0]).all()
    assert unknown.static[1:20, 0].tolist() == list(ages[1:20])
    with pytest.raises(DataError, match="implausible is error"):
        read(path, static=("Age",), implausible="error")
    array = check_plausible(kept, Judge("missing"))  # as those of .npz are
    assert array.static is not None and np.isnan(array.static[0, 0]) and kept.static[0, 0] == 300


def test_names_that_may_be_anything_are_not_judged_in_a_table() -> None:
    assert possible("K") is None and possible("map") is None and possible("x0") is None


def test_the_ranges_are_those_of_the_bundled_stays() -> None:
    for feature in FEATURES:
        for name in feature.parameters:
            known = possible(name, labs=True)
            assert known is not None, name
            assert known.low <= feature.low and known.high == feature.high, name
    stays = load_builtin("icu")
    judge = Judge("error", labs=True, skip=("Urine",))  # there it is the sum of an hour
    assert check_plausible(stays, judge) is stays


def test_a_table_keeps_what_is_impossible_and_says_so(tmp_path: Path) -> None:
    s = read(table(tmp_path, heart=-80))
    assert s.notes == ('"Heart_Rate": 1 of 60 values outside 20 to 300 bpm (1 below): kept',)
    assert s.values[0, 0, 0] == -80


def test_or_takes_it_as_not_measured(tmp_path: Path) -> None:
    s = read(table(tmp_path, heart=8000), implausible="missing")
    assert "(1 above): taken as not measured" in s.notes[0]
    assert not s.observed[0, 0, 0] and s.observed.sum() == 60 * 3 - 1


def test_or_refuses_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="implausible is error"):
        read(table(tmp_path, heart=-1), implausible="error")


def test_what_is_dropped_is_not_judged(tmp_path: Path) -> None:
    assert read(table(tmp_path, heart=-1), drop=("Heart_Rate",), implausible="error").notes == ()


def test_fahrenheit_is_named(tmp_path: Path) -> None:
    (note,) = read(table(tmp_path, temp=98.6)).notes
    assert note.startswith('"temp": 1 of 60 values outside 25 to 45 degC')
    assert "1 as if in Fahrenheit" in note


def test_a_column_in_another_unit_is_never_thrown_away(tmp_path: Path) -> None:
    path = table(tmp_path)
    lines = path.read_text().splitlines()
    rows = [line.split(",") for line in lines[1:]]
    fahrenheit = [[*r[:3], f"{float(r[3]) * 1.8 + 32:.1f}", r[4]] for r in rows]
    path.write_text("\n".join([lines[0], *map(",".join, fahrenheit)]) + "\n")
    with pytest.raises(DataError, match="mean another unit") as caught:
        read(path, implausible="missing")
    assert "60 of 60" in caught.value.found and "data.implausible=keep" in caught.value.repair
    assert read(path).observed.all()


def test_no_patients_value_is_in_a_note(tmp_path: Path) -> None:
    assert "-80.25" not in "".join(read(table(tmp_path, heart=-80.25)).notes)


def test_arrays_are_judged_too(tmp_path: Path) -> None:
    values = np.full((12, 4, 1), 70.0)
    values[3, 1] = 900
    np.savez(tmp_path / "x.npz", values=values, feature_names=np.array(["HR"]))
    (note,) = load(DataConfig(source=str(tmp_path / "x.npz"))).notes
    assert "1 of 48 values outside 20 to 300 bpm" in note


def test_notes_are_printed_by_show_and_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = table(tmp_path, heart=-80)
    options = ("--id", "id", "--time", "hour")
    shown = rgan("data", "show", path, *options, "--no-png")
    assert shown.code == 0 and "note:" in shown.out and "outside 20 to 300 bpm" in shown.out
    few = ("--set", "data.implausible=error")
    refused = rgan("train", path, *options, *few)
    assert refused.code == 2 and "--drop 'Heart_Rate'" in refused.err
    assert not (tmp_path / "runs").exists()


# -- constants and gaps ----------------------------------------------------------------------


def test_a_constant_is_refused_only_without_gaps() -> None:
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(size=(8, 5)), np.ones((8, 5))], axis=2)
    with pytest.raises(DataError, match='"x1" is always 1'):
        check_trainable(Sequences(values))
    observed = np.ones(values.shape, dtype=bool)
    observed[:4, :, 1] = False
    check_trainable(Sequences(values, observed=observed))


# -- pictures --------------------------------------------------------------------------------


def stays(n: int = 30, **fields: Any) -> Sequences:
    rng = np.random.default_rng(1)
    values = rng.normal(70, 9, size=(n, 24, 5))
    values[:, :, 1] = rng.integers(0, 3, size=(n, 24))
    observed = rng.random((n, 24, 5)) < [0.9, 0.5, 0.5, 0.1, 0.0]
    given = {
        "labels": rng.integers(0, 2, n),
        "lengths": rng.integers(10, 25, n),
        "feature_names": ("hr", "rhythm", "c", "rare", "never"),
        "layout": StaysLayout("mimic3", levels={"rhythm": {"0": "slow", "1": "good", "2": "fast"}}),
        "step_unit": "h",
        "label_name": "died",
    }
    return Sequences(values, observed=observed, **{**given, **fields})


def pixels(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"labels": None},
        {"labels": np.linspace(0, 1, 30)},
        {"labels": np.arange(30) % 9},
        {"lengths": None},
    ],
    ids=["classes", "none", "continuous", "many", "fixed"],
)
def test_overviews_of_all_kinds(tmp_path: Path, fields: dict[str, Any]) -> None:
    picture = pixels(draw_overview(stays(**fields), tmp_path / "x.png"))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100


def test_the_overview_knows_sequences_only_as_a_whole(tmp_path: Path) -> None:
    s = stays(lengths=None)
    other = s[np.random.default_rng(0).permutation(len(s))]
    first, second = draw_overview(s, tmp_path / "a.png"), draw_overview(other, tmp_path / "b.png")
    assert first.read_bytes() == second.read_bytes()


def test_one_colour_is_one_value_in_every_stay(tmp_path: Path) -> None:
    from rgan.report.clinical import _scaled

    s = stays()
    scaled = _scaled(s, np.arange(30), [0])
    known = ~np.isnan(scaled[:, 0])
    assert np.array_equal(known, s.observed[:, :, 0])
    order = np.argsort(s.values[:, :, 0][known])
    assert (np.diff(scaled[:, 0][known][order]) >= 0).all()  # one scale for all stays
    assert scaled[:, 0][known].min() == 0 and scaled[:, 0][known].max() == 1


def test_stays_are_drawn_only_where_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", values=np.random.default_rng(0).normal(size=(9, 6, 2)))
    assert rgan("data", "show", "x.npz").code == 0
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["data-x-overview.png", "data-x.png"]
    done = rgan("data", "show", "x.npz", "--stays", 4)
    assert done.code == 0 and "data-x-stays.png" in done.out
    assert pixels(tmp_path / "data-x-stays.png").std() > 5
    for count in (0, 49):
        with pytest.raises(InputError, match="from 1 to 48"):
            draw_stays(stays(), tmp_path / "no.png", count)
    assert rgan("data", "show", "digits", "--stays", 3).code == 2


def test_show_says_how_often_each_level_is_seen() -> None:
    text = describe_text(stays(), width=140)
    (line,) = [row for row in text.splitlines() if "slow" in row]
    assert "good" in line and "fast" in line and "%" in line
    assert "note: odd" in describe_text(replace(stays(), notes=("odd",)))
