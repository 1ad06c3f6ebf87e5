"""The time series benchmark runs to its end, goes on where it was cut short, and mixes nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rgan.data.windows import cut_windows
from rgan.sequences import Sequences

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TINY = ["train.batch_size=16", "train.check_memory=false", "monitor.looks=0", "generator.hidden=8",
        "critic.hidden=8", "critic.convs=0", "generator.convs_after=0"]  # fmt: skip


@pytest.fixture(scope="module")
def tsg() -> Any:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import tsg
    finally:
        sys.path.remove(str(BENCHMARKS))
    return tsg


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A try of a few seconds."""
    folder = tmp_path_factory.mktemp("tsg")
    out = ["--data", "sines", "--length", "8", "--seeds", "1", "--steps", "4", "--rows", "150"]
    out += ["--judge-steps", "4", "--repeats", "1", "--quiet"]
    out += [word for setting in TINY for word in ("--set", setting)]
    return [*out, "--out", str(folder / "tsg.json"), "--runs", str(folder / "runs")]


@pytest.fixture(scope="module")
def file(tsg: Any, words: list[str]) -> Path:
    """What a whole try has stored."""
    tsg.main(words)
    return Path(words[words.index("--out") + 1])


def parts(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_text())["parts"]


def test_every_score_has_a_value_a_floor_and_a_copy(tsg: Any, file: Path) -> None:
    found = tsg.flat(parts(file))
    for score in (*tsg.tsg_scores.PUBLISHED, "discriminative", "nn_share", "three_sample_p"):
        for who in ("seed", "floor", "copy"):
            (value,) = tsg.show.__globals__["values"](found, score, who)
            assert np.isfinite(value), (score, who)
    nn_share = {p["who"]: p["values"] for p in found if p["part"] == "memorisation"}
    assert nn_share["copy"]["nn_share"] == [1.0] and nn_share["seed 0"]["nn_share"][0] < 1
    (sampled,) = (p for p in found if p["part"] == "sampling" and p["windows"] == "all")
    assert len(sampled["milliseconds"]) == 5 and min(sampled["milliseconds"]) > 0


def test_a_try_is_called_one_and_stands_beside_published_figures(
    tsg: Any, words: list[str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tsg.main([*words, "--show"])
    text = capsys.readouterr().out
    assert text.count("NOT THE PROTOCOL") == 1
    for said in ("4 steps only", "first 150 rows", "generator.hidden=8", "real (floor)"):
        assert said in text
    table = tsg.show([p | {"length": 24, "settings": {}} for p in tsg.flat(parts(file))])
    assert "NOT THE PROTOCOL" not in table
    (line,) = (x for x in table.splitlines() if x.startswith("| Context-FID"))
    assert "0.101" in line and "0.006" in line  # TimeGAN, Diffusion-TS


def test_what_was_lost_is_measured_again_and_nothing_else(
    tsg: Any, words: list[str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = parts(file)
    lost = [p for p in before if (p["windows"], p["part"]) != ("all", "correlational")]
    file.write_text(json.dumps({"version": 1, "parts": lost}))
    tsg.main([*words, "--resume"])
    again = [line for line in capsys.readouterr().err.splitlines() if "steps," in line]
    assert again == [f"sines, 8 steps, all, {who}: correlational" for who in ("seed 0", "controls")]

    def scores(p: dict[str, Any]) -> Any:
        return (p["who"], p.get("values"), p.get("controls"))

    pick = [[scores(p) for p in of if p["part"] == "correlational"] for of in (before, parts(file))]
    assert pick[0] == pick[1]  # the trained run was there still, and draws are by seed


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (["--judge-steps", "5"], "judge_steps: 4 -> 5"),
        (["--steps", "9"], "steps: 4 -> 9"),
        (["--set", "critic.hidden=9"], "critic.hidden"),
    ],
)
def test_other_settings_do_not_go_into_the_same_file(
    tsg: Any, words: list[str], file: Path, change: list[str], says: str
) -> None:
    before = file.read_bytes()
    with pytest.raises(SystemExit, match=says):
        tsg.main([*words, *change, "--resume"])
    assert file.read_bytes() == before


def test_a_file_is_not_added_to_unasked(
    tsg: Any, words: list[str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        tsg.main(words)
    assert "--resume" in capsys.readouterr().err


def test_judges_one_at_a_time_say_the_same_as_side_by_side(
    tsg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, scores = tsg.tsg_data.sines(80, 8), tsg.tsg_scores

    def found() -> list[float]:
        judges = scores.Judges(repeats=3, steps=5)
        (values,) = scores.published_controls("predictive_legacy", real, judges)["copy"].values()
        return list(values)

    together = found()
    monkeypatch.setattr(scores, "SIDE_BY_SIDE", 1)
    assert len(set(together)) == 3
    np.testing.assert_allclose(found(), together, rtol=1e-4)


def test_real_sets_are_the_published_ones(tsg: Any, real_data: Path) -> None:
    if not (real_data / "tsg" / "stock_data.csv").is_file():
        pytest.skip("stock_data.csv is not there")
    stocks = tsg.tsg_data.read("stocks", 24, str(real_data))
    assert (len(stocks), stocks.n_steps, stocks.n_features) == (3662, 24, 6)
    few = tsg.tsg_data.read("stocks", 24, str(real_data), rows=100)
    assert len(few) == 77
    hourly = tsg.tsg_data.read("etth1", 24, str(real_data), rows=100)
    assert hourly.n_features == 7 and hourly.fully_observed


def test_a_series_is_trained_for_as_long_as_held_out_blocks_want_it(
    tsg: Any, real_data: Path, tmp_path: Path
) -> None:
    if not (real_data / "tsg" / "stock_data.csv").is_file():
        pytest.skip("stock_data.csv is not there")
    out = tmp_path / "tsg.json"
    words = ["--data", "stocks", "--rows", "600", "--data-dir", str(real_data), "--out", str(out)]
    asked = tsg.options([*words, "--set", "train.batch_size=16"])
    blocks, together = (tsg.Row(asked, "stocks", 24, who, "seed 1") for who in ("blocks", "all"))
    with pytest.raises(SystemExit, match="--windows blocks all"):
        _ = together.config
    training = {"part": "training", "best_step": 66, "split": {"train": 360}}
    config = {"config": blocks.config.to_sections(), "settings": {}}
    place = dict(
        zip(("data", "length", "windows", "who"), tsg.key_of(blocks, "seed 0"), strict=True)
    )
    tsg.store(out, place | training | config | {"best_step": 22})  # of another seed
    tsg.store(out, place | training | config | {"who": "seed 1"})
    assert blocks.config.train.steps == 12_000
    epoch = len(together.splits.train) // 16
    assert together.config.train.steps == 3 * epoch and epoch > 30
    forced = tsg.options([*words, "--resume", "--steps", "7"])
    assert tsg.Row(forced, "stocks", 24, "all", "seed 1").config.train.steps == 7
    assert tsg.Row(asked, "sines", 24, "all", "seed 1").config.train.steps == 12_000


def test_blocks_of_time_share_no_step(tsg: Any) -> None:
    values = np.arange(2000.0).reshape(1, -1, 1)
    windows = tsg.tsg_data.in_blocks(cut_windows(Sequences(values), 24))
    steps = {
        part: set(windows[np.flatnonzero(windows.part == part)].values.ravel().tolist())
        for part in ("train", "validation", "test")
    }
    assert not steps["train"] & steps["test"] and not steps["validation"] & steps["test"]
    assert not steps["train"] & steps["validation"]
    assert sum(map(len, steps.values())) == 2000  # only windows are lost, no step is
    assert len(np.unique(windows.subjects)) == 14
    assert max(steps["train"]) > max(steps["test"]) > 1500 > 900 > min(steps["test"])
    kind = tsg.split(windows, tsg.preset("default").data).kind
    assert kind == "official"


def test_a_missing_file_says_where_it_is_looked_for(tsg: Any, tmp_path: Path) -> None:
    with pytest.raises(tsg.RganError, match=r"stock_data\.csv"):
        tsg.tsg_data.read("stocks", 24, str(tmp_path))


def test_sines_are_those_of_the_published_tables(tsg: Any) -> None:
    data = tsg.tsg_data.sines(500, 24)
    assert data.values.shape == (500, 24, 5)
    # phases in [0, 0.1]: every wave begins just above its middle
    assert data.values[:, 0].min() >= 5 and data.values[:, 0].max() < 5 * (1 + np.sin(0.1)) + 1e-6
