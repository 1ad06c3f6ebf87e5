"""The configuration: presets, settings by name, and plain data and back."""

from __future__ import annotations

import dataclasses

import pytest

from rgan.config import (
    PRESETS,
    Config,
    changed,
    differences,
    from_sections,
    parse_settings,
    preset,
)
from rgan.errors import ConfigError
from rgan.runs import toml


@pytest.mark.parametrize("name", PRESETS)
def test_presets_go_through_toml_unchanged(name):
    config = preset(name)
    sections = toml.loads(toml.dumps(config.to_sections()))
    assert from_sections(sections) == config
    assert from_sections(sections).to_sections() == sections


def test_the_paper_preset_is_the_papers():
    config = preset("paper")
    assert (config.generator.cell, config.generator.hidden, config.critic.hidden) == (
        ("lstm", 100, 100)
    )
    assert (config.generator.noise_step, config.generator.noise_global) == (5, 0)
    assert config.critic.readout == "sequence" and config.objective.name == "bce"
    critic, generator = config.critic_optimizer, config.generator_optimizer
    assert (critic.kind, critic.rate) == ("sgd", 0.1)
    assert (generator.kind, generator.rate) == ("adam", 1e-3)
    assert (config.penalty.name, config.train.average) == ("none", 0.0)


def test_every_difference_between_presets_is_a_setting_of_one():
    changes = differences(preset("default"), preset("paper"))
    assert set(changes) <= set(PRESETS["paper"])
    assert changes["objective.name"] == ["relativistic", "bce"]


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("train.steps", "7", 7),
        ("generator.bidirectional", "false", False),
        ("critic_optimizer.rate", "1e-4", 1e-4),
        ("objective.name", "hinge", "hinge"),
        ("transform.scale", "differences, zscore", ("differences", "zscore")),
        ("data.drop", "HR", ("HR",)),
        ("data.drop", "", ()),
        ("data.source", "a,b.csv", "a,b.csv"),
    ],
)
def test_text_becomes_what_the_setting_holds(path, text, value):
    section, key = path.split(".")
    assert getattr(getattr(changed(Config(), {path: text}), section), key) == value


def test_parse_settings():
    pairs = ["train.steps=5", " data.source = a=b.csv "]
    assert parse_settings(pairs) == {"train.steps": "5", "data.source": "a=b.csv"}
    with pytest.raises(ConfigError, match=r"section\.key=value"):
        parse_settings(["train.steps"])


def test_what_is_not_said_stays():
    paper = preset("paper")
    config = changed(paper, {"train.steps": 5})
    assert differences(paper, config) == {"train.steps": [paper.train.steps, 5]}
    assert differences(config, config) == {}
    assert from_sections({}) == Config()


def test_steps_take_the_place_of_epochs():
    counted = changed(Config(), {"train.epochs": 4})
    assert changed(counted, {"train.steps": 50}).train.epochs == 0
    both = changed(counted, {"train.steps": 50, "train.epochs": 3})
    assert (both.train.steps, both.train.epochs) == (50, 3)
    assert changed(counted, {"train.seed": 1}).train.epochs == 4


@pytest.mark.parametrize(
    ("sections", "says"),
    [
        ({"trian": {}}, 'did you mean "train"'),
        ({"train": {"stpes": 3}}, 'did you mean "steps"'),
        ({"train": 3}, "a section holds key = value lines"),
        ({"train": {"steps": "many"}}, r"train\.steps is 'many'"),
        ({"train": {"steps": 0}}, r"train\.steps is 0"),
        ({"data": {"test": 2}}, r"data\.test is 2"),
        ({"data": {"window": 1}}, r"data\.window is 1"),
    ],
)
def test_what_is_not_a_configuration(sections, says):
    with pytest.raises(ConfigError, match=says):
        from_sections(sections)


def test_the_configuration_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().train.steps = 3  # type: ignore[misc]
