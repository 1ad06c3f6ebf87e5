"""Hiding on purpose: each rule, in what is sampled, in training, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from command_line import TINY, rgan
from rgan.config import Config, changed
from rgan.data.config import DataConfig
from rgan.data.load import load
from rgan.data.masks import hidden, parse_mask, without
from rgan.errors import ConfigError, InputError
from rgan.layouts import ImageLayout
from rgan.sequences import Sequences


def toy(n: int = 400, steps: int = 12) -> Sequences:
    rng = np.random.default_rng(0)
    lengths = rng.integers(6, steps + 1, n)
    observed = rng.random((n, steps, 3)) < 0.8
    names = ("HR", "Temp", "SpO2")
    values = rng.normal(size=(n, steps, 3))
    return Sequences(values, observed=observed, lengths=lengths, feature_names=names)


def hid(data: Sequences, *rules: str, seed: int = 0) -> np.ndarray:
    return hidden(data, [parse_mask(rule) for rule in rules], seed)


def test_only_what_was_observed_is_hidden_and_the_same_by_seed():
    data = toy()
    first = hid(data, "random:0.3")
    assert not (first & ~data.observed).any()
    assert first[data.observed].mean() == pytest.approx(0.3, abs=0.02)
    assert np.array_equal(first, hid(data, "random:0.3"))
    assert not np.array_equal(first, hid(data, "random:0.3", seed=1))
    left = without(data, first)
    assert np.isnan(left.values[first]).all()
    stays = data.observed & ~first
    assert np.array_equal(left.values[stays], data.values[stays])


def test_named_features_and_steps_are_hidden_as_a_whole():
    data = toy()
    assert np.array_equal(
        hid(data, "feature:HR, SpO2"), data.observed & np.array([True, False, True])
    )
    steps = np.arange(12)[None, :, None]
    assert np.array_equal(hid(data, "steps:3-5"), data.observed & (steps >= 3) & (steps <= 5))
    assert np.array_equal(hid(data, "steps:4"), data.observed & (steps == 4))
    both = hid(data, "steps:4", "feature:HR")
    assert np.array_equal(both, hid(data, "steps:4") | hid(data, "feature:HR"))


def test_a_block_lies_within_each_sequence_at_many_places():
    data = toy()
    whole = data.valid[:, :, None] & np.ones(3, bool)
    data = replace(data, values=np.zeros(data.values.shape), observed=whole)
    block = hid(data, "block:4")
    assert np.array_equal(block.sum(axis=1), np.full((len(data), 3), 4))  # none past the lengths
    starts = block[:, :, 0].argmax(axis=1)
    runs = [block[row, start : start + 4, 0].all() for row, start in enumerate(starts)]
    assert all(runs) and len(set(starts.tolist())) > 5


@pytest.mark.parametrize("order", ["rows", "columns", "pixels"])
def test_a_region_is_a_rectangle_of_pixels_however_images_are_read(order: str):
    layout = ImageLayout(8, 6, order=order)  # type: ignore[arg-type]
    images = Sequences(np.ones((50, *layout.shape)), layout=layout)
    region = layout.to_images(hid(images, "region:3x2"))[..., 0]
    assert (region.sum(axis=(1, 2)) == 6).all()
    assert (region.any(axis=2).sum(axis=1) == 3).all() and (region.any(axis=1).sum(1) == 2).all()
    assert len({tuple(np.argwhere(one)[0]) for one in region}) > 10


def test_like_data_hides_what_another_sequence_has_not_observed():
    data = toy(60)
    left = without(data, hid(data, "like-data"))
    for row in range(60):
        others = [data.observed[row] & data.observed[o] for o in range(60) if o != row]
        assert any(np.array_equal(left.observed[row], other) for other in others)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("random:1.5", "between 0 and 1"),
        ("random:nan", "between 0 and 1"),
        ("randm:0.2", 'did you mean "random"'),
        ("steps:9-3", "first and the last"),
        ("block:0", "from 1"),
        ("region:4x", "height x width"),
        ("like-data:x", "nothing follows"),
        ("", "is not a rule"),
    ],
)
def test_what_is_no_rule_is_refused_where_it_is_set(rule: str, words: str):
    with pytest.raises(ConfigError, match=words):
        changed(Config(), {"data.mask": (rule,)})


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("feature:hr", 'did you mean "HR"|known: HR'),
        ("steps:3-12", "0 to 11"),
        ("block:12", "leaves some steps"),
        ("region:2x2", "only an image"),
    ],
)
def test_a_rule_that_does_not_fit_the_data_is_refused(rule: str, words: str):
    with pytest.raises(InputError, match=words):
        hid(toy(), rule)


def test_what_is_hidden_follows_from_the_seed_of_the_data():
    config = DataConfig(source="sines", max_sequences=50, mask=("random:0.4",))
    one, same, other = load(config, seed=1), load(config, seed=1), load(config, seed=2)
    assert one.equals(same) and not np.array_equal(one.observed, other.observed)
    assert one.share_observed == pytest.approx(0.6, abs=0.03)
    assert "random:0.4" in one.notes[-1]


def test_a_training_with_a_mask_never_sees_what_is_hidden_and_resumes(tmp_path: Path):
    source = tmp_path / "toy.npy"
    np.save(source, np.random.default_rng(0).normal(size=(40, 10, 2)).astype(np.float32))
    run = ("--runs", tmp_path / "runs", "--quiet", "--set", "train.check_memory=false")
    small = (*TINY, "--set", "train.steps=2", "--set", "train.figures=0", "--epochs", 1)
    done = rgan("train", source, "--mask", "random:0.3", "--mask", "steps:8-9", *small, *run)
    assert done.code == 0, done.err
    (folder,) = (tmp_path / "runs").iterdir()
    config = (folder / "config.toml").read_text()
    assert '"random:0.3"' in config and '"steps:8-9"' in config
    sampled = rgan("sample", folder, "-n", 50, "-o", tmp_path / "s.npz", "-q")
    assert sampled.code == 0, sampled.err
    # the critic was told of the gaps, so the generator has a mask of its own
    assert not np.load(tmp_path / "s.npz")["observed"].all()
    again = rgan("train", "--resume", folder, "--epochs", 2, *run)
    assert again.code == 0, again.err
    other = rgan("train", "--resume", folder, "--epochs", 3, "--set", "data.mask=", *run)
    assert other.code == 2 and "data.mask" in other.err


def test_what_is_sampled_can_be_hidden_and_the_truth_is_the_same_sample(tmp_path: Path):
    source = tmp_path / "toy.npz"
    names = np.array(["HR", "Temp"])
    np.savez(source, values=np.random.default_rng(0).normal(size=(40, 10, 2)), feature_names=names)
    small = (*TINY, "--set", "train.steps=2", "--set", "train.figures=0", "--epochs", 1)
    run = ("--runs", tmp_path / "runs", "--quiet", "--set", "train.check_memory=false")
    assert rgan("train", source, *small, *run).code == 0
    where = ("--runs", tmp_path / "runs", "-q", "-n", 30, "--seed", 3)
    for name, rules in (("whole", ()), ("gaps", ("--mask", "feature:Temp", "--mask", "block:3"))):
        answer = rgan("sample", "latest", *where, *rules, "-o", tmp_path / f"{name}.npz")
        assert answer.code == 0, answer.err
    whole, gaps = (np.load(tmp_path / f"{name}.npz") for name in ("whole", "gaps"))
    assert whole["observed"].all() and not gaps["observed"][:, :, 1].any()
    assert (gaps["observed"][:, :, 0].sum(axis=1) == 7).all()
    seen = gaps["observed"]
    assert np.array_equal(whole["values"][seen], gaps["values"][seen])
    bad = rgan("sample", "latest", *where, "--mask", "feature:BP", "-o", tmp_path / "bad.npz")
    assert bad.code == 2 and "BP" in bad.err and not (tmp_path / "bad.npz").exists()
