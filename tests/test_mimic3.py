"""The in-hospital-mortality layout of mimic3-benchmarks: read, trained on, written back, re-read.

Thirteen stays of the open MIMIC-III demo are bundled in ``fixtures/mimic3``; see its NOTICE.
"""

from __future__ import annotations

import csv
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import TINY, content, rgan
from rgan.data.config import DataConfig
from rgan.data.load import load
from rgan.data.mimic3 import read_stay
from rgan.data.mimic3_variables import NAMES, VARIABLES
from rgan.data.split import split
from rgan.data.write import Writer, write
from rgan.errors import DataError, InputError, SourceError
from rgan.sequences import Sequences

FIXTURE = Path(__file__).parent / "fixtures" / "mimic3"
EYE = "Glascow coma scale eye opening"
VERBAL = "Glascow coma scale verbal response"
TOTAL = "Glascow coma scale total"
RARE = ("Capillary refill rate", "Height")
"""Never measured in the bundled training stays."""

ACCEPTED = {
    "Capillary refill rate": {"0.0", "1.0"},
    EYE: {
        *("To Pain", "3 To speech", "1 No Response", "4 Spontaneously", "None", "To Speech"),
        *("Spontaneously", "2 To pain"),
    },
    "Glascow coma scale motor response": {
        *("1 No Response", "3 Abnorm flexion", "Abnormal extension", "No response"),
        *("4 Flex-withdraws", "Localizes Pain", "Flex-withdraws", "Obeys Commands"),
        *("Abnormal Flexion", "6 Obeys Commands", "5 Localizes Pain", "2 Abnorm extensn"),
    },
    VERBAL: {
        *("1 No Response", "No Response", "Confused", "Inappropriate Words", "Oriented"),
        *("No Response-ETT", "5 Oriented", "Incomprehensible sounds", "1.0 ET/Trach"),
        *("4 Confused", "2 Incomp sounds", "3 Inapprop words"),
    },
}
"""The spellings that the benchmark's own discretiser knows."""


def read(path: Path, **fields: Any) -> Sequences:
    return load(DataConfig(source=str(path), **fields))


def lines_of(path: Path) -> list[list[str]]:
    return list(csv.reader(path.read_text().splitlines()))


def feature(s: Sequences, name: str, subject: int) -> np.ndarray:
    assert s.subjects is not None
    (row,) = np.flatnonzero(s.subjects == subject)
    return s.values[row, :, s.feature_names.index(name)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE, tmp_path / "ihm"))


def one_stay(tmp_path: Path, *rows: dict[str, str], died: int = 0) -> Path:
    """A folder with one stay of these rows, {column: cell}."""
    path = tmp_path / "one"
    path.mkdir(exist_ok=True)
    (path / "listfile.csv").write_text(f"stay,y_true\n7_episode1_timeseries.csv,{died}\n")
    with (path / "7_episode1_timeseries.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["Hours", *NAMES], restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


# -- what is read ----------------------------------------------------------------------------


def test_the_folder_is_stays_of_48_hours_and_17_variables() -> None:
    s = read(FIXTURE)
    assert s.values.shape == (13, 48, 17) and s.feature_names == NAMES
    assert (s.step, s.step_unit, s.label_name) == (1.0, "h", "died")
    assert s.subjects is not None and s.labels is not None and s.part is not None
    assert 40124 in s.subjects and len(np.unique(s.subjects)) == 11
    lists = lines_of(FIXTURE / "train/listfile.csv")[1:]
    assert s.labels.tolist()[: len(lists)] == [int(died) for _, died in lists]
    assert {p: int((s.part == p).sum()) for p in ("train", "validation", "test")} == {
        **{"train": 7, "validation": 2, "test": 4}
    }
    assert 0.3 < s.share_observed < 0.6  # nothing is filled in


def test_a_bin_holds_its_last_value_and_the_hour_on_its_right_edge(tmp_path: Path) -> None:
    rows = [
        {"Hours": "0.0", "Heart Rate": "60"},
        {"Hours": "0.5", "Heart Rate": "61", "pH": "7.4"},
        {"Hours": "1.0", "Heart Rate": "62"},
        {"Hours": "1.000002", "Heart Rate": "63"},
        {"Hours": "48.0", "Heart Rate": "64"},
    ]
    s = read(one_stay(tmp_path, *rows))
    heart = feature(s, "Heart Rate", 7)
    assert heart[[0, 1, 47]].tolist() == [62, 63, 64] and np.isnan(heart[2:47]).all()
    assert s.values[0, 0, NAMES.index("pH")] == np.float32(7.4)
    assert int(s.observed.sum()) == 4


def test_our_bins_are_those_of_a_plain_reading_of_the_files() -> None:
    """A second reader, written as the benchmark describes its own: bin by (t - 1e-6) // 1."""
    s = read(FIXTURE / "train", implausible="keep")
    names = [row[0] for row in lines_of(FIXTURE / "train/listfile.csv")][1:]
    for row, name in enumerate(names):
        wanted: dict[tuple[int, str], float] = {}
        for line in csv.DictReader((FIXTURE / "train" / name).read_text().splitlines()):
            at = int(float(line["Hours"]) - 1e-6)
            for column in ("Heart Rate", "Glucose", "Temperature", TOTAL, "pH"):
                if line[column]:
                    wanted[at, column] = float(line[column])
        for column in ("Heart Rate", "Glucose", "Temperature", TOTAL, "pH"):
            values = s.values[row, :, NAMES.index(column)]
            mine = {(int(t), column): float(values[t]) for t in np.flatnonzero(~np.isnan(values))}
            assert mine == pytest.approx({k: v for k, v in wanted.items() if k[1] == column})


@pytest.mark.parametrize(
    ("column", "spellings", "code"),
    [
        (EYE, ["None", "1 No Response", "1", "1.0"], 1),
        (EYE, ["Spontaneously", "4 Spontaneously", "4", " 4  spontaneously"], 4),
        ("Glascow coma scale motor response", ["Flex-withdraws", "4 Flex-withdraws"], 4),
        ("Glascow coma scale motor response", ["No response", "1 No Response"], 1),
        (VERBAL, ["No Response-ETT", "1.0 ET/Trach"], 0),
        (VERBAL, ["No Response", "1 No Response", "1"], 1),
        (VERBAL, ["Oriented", "5 Oriented"], 5),
        (TOTAL, ["15", "15.0"], 15),
        ("Capillary refill rate", ["1.0", "1", "Abnormal >3 secs"], 1),
    ],
)
def test_spellings_of_one_level_are_one(
    tmp_path: Path, column: str, spellings: list[str], code: int
) -> None:
    rows = [{"Hours": str(h + 0.5), column: text} for h, text in enumerate(spellings)]
    values = feature(read(one_stay(tmp_path, *rows)), column, 7)
    assert values[: len(spellings)].tolist() == [code] * len(spellings)


def test_every_spelling_of_the_benchmark_is_known_and_every_name_we_write() -> None:
    for variable in VARIABLES:
        for text in ACCEPTED.get(variable.name, ()):
            assert variable.code(text) in variable.levels, text
        assert set(variable.levels.values()) <= ACCEPTED.get(variable.name, set())


def test_the_parts_of_the_folder_are_the_split() -> None:
    s = read(FIXTURE, drop=RARE)
    parts = split(s, DataConfig(source=str(FIXTURE)), seed=5)
    assert parts.kind == "official"
    assert [len(p) for p in (parts.train, parts.validation, parts.test)] == [7, 2, 4]
    assert set(parts.validation.subjects.tolist()) == {10089, 10046}  # type: ignore[union-attr]


def test_without_lists_beside_them_validation_is_drawn(folder: Path) -> None:
    for name in ("train", "val", "test"):
        (folder / f"{name}_listfile.csv").unlink()
    s = read(folder, drop=RARE)
    assert s.part is not None and set(s.part) == {"train", "test"}
    parts = split(s, DataConfig(source="x", validation=0.3), seed=0)
    assert parts.kind == "official" and len(parts.test) == 4 and 2 <= len(parts.validation) <= 3


def test_what_training_never_measures_is_named_at_once() -> None:
    stays = read(FIXTURE)
    held_out = (stays.part == "test")[:, None, None]
    held_out = stays.observed & held_out
    few = replace(stays, observed=held_out)
    with pytest.raises(DataError, match=r"never measured in the training set \(17 such") as caught:
        split(few, DataConfig(source="x"), seed=0)
    assert "--drop 'Capillary refill rate' --drop 'Diastolic" in caught.value.repair


def test_train_alone_has_no_parts() -> None:
    s = read(FIXTURE / "train", drop=RARE)
    assert s.part is None and len(s) == 9
    assert split(s, DataConfig(source="x"), seed=0).kind == "subject"


def test_fewer_stays_are_drawn_before_they_are_read(folder: Path) -> None:
    some = read(folder, max_sequences=4)
    everyone = read(folder)
    assert len(some) == 4 and some.subjects is not None and everyone.subjects is not None
    assert set(some.subjects) <= set(everyone.subjects)
    assert not some.equals(load(DataConfig(source=str(folder), max_sequences=4), seed=1))


# -- what is refused or said -----------------------------------------------------------------


def broken(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def refused(folder: Path, **fields: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(folder, **fields)
    return str(caught.value)


def test_a_stay_that_is_listed_and_missing(folder: Path) -> None:
    (folder / "train/10017_episode1_timeseries.csv").unlink()
    (folder / "train/10043_episode1_timeseries.csv").unlink()
    said = refused(folder)
    assert "10017_episode1_timeseries.csv" in said and "2 of 13 stays are missing" in said
    assert '"train/listfile.csv" line 2' in said or '"ihm/train_listfile.csv" line 2' in said


def test_files_that_nobody_lists_are_counted(folder: Path) -> None:
    shutil.copy(
        folder / "test/10011_episode1_timeseries.csv", folder / "test/10011_episode2_timeseries.csv"
    )
    assert "1 files of stays are in no list: left out" in read(folder).notes


def test_a_subject_in_two_parts_is_said(folder: Path) -> None:
    name = "10017_episode9_timeseries.csv"
    shutil.copy(folder / "test/10011_episode1_timeseries.csv", folder / "test" / name)
    for path in ("test/listfile.csv", "test_listfile.csv"):
        with (folder / path).open("a") as file:
            file.write(f"{name},0\n")
    assert any("1 subjects have stays in more than one part" in n for n in read(folder).notes)


@pytest.mark.parametrize("path", ["train/listfile.csv", "val_listfile.csv"])
def test_a_stay_listed_twice(folder: Path, path: str) -> None:
    with (folder / path).open("a") as file:
        file.write("10089_episode1_timeseries.csv,1\n")
    assert "10089_episode1" in (said := refused(folder)) and "listed once" in said


def test_a_stay_in_train_and_test(folder: Path) -> None:
    for name in ("train", "val", "test"):
        (folder / f"{name}_listfile.csv").unlink()
    name = "10017_episode1_timeseries.csv"
    shutil.copy(folder / "train" / name, folder / "test" / name)
    with (folder / "test/listfile.csv").open("a") as file:
        file.write(f"{name},0\n")
    assert "listed once" in refused(folder)


def test_lists_that_disagree(folder: Path) -> None:
    broken(
        folder,
        "val_listfile.csv",
        "10089_episode1_timeseries.csv,1",
        "10089_episode1_timeseries.csv,0",
    )
    said = refused(folder)
    assert "says 0 of 10089_episode1" in said and "says 1" in said


def test_a_list_that_leaves_a_stay_out(folder: Path) -> None:
    broken(folder, "train_listfile.csv", "10017_episode1_timeseries.csv,0\n", "")
    assert "none of the lists beside train and test" in refused(folder)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("stay,y_true", "stay,period_length,y_true", "line 1"),
        ("stay,y_true\n", "", "stay,y_true"),
        (",0\n", ",yes\n", "0 (survived) or 1 (died)"),
        (",0\n", "\n", "0 (survived) or 1 (died)"),
        ("10011_episode1", "patient", "SUBJECT_episodeNUMBER"),
    ],
)
def test_bad_lists(folder: Path, old: str, new: str, says: str) -> None:
    test = folder / "test"
    broken(test, "listfile.csv", old, new)
    if new == "patient":
        (test / "10011_episode1_timeseries.csv").rename(test / "patient_timeseries.csv")
    assert says in refused(test)


STAY = "test/10011_episode1_timeseries.csv"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("Glascow coma scale total", "Glasgow coma scale total", 'did you mean "Glascow coma'),
        (",pH\n", ",Lactate\n", '"Lactate"'),
        ("Hours,", "Hours,,", "18"),
    ],
)
def test_bad_headers(folder: Path, old: str, new: str, says: str) -> None:
    broken(folder, STAY, old, new)
    said = refused(folder)
    assert "10011_episode1_timeseries.csv" in said and (says in said or "17 variables" in said)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"Hours": "2", "Heart Rate": "fast"}, ('line 3, column "Heart Rate" is "fast"', "number")),
        ({"Hours": "2", EYE: "Sleepy"}, ('column "Glascow coma scale eye', "4 Spontaneously")),
        ({"Hours": "2", EYE: "7"}, ('"7"', "does not know")),
        ({"Hours": "2", "Weight": "inf"}, ('"Weight" is "inf"', "finite")),
        ({"Hours": "2", "Weight": "NaN"}, ('"Weight" says NaN', "--nan missing")),
        ({"Hours": "0.2", "Weight": "70"}, ("line 3", "before that of the line above")),
        ({"Hours": "", "Weight": "70"}, ('line 3: Hours is ""', "in every row")),
    ],
)
def test_bad_cells(tmp_path: Path, row: dict[str, str], says: tuple[str, ...]) -> None:
    said = refused(one_stay(tmp_path, {"Hours": "1", "Heart Rate": "80"}, row))
    assert "7_episode1_timeseries.csv" in said
    for part in says:
        assert part in said


def test_nan_can_mean_a_gap(tmp_path: Path) -> None:
    path = one_stay(tmp_path, {"Hours": "1", "Heart Rate": "nan", "pH": "7.1"})
    assert read(path, nan="missing").observed.sum() == 1


def test_a_row_with_too_few_cells(folder: Path) -> None:
    with (folder / STAY).open("a") as file:
        file.write("47.99,1,2\n")
    assert "has 3 cells" in refused(folder)


def test_a_damaged_file_is_a_source_error(folder: Path) -> None:
    (folder / STAY).write_bytes(b"\xff\xfe\x00garbage")
    with pytest.raises(SourceError, match="cannot be read"):
        read(folder)


def test_times_outside_the_48_hours_are_counted(tmp_path: Path) -> None:
    rows = [{"Hours": h, "Heart Rate": "80", "pH": "7.4"} for h in ("-1", "1", "48", "48.5", "60")]
    s = read(one_stay(tmp_path, *rows))
    assert "6 values before 0 or after 48 hours: left out" in s.notes
    assert s.observed.sum() == 4


def test_a_stay_without_a_value_is_kept_and_said(folder: Path) -> None:
    header = (folder / STAY).read_text().splitlines()[0]
    (folder / STAY).write_text(header + "\n")
    s = read(folder)
    assert len(s) == 13 and any("1 stays hold no value at all" in note for note in s.notes)


def test_impossible_values_are_counted_and_hide_no_good_one(tmp_path: Path) -> None:
    rows = [
        {"Hours": "0.2", "Heart Rate": "80", "Temperature": "37"},
        {"Hours": "0.4", "Heart Rate": "-80"},
        {"Hours": "1.4", "Heart Rate": "8000"},
    ]
    path = one_stay(tmp_path, *rows)
    s = read(path)
    assert feature(s, "Heart Rate", 7)[0] == 80 and s.observed.sum() == 2
    (note,) = s.notes
    assert note == (
        '"Heart Rate": 2 of 3 values outside 20 to 300 bpm (1 below, 1 above): '
        "taken as not measured"
    )
    kept = read(path, implausible="keep")
    assert feature(kept, "Heart Rate", 7)[:2].tolist() == [-80, 8000]
    assert kept.notes[0].endswith("kept")
    assert "data.implausible is error" in refused(path, implausible="error")


def test_fahrenheit_is_refused_as_another_unit(tmp_path: Path) -> None:
    rows = [{"Hours": str(h + 0.5), "Temperature": "98.6"} for h in range(20)]
    said = refused(one_stay(tmp_path, *rows))
    assert "20 of 20 values outside 25 to 45 degC" in said and "20 as if in Fahrenheit" in said
    assert "--drop" in said


def test_table_options_are_refused(folder: Path) -> None:
    assert "--label" in refused(folder, label="died")


# -- written back ----------------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{}, {"bin": "mean"}, {"step": 2.0}, {"bin": "gaps"}], ids=str)
def test_what_is_written_reads_back_equal(tmp_path: Path, fields: dict[str, Any]) -> None:
    s = read(FIXTURE, **fields)
    write(s, f"{tmp_path}/back/")
    again = read(tmp_path / "back", **fields)
    for what in ("observed", "lengths", "labels", "subjects", "part"):
        assert np.array_equal(getattr(again, what), getattr(s, what)), what
    # times are written with six digits, which gaps are the differences of
    assert np.allclose(
        again.values, s.values, atol=2e-4 if fields.get("bin") else 0, equal_nan=True
    )
    assert again.layout == s.layout and again.units == s.units


def test_written_levels_are_text_and_gaps_are_blank(tmp_path: Path) -> None:
    s = read(FIXTURE / "test")
    write(s, f"{tmp_path}/back/")
    for path in (tmp_path / "back").glob("*_timeseries.csv"):
        lines = list(csv.DictReader(path.read_text().splitlines()))
        assert list(lines[0]) == ["Hours", *NAMES] and any(line["Heart Rate"] for line in lines)
        for line in lines:
            assert "nan" not in ",".join(line.values())
            for column, texts in ACCEPTED.items():
                assert line[column] in {"", *texts}
            assert line[TOTAL] in {"", *map(str, range(3, 16))}


def test_dropped_variables_are_blank_columns(tmp_path: Path) -> None:
    s = read(FIXTURE / "test", drop=("Height", "pH"))
    write(s, f"{tmp_path}/back/")
    again = read(tmp_path / "back")
    assert again.feature_names == NAMES
    assert not again.observed[:, :, [NAMES.index("Height"), NAMES.index("pH")]].any()


def test_counts_are_no_stays(tmp_path: Path) -> None:
    s = read(FIXTURE / "test", bin="count")
    assert s.fully_observed and set(s.units) == {"count"} and s.values.max() > 1
    assert s.values.sum() == sum(
        len(read_stay(path).value_V) for path in (FIXTURE / "test").glob("*_timeseries.csv")
    ) - sum(int(n.split(": ")[1].split()[0]) for n in s.notes)
    with pytest.raises(DataError, match="came in none"):
        write(s, f"{tmp_path}/back/")
    assert not list(tmp_path.iterdir())


def test_targets_that_are_refused(tmp_path: Path) -> None:
    s = read(FIXTURE / "test")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    with pytest.raises(InputError, match="there already"):
        write(s, f"{tmp_path}/full/")
    with pytest.raises(InputError, match="mkdir -p"):
        write(s, f"{tmp_path}/no/such/")
    with pytest.raises(DataError, match="no labels"):
        write(replace(s, labels=None), f"{tmp_path}/new/")
    with Writer(f"{tmp_path}/cut/") as writer, pytest.raises(DataError):
        writer.append(s[:2])
        writer.append(s[2:].with_features(NAMES[:3]))
    assert [p.name for p in tmp_path.iterdir()] == ["full"]


# -- the whole way ---------------------------------------------------------------------------


def whole_way(source: Path, at: Path, epochs: int) -> None:
    runs = at / "runs"
    few = (*TINY, "--set", "train.check_memory=false", "--set", "train.batch_size=8")
    told = rgan("train", source, "--runs", runs)
    assert told.code == 2 and "never measured" in told.err
    drop = shlex.split(told.err.rpartition("try:")[2])  # as somebody pastes it
    trained = rgan("train", source, "--epochs", epochs, "--runs", runs, *few, *drop)
    assert trained.code == 0, trained.err
    assert "taken as not measured" in trained.out
    done = rgan("sample", "latest", "--runs", runs, "-n", 25, "-o", f"{at}/new/", "-q")
    assert done.code == 0, done.err
    new = read(at / "new")
    assert new.values.shape == (25, 48, 17) and new.notes == ()
    assert new.subjects is not None and new.subjects.min() >= 900_000_001
    gaps = ~new.observed
    assert gaps.any() and not gaps.all()
    assert rgan("sample", "latest", "--runs", runs, "-n", 25, "-o", f"{at}/same/", "-q").code == 0
    assert content(at / "new") == content(at / "same")
    shown = rgan("data", "show", at / "new", "--no-png")
    assert shown.code == 0 and "25 sequences x 48 steps x 17 features" in shown.out
    again = rgan("sample", "latest", "--runs", runs, "-n", 25, "-o", f"{at}/new/")
    assert again.code == 2 and "there already" in again.err


def test_train_sample_write_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole_way(FIXTURE, tmp_path, 2)


def test_the_demo_folder(tmp_path: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = real_data / "mimic3-ihm-demo/in-hospital-mortality"
    if not source.is_dir():
        pytest.skip("the MIMIC-III demo in the layout of mimic3-benchmarks is not there")
    monkeypatch.chdir(tmp_path)
    s = read(source)
    assert s.values.shape == (57, 48, 17) and s.labels is not None and s.labels.sum() == 17
    write(s, "back/")
    assert read(Path("back")).equals(s)
    whole_way(source, tmp_path, 1)
