"""Networks of pictures: convolutions over both axes beside a recurrence over coarse rows."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d, interpolate

from rgan.config import Config, changed, preset
from rgan.data.load import load
from rgan.errors import ConfigError
from rgan.layouts import ImageLayout
from rgan.nets.batch import Batch
from rgan.nets.config import CriticConfig, GeneratorConfig
from rgan.nets.planes import Grow, halvings
from rgan.nets.spec import SequenceSpec
from rgan.runs.checkpoint import CheckpointStore
from rgan.sequences import Sequences
from rgan.train.build import build_networks
from rgan.workflow.architecture import rebuild
from rgan.workflow.fit import fit, resume
from rgan.workflow.session import Session, open_session, trained_from_checkpoint
from rgan.workflow.sizes import read_spec

SMALL = {
    "generator.hidden": 8,
    "generator.channels": 8,
    "critic.hidden": 8,
    "critic.channels": 8,
    "train.batch_size": 8,
    "train.steps": 4,
    "train.figures": 0,
    "monitor.looks": 0,
}


def pictures(height: int, width: int, colours: int = 1, order: str = "rows") -> Sequences:
    """Forty pictures of one bright stroke each, along the rows or across them by class."""
    random = np.random.default_rng(0)
    x = np.zeros((40, height, width, colours), np.float32)
    for i in range(40):
        if i % 2:
            x[i, random.integers(height)] = 1
        else:
            x[i, :, random.integers(width)] = 1
    layout = ImageLayout(height, width, colours, order=order, high=1.0)  # type: ignore[arg-type]
    return Sequences(
        layout.to_sequences(x), layout=layout, labels=np.arange(40) % 2, name="strokes"
    )


def opened(sequences: Sequences, **more: object) -> Session:
    return open_session(changed(preset("images"), {**SMALL, **more}), sequences)


@pytest.mark.parametrize(
    ("height", "width", "colours", "order"),
    [(12, 12, 1, "rows"), (7, 10, 3, "rows"), (9, 5, 1, "columns"), (6, 5, 2, "rows")],
)
@pytest.mark.parametrize("compress", [0, 1, 4])
def test_pictures_of_any_size_and_colours(
    height: int, width: int, colours: int, order: str, compress: int
) -> None:
    """Every weight learns; sides need be no multiples of anything."""
    sequences = pictures(height, width, colours, order)
    settings = {f"{net}.compress": compress for net in ("generator", "critic")}
    session = opened(sequences, **settings)
    seen: set[str] = set()
    networks = {"generator": session.state.generator, "critic": session.state.critic}
    for name, network in networks.items():
        for key, parameter in network.named_parameters():
            parameter.register_post_accumulate_grad_hook(
                lambda p, key=f"{name}.{key}": seen.add(key) if p.grad.abs().sum() else None
            )
    session.run(lambda event: None)
    every = {f"{n}.{k}" for n, net in networks.items() for k, _ in net.named_parameters()}
    # a pair of scores sees only their difference; the norm over one channel is its sign
    assert every - seen <= {"critic.head.bias"}
    made = session.trained.sample(5, seed=1)
    assert made.layout == sequences.layout and made.values.shape[1:] == sequences.values.shape[1:]
    assert np.isfinite(made.values).all() and made.values.min() >= 0 and made.values.max() <= 1


def test_a_line_answers_to_noise_of_another_far_away() -> None:
    """Convolutions reach only neighbours: what is far away hears of it by the recurrence."""
    spec = SequenceSpec(steps=64, values=8, across=8)
    config = GeneratorConfig(planar=True, hidden=8, channels=8, noise_step=2)
    generator, critic = build_networks(spec, config, CriticConfig(planar=True), seed=0)
    noise = generator.draw_noise(2, torch.Generator().manual_seed(0))
    lengths, condition = torch.full((2,), 64), torch.zeros(2, 0)
    before = generator(noise, lengths, condition)
    steps = noise.steps.clone()
    steps[:, :8] += 1
    after = generator(dataclasses.replace(noise, steps=steps), lengths, condition)
    assert ((after.x - before.x)[:, -8:].abs().amax((1, 2)) > 0).all()
    assert not torch.equal(critic(before).score, critic(after).score)


def test_growing_is_nearest_neighbours_and_a_convolution() -> None:
    torch.manual_seed(0)
    grow, x = Grow(3, 5), torch.randn(2, 3, 4, 6)
    plain = conv2d(
        interpolate(x, scale_factor=2), grow.weight.flip(2, 3).transpose(0, 1), padding=1
    )
    assert torch.allclose(grow(x), plain, atol=1e-5)


def test_few_lines_are_left_unless_told() -> None:
    assert [2 ** halvings(0, lines) for lines in (8, 28, 64, 100)] == [2, 4, 8, 16]
    assert halvings(1, 28) == 0 and halvings(8, 28) == 3


class TestRuns:
    def test_a_resumed_run_is_as_one_that_was_not_interrupted(self, tmp_path: Path) -> None:
        data, plain = pictures(12, 9), {**SMALL, "train.epochs": 1}
        whole = fit(
            changed(preset("images"), {**plain, "train.epochs": 2}),
            runs=tmp_path / "a",
            sequences=data,
        )
        part = fit(changed(preset("images"), plain), runs=tmp_path / "b", sequences=data)
        resume(part.run, settings={"train.epochs": 2}, sequences=data)
        last = [CheckpointStore(run.checkpoints).load("latest") for run in (whole.run, part.run)]
        assert last[0].step == last[1].step > 4
        models = [checkpoint.tensors["model"] for checkpoint in last]
        assert models[0].keys() == models[1].keys()
        assert all(torch.equal(models[0][key], models[1][key]) for key in models[0])
        made = [trained_from_checkpoint(c).sample(6, seed=3).values for c in last]
        assert np.array_equal(*made)

    def test_a_saved_run_tells_its_layers(self, tmp_path: Path) -> None:
        config = changed(preset("images"), {**SMALL, "generator.compress": 4})
        run = fit(config, runs=tmp_path, sequences=pictures(12, 9)).run
        found = rebuild(run)
        assert found.spec.across == 9
        names = [layer.name for layer in found.layers]
        assert "generator.painter.grow.0" in names and "critic.convs.shrink.0" in names
        assert sum(layer.parameters for layer in found.layers) == sum(found.parameters.values())


def test_a_spec_of_an_earlier_version_is_read() -> None:
    spec = SequenceSpec(steps=4, values=6, across=3)
    old = spec.to_dict()
    del old["across"]
    assert read_spec(old, "run.json").across == 0
    assert read_spec(spec.to_dict(), "run.json") == spec


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"generator.compress": "3"}, "generator.compress is 3"),
        ({"critic.compress": "64"}, "critic.compress is 64"),
        ({"generator.feedback": "true"}, "feedback are both true"),
        ({"critic.whiten": "true"}, "whiten are both true"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        opened(pictures(12, 12), **settings)
    assert "--set " in str(refused.value)


@pytest.mark.parametrize("network", ["generator", "critic"])
def test_series_and_pixels_are_no_pictures(network: str) -> None:
    config = changed(Config(), {**SMALL, f"{network}.planar": True})
    sines = load(changed(config, {"data.source": "sines", "data.max_sequences": 40}).data)
    for sequences in (sines, pictures(6, 6, order="pixels")):
        with pytest.raises(ConfigError, match=f"{network}.planar is true") as refused:
            open_session(config, sequences)
        assert f"--set {network}.planar=false" in str(refused.value)


def test_gaps_and_lengths_are_respected() -> None:
    """Lines past a picture's length, and pixels that were not observed, reach no score."""
    spec = SequenceSpec(steps=9, values=4, masks=(1, 3), variable_length=True, across=4)
    config = CriticConfig(planar=True, hidden=8, channels=8)
    generator, critic = build_networks(spec, GeneratorConfig(planar=True), config, seed=0)
    lengths = torch.tensor([9, 4, 1])
    noise = generator.draw_noise(3, torch.Generator().manual_seed(0))
    made = generator(noise, lengths, torch.zeros(3, 0)).detach()
    assert not made.x[1, 4:].any() and not made.x[2, 1:].any()
    assert not made.x[..., 1][made.x[..., 4] == 0].any()
    other = made.x.clone()
    other[..., 1][made.x[..., 4] == 0] = 5.0
    other[1, 4:] = other[2, 1:] = 5.0
    changed_batch = Batch(other, made.static, made.lengths, made.condition)
    assert torch.equal(critic(made).score, critic(changed_batch).score)
