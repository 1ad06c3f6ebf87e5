"""Contracts of networks, objectives and penalties, over every combination of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from rgan.nets.base import BaseGenerator
from rgan.nets.batch import Batch
from rgan.nets.config import CriticConfig, GeneratorConfig
from rgan.nets.critic import Critic
from rgan.nets.generator import Generator
from rgan.nets.layers import limit_spectral_norm
from rgan.nets.spec import SequenceSpec
from rgan.objectives.config import ObjectiveConfig, PenaltyConfig
from rgan.objectives.losses import OBJECTIVES
from rgan.objectives.penalties import (
    slope_squared,
    slope_squared_by_difference,
)
from rgan.train.build import build_generator, build_networks
from rgan.train.config import OptimizerConfig, TrainConfig
from rgan.train.loop import train
from rgan.train.state import TrainState

SPEC = SequenceSpec(
    steps=7,
    values=3,
    masks=(0, 2),
    statics=(("continuous", 1), ("binary", 1), ("categorical", 3)),
    condition=2,
    classes=2,
    variable_length=True,
    across=3,
)
SMALL = {"hidden": 5, "kernel": 3}
GENERATORS = {
    "lstm": GeneratorConfig(**SMALL, noise_global=3, noise_step=2),
    "gru-uni": GeneratorConfig(**SMALL, cell="gru", bidirectional=False, convs_after=0),
    "stacked-convs": GeneratorConfig(**SMALL, layers=2, convs_before=2, convs_after=2),
    "folded": GeneratorConfig(**SMALL, compress=3, noise_step=0),
    "plain": GeneratorConfig(**SMALL, position=False, noise_global=0, convs_after=0),
    "feedback": GeneratorConfig(**SMALL, feedback=True),
    "feedback-gru": GeneratorConfig(**SMALL, feedback=True, cell="gru", layers=2),
    "planar": GeneratorConfig(**SMALL, planar=True, channels=4, noise_global=3, noise_step=2),
    "planar-plain": GeneratorConfig(
        **SMALL, planar=True, channels=4, compress=1, convs_after=0, noise_global=0, position=False
    ),
}
CRITICS = {
    "pool": CriticConfig(**SMALL, channels=4),
    "sequence": CriticConfig(**SMALL, readout="sequence", convs=0, differences=False),
    "last-gru": CriticConfig(**SMALL, readout="last", cell="gru", channels=4),
    "last-uni": CriticConfig(
        **SMALL, readout="last", bidirectional=False, layers=2, projection=False
    ),
    "folded": CriticConfig(**SMALL, channels=4, compress=2, readout="sequence", position=False),
    "planar": CriticConfig(**SMALL, planar=True, channels=4, compress=4),
    "planar-votes": CriticConfig(
        **SMALL, planar=True, channels=4, readout="sequence", differences=False, convs=0
    ),
    "statistics": CriticConfig(**SMALL, channels=4, batch_statistics=True, spectral_norm=True),
}
PENALTIES = ("none", "r1", "r2", "r1r2", "r1-fd", "r1r2-fd", "gradient-penalty")


def real_batch(n: int = 6, seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([7, 3, 5, 1, 6, 7])[:n]
    valid = (torch.arange(7) < lengths[:, None]).float()[..., None]
    masks = (torch.rand(n, 7, 2, generator=random) > 0.4).float() * valid
    observed = torch.stack([masks[..., 0], valid[..., 0], masks[..., 1]], dim=2)
    values = torch.randn(n, 7, 3, generator=random) * observed
    kinds = torch.eye(3)[torch.randint(0, 3, (n,), generator=random)]
    first = torch.randn(n, 1, generator=random)
    static = torch.cat([first, (first > 0).float(), kinds], 1)
    return Batch(torch.cat([values, masks], 2), static, lengths, torch.eye(2)[lengths % 2])


def scribble_over_hidden(batch: Batch) -> Batch:
    """The same batch with other content wherever nothing is observed."""
    valid = batch.valid[..., None]
    masks = batch.x[..., 3:]
    observed = torch.stack([masks[..., 0], valid[..., 0], masks[..., 1]], dim=2) * valid
    values = torch.where(observed > 0, batch.x[..., :3], torch.full_like(batch.x[..., :3], 7.0))
    masks = torch.where(valid > 0, masks, torch.ones_like(masks))
    return batch.with_content(torch.cat([values, masks], 2), batch.static)


@pytest.mark.parametrize("name", GENERATORS)
class TestGenerator:
    def make(self, name: str) -> tuple[BaseGenerator, Batch]:
        real = real_batch()
        torch.manual_seed(0)
        generator = build_generator(SPEC, GENERATORS[name])
        noise = generator.draw_noise(len(real), torch.Generator().manual_seed(3))
        return generator, generator(noise, real.lengths, real.condition)

    def test_it_makes_a_packed_batch(self, name: str) -> None:
        _, fake = self.make(name)
        assert fake.x.shape == (6, 7, 5)
        assert fake.static.shape == (6, 5)
        masks, kinds = fake.x[..., 3:], fake.static[:, 2:]
        assert set(np.unique(masks.detach().round(decimals=5))) <= {0.0, 1.0}
        assert torch.allclose(kinds.sum(1), torch.ones(6))
        assert set(np.unique(fake.static[:, 1].detach().round(decimals=5))) <= {0.0, 1.0}

    def test_nothing_is_made_where_nothing_is_observed(self, name: str) -> None:
        _, fake = self.make(name)
        valid = fake.valid[..., None]
        assert (fake.x * (1 - valid)).abs().max() == 0
        hidden = 1 - fake.x[..., 3:]
        assert (fake.x[..., [0, 2]] * hidden).abs().max() < 1e-5

    def test_the_same_noise_gives_the_same_sequences(self, name: str) -> None:
        assert torch.equal(self.make(name)[1].x, self.make(name)[1].x)

    def test_conditions_matter(self, name: str) -> None:
        generator, fake = self.make(name)
        noise = generator.draw_noise(6, torch.Generator().manual_seed(3))
        other = generator(noise, fake.lengths, fake.condition.flip(1))
        assert not torch.allclose(other.x, fake.x)


@pytest.mark.parametrize("name", CRITICS)
class TestCritic:
    def test_hidden_content_never_reaches_a_score(self, name: str) -> None:
        torch.manual_seed(0)
        critic, real = Critic(SPEC, CRITICS[name]), real_batch()
        before, after = critic(real), critic(scribble_over_hidden(real))
        assert torch.equal(before.score * before.weight, after.score * after.weight)
        assert torch.equal(before.mean(), after.mean())

    def test_visible_content_does(self, name: str) -> None:
        torch.manual_seed(0)
        critic, real = Critic(SPEC, CRITICS[name]), real_batch()
        moved = real.with_content(real.x * 1.5, real.static)
        assert not torch.allclose(critic(moved).mean(), critic(real).mean())
        other = Batch(real.x, real.static, real.lengths, real.condition.flip(1))
        assert not torch.allclose(critic(other).mean(), critic(real).mean())

    def test_a_vote_past_the_length_has_no_weight(self, name: str) -> None:
        critic, real = Critic(SPEC, CRITICS[name]), real_batch()
        votes = critic(real)
        if votes.score.shape[1] > 1:
            assert votes.weight.sum(1).tolist() == votes.weight.sum(1).round().tolist()
            assert votes.weight[3].sum() == 1  # its length is 1
            assert votes.weight[0].sum() == votes.weight.shape[1]
        assert torch.isfinite(votes.mean()).all()


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("critic", CRITICS)
def test_every_combination_takes_a_step(generator: str, critic: str) -> None:
    """Each objective with each penalty sends a gradient to every parameter, and takes a step that
    leaves all numbers finite. The networks are made once, so each step begins where another ended.
    """
    networks = build_networks(SPEC, GENERATORS[generator], CRITICS[critic], seed=1)
    augment = 0.4 if critic == "pool" else 0.0
    config = TrainConfig(steps=1, batch_size=6, warmup=0, average=0.5, balance=0, augment=augment)
    optimizer = OptimizerConfig(kind="sgd", rate=0.02)
    state = TrainState(*networks, config, (optimizer, optimizer))
    seen: dict[str, float] = {}
    for name in ("generator", "critic"):
        for key, parameter in getattr(state, name).named_parameters():
            parameter.register_post_accumulate_grad_hook(_keep(seen, f"{name}.{key}"))
    wanted = {
        f"{name}.{key}"
        for name in ("generator", "critic")
        for key, _ in getattr(state, name).named_parameters()
    }
    before = {k: v.clone() for k, v in state.tensors()["model"].items()}
    real = real_batch()
    for objective, penalty in itertools.product(OBJECTIVES, PENALTIES):
        what = f"{generator} x {critic} x {objective} x {penalty}"
        seen.clear()
        state.step = 0
        setting = PenaltyConfig(name=penalty, weight=0.02, every=1)
        train(state, real, ObjectiveConfig(name=objective), setting, lambda event: None)
        # Wasserstein and the relativistic pair see only differences of scores: the last bias has a
        # gradient of zero by nature.
        dead = [k for k, size in seen.items() if not size and not k.endswith("head.bias")]
        assert set(seen) == wanted, what
        assert not dead, what
        assert state.is_finite(), what
    after = state.tensors()["model"]
    assert not [k for k in wanted if before[k].equal(after[k])]


def _keep(seen: dict[str, float], key: str) -> Callable[[Tensor], None]:
    def hook(parameter: Tensor) -> None:
        assert parameter.grad is not None
        seen[key] = float(parameter.grad.abs().sum())

    return hook


class TestPenalties:
    def test_exact_slopes_are_the_gradient(self) -> None:
        torch.manual_seed(0)
        critic, real = Critic(SPEC, CRITICS["pool"]), real_batch()
        critic = critic.double()
        real = Batch(real.x.double(), real.static.double(), real.lengths, real.condition.double())
        exact = slope_squared(critic, real)
        step, by_hand = 1e-6, torch.zeros(6, dtype=torch.float64)
        for part in ("x", "static"):
            content = getattr(real, part)
            for index in np.ndindex(*content.shape[1:]):
                moved = content.clone()
                moved[(slice(None), *index)] += step
                other = real.with_content(
                    moved if part == "x" else real.x, moved if part == "static" else real.static
                )
                by_hand += ((critic(other).mean() - critic(real).mean()) / step).detach() ** 2
        assert torch.allclose(exact, by_hand, rtol=1e-3)

    def test_finite_differences_agree_with_exact_slopes(self) -> None:
        torch.manual_seed(0)
        critic, real = Critic(SPEC, CRITICS["pool"]), real_batch()
        draws = 4000
        many = real.take(torch.arange(6).repeat(draws))
        random = torch.Generator().manual_seed(0)
        with torch.no_grad():
            score = critic(many).mean()
            squared = slope_squared_by_difference(critic, many, score, 1e-3, random)
        exact = slope_squared(critic, real).detach()
        # The step is small, as the two differ near the kinks of ReLU and maximum. A squared normal
        # has a deviation of sqrt(2) of its mean: 5 sigma of 4,000 draws are 11 %.
        assert torch.allclose(squared.reshape(draws, 6).mean(0), exact, rtol=0.11)

    def test_hidden_entries_have_no_slope(self) -> None:
        torch.manual_seed(0)
        critic, real = Critic(SPEC, CRITICS["pool"]), real_batch()
        hidden = scribble_over_hidden(real)
        assert torch.allclose(slope_squared(critic, real), slope_squared(critic, hidden))

    def test_spectral_norm_holds_each_gate(self) -> None:
        critic = Critic(SPEC, CRITICS["statistics"])
        for parameter in critic.parameters():
            parameter.data.mul_(20)
        limit_spectral_norm(critic)
        for name, parameter in critic.named_parameters():
            if parameter.ndim > 1:
                gates = 4 if "weight_" in name else 1
                for gate in parameter.chunk(gates):
                    assert torch.linalg.matrix_norm(gate.flatten(1), ord=2) < 1.001, name


def test_rates_of_an_untrained_generator_are_the_data_s() -> None:
    real = real_batch()
    torch.manual_seed(0)
    generator = Generator(SPEC, GENERATORS["lstm"])
    with torch.no_grad():
        generator.head.weight.zero_()
    generator.start(real)
    noise = generator.draw_noise(3000, torch.Generator().manual_seed(0))
    lengths = torch.full((3000,), 7)
    fake = generator(noise, lengths, torch.eye(2)[lengths % 2])
    wanted = real.x[..., 3:].sum((0, 1)) / real.lengths.sum()
    assert torch.allclose(fake.x[..., 3:].mean((0, 1)), wanted, atol=0.02)
