"""Folders of the PhysioNet / CinC Challenge 2012: sets, outcomes, 37 series, faults in them."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rgan.data.config import DataConfig
from rgan.data.load import check_trainable, load
from rgan.data.physionet import SERIES
from rgan.data.split import split
from rgan.data.write import write
from rgan.errors import DataError, SourceError
from rgan.sequences import Sequences
from rgan.transforms.pipeline import Pipeline

ABOUT = "00:00,RecordID,{}\n00:00,Age,54\n00:00,Gender,{}\n00:00,Height,{}\n00:00,ICUType,4\n"
HEADER = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n"


def read(path: Path, **fields: Any) -> Sequences:
    return load(DataConfig(source=str(path), **fields))


def refused(path: Path, **fields: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(path, **fields)
    return str(caught.value)


def make(folder: Path, letter: str, records: dict[int, str], died: dict[int, int]) -> Path:
    """A set of these records, {id: lines}."""
    place = folder / f"set-{letter}"
    place.mkdir(parents=True)
    for record, lines in records.items():
        about = ABOUT.format(record, record % 2, -1 if record % 2 else 171.5)
        (place / f"{record}.txt").write_text(f"Time,Parameter,Value\n{about}{lines}")
    rows = "".join(f"{record},6,1,5,-1,{dead}\n" for record, dead in died.items())
    (folder / f"Outcomes-{letter}.txt").write_text(HEADER + rows)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    one = "00:00,Weight,-1\n00:07,HR,73\n00:59,HR,75\n01:00,HR,77\n48:00,HR,90\n05:30,,3\n"
    two = "00:10,HR,80\n00:20,HR,-5\n00:40,Weight,81.5\n00:40,MechVent,1\n10:00,GCS,15\n"
    return make(tmp_path / "p12", "a", {100001: one, 100002: two}, {100001: 0, 100002: 1})


def test_hours_attributes_and_outcomes(folder: Path) -> None:
    s = read(folder)
    assert s.values.shape == (2, 48, 37) and s.feature_names == tuple(SERIES) and len(SERIES) == 37
    heart = s.values[0, :, s.feature_names.index("HR")]
    assert heart[[0, 1, 47]].tolist() == [75, 77, 90] and np.isnan(heart[2:47]).all()
    assert s.labels is not None and s.static is not None and s.subjects is not None
    assert s.labels.tolist() == [0, 1] and s.subjects.tolist() == [100001, 100002]
    assert np.nan_to_num(s.static, nan=-9).tolist() == [[54, 1, -9, 3], [54, 0, 171.5, 3]]
    weight = s.values[:, 0, s.feature_names.index("Weight")]
    assert np.isnan(weight[0]) and weight[1] == 81.5  # -1 is not known


def test_what_is_odd_is_counted(folder: Path) -> None:
    assert read(folder).notes == (
        "1 rows without a parameter's name: left out",
        '"HR": 1 of 6 values outside 20 to 300 bpm (1 below): taken as not measured',
    )


def test_an_impossible_height_is_not_known_and_counted(folder: Path) -> None:
    path = folder / "set-a/100002.txt"
    path.write_text(path.read_text().replace("Height,171.5", "Height,1.7"))
    s = read(folder)
    assert s.static is not None and np.isnan(s.static[:, 2]).all()
    assert '"Height": 1 of 1 values outside 30 to 250 cm (1 below): taken as not' in s.notes[-1]


def test_mean_and_count_and_wider_bins(folder: Path) -> None:
    at = tuple(SERIES).index("HR")
    assert read(folder, bin="mean").values[0, 0, at] == 74
    assert read(folder, bin="count").values[:, 0, at].tolist() == [2, 1]
    assert read(folder, step=24.0, bin="mean").values[0, :, at].tolist() == [75, 90]


def test_two_sets_are_train_and_test(folder: Path) -> None:
    make(folder, "b", dict.fromkeys((200001, 200002), "00:30,HR,70\n"), {200001: 1, 200002: 0})
    s = read(folder)
    assert s.part is not None and s.part.tolist() == ["train"] * 2 + ["test"] * 2


def test_an_archive_is_read_as_it_is(folder: Path) -> None:
    whole = read(folder)
    with tarfile.open(folder / "set-a.tar.gz", "w:gz") as archive:
        archive.add(folder / "set-a", "set-a")
    shutil.rmtree(folder / "set-a")
    assert read(folder).equals(whole)
    (folder / "set-a.tar.gz").write_bytes((folder / "set-a.tar.gz").read_bytes()[:200])
    with pytest.raises(SourceError, match="cannot be read"):
        read(folder)


def test_the_folder_of_a_set_alone(folder: Path) -> None:
    s = read(folder / "set-a")
    assert s.labels is not None and s.part is None
    (folder / "Outcomes-a.txt").unlink()
    bare = read(folder / "set-a")
    assert bare.labels is None and any("no Outcomes file" in note for note in bare.notes)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("100002,6,1,5,-1,1\n", "", "1 records are not in Outcomes-a.txt, the first is 100002"),
        ("100002,6,1,5,-1,1\n", "100002,6,1,5,-1,1\n9,6,1,5,-1,1\n", "1 records are in Outcomes"),
        ("100002,6,1,5,-1,1", "100001,6,1,5,-1,1", "line 3"),
        ("100002,6,1,5,-1,1", "100002,6,1,5,-1,2", "0 or 1"),
        ("In-hospital_death", "death", "In-hospital_death"),
    ],
)
def test_outcomes_that_do_not_match(folder: Path, old: str, new: str, says: str) -> None:
    path = folder / "Outcomes-a.txt"
    path.write_text(path.read_text().replace(old, new))
    assert says in refused(folder)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("00:07,HR,73", "00:07,HR,fast", 'line 8 is "00:07,HR,fast"'),
        ("00:07,HR,73", "7 min,HR,73", "HH:MM"),
        ("00:07,HR,73", "00:07,HR", "HH:MM"),
        ("00:07,HR,73", "00:07,HR,nan", "finite"),
        ("00:07,HR", "00:07,Hr", 'did you mean "HR"'),
        ("RecordID,100001", "RecordID,100009", "says RecordID 100009"),
        ("Gender,1", "Gender,3", "Gender 3"),
        ("Time,Parameter", "time,parameter", "line 1"),
    ],
)
def test_bad_rows(folder: Path, old: str, new: str, says: str) -> None:
    path = folder / "set-a/100001.txt"
    path.write_text(path.read_text().replace(old, new, 1))
    said = refused(folder)
    assert "100001.txt" in said and says in said


def test_a_ventilator_that_is_always_on_is_learnt_by_its_gaps(folder: Path) -> None:
    s = read(folder, drop=tuple(n for n in SERIES if n not in ("HR", "MechVent", "Weight", "GCS")))
    at = s.feature_names.index("MechVent")
    assert set(s.values[:, :, at][s.observed[:, :, at]].tolist()) == {1.0}
    with pytest.raises(DataError, match="seen once"):  # and not "always 1"
        check_trainable(s)
    fitted = Pipeline.fit(("zscore",), s)
    assert np.array_equal(fitted.invert(fitted.apply(s)).values, s.values, equal_nan=True)


@pytest.mark.parametrize("fields", [{}, {"bin": "gaps"}, {"bin": "mean"}], ids=str)
def test_what_is_written_reads_back_equal(
    folder: Path, tmp_path: Path, fields: dict[str, Any]
) -> None:
    make(folder, "b", dict.fromkeys((200001, 200002), "00:30,HR,70.5\n"), {200001: 1, 200002: 0})
    s = read(folder, **fields)
    write(s, f"{tmp_path}/back/")
    again = read(tmp_path / "back", **fields)
    assert again.equals(s)


def test_the_real_sets(real_data: Path, tmp_path: Path) -> None:
    source = real_data / "physionet2012"
    if not source.is_dir():
        pytest.skip("the sets of the challenge are not there")
    place = tmp_path / "p12/set-a"
    place.mkdir(parents=True)
    with tarfile.open(source / "set-a.tar.gz") as archive:
        for member in archive:
            if member.isfile() and len(list(place.iterdir())) < 200:
                (place / Path(member.name).name).write_bytes(archive.extractfile(member).read())  # type: ignore[union-attr]
    lines = (source / "Outcomes-a.txt").read_text().splitlines(keepends=True)
    there = {path.stem for path in place.iterdir()}
    kept = [line for line in lines if line.split(",")[0] in {"RecordID", *there}]
    (tmp_path / "p12/Outcomes-a.txt").write_text("".join(kept))
    s = read(tmp_path / "p12")
    assert s.values.shape == (200, 48, 37) and s.labels is not None
    assert 0.05 < s.labels.mean() < 0.25 and 0.15 < s.share_observed < 0.25
    check_trainable(s)
    assert split(s, DataConfig(source="x"), seed=0).kind == "row"
    write(s, f"{tmp_path}/back/")
    assert read(tmp_path / "back").equals(s)
