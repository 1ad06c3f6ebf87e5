"""Irregular times: bins by a stated rule, or events with the gaps between them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from command_line import TINY, rgan
from rgan.data.bins import binned
from rgan.data.config import DataConfig
from rgan.data.frames import from_frame, to_frame
from rgan.data.load import load
from rgan.data.plausible import Judge
from rgan.data.stays import Grid, Stay, gridded
from rgan.data.write import write
from rgan.errors import DataError
from rgan.sequences import Sequences

EVENTS = """id,t,hr,note
1,0.0,60,calm
1,0.4,70,
1,0.9,,agitated
1,2.2,80,calm
2,0.0,90,calm
2,0.1,,agitated
"""
LEVELS = ("note=calm<agitated",)


def table(tmp_path: Path, text: str = EVENTS, **fields: Any) -> Sequences:
    path = tmp_path / "events.csv"
    path.write_text(text)
    fields = {"id": "id", "time": "t", "category": LEVELS, **fields}
    return load(DataConfig(source=str(path), **fields))


def refused(tmp_path: Path, text: str = EVENTS, **fields: Any) -> str:
    with pytest.raises((DataError, pydantic.ValidationError)) as caught:
        table(tmp_path, text, **fields)
    return str(caught.value)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(1, 5), st.integers(0, 30))
def test_bins_are_what_a_loop_makes_of_them(seed: int, n: int, t: int, v: int) -> None:
    rng = np.random.default_rng(seed)
    row, place = np.sort(rng.integers(0, n, v)), rng.integers(0, t, v)
    value = rng.normal(size=v)
    found = {rule: binned(row, place, value, (n, t), rule) for rule in ("last", "mean", "count")}  # type: ignore[arg-type]
    for i in range(n):
        for k in range(t):
            mine = value[(row == i) & (place == k)]
            assert found["count"][0][i, k] == len(mine) and found["count"][1][i, k]
            for rule in ("last", "mean"):
                values, observed = found[rule]
                assert observed[i, k] == bool(len(mine))
                if len(mine):
                    wanted = mine[-1] if rule == "last" else mine.mean()
                    assert values[i, k] == pytest.approx(wanted, rel=1e-6)


def test_last(tmp_path: Path) -> None:
    s = table(tmp_path, step=1.0)
    assert s.values[0, :, 0].tolist()[::2] == [70, 80] and np.isnan(s.values[0, 1, 0])
    assert s.values[0, :, 1].tolist()[::2] == [1, 0]
    assert s.lengths.tolist() == [3, 1] and s.step == 1.0


def test_mean_of_numbers_and_last_of_levels(tmp_path: Path) -> None:
    s = table(tmp_path, step=1.0, bin="mean")
    assert s.values[0, 0].tolist() == [65, 1] and s.values[1, 0].tolist() == [90, 1]


def test_count_is_observed_everywhere(tmp_path: Path) -> None:
    s = table(tmp_path, step=1.0, bin="count")
    assert s.fully_observed and set(s.units) == {"count"}
    assert s.values[0].tolist() == [[2, 2], [0, 0], [1, 1]] and s.values[1, 0].tolist() == [1, 2]


def test_gaps_keep_every_event(tmp_path: Path) -> None:
    s = table(tmp_path, bin="gaps")
    assert s.feature_names == ("hr", "note", "gap") and s.lengths.tolist() == [4, 2]
    assert s.values[0, :, 2].tolist() == pytest.approx([0, 0.4, 0.5, 1.3])
    assert s.values[1, :2, 2].tolist() == pytest.approx([0, 0.1])
    assert s.observed[0, :, 0].tolist() == [True, True, False, True]


def test_gaps_are_times_again_when_written(tmp_path: Path) -> None:
    s = table(tmp_path, bin="gaps")
    write(s, tmp_path / "back.csv")
    again = table(tmp_path, (tmp_path / "back.csv").read_text(), bin="gaps")
    assert again.feature_names == s.feature_names and again.lengths.tolist() == s.lengths.tolist()
    assert np.allclose(again.values, s.values, atol=1e-6, equal_nan=True)
    back = pl.read_csv(tmp_path / "back.csv")
    assert back.columns == ["id", "t", "hr", "note"]
    assert back["note"].to_list()[:4] == ["calm", None, "agitated", "calm"]


def test_gaps_of_timestamps_are_hours() -> None:
    from datetime import datetime, timedelta

    start = datetime(2024, 1, 1)
    times = [start, start + timedelta(minutes=90), start + timedelta(minutes=90)]
    frame = pl.DataFrame({"who": [1, 1, 1], "when": times, "hr": [60.0, 61.0, 62.0]})
    s = from_frame(frame, id="who", time="when", bin="gaps")
    assert s.values[0, :, 1].tolist() == [0, 1.5, 0] and s.units == ("", "h")
    back = to_frame(s)
    assert (back["when"] - back["when"][0]).to_list() == [t - start for t in times]


def test_a_gap_column_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    s = table(tmp_path, EVENTS.replace("hr", "gap"), bin="gaps")
    assert s.feature_names == ("gap", "note", "gap_before")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"bin": "mean"}, "no bin width"),
        ({"bin": "count"}, "--step 1"),
        ({"bin": "gaps", "step": 1.0}, "a bin width is given"),
        ({"bin": "gaps", "time": ""}, "no time column"),
        ({"category": ("note",)}, "at least two levels"),
        ({"category": ("note=calm<calm",)}, "each once"),
        ({"category": ("mood=a<b",)}, '"mood"'),
        ({"category": ("note=calm<wild",), "step": 1.0}, "cells with an unknown level"),
        ({"category": ("note=calm<agitated",), "label": "note", "step": 1.0}, "as label and as"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(tmp_path: Path, fields: dict[str, Any], says: str) -> None:
    if fields.get("time") == "":
        fields = {**fields, "drop": ("t",)}
    assert says in refused(tmp_path, **fields)


def test_times_that_go_back_are_refused_as_events_too(tmp_path: Path) -> None:
    assert "before that of" in refused(tmp_path, EVENTS.replace("1,0.9", "1,0.1"), bin="gaps")


def test_a_column_of_text_names_the_line_that_reads_it(tmp_path: Path) -> None:
    said = refused(tmp_path, category=(), step=1.0)
    assert "--category 'note=agitated<calm'" in said
    assert '"calm"' in said and "row 0 (line 2)" in said


def test_an_unseen_level_names_row_and_column(tmp_path: Path) -> None:
    said = refused(tmp_path, EVENTS.replace("2,0.1,,agitated", "2,0.1,,asleep"), step=0.1)
    assert 'row 5 (line 7), column "note" is "asleep" (1 cells' in said and "calm, agitated" in said


# -- stays -----------------------------------------------------------------------------------


def stay(*events: tuple[float, int, float]) -> Stay:
    hours, features, values = zip(*events, strict=True) if events else ((), (), ())
    return Stay(np.array(hours, float), np.array(features, int), np.array(values, float))


@pytest.mark.parametrize(
    ("closed", "wanted"), [("right", [0, 0, 1, 1, 47]), ("left", [0, 1, 1, 2, 47])]
)
def test_which_bin_an_edge_belongs_to(closed: Any, wanted: list[int]) -> None:
    hours = np.array([0.0, 1.0, 1.5, 2.0, 48.0])
    assert Grid(closed=closed).places(hours).tolist() == wanted


def test_moments_of_stays() -> None:
    stays = [stay((0.5, 0, 1.0), (0.5, 1, 2.0), (3.0, 0, 4.0)), stay(), stay((7.0, 1, 5.0))]
    grid = Grid("gaps")
    table = gridded(stays, ("a", "b"), ("", ""), grid, Judge())
    assert table.lengths.tolist() == [2, 1, 1] and table.names == ("a", "b", "gap")
    assert table.values[0].tolist()[0] == [1, 2, 0.5] and table.values[0, 1, 2] == 2.5
    assert table.values[2, 0].tolist() == [0, 5, 7]
    assert table.observed[:, :, :2].sum() == 4
    assert table.notes == ("1 stays hold no value at all: kept, with nothing observed",)


# -- trained ---------------------------------------------------------------------------------


def test_events_and_levels_come_out_of_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lines = ["id,t,hr,note"]
    for person in range(16):
        clock = 0.0
        for _ in range(int(rng.integers(3, 7))):
            note = ("", "low", "mid", "high")[rng.integers(0, 4)]
            lines.append(f"{person},{clock:.2f},{rng.normal(80, 9):.0f},{note}")
            clock += float(rng.uniform(0.1, 2))
    Path("events.csv").write_text("\n".join(lines) + "\n")
    few = (*TINY, "--set", "train.check_memory=false", "--set", "train.batch_size=8")
    options = ("--id", "id", "--time", "t", "--bin", "gaps", "--category", "note=low<mid<high")
    done = rgan("train", "events.csv", *options, "--epochs", 1, *few)
    assert done.code == 0, done.err
    assert rgan("sample", "latest", "-n", 40, "-o", "new.csv").code == 0
    new = pl.read_csv("new.csv")
    assert new.columns == ["id", "t", "hr", "note"]
    assert set(new["note"].drop_nulls()) <= {"low", "mid", "high"} and new["note"].null_count()
    steps = new.with_columns(pl.col("t").diff().over("id").alias("gap"))["gap"].drop_nulls()
    assert (steps >= 0).all() and new.group_by("id").agg(pl.col("t").first())["t"].max() == 0
    again = load(
        DataConfig(source="new.csv", id="id", time="t", bin="gaps", category=("note=low<mid<high",))
    )
    assert len(again) == 40
