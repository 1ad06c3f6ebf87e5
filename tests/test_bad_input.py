"""What cannot be done as asked: exit code 2, the value, the rule and a repair, nothing written."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from command_line import TINY, Answer, content, rgan
from rgan import RCGAN, RGAN
from rgan.errors import ConfigError, DataError, InputError, RganError
from rgan.runs.checkpoint import CheckpointStore

TABLE = ("--id", "patient", "--time", "hour")


def table(*columns: str, stays: int = 12, hours: int = 4) -> list[list[str]]:
    """A sound long table of a few stays as text, the header first."""
    rng = np.random.default_rng(0)
    rows = [["patient", "hour", "HR", "SpO2", *columns]]
    for stay in range(stays):
        for hour in range(hours):
            measured = [f"{x:.1f}" for x in rng.normal((80, 97), (9, 1))]
            rows.append([f"p{stay}", str(hour), *measured, *(str(stay % 2) for _ in columns)])
    return rows


def save(rows: list[list[str]], name: str = "vitals.csv") -> None:
    Path(name).write_text("".join(",".join(row) + "\n" for row in rows))


def column(rows: list[list[str]], name: str, value: str) -> list[list[str]]:
    """The table with one column's values all alike."""
    at = rows[0].index(name)
    return [rows[0], *([*row[:at], value, *row[at + 1 :]] for row in rows[1:])]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two checkpoints, and conditioned."""
    folder = tmp_path_factory.mktemp("trained")
    flags = (*TINY, "--max-sequences", 80, "--set", "train.figures=0", "--runs", folder, "-q")
    done = rgan("train", "digits", "--set", "train.steps=2", *flags)
    assert done.code == 0, done.err
    again = rgan("train", "--resume", done.out.strip(), "--set", "train.steps=4", "-q")
    assert again.code == 0, again.err
    return Path(done.out.strip())


@pytest.fixture
def run(trained: Path, here: Path) -> Path:
    """A copy of the run that may be damaged."""
    return shutil.copytree(trained, here / "runs" / "digits")


def refused(*words: object, says: tuple[str, ...], repair: bool = True) -> Answer:
    """The command is refused as it should be; ``says`` are parts of what it answers."""
    before = content(Path.cwd())
    answer = rgan(*words)
    assert answer.code == 2, answer
    for part in says:
        assert part in answer.err
    if repair:
        assert answer.err.startswith("rgan: ")
        assert "\n  rule: " in answer.err
        assert "\n  try:  " in answer.err
    assert "Traceback" not in answer.err + answer.out
    assert content(Path.cwd()) == before, "something was written"
    return answer


# -- tables ----------------------------------------------------------------------------------


def test_the_table_that_the_cases_spoil_is_sound(here):
    save(table("died"))
    answer = rgan("data", "show", "vitals.csv", *TABLE, "--label", "died", "--no-png")
    assert answer.code == 0, answer.err


def test_a_missing_file(here):
    save(table())
    refused("train", "vitls.csv", *TABLE, says=('vitls.csv" does not exist', '"vitals.csv"'))


def test_a_missing_folder_and_a_source_of_no_such_name(here):
    refused("train", "no/where.csv", says=("no/where.csv", "does not exist"))
    refused("train", "digts", says=('"digts"', 'did you mean "digits"?'))


@pytest.mark.parametrize("text", ["", "patient,hour,HR,SpO2\n"], ids=["no bytes", "no rows"])
def test_an_empty_table(here, text):
    Path("vitals.csv").write_text(text)
    refused("train", "vitals.csv", *TABLE, says=("empty",))


@pytest.mark.parametrize("role", ["--id", "--time", "--label", "--static", "--subject", "--drop"])
def test_no_such_column(here, role):
    save(table("died"))
    roles = {"--id": "patient", "--time": "hour"} | {role: "HRR"}
    flags = [word for pair in roles.items() for word in pair]
    refused("train", "vitals.csv", *flags, says=('"HRR"', '"HR"'))


def test_text_where_numbers_belong(here):
    rows = table()
    rows[7][2] = "high"
    save(rows)
    refused("train", "vitals.csv", *TABLE, says=('"high"', '"HR"', "line 8"))


def test_a_constant_feature(here):
    save(column(table(), "SpO2", "97"))
    refused("train", "vitals.csv", *TABLE, says=('"SpO2"', "always 97", "--drop SpO2"))


def test_a_feature_that_is_never_measured(here):
    save(column(table(), "SpO2", ""))
    refused("train", "vitals.csv", *TABLE, says=('"SpO2"', "--drop SpO2"))


def test_one_sequence_only(here):
    save(table(stays=1))
    refused("train", "vitals.csv", *TABLE, says=("one sequence", "--window"))


def test_a_row_that_is_there_twice(here):
    rows = table()
    save([*rows[:5], rows[4], *rows[5:]])
    refused("train", "vitals.csv", *TABLE, says=("row 4 (line 6)", "(id, time)"))


def test_time_that_is_not_sorted(here):
    rows = table()
    rows[3], rows[4] = rows[4], rows[3]
    save(rows)
    refused("train", "vitals.csv", *TABLE, says=("row 3 (line 5)", '"hour"', "sort the table"))


def test_nan_without_a_mask(here):
    rows = table()
    rows[7][2] = "NaN"
    save(rows)
    refused("train", "vitals.csv", *TABLE, says=('"HR" is nan', "line 8", "data.nan"))
    values = np.random.default_rng(0).normal(size=(9, 5, 2))
    values[3, 2, 1] = np.nan
    np.save("values.npy", values)
    refused("train", "values.npy", says=("row 3", "step 2", "NaN"))


def test_a_label_that_is_seen_once(here):
    rows = table("ward")
    save(
        [[*row[:4], "A" if row[0] == "p3" else "B"] if row[0] != "patient" else row for row in rows]
    )
    refused("train", "vitals.csv", *TABLE, "--label", "ward", says=('ward "A"', "seen once"))


# -- arrays ----------------------------------------------------------------------------------


class _Trap:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


@pytest.mark.parametrize("name", ["trap.npz", "trap.npy"])
def test_pickled_objects_are_never_loaded(here, name):
    trap = np.array([[[_Trap()]]], dtype=object)
    with Path(name).open("wb") as file:
        if name == "trap.npz":
            np.savez(file, values=trap)
        else:
            np.save(file, trap)
    refused("train", name, says=(name, "object"), repair=False)
    refused("data", "show", name, says=(name, "object"), repair=False)
    assert not Path("sprung").exists()
    with pytest.raises(DataError):
        RGAN().fit(trap)
    np.load(name, allow_pickle=True)["values"] if name == "trap.npz" else pickle.loads(
        pickle.dumps(_Trap())
    )
    assert Path("sprung").exists(), "the trap works"


def test_a_file_that_is_cut_short(here):
    np.savez("cut.npz", values=np.random.default_rng(0).normal(size=(20, 6, 2)))
    whole = Path("cut.npz").read_bytes()
    Path("cut.npz").write_bytes(whole[: len(whole) // 2])
    refused("train", "cut.npz", says=("cut.npz",), repair=False)


def test_ragged_arrays_from_python(here):
    ragged = [np.zeros((3, 2)), np.ones((4, 2))]
    with pytest.raises(DataError, match=r"ragged(.|\n)*pad"):
        RGAN().fit(ragged)
    with pytest.raises(DataError, match="numbers of features"):
        RGAN().fit([np.zeros((3, 2)), np.ones((3, 1))])


# -- settings --------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", ["-3", "0"])
def test_a_number_of_epochs_below_one(here, epochs):
    refused("train", "digits", "--epochs", epochs, says=(f"is {epochs}", "--epochs 20"))


def test_epochs_that_are_no_number(here):
    refused("train", "digits", "--epochs", "abc", says=("--epochs", "integer"), repair=False)


def test_an_option_that_is_not_one(here):
    refused("train", "digits", "--epoch", "3", says=("--epoch", "--epochs"), repair=False)


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("trian.steps=5", '"train.steps"'),
        ("train.setps=5", '"train.steps"'),
        ("generator.hiden=5", '"generator.hidden"'),
        ("steps=5", "section.key"),
        ("train.steps", "section.key=value"),
        ("train.steps=many", "'many'"),
        ("train.steps=-5", "'-5'"),
        ("train.batch_size=-1", "'-1'"),
        ("critic_optimizer.rate=0", "'0'"),
        ("critic_optimizer.rate=nan", "'nan'"),
        ("objective.name=hinges", "'hinges'"),
        ("generator.bidirectional=perhaps", "'perhaps'"),
        ("transform.scale=zscores", '"zscore"'),
        ("data.test=1.5", "1.5"),
        ("data.layout=row", '"rows"'),
        ("evaluate.metrics=mmdd", "mmdd"),
    ],
)
def test_a_setting_that_is_not_one(here, pair, says):
    short = ("--max-sequences", 80, "--set", "train.steps=1")  # should it be accepted
    refused("train", "digits", *short, "--set", pair, says=(says,))


def test_a_preset_that_is_not_one(here):
    refused("train", "digits", "--preset", "papr", says=('"papr"', 'did you mean "paper"?'))


def test_configuration_files(here):
    refused("train", "digits", "--config", "no.toml", says=("no.toml",), repair=False)
    Path("bad.toml").write_text("[train\nsteps = 5\n")
    refused("train", "digits", "--config", "bad.toml", says=("bad.toml", "line"), repair=False)
    Path("bad.toml").write_text("[train]\nstepps = 5\n")
    refused("train", "digits", "--config", "bad.toml", says=("train.stepps", "train.steps"))


@pytest.mark.parametrize("device", ["cuda:7", "tpu", "cpu:3"])
def test_a_device_that_is_not_there(here, device):
    refused("train", "digits", "--device", device, says=(f'"{device}"', "--device cpu"))


def test_an_rcgan_without_labels(here):
    refused("train", "sines", "--model", "rcgan", says=("no labels", "--model rgan"))


def test_a_folder_for_runs_that_cannot_be_made(here):
    Path("taken").write_text("a file\n")
    refused("train", "digits", "--runs", "taken", says=('"taken" is not a folder', "--runs"))
    refused("train", "digits", "--runs", "taken/below", says=('"taken" is not', "--runs"))


def test_a_source_and_a_run_to_resume(here):
    refused("train", "digits", "--resume", "latest", says=("SOURCE", "--resume"))
    refused("train", says=("no source is given", "rgan train icu"))


def test_from_python_the_same_rules_hold():
    X = np.random.default_rng(0).normal(size=(20, 6, 2))
    cases = [
        (RGAN(preset="papr"), ConfigError, "paper"),
        (RGAN(epochs=-1), ConfigError, "epochs"),
        (RGAN(epochs=0), ConfigError, "epochs"),
        (RGAN(steps=0), ConfigError, "steps"),
        (RGAN(batch_size=-1), ConfigError, "batch_size"),
        (RGAN(random_state=-1), ConfigError, "seed"),
        (RGAN(device="cuda:7"), ConfigError, "cuda:7"),
        (RGAN(settings={"generator.hiden": 3}), ConfigError, "generator.hidden"),
        (RCGAN(), ConfigError, "no labels"),
    ]
    for model, kind, says in cases:
        with pytest.raises(kind, match=says) as caught:
            model.fit(X)
        assert caught.value.exit_code == 2
    with pytest.raises(InputError, match="not fitted"):
        RGAN().sample(3)


# -- runs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [("train", "--resume"), ("sample",), ("evaluate",)], ids=lambda words: words[0]
)
def test_a_run_that_is_not_one(here, run, command):
    refused(*command, "nowhere/run", says=("nowhere/run", "run.json"))
    refused(*command, "runs", says=('"runs" is not a run', str(run.name)))
    refused(*command, "digots", says=('"digots"', '"digits"'))
    Path("empty").mkdir()
    refused(*command, "empty", says=('"empty" is not a run', "run.json"))
    refused(*command, "latest", "--runs", "empty", says=("no runs", "rgan train"))
    (run / "run.json").write_text("{")
    refused(*command, run, says=("run.json", "damaged"))


def truncate(*files: Path) -> None:
    for file in files:
        file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize("name", ["model.safetensors", "state.json"])
def test_every_checkpoint_is_cut_short(here, run, name):
    truncate(*run.glob(f"checkpoints/*/{name}"))
    says = ("no checkpoint can be used", name)
    refused("train", "--resume", run, "--set", "train.steps=9", says=says)
    refused("sample", run, "-n", 3, says=says)
    refused("evaluate", run, says=says)


def test_the_newest_checkpoint_is_cut_short(here, run):
    truncate(run / "checkpoints" / "00000004" / "model.safetensors")
    for words in (("sample", run, "-n", 3, "-o", "s.npy"), ("train", "--resume", run)):
        answer = rgan(*words)
        assert answer.code == 0, answer.err
        said = answer.out + answer.err
        assert "00000004" in said and "The checkpoint of step 2 is used instead" in said
    assert np.load("s.npy").shape == (3, 8, 8)
    assert CheckpointStore(run / "checkpoints").load().step == 4, "trained again"


def test_a_run_without_a_checkpoint(here, run):
    shutil.rmtree(run / "checkpoints")
    refused("sample", run, says=("no checkpoint", "rule:"))
    refused("train", "--resume", run, says=("no checkpoint", "rule:"))


def test_what_cannot_be_sampled(here, run):
    Path("folder.csv").mkdir()
    says = {
        ("-n", 0): ("0 sequences", "at least 1"),
        ("-n", -5): ("-5 sequences", "at least 1"),
        ("-n", 3, "-o", "out.xls"): ('".xls"', ".csv"),
        ("-n", 3, "-o", "no/such/out.csv"): ("no/such", "mkdir -p"),
        ("-n", 3, "-o", "folder.csv"): ('"folder.csv" is a folder',),
        ("-n", 3, "--label", "12"): ("'12'", "0, 1, 2"),
        ("-n", 3, "--checkpoint", "9"): ("9", "2, 4"),
        ("-n", 3, "--checkpoint", "bst"): ('"bst"', "2, 4"),
        ("-n", 3, "--device", "cuda:7"): ('"cuda:7"', "--device cpu"),
        ("-n", 3, "--seed", "-1"): ("-1", "0 or more"),
    }
    for words, parts in says.items():
        refused("sample", run, *words, says=(*parts, "rule:"), repair=False)
    refused("sample", run, "-n", "many", says=("-n", "integer"), repair=False)


def test_what_cannot_be_evaluated(here, run):
    refused("evaluate", run, "--metric", "mmdd", says=('"mmdd"',))
    refused("evaluate", run, "--repeats", "0", says=("repeats", "0"))
    refused("evaluate", run, "--against", "sines", says=("sines", "rule:"), repair=False)
    refused("evaluate", run, "--set", "data.split=random", says=("data.split", "evaluate."))


def test_what_a_resumed_run_may_not_change(here, run):
    for pair in ("data.test=0.3", "train.seed=1", "transform.scale=none", "model.kind=rgan"):
        key = pair.split("=")[0]
        refused("train", "--resume", run, "--set", pair, says=(key, "a new run"), repair=True)
    refused("train", "--resume", run, "--seed", 1, says=("train.seed", "a new run"))
    refused("train", "--resume", run, "--preset", "paper", says=('"paper"', "--set"))
    refused(
        *("train", "--resume", run, "--set", "generator.hidden=9"),
        says=("generator.hidden", "--branch"),
        repair=True,
    )


# -- as processes ----------------------------------------------------------------------------


def test_as_a_process(here):
    save(column(table(), "SpO2", "97"))
    for words in (("train", "vitals.csv", *TABLE), ("sample", "nowhere"), ("train", "--what")):
        done = subprocess.run(
            [sys.executable, "-m", "rgan.cli.main", *words], capture_output=True, text=True
        )
        assert done.returncode == 2
        assert done.stderr and "Traceback" not in done.stderr
    assert content(here).keys() == {"vitals.csv"}


def test_every_error_has_its_exit_code():
    assert RganError("x").exit_code == 1
    assert {kind("x").exit_code for kind in (InputError, DataError, ConfigError)} == {2}
