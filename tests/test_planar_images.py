"""Images through the networks with 2-d convolutions: any size, lines of either axis, gaps, and all
that a training has to do with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rgan.config import Config, changed
from rgan.layouts import ImageLayout
from rgan.nets.planar import PlanarGenerator
from rgan.nets.planes import PlaneReader
from rgan.runs.checkpoint import CheckpointStore
from rgan.sequences import Sequences
from rgan.workflow.session import Session, open_session, trained_from_checkpoint

SMALL = {
    **{"generator.planar": True, "critic.planar": True, "train.device": "cpu"},
    **{"generator.hidden": 6, "generator.channels": 6, "critic.hidden": 6, "critic.channels": 6},
    **{"train.steps": 4, "train.batch_size": 12, "train.warmup": 0},
}
SIZES = [(8, 8, 1), (7, 5, 3), (11, 2, 1), (3, 13, 2), (1, 6, 1), (6, 1, 1)]
"""Height, width, channels: odd, flat, narrow."""


def images(
    h: int, w: int, c: int, order: Any = "rows", n: int = 60, gaps: bool = False
) -> Sequences:
    """Blobs of two classes, bright above or below; with gaps, some of the pixels unknown."""
    random = np.random.default_rng(0)
    labels = np.arange(n) % 2
    line_H = np.linspace(0, 1, h)[None, :, None, None]
    x_NHWC = np.where(labels[:, None, None, None] == 1, line_H, 1 - line_H) * 200
    x_NHWC = (x_NHWC + random.uniform(0, 55, (n, h, w, c))).round()
    layout = ImageLayout(h, w, c, order)
    values_NTF = layout.to_sequences(x_NHWC)
    if gaps:
        unknown_NTF = random.random(values_NTF.shape) < 0.3
        unknown_NTF[..., 0] = False  # this feature has no mask channel
        values_NTF[unknown_NTF] = np.nan
    seen_NTF = ~np.isnan(values_NTF)
    return Sequences(values_NTF, seen_NTF, layout=layout, labels=labels)


def opened(data: Sequences, *given: Any, **more: object) -> Session:
    settings = SMALL | {key.replace("__", "."): value for key, value in more.items()}
    return open_session(changed(Config(), settings), data, *given)


def trained(session: Session, until: int = 99) -> Session:
    session.run(lambda event: None, lambda: "enough" if session.state.step >= until else "")
    return session


@pytest.mark.parametrize("order", ["rows", "columns"])
@pytest.mark.parametrize("size", SIZES)
def test_images_of_any_size_are_trained_on_and_made(size: tuple[int, int, int], order: str) -> None:
    data = images(*size, order)
    session = trained(opened(data))
    assert isinstance(session.state.generator, PlanarGenerator)
    assert isinstance(session.state.critic.convs, PlaneReader)
    assert session.state.is_finite()
    made = session.trained.sample(5, seed=1)
    assert made.values.shape[1:] == data.values.shape[1:]
    assert isinstance(made.layout, ImageLayout)
    assert made.layout.to_images(made.values).shape == (5, *size)
    assert not np.isnan(made.values).any()


@pytest.mark.parametrize("compress", [1, 2, 4])
def test_every_pixel_reaches_the_score(compress: int) -> None:
    """Also those of the last lines and columns, where the size is no multiple of the halvings."""
    session = opened(images(7, 5, 3), critic__compress=compress, critic__differences=False)
    batch = session.batch.take(torch.arange(8))
    x_NTD = batch.x.clone().requires_grad_()
    session.state.critic(batch.with_content(x_NTD, batch.static)).mean().sum().backward()
    assert x_NTD.grad is not None
    assert (x_NTD.grad.abs().sum(0) > 0).all()


def test_unknown_pixels_are_made_as_often_as_they_are_in_the_data() -> None:
    """To begin with: only patterns are left for the critic to teach."""
    data = images(8, 8, 1, n=200, gaps=True)
    session = opened(data)
    assert len(session.batch.x[0, 0]) == 8 + 7  # a mask for each column but the first
    sampler = session.state.sampler
    assert isinstance(sampler, PlanarGenerator)
    torch.nn.init.zeros_(sampler.head.weight)
    assert sampler.head.bias is not None
    torch.nn.init.zeros_(sampler.head.bias)
    made = session.trained.sample(400, seed=0)
    assert made.observed[..., 0].all()
    assert made.observed.mean((0, 1)) == pytest.approx(data.observed.mean((0, 1)), abs=0.05)
    trained(session)
    assert session.state.is_finite()
    assert 0 < session.trained.sample(50).observed[..., 1:].mean() < 1


def test_what_is_not_observed_never_reaches_the_score() -> None:
    session = opened(images(7, 5, 1, gaps=True))
    batch = session.batch
    hidden_NTF = torch.zeros_like(batch.x[..., :5])
    hidden_NTF[..., list(session.encoder.packer.spec.masks)] = 1 - batch.x[..., 5:]
    assert hidden_NTF.any()
    scribbled = torch.cat([batch.x[..., :5] + 9 * hidden_NTF, batch.x[..., 5:]], dim=2)
    critic = session.state.critic
    after = critic(batch.with_content(scribbled, batch.static)).mean()
    assert torch.equal(critic(batch).mean(), after)


def test_stopped_and_taken_up_is_as_never_stopped(tmp_path: Path) -> None:
    data = images(7, 5, 1)
    whole = trained(opened(data))
    first = trained(opened(data), until=2)
    assert 0 < first.state.step < whole.state.step
    store = CheckpointStore(tmp_path)
    store.save(first.state.step, first.state.tensors(), first.checkpoint_state())
    again = trained(opened(data, store.load("latest")))
    for group, named in whole.state.tensors().items():
        for name, tensor in named.items():
            assert torch.equal(tensor, again.state.tensors()[group][name]), name
    store.save(again.state.step, again.state.tensors(), again.checkpoint_state())
    sampler = trained_from_checkpoint(store.load("latest"))
    made = whole.trained.sample(4, seed=3)
    np.testing.assert_array_equal(made.values, sampler.sample(4, seed=3).values)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_16_bits_are_for_the_middle_alone(precision: str) -> None:
    session = trained(opened(images(8, 8, 1), train__precision=precision))
    assert session.state.is_finite()
    assert session.trained.sample(2).values.dtype == np.float32


@pytest.mark.parametrize(
    ("order", "across"), [("rows", 5), ("columns", 7), ("pixels", 0), ("patches", 0)]
)
def test_the_sizes_of_data_know_an_image_s_lines(order: Any, across: int) -> None:
    layout = ImageLayout(7, 5, 2, order, (1, 1) if order == "patches" else None)
    values_NTF = layout.to_sequences(np.random.default_rng(0).uniform(0, 255, (60, 7, 5, 2)))
    data = Sequences(values_NTF, layout=layout)
    spec = opened(data, generator__planar=False, critic__planar=False).encoder.packer.spec
    assert spec.across == across
