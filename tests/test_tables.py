"""Long tables: what is read, that it comes back equal, and that errors name row and column."""

from __future__ import annotations

import gzip
import os
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from rgan.data.config import DataConfig
from rgan.data.files import read_path
from rgan.data.frames import from_any, from_frame, to_frame, to_like
from rgan.data.load import load
from rgan.errors import DataError, SourceError
from rgan.sequences import Sequences

DATA = Path(os.environ.get("RGAN_DATA", Path(__file__).parents[2] / "shared/data"))

GOOD = """id,t,hr,bp,died,sex
7,0,60,120.5,0,f
7,1,61,,0,f
3,0,70,110,1,m
3,1,71,111,1,m
3,3,73,113,1,m
"""


def read_text(tmp_path: Path, text: str, **fields: Any) -> Sequences:
    path = tmp_path / "table.csv"
    path.write_text(text)
    fields = {"id": "id", "time": "t", **fields}
    return read_path(path, DataConfig(source=str(path), **fields))


def refused(tmp_path: Path, text: str, **fields: Any) -> str:
    with pytest.raises(DataError) as caught:
        read_text(tmp_path, text, **fields)
    return str(caught.value)


def test_a_good_table(tmp_path: Path) -> None:
    s = read_text(tmp_path, GOOD, label="died", static=("sex",))
    assert s.subjects is not None
    assert s.labels is not None
    assert s.subjects.tolist() == [7, 3]
    assert s.labels.tolist() == [0, 1]
    assert s.feature_names == ("hr", "bp")
    assert s.lengths.tolist() == [2, 4]
    assert s.static_info[0].levels == ("f", "m")
    assert not s.observed[0, 1, 1]  # the empty cell
    assert not s.observed[1, 2].any()  # the gap in the grid
    assert s.values[1, 3].tolist() == [73, 113]


def test_time_is_relative_and_need_not_start_equal(tmp_path: Path) -> None:
    text = "id,t,x\na,5.5,1\na,6.0,2\nb,0,3\nb,0.5,4\nb,1.5,5\n"
    s = read_text(tmp_path, text)
    assert s.step == 0.5
    assert s.lengths.tolist() == [2, 4]


def test_interleaved_ids_are_kept_apart(tmp_path: Path) -> None:
    s = read_text(tmp_path, "id,t,x\na,0,1\nb,0,10\na,1,2\nb,1,20\n")
    assert s.values[:, :, 0].tolist() == [[1, 2], [10, 20]]


def test_timestamps_are_hours(tmp_path: Path) -> None:
    text = "id,t,x\na,2020-01-01 00:00:00,1\na,2020-01-01 00:30:00,2\na,2020-01-01 02:00:00,5\n"
    s = read_text(tmp_path, text)
    assert (s.step, s.step_unit) == (0.5, "h")
    assert s.lengths.tolist() == [5]


def test_times_on_no_grid_need_a_bin(tmp_path: Path) -> None:
    text = "id,t,x\na,0,1\na,1,2\na,2.4,3\na,2.9,4\n"
    message = refused(tmp_path, text)
    assert "row 2 (line 4)" in message
    assert "data.step" in message
    s = read_text(tmp_path, text, step=1.0)
    assert s.values[0, :, 0].tolist() == [1, 2, 4]  # the last value in a bin counts


def test_a_grid_that_is_an_accident_is_refused(tmp_path: Path) -> None:
    rows = "".join(f"a,{t},1\n" for t in (0, 1, 5000, 9000, 20000))
    assert "data.step" in refused(tmp_path, "id,t,x\n" + rows)


def test_rows_of_one_moment_are_averaged_or_counted(tmp_path: Path) -> None:
    text = "id,t,x,y\na,0,1,\na,0,3,5\na,1,4,\na,3,,6\nb,0,2,2\nb,0,2,3\nb,0,,4\n"
    mean = read_text(tmp_path, text, bin="mean", step=1.0)
    assert mean.lengths.tolist() == [4, 1]
    assert mean.values[0, :, 0][mean.observed[0, :, 0]].tolist() == [2, 4]
    assert mean.values[0, :, 1][mean.observed[0, :, 1]].tolist() == [5, 6]
    assert mean.values[1, 0].tolist() == [2, 3]
    count = read_text(tmp_path, text, bin="count", step=2.0)
    assert count.values[0, :2].tolist() == [[3, 1], [0, 1]]
    assert count.values[1, 0].tolist() == [2, 3]
    levels = ("y=low<mid<high",)
    named = "id,t,y\na,0,low\na,0,high\na,1,mid\n"
    last = read_text(tmp_path, named, bin="mean", step=1.0, category=levels)
    assert last.values[0, :, 0].tolist() == [2, 1]
    assert "--bin mean --step 1" in refused(tmp_path, text)  # which of them would be the last?
    late = text.replace("a,1,4", "a,-1,4")
    assert "times grow" in refused(tmp_path, late, bin="mean", step=1.0)


def test_jittered_times_stay_on_the_grid(tmp_path: Path) -> None:
    times = np.arange(400) + np.random.default_rng(0).uniform(-0.005, 0.005, 400)
    rows = "".join(f"a,{t:.5f},1\n" for t in times)
    s = read_text(tmp_path, "id,t,x\n" + rows)
    assert s.n_steps == 400
    assert s.step == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("text", "fields", "says"),
    [
        ("id,t,x\n", {}, "empty"),
        ("id,t,x\na,0,1\na,1,two\n", {}, 'row 1 (line 3), column "x" is "two"'),
        ("id,t,x\na,0,1\na,0,2\n", {}, "row 1 (line 3) has the same id"),
        ("id,t,x\na,0,1\na,2,2\na,1,3\n", {}, "row 2 (line 4)"),
        ("id,t,x\na,0,1\n,1,2\n", {}, 'row 1 (line 3): "id" is empty'),
        ("id,t,x\na,0,1\na,,2\n", {}, 'row 1 (line 3): "t" is empty'),
        ("id,t,x\na,0,NaN\na,1,2\n", {}, "data.nan=missing"),
        ("id,t,x\na,0,inf\na,1,2\n", {}, "row 0 (line 2)"),
        (GOOD, {"id": "idd"}, 'did you mean "id"'),
        (GOOD, {"label": "dead", "static": ("sex",)}, 'did you mean "died"'),
        (GOOD, {"label": "hr", "static": ("sex",)}, "one value per id"),
        (GOOD, {"label": "died", "static": ("bp", "sex")}, "row 3 (line 5)"),
        (GOOD, {"label": "id"}, "one role"),
        (GOOD, {"time": "", "step": 2.0, "static": ("sex",)}, "--time"),
        (GOOD, {"id": "", "time": ""}, "--window 24"),
        ("id,t,x\na,0,1\na,1\n,\n", {"id": "x"}, "empty"),
        ("id,t,y,x\na,0,,1\nb,0,1,1\n", {"label": "y"}, '"y" is empty in every row'),
        ("id,t,x\na,2020-01-01,1\na,soon,2\n", {}, 'row 1 (line 3): "t" is "soon"'),
        ("id;t;x\na;0;1\n", {}, "commas"),
        ("1,2,3\n4,5,6\n", {}, "column names"),
        ("id,t,x,x\na,0,1,1\n", {}, '"x" occurs twice'),
        ("id,t\na,0\na,1\n", {}, "no column is left"),
    ],
)
def test_bad_tables_say_where(tmp_path: Path, text: str, fields: dict, says: str) -> None:
    assert says in refused(tmp_path, text, **fields)


def test_unreadable_tables(tmp_path: Path) -> None:
    for name, content in (
        ("a.csv", b""),
        ("b.parquet", b"PAR1xx"),
        ("c.csv", b"a,b\n\xff\xfe,1\n"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(SourceError, match=name):
            read_path(path, DataConfig(source=str(path), id="a"))


def test_nan_as_missing(tmp_path: Path) -> None:
    s = read_text(tmp_path, "id,t,x\na,0,NaN\na,1,2\n", nan="missing")
    assert s.observed[0, :, 0].tolist() == [False, True]


def test_an_id_without_time(tmp_path: Path) -> None:
    s = read_text(tmp_path, "id,x\na,1\na,2\nb,3\n", time="")
    assert s.lengths.tolist() == [2, 1]
    assert list(to_frame(s).columns) == ["id", "x"]


def test_gzipped_and_parquet(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(GOOD.encode()))
    pl.read_csv(GOOD.encode()).write_parquet(tmp_path / "a.parquet")
    a, b = (
        read_path(tmp_path / name, DataConfig(id="id", time="t", label="died", static=("sex",)))
        for name in ("a.csv.gz", "a.parquet")
    )
    assert a.equals(b)


# -- frames come back as they came ---------------------------------------------------------------

FLOATS = st.one_of(st.none(), st.floats(-1e6, 1e6, width=32))
INTS = st.one_of(st.none(), st.integers(-1000, 1000))


@st.composite
def long_frames(draw: Any) -> tuple[pl.DataFrame, dict[str, Any]]:
    """A frame on a grid of whole hours from 0, in some order of columns."""
    lengths = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    rows = sum(lengths)
    names = draw(st.permutations([f"p{i}" for i in range(len(lengths))]))

    def per_id(values: Any) -> list[Any]:
        drawn = draw(st.lists(values, min_size=len(lengths), max_size=len(lengths)))
        return [v for v, length in zip(drawn, lengths, strict=True) for _ in range(length)]

    def per_row(values: Any) -> list[Any]:
        return draw(st.lists(values, min_size=rows, max_size=rows))

    columns = {
        "id": pl.Series(
            [n for n, length in zip(names, lengths, strict=True) for _ in range(length)]
        ),
        "hour": pl.Series([t for length in lengths for t in range(length)], dtype=pl.Int64),
        "hr": pl.Series(per_row(FLOATS), dtype=pl.Float32),
        "bp": pl.Series(per_row(FLOATS), dtype=pl.Float64),
        "count": pl.Series(per_row(INTS), dtype=pl.Int16),
        "on": pl.Series(per_row(st.booleans()), dtype=pl.Boolean),
        "label": pl.Series(per_id(st.sampled_from(["a", "b", "ü"])), dtype=pl.String),
        "age": pl.Series(per_id(INTS), dtype=pl.Int64),
        "sex": pl.Series(per_id(st.sampled_from(["f", "m", None])), dtype=pl.String),
    }
    order = draw(st.permutations(list(columns)))
    frame = pl.DataFrame({name: columns[name] for name in order})
    return frame, {"id": "id", "time": "hour", "label": "label", "static": ["age", "sex"]}


@settings(max_examples=60, deadline=None)
@given(long_frames())
def test_polars_frames_come_back_equal(drawn: tuple[pl.DataFrame, dict[str, Any]]) -> None:
    frame, roles = drawn
    assert_frame_equal(to_frame(from_frame(frame, **roles)), frame)


@settings(max_examples=30, deadline=None)
@given(long_frames())
def test_pandas_frames_come_back_equal(drawn: tuple[pl.DataFrame, dict[str, Any]]) -> None:
    frame, roles = drawn
    came = pd.DataFrame({name: frame[name].to_list() for name in frame.columns})
    for name in ("hr", "bp", "count", "age"):
        came[name] = came[name].astype("float64")
    back = to_frame(from_frame(came, **roles))
    assert isinstance(back, pd.DataFrame)
    assert list(back.columns) == list(came.columns)
    for name in came.columns:
        assert [None if pd.isna(v) else v for v in back[name]] == [
            None if pd.isna(v) else v for v in came[name]
        ], name
        if name not in ("sex", "label"):
            assert back[name].dtype == came[name].dtype, name


def test_timestamps_come_back_as_timestamps() -> None:
    start = datetime(2024, 3, 1, 12)
    times = [start + timedelta(hours=2 * k) for k in range(3)]
    frame = pl.DataFrame({"id": [1, 1, 1], "at": times, "x": [1.0, 2.0, 3.0]})
    back = to_like(from_any(frame, id="id", time="at"))
    assert back.schema == frame.schema
    gaps = back["at"].diff().drop_nulls().unique().to_list()
    assert gaps == [timedelta(hours=2)]


def test_whole_numbers_are_rounded_and_kept_within_their_type() -> None:
    frame = pl.DataFrame({"id": [1, 1], "x": pl.Series([1, 2], dtype=pl.UInt8)})
    s = from_frame(frame, id="id")
    values = np.array([[[3.6], [-2.0]], [[299.0], [7.2]]])
    made = Sequences(values, feature_names=s.feature_names, layout=s.layout)
    assert to_like(made)["x"].to_list() == [4, 0, 255, 7]
    assert to_like(made)["x"].dtype == pl.UInt8


def test_other_frames_are_refused() -> None:
    with pytest.raises(DataError, match="collect"):
        from_any(pl.LazyFrame({"id": [1], "x": [2.0]}), id="id")
    with pytest.raises(DataError, match="reset_index"):
        from_any(pd.DataFrame({"x": [1.0]}, index=pd.Index([1], name="pid")), id="pid")
    with pytest.raises(DataError, match="label"):
        from_any(pl.DataFrame({"id": [1], "x": [2.0]}), labels=[1], id="id")


def test_generated_rows_get_new_ids() -> None:
    frame = pl.DataFrame({"pid": ["a", "a", "b"], "x": [1.0, 2.0, 3.0]})
    s = from_frame(frame, id="pid")
    made = replace(s, subjects=None)
    assert to_frame(made, first_id=10)["pid"].to_list() == ["10", "10", "11"]


# -- real files ----------------------------------------------------------------------------------


def real(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not in the data folder")
    return path


def test_stock_windows() -> None:
    s = load(DataConfig(source=str(real("tsg/stock_data.csv")), window=24))
    assert s.values.shape == (3685 - 23, 24, 6)
    assert s.feature_names[0] == "Open"
    assert np.array_equal(s.values[1, :-1], s.values[0, 1:])


def test_energy_gzipped() -> None:
    s = load(DataConfig(source=str(real("tsg/energy_data.csv.gz")), window=24, stride=24))
    assert s.values.shape == (822, 24, 28)


def test_etth1_dates() -> None:
    path = real("tsg/ETTh1.csv")
    with pytest.raises(DataError, match="--time date"):
        load(DataConfig(source=str(path), window=24))
    s = load(DataConfig(source=str(path), window=24, time="date"))
    assert (s.step, s.step_unit, s.n_features) == (1.0, "h", 7)
