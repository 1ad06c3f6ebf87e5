"""A run that was written under the first schema opens, samples and goes on, in all later versions.

``fixtures/run-schema-1`` was trained with
``rgan train sines --max-sequences 40 --batch-size 14 --epochs 2`` and three units; it is never
written anew.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from command_line import rgan
from rgan.errors import RunError
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run
from rgan.workflow.architecture import rebuild

FIXTURE = Path(__file__).parent / "fixtures" / "run-schema-1"
FIRST = [[-0.11204, -0.11359, -0.12795], [-0.10645, -0.10263, -0.10501]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURE, tmp_path / "old"))


def test_it_opens_and_is_listed(run):
    info = Run.open(run).info
    assert (info["schema"], info["status"]) == (1, "finished")
    assert CheckpointStore(run / "checkpoints").load().step == 4
    listed = rgan("runs", "list", "--runs", run.parent)
    assert listed.code == 0 and "damaged" not in listed.out and "2/2" in listed.out
    assert rgan("runs", "show", run).code == 0
    assert rebuild(Run.open(run)).parameters["generator"] > 0


def test_it_samples_what_it_sampled(run):
    answer = rgan("sample", run, "-n", 4, "--seed", 3, "-o", run.parent / "s.npy", "-q")
    assert answer.code == 0, answer.err
    values = np.load(run.parent / "s.npy")
    assert values.shape == (4, 30, 1)
    assert np.allclose(values[:2, :3, 0], FIRST, atol=1e-4), "another processor may round otherwise"


def test_it_goes_on(run):
    answer = rgan("train", "--resume", run, "--epochs", 3, "-q")
    assert answer.code == 0, answer.err
    epochs = [e["epoch"] for e in Run.open(run).history.read() if e["event"] == "epoch"]
    assert epochs == [1, 2, 3]


@pytest.mark.parametrize("file", ["run.json", "checkpoints/00000004/state.json"])
def test_a_schema_of_a_later_version_is_not_guessed_at(run, file):
    data = json.loads((run / file).read_text())
    (run / file).write_text(json.dumps(data | {"schema": 99}))
    for words in (("sample", run, "-o", run.parent / "s.npy"), ("train", "--resume", run)):
        answer = rgan(*words)
        assert answer.code == 2 and "schema 99" in answer.err and "upgrade" in answer.err
    with pytest.raises(RunError):
        Run.open(run)
        CheckpointStore(run / "checkpoints").load()
