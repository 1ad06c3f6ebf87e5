"""Sessions: splits that training can use, and what a resume takes up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rgan.config import Config, changed
from rgan.errors import DataError, DivergedError
from rgan.runs.checkpoint import Checkpoint, CheckpointStore
from rgan.sequences import Sequences
from rgan.train.events import Event
from rgan.train.plan import make_plan
from rgan.workflow.session import Session, open_session

TINY = {
    "generator.hidden": 4,
    "critic.hidden": 4,
    "critic.channels": 4,
    "train.steps": 4,
    "train.batch_size": 8,
    "train.device": "cpu",
}


def config(**more: object) -> Config:
    return changed(Config(), TINY | {key.replace("__", "."): v for key, v in more.items()})


def walks(n: int = 40) -> Sequences:
    return Sequences(np.random.default_rng(0).normal(size=(n, 6, 2)).cumsum(axis=1))


def ignore(event: Event) -> None:
    pass


def saved(session: Session, folder: Path) -> Checkpoint:
    store = CheckpointStore(folder)
    store.save(session.state.step, session.state.tensors(), session.checkpoint_state())
    return store.load("latest")


def test_a_class_of_one_held_out_subject_is_refused_by_name() -> None:
    random = np.random.default_rng(0)
    subjects = np.repeat(np.arange(30), 5)
    refused = 0
    for rare in range(30):
        labels = np.where(subjects == rare, 2, random.integers(0, 2, 150))
        data = Sequences(random.normal(size=(150, 6, 1)), labels=labels, subjects=subjects)
        try:
            session = open_session(config(data__split="subject"), data)
        except DataError as error:
            assert 'class "2"' in error.message and "try:" in error.message
            refused += 1
        else:
            assert 2 in session.splits.train.classes
    assert refused  # some subject is held out by any split


def test_more_classes_than_tiles_are_drawn(tmp_path: Path) -> None:
    from rgan.workflow.fit import fit

    labels = np.repeat(np.arange(210), 8)
    data = Sequences(np.random.default_rng(0).normal(size=(1680, 4, 1)), labels=labels)
    done = fit(config(train__figures=1), runs=tmp_path, sequences=data)
    assert list(done.run.figures.glob("samples-*.png"))


def test_averaging_switched_on_begins_with_the_trained_weights(tmp_path: Path) -> None:
    session = open_session(config(train__average=0.0), walks())
    session.run(ignore)
    again = open_session(config(train__average=0.9), walks(), saved(session, tmp_path))
    trained = dict(session.state.generator.named_parameters())
    for name, parameter in again.state.average.named_parameters():
        assert torch.equal(parameter, trained[name])


@pytest.mark.parametrize(("before", "after"), [("sgd", "adam"), ("adam", "sgd")])
def test_another_optimiser_begins_anew(before: str, after: str, tmp_path: Path) -> None:
    first = {"critic_optimizer__kind": before, "critic_optimizer__beta1": 0.5}
    session = open_session(config(**first), walks())
    session.run(ignore)
    second = first | {"critic_optimizer__kind": after, "train__steps": 12}
    again = open_session(config(**second), walks(), saved(session, tmp_path))
    again.run(ignore)
    kept = {key.rpartition("/")[2] for key in again.state.tensors()["optimizer"] if "critic" in key}
    assert kept == ({"step", "exp_avg", "exp_avg_sq"} if after == "adam" else {"momentum_buffer"})


def test_a_last_update_that_is_not_finite_is_no_success() -> None:
    session = open_session(config(generator_optimizer__kind="sgd"), walks())
    # the losses of the last step are those of the weights before it
    session.state.rates = (float("nan"), session.state.rates[1])
    session.state.step = make_plan(session.config.train, len(session.batch)).total - 1
    with pytest.raises(DivergedError, match="not finite"):
        session.run(ignore)


@pytest.mark.parametrize(
    ("steps", "features", "batch"), [(28, 28, 128), (64, 64, 32), (64, 192, 16), (6, 2, 128)]
)
def test_a_batch_of_zero_becomes_one_of_so_many_values(
    steps: int, features: int, batch: int
) -> None:
    data = Sequences(np.random.default_rng(0).normal(size=(150, steps, features)))
    session = open_session(config(train__batch_size=0), data)
    assert session.config.train.batch_size == batch
    assert session.state.plan(len(session.batch)).batch == min(batch, len(session.batch))
    assert session.checkpoint_state()["config"]["train"]["batch_size"] == batch
