"""Whitening: what an untrained generator makes, what the critic sees, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import TINY, Answer, rgan
from rgan.errors import ConfigError, DataError
from rgan.nets.batch import Batch
from rgan.nets.config import CriticConfig, GeneratorConfig
from rgan.nets.critic import Critic
from rgan.nets.generator import Generator
from rgan.nets.spec import SequenceSpec
from rgan.nets.whitening import MOST_NUMBERS, Whitening
from rgan.runs.checkpoint import CheckpointStore

SPEC = SequenceSpec(steps=10, values=3)


def prices(n: int, seed: int = 0) -> torch.Tensor:
    """(N, 10, 3) random walks from far apart: two that differ by a thousandth, and a skewed one."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=(n, 1)) + 0.02 * np.cumsum(rng.normal(size=(n, 10)), axis=1)
    near = level + 0.01 * rng.normal(size=(n, 10))
    volume = 0.3 * rng.gamma(1.0, size=(n, 10)) - 0.3 + 0.5 * level
    return torch.tensor(np.stack([level, near, volume], 2), dtype=torch.float32)


def batch_of(values: torch.Tensor, spec: SequenceSpec = SPEC) -> Batch:
    n = len(values)
    empty = torch.zeros(n, 0)
    return Batch(values, empty, torch.full((n,), spec.steps), empty)


@pytest.fixture(scope="module")
def fitted() -> Whitening:
    whitening = Whitening(SPEC)
    whitening.fit(prices(4000))
    return whitening


def test_there_and_back(fitted: Whitening) -> None:
    other = prices(500, seed=1)
    u = fitted.white(other)
    inside = (u.abs() < 4).flatten(1).all(1)
    assert inside.float().mean() > 0.95
    assert torch.allclose(fitted.colour(u)[inside], other[inside], atol=1e-4)


def test_innovations_are_unrelated_and_normal(fitted: Whitening) -> None:
    u = fitted.white(prices(4000, seed=1)).flatten(1)
    assert torch.allclose(torch.cov(u.T), torch.eye(30), atol=0.12)
    tails = (u.abs() > 1.96).float().mean(0)
    assert tails.min() > 0.03 and tails.max() < 0.07


def test_what_comes_first_depends_on_nothing_later(fitted: Whitening) -> None:
    values = prices(5)
    changed = values.clone()
    changed[:, 6:] += 1.0
    before, after = fitted.white(values), fitted.white(changed)
    assert torch.allclose(before[:, :6], after[:, :6], atol=1e-4)
    assert not torch.allclose(before[:, 6], after[:, 6], atol=0.1)


def test_an_untrained_generator_has_means_covariances_and_quantiles_of_the_data() -> None:
    data = prices(4000)
    generator = Generator(SPEC, GeneratorConfig(hidden=8, whiten=True, noise_step=1))
    generator.start(batch_of(data))
    with torch.no_grad():
        noise = generator.draw_noise(4000, torch.Generator().manual_seed(0))
        made = generator(noise, torch.full((4000,), 10), torch.zeros(4000, 0)).x
    spread = data.std(0)
    assert ((made.mean(0) - data.mean(0)).abs() < 0.15 * spread).all()
    related = (torch.cov(x.flatten(1).T) for x in (made, data))
    assert torch.allclose(*related, atol=0.25)
    gap = (made[..., 0] - made[..., 1]).std(), (data[..., 0] - data[..., 1]).std()
    assert gap[0] < 2 * gap[1] < 0.05, "series that nearly agree do so from the beginning"


def test_the_critic_sees_what_values_hide() -> None:
    torch.manual_seed(0)
    critic = Critic(SPEC, CriticConfig(hidden=8, channels=8, whiten=True))
    critic.fit(batch_of(prices(4000)))
    values = prices(8).requires_grad_()
    critic(batch_of(values)).score.sum().backward()
    assert values.grad is not None and values.grad.isfinite().all()
    still = critic.moved(prices(8), torch.zeros(8, 10, 3))
    assert torch.equal(still, prices(8))
    moved = critic.moved(prices(8), 0.05 * torch.randn(8, 10, 3)) - prices(8)
    assert moved.isfinite().all()
    apart = (moved[..., 0] - moved[..., 1]).std()
    assert apart < 0.3 * moved[..., 2].std(), "each is moved by its own innovations"


def test_values_far_out_stay_finite(fitted: Whitening) -> None:
    u = fitted.white(100 * prices(50))
    assert u.isfinite().all() and u.abs().max() <= 6


@pytest.mark.parametrize(
    ("spec", "match"),
    [
        (SequenceSpec(5, 2, masks=(1,)), "have gaps"),
        (SequenceSpec(5, 2, variable_length=True), "differ in length"),
        (SequenceSpec(MOST_NUMBERS, 2), "4,096 numbers"),
    ],
)
def test_what_cannot_be_whitened_is_refused(spec: SequenceSpec, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Whitening(spec)


def test_few_sequences_would_be_learnt_by_heart() -> None:
    with pytest.raises(DataError, match="59 training sequences of 30 numbers"):
        Whitening(SPEC).fit(prices(59))


def train(folder: Path, *words: object) -> Answer:
    flags = ("--max-sequences", 200, "--quiet", "--set", "train.check_memory=false")
    both = ("--set", "generator.whiten=true", "--set", "critic.whiten=true")
    return rgan("train", *words, *TINY, *flags, *both, "--set", "train.figures=0", "--runs", folder)


def tensors(folder: Path) -> bytes:
    (run,) = folder.iterdir()
    found = CheckpointStore(run / "checkpoints").load().path
    return (found / "model.safetensors").read_bytes()


def test_a_whitened_training_resumes_to_the_same_bytes_and_samples(tmp_path: Path) -> None:
    through, halves = tmp_path / "through", tmp_path / "halves"
    assert train(through, "sines", "--epochs", 4).code == 0
    assert train(halves, "sines", "--epochs", 2).code == 0
    resumed = rgan("train", "--resume", "latest", "--epochs", 4, "-q", "--runs", halves)
    assert resumed.code == 0, resumed.err
    assert tensors(through) == tensors(halves)
    out = tmp_path / "s.npy"
    made = rgan("sample", "latest", "-n", 50, "-o", out, "--runs", through)
    assert made.code == 0, made.err
    assert np.load(out).shape == (50, 30, 1) and np.isfinite(np.load(out)).all()


def test_gaps_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    answer = train(tmp_path / "runs", "icu", "--epochs", 1)
    assert answer.code == 2 and "have gaps" in answer.err
    assert "generator.whiten=false" in answer.err
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize("kind", ["torch", "onnx"])
def test_an_export_samples_the_same(tmp_path: Path, kind: str) -> None:
    if kind == "onnx":
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
        pytest.importorskip("onnxscript", reason="the extra export is not installed")
    assert train(tmp_path / "runs", "sines", "--epochs", 1).code == 0
    out = tmp_path / f"g.{'pt2' if kind == 'torch' else 'onnx'}"
    answer = rgan("export", "latest", "--to", kind, "-o", out, "--runs", tmp_path / "runs")
    assert answer.code == 0, answer.err  # the parity check is a part of every export
    assert out.stat().st_size > 10_000
