"""The command line from end to end, on settings that take moments."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from command_line import TINY, Answer, content, rgan
from rgan import __version__
from rgan.config import from_sections
from rgan.runs import toml
from rgan.runs.folder import Run

DIGITS = ("--max-sequences", 80, "--set", "train.steps=6", "--set", "train.figures=1")


def done(*words: object) -> Answer:
    answer = rgan(*words)
    assert answer.code == 0, answer
    return answer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.fixture(scope="module")
def trained(folder: Path) -> tuple[Run, Answer]:
    answer = done("train", "digits", *TINY, *DIGITS, "--runs", folder / "runs")
    (path,) = (folder / "runs").iterdir()
    return Run.open(path), answer


# -- train -----------------------------------------------------------------------------------


def test_train_says_what_it_does_and_where_things_lie(trained):
    run, answer = trained
    assert "digits: 80 sequences of 8 steps and 8 features, 10 classes" in answer.out
    assert re.search(rf"trained to step 6 in \d+ s: {re.escape(str(run.path))}", answer.out)
    for line in (f"rgan sample {run.path} -n 1000", f"rgan evaluate {run.path}"):
        assert line in answer.out
    assert "step 0 of 6" in answer.err and "finished at step 6" in answer.err


def test_the_run_folder_is_complete(trained):
    run, _ = trained
    files = set(content(run.path))
    assert {"run.json", "config.toml", "history.jsonl", "checkpoints/latest"} <= files
    assert {"figures/losses.png", "figures/samples-00000006.png"} <= files
    for picture in run.figures.glob("*.png"):
        with Image.open(picture) as image:
            image.load()
    assert not [name for name in files if ".tmp" in name]


def test_run_json_says_where_the_run_comes_from(trained):
    info = json.loads(trained[0].run_json.read_text())
    assert info["status"] == "finished"
    assert info["command"].startswith("rgan train digits --device cpu")
    assert info["versions"]["rgan"] == __version__
    assert set(info["versions"]) == {"python", "rgan", "torch", "numpy"}
    assert info["machine"]["device"] == "cpu"
    assert info["data"]["sequences"] == 80 and len(info["data"]["fingerprint"]) == 64
    (segment,) = info["segments"]
    assert (segment["from_step"], segment["to_step"], segment["changed"]) == (0, 6, {})
    assert info["created"] <= segment["started"] <= info["updated"]


def test_config_toml_reads_back_equal_and_trains_again(trained, folder):
    run, _ = trained
    sections = toml.loads(run.config_toml.read_text())
    config = from_sections(sections)
    assert config.to_sections() == sections
    assert config.model.kind == "rcgan" and config.generator.hidden == 8
    again = done("train", "digits", "--config", run.config_toml, "--runs", folder / "again", "-q")
    other = Run.open(again.out.strip())
    assert other.config_toml.read_text() == run.config_toml.read_text()
    name = "checkpoints/00000006/model.safetensors"
    assert (other.path / name).read_bytes() == (run.path / name).read_bytes()


def test_tensorboard_has_the_losses_and_a_picture(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(trained[0].tensorboard))
    board.Reload()
    steps = [e.step for e in board.Scalars("loss/critic")]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert board.Images("samples")


def test_the_history_has_every_epoch(trained):
    events = trained[0].history.read()
    assert [e["event"] for e in events] == ["started", *["epoch"] * 6, "ended"]
    assert all(np.isfinite(list(e["losses"].values())).all() for e in events[1:-1])
    assert all(e["sequences_per_second"] > 0 for e in events[1:-1])


def test_quiet_prints_the_path_only(folder):
    words = ("--set", "train.steps=1", "--set", "train.figures=0", "--runs", folder / "quiet")
    answer = done("train", "sines", "--max-sequences", 40, *TINY, *words, "--quiet")
    assert answer.err == ""
    (line,) = answer.out.splitlines()
    assert Run.open(line).info["status"] == "finished"


def test_the_paper_preset_trains(folder):
    words = ("--set", "train.steps=2", "--set", "train.figures=1", "--runs", folder / "paper")
    answer = done("train", "digits", "--preset", "paper", "--max-sequences", 80, *words, "-q")
    config = from_sections(Run.open(answer.out.strip()).read_config())
    assert (config.generator.hidden, config.critic_optimizer.kind) == (100, "sgd")
    assert config.objective.name == "bce" and config.train.batch_size == 28


def test_flags_come_before_set_and_after_the_file(folder):
    file = folder / "mine.toml"
    file.write_text("[train]\nsteps = 50\nbatch_size = 11\nseed = 3\nfigures = 0\n")
    words = ("--config", file, "--batch-size", 12, "--seed", 4, "--set", "train.seed=5")
    more = ("--set", "train.steps=1", "--max-sequences", 40, "--runs", folder / "order", "-q")
    answer = done("train", "sines", *TINY, *words, *more)
    config = from_sections(Run.open(answer.out.strip()).read_config())
    assert (config.train.steps, config.train.batch_size, config.train.seed) == (1, 12, 5)


# -- sample ----------------------------------------------------------------------------------


def sampled(run: Run, folder: Path, name: str, *words: object) -> Path:
    path = folder / name
    answer = done("sample", run.path, "-n", 12, *words, "-o", path)
    assert answer.out == f"12 sequences: {path}\n"
    return path


def test_every_format_reads_back_by_another_program(trained, folder):
    run, _ = trained
    array = np.load(sampled(run, folder, "s.npy"))
    assert array.shape == (12, 8, 8) and np.isfinite(array).all()
    assert array.min() >= 0 and array.max() <= 16, "in the units of the data"
    with np.load(sampled(run, folder, "s.npz"), allow_pickle=False) as archive:
        assert np.array_equal(archive["values"], array)
        labels = archive["labels"]
    assert labels.shape == (12,) and set(labels.tolist()) <= set(range(10))
    csv = pl.read_csv(sampled(run, folder, "s.csv"))
    parquet = pl.read_parquet(sampled(run, folder, "s.parquet"))
    assert csv.columns == parquet.columns and len(csv) == len(parquet) == 12 * 8
    flat = parquet.select([f"x{i}" for i in range(8)]).to_numpy().reshape(12, 8, 8)
    assert np.array_equal(flat, array)
    with Image.open(sampled(run, folder, "s.png")) as image:
        image.load()
        assert min(image.size) > 8
    assert len(sampled(run, folder, "s.ts").read_text().splitlines()) > 12
    assert not [p for p in folder.iterdir() if p.name.startswith(".")], "nothing hidden is left"


def test_a_label_and_a_seed(trained, folder):
    run, _ = trained
    with np.load(sampled(run, folder, "three.npz", "--label", 3)) as archive:
        assert (archive["labels"] == 3).all()
    one, same, other = (
        np.load(sampled(run, folder, f"{i}.npy", "--seed", seed))
        for i, seed in enumerate((7, 7, 8))
    )
    assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_a_run_is_found_by_latest_and_by_the_start_of_its_name(trained, folder, monkeypatch):
    monkeypatch.chdir(folder)
    run, _ = trained
    for name in ("latest", run.path.name[:19], run.id[:6]):
        answer = done("sample", name, "-n", 2, "-o", "found.npy", "-q")
        assert answer.out == answer.err == ""


def test_more_than_a_block(trained, folder):
    path = folder / "many.csv"
    done("sample", trained[0].path, "-n", 1100, "-o", path, "-q")
    table = pl.read_csv(path)
    assert len(table) == 1100 * 8
    assert table[table.columns[0]].n_unique() == 1100, "ids go on from block to block"


# -- evaluate --------------------------------------------------------------------------------


def test_evaluate_prints_a_table_and_writes_it(trained):
    run, _ = trained
    words = ("--quick", "--metric", "marginals", "--metric", "autocorrelation", "--repeats", 1)
    answer = done("evaluate", run.path, *words)
    assert "marginals" in answer.out and "autocorrelation" in answer.out
    document = json.loads(run.evaluation_json.read_text())
    assert document["run"] == run.id
    assert document["config"]["metrics"] == ["marginals", "autocorrelation"]
    assert "test split" in document["against"]
    for name in ("samples", "marginals", "autocorrelation", "embedding"):
        with Image.open(run.figures / f"{name}.png") as image:
            image.load()
    config = from_sections(run.read_config())
    assert config.evaluate.repeats == 3, "the run's own settings stay"


# -- somebody's own table --------------------------------------------------------------------


def own_table(path: Path) -> pl.DataFrame:
    """Stays of unlike length with gaps, text ids, an outcome, and attributes of three kinds."""
    rng = np.random.default_rng(0)
    rows = []
    for stay in range(40):
        age, ward = 40 + stay, ("north", "south", "east")[stay % 3]
        for hour in range(4 + stay % 3):
            hr, lactate = round(80 + 9 * rng.normal(), 1), round(float(rng.gamma(2)), 2)
            gap = rng.random() < 0.3
            row = (f"P{stay:03d}", hour * 2, hr, None if gap else lactate, int(rng.integers(3, 16)))
            rows.append((*row, "died" if stay % 4 == 0 else "lived", age, ward))
    names = ("patient", "hour", "HR", "Lactate", "GCS", "outcome", "age", "ward")
    table = pl.DataFrame(rows, schema=names, orient="row")
    table.write_csv(path)
    return table


def test_a_table_comes_back_as_it_came(folder):
    table = own_table(folder / "mine.csv")
    roles = ("--id", "patient", "--time", "hour", "--label", "outcome")
    words = (*roles, "--static", "age", "--static", "ward")
    shown = done("data", "show", folder / "mine.csv", *words, "--png", folder / "mine.png")
    for part in ("40 sequences x 6 steps x 3 features", "Lactate", "lived", "ward"):
        assert part in shown.out
    more = ("--set", "train.steps=4", "--set", "train.figures=1", "--runs", folder / "own", "-q")
    run = done("train", folder / "mine.csv", *words, *TINY, *more).out.strip()
    path = folder / "synthetic.csv"
    done("sample", run, "-n", 30, "-o", path)
    synthetic = pl.read_csv(path)
    assert synthetic.columns == table.columns
    different = {
        name: (synthetic.schema[name], table.schema[name])
        for name in table.columns[1:]
        if synthetic.schema[name] != table.schema[name]
    }
    assert not different
    assert synthetic["patient"].n_unique() == 30
    assert set(synthetic["outcome"]) <= {"died", "lived"}
    assert set(synthetic["ward"].drop_nulls()) <= {"north", "south", "east"}
    assert set(synthetic["hour"]) <= {0, 2, 4, 6, 8, 10}
    assert synthetic["HR"].null_count() == 0, "what was always measured always is"
    assert synthetic["HR"].is_between(table["HR"].min(), table["HR"].max()).all()
    one = ["outcome", "age", "ward"]
    assert (
        synthetic.group_by("patient")
        .agg(pl.col(one).n_unique())
        .select(pl.max_horizontal(pl.col(one).max()))
        .item()
        == 1
    ), "one value for each patient"
    died = folder / "died.parquet"
    done("sample", run, "-n", 5, "--label", "died", "-o", died)
    assert set(pl.read_parquet(died)["outcome"]) == {"died"}


def test_a_run_trained_from_here_is_resumed_from_elsewhere(folder, monkeypatch):
    own_table(folder / "mine.csv")
    monkeypatch.chdir(folder)
    words = ("--id", "patient", "--time", "hour", "--drop", "GCS", "--static", "age")
    more = ("--static", "ward", "--drop", "outcome")
    with_text = rgan("train", "mine.csv", *words, *more, *TINY, "-q")
    assert with_text.code == 2 and '"outcome"' in with_text.err, "text is no feature"
    more = (*words, "--static", "ward", "--label", "outcome", "--set", "train.figures=0")
    run = done("train", "mine.csv", *more, *TINY, "--set", "train.steps=1", "-q").out.strip()
    path = Path(run).resolve()
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    done("train", "--resume", path, "--set", "train.steps=3", "-q")


# -- data and help ---------------------------------------------------------------------------


def test_data_show_writes_a_picture(folder, monkeypatch):
    monkeypatch.chdir(folder)
    answer = done("data", "show", "sines", "--max-sequences", 30)
    assert "30 sequences" in answer.out and "data-sines.png" in answer.out
    with Image.open("data-sines.png") as image:
        image.load()


def test_version():
    assert done("--version").out == f"rgan {__version__}\n"


PROBE = """
import sys
sys.argv = ["rgan", *{words!r}]
from rgan.cli.main import main
try:
    main()
except SystemExit as stop:
    code = stop.code
heavy = ("torch", "matplotlib", "sklearn", "scipy", "polars", "pandas", "tensorboard")
print()
print(code, [name for name in heavy if name in sys.modules])
"""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        (["train", "--help"], 0),
        (["data", "list"], 0),
        (["train", "icu", "--set", "trian.steps=5"], 2),
        (["train", "icu", "--preset", "papr"], 2),
        (["train", "--epochs", "x"], 2),
        (["sample", "nowhere", "-n", "3"], 2),
        (["train", "--resume", "nowhere"], 2),
        (["evaluate", "nowhere"], 2),
    ],
    ids=str,
)
def test_help_and_errors_of_use_load_nothing_heavy(words, code, tmp_path):
    probe = PROBE.format(words=words)
    answer = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert answer.stdout.splitlines()[-1] == f"{code} []"
    if code == 2:
        assert answer.stderr and "Traceback" not in answer.stderr
