"""The first step by small normal parts, and the noise that a generator learns to see through."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rgan.nets.opening import EACH, FEWEST, LEAST, MOST, WIDEST, Opening
from rgan.nets.share import Share
from rgan.nets.spread import MOST as MOST_NOISE
from rgan.nets.spread import NOISE, Spread, goes_on


def ring(n: int, seed: int) -> Tensor:
    """(n, 2) on a circle of radius 2, nowhere near a normal distribution."""
    random = torch.Generator().manual_seed(seed)
    angle_N = 2 * math.pi * torch.rand(n, generator=random)
    wide_N = 2 + 0.05 * torch.randn(n, generator=random)
    return torch.stack([wide_N * angle_N.cos(), wide_N * angle_N.sin()], dim=1)


def drawn(opening: Opening, hot_GN: Tensor, features: int, seed: int) -> Tensor:
    random, n = torch.Generator().manual_seed(seed), hot_GN.shape[1]
    chance_N = torch.rand(n, generator=random)
    return opening.draw(hot_GN, chance_N, torch.randn(features, n, generator=random)).T


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_draws_follow_a_crooked_path(seed: int) -> None:
    opening, none = Opening(2, 0), torch.zeros(4000, 0)
    opening.fit(none, ring(4000, seed))
    assert bool(opening.fits)
    assert 0.9 * 4000 / EACH < int(opening.share.isfinite().sum()) <= 4000 // EACH
    radius_N = drawn(opening, none.T, 2, seed).norm(dim=1)
    # parts are chords of 2 pi 2 / 62, whose middles lie .003 within the circle
    assert abs(float(radius_N.mean()) - 2) < 0.02 and float(radius_N.std()) < 0.08
    lost = opening.likelihood(none, ring(4000, seed + 10)).mean()
    best = math.log(2 * math.pi * 2) + math.log(0.05 * math.sqrt(2 * math.pi * math.e))
    assert best - 0.1 < float(lost) < best + 0.15


def test_it_is_a_density_given_each_level_and_draws_from_it() -> None:
    random = torch.Generator().manual_seed(0)
    level_N = torch.rand(4000, generator=random).lt(0.2).long()
    hot_NG = torch.nn.functional.one_hot(level_N, 2).float()
    score_NF = (torch.randn(4000, 1, generator=random) + 3) * (2 * level_N[:, None] - 1)
    opening = Opening(1, 2)
    opening.fit(hot_NG, score_NF)
    grid_R = torch.linspace(-8, 8, 3201)
    for which, sign in ((0, -1), (1, 1)):
        one_RG = torch.nn.functional.one_hot(torch.full((3201,), which), 2).float()
        density_R = (-opening.likelihood(one_RG, grid_R[:, None])).exp()
        assert float(torch.trapezoid(density_R, grid_R)) == pytest.approx(1, abs=0.01)
        values_N = sign * drawn(opening, one_RG.T, 1, which)[:, 0]
        assert float(values_N.mean()) == pytest.approx(3, abs=0.1)
        assert float(values_N.std()) == pytest.approx(1, abs=0.1)
    unknown = drawn(opening, torch.zeros(2, 3201), 1, 2)[:, 0]
    assert float((unknown > 0).float().mean()) == pytest.approx(0.2, abs=0.03)


def test_levels_mixed_with_values_leave_the_values_as_they_are() -> None:
    """Of two levels at each place along the path, one is rare: neither pulls values elsewhere."""
    random = torch.Generator().manual_seed(1)
    score_NF = ring(6000, 3)
    often_N = torch.rand(6000, generator=random) < 0.1 + 0.3 * (score_NF[:, 0] > 0)
    hot_NG = torch.nn.functional.one_hot(often_N.long(), 2).float()
    opening = Opening(2, 2)
    opening.fit(hot_NG, score_NF)
    made_NF = drawn(opening, hot_NG.T, 2, 4)
    for level in (often_N, ~often_N):
        assert torch.allclose(made_NF[level].mean(0), score_NF[level].mean(0), atol=0.12)


def test_what_a_few_sequences_have_alone_is_left_out() -> None:
    few = torch.tensor([[9.0, 9.0]]) + 0.1 * ring(LEAST - 4, 8)
    opening = Opening(2, 0)
    opening.fit(torch.zeros(2000, 0), torch.cat([ring(2000 - len(few), 0), few]))
    assert bool(opening.fits)
    made_NF = drawn(opening, torch.zeros(0, 20_000), 2, 1)  # 120 of them would be there
    assert float(made_NF.max()) < 5


def test_the_last_of_chances_still_finds_a_part_of_the_data() -> None:
    """Shares are added up in 32 bits, and may end below 1."""
    opening = Opening(2, 0)
    opening.fit(torch.zeros(2000, 0), ring(2000, 0) + 50)
    chance_N = 1 - torch.tensor([0.0, 1e-7, 2e-7, 1e-6])
    made_FN = opening.draw(torch.zeros(0, 4), chance_N, torch.zeros(2, 4))
    assert float(made_FN.min()) > 40


def test_few_sequences_have_no_parts_and_many_numbers_no_room() -> None:
    opening = Opening(2, 0)
    opening.fit(torch.zeros(EACH * FEWEST - 1, 0), ring(EACH * FEWEST - 1, 0))
    assert not bool(opening.fits)
    assert Opening.suits(WIDEST) and not Opening.suits(WIDEST + 1) and not Opening.suits(0)
    assert len(Opening(4, 0).share) == MOST


def test_noise_is_little_beside_changes_and_leaves_lattices_and_levels_alone() -> None:
    random = torch.Generator().manual_seed(0)
    steps_NTF = torch.randn(400, 20, 4, generator=random)
    values_NTF = steps_NTF.cumsum(1) + 20 * torch.randn(400, 1, 4, generator=random)
    values_NTF[..., 1] = values_NTF[..., 1].round()
    values_NTF[..., 3] = steps_NTF[..., 3]  # changes wildly: limited by how far it goes at all
    seen = torch.ones_like(values_NTF) > 0
    step_F, exact_J = torch.tensor([0.0, 1.0, 0.0, 0.0]), torch.tensor([2])
    spread = Spread(4)
    spread.fit(values_NTF, seen, torch.ones(4) > 0, step_F, exact_J)
    want_F = torch.tensor([NOISE, 0.0, 0.0, MOST_NOISE])
    assert torch.allclose(spread.wide, want_F, rtol=0.05)
    read_NTF, target_NTF = spread(values_NTF, step_F, random)
    apart_NTF = read_NTF - values_NTF
    assert torch.equal(read_NTF[..., 1:3], values_NTF[..., 1:3])
    assert float(apart_NTF[..., 0].std()) == pytest.approx(NOISE, rel=0.05)
    moved_NT = (target_NTF - read_NTF)[..., 1]
    assert 0.49 < float(moved_NT.abs().max()) <= 0.5
    assert torch.equal(target_NTF[..., 0], read_NTF[..., 0])


def test_what_moves_on_its_own_gets_no_noise() -> None:
    random = torch.Generator().manual_seed(0)
    walk_NT = torch.randn(400, 24, generator=random).cumsum(1)
    wave_NT = torch.sin(0.5 * torch.arange(24) + 6 * torch.rand(400, 1, generator=random))
    rests_NT = walk_NT[:, ::6].repeat_interleave(6, 1)  # then leaps
    hour_NT1, next_NT1 = walk_NT[:, :4, None], walk_NT[:, 1:5, None]
    line_NT = torch.lerp(hour_NT1, next_NT1, torch.arange(6) / 6).flatten(1)
    price_NT = (walk_NT / 20).exp()
    features = [walk_NT, wave_NT, rests_NT, line_NT, price_NT, torch.ones_like(walk_NT)]
    values_NTF = torch.stack(features, 2)
    on_F = goes_on(values_NTF, torch.ones_like(values_NTF) > 0)
    assert on_F.tolist() == [False, True, True, True, False, True]
    seen_NTF = torch.rand(values_NTF.shape, generator=random) < 0.9  # gaps change nothing
    assert goes_on(values_NTF, seen_NTF).tolist() == on_F.tolist()


def test_processes_share_the_noise_of_one() -> None:
    values_NTF = torch.randn(6, 5, 2, generator=torch.Generator().manual_seed(0)).cumsum(1)
    spread, step_F = Spread(2), torch.tensor([0.0, 0.5])
    seen_NTF, none = torch.ones_like(values_NTF) > 0, torch.tensor([], dtype=torch.long)
    spread.fit(values_NTF, seen_NTF, torch.ones(2) > 0, step_F, none)
    whole = spread(values_NTF, step_F, torch.Generator().manual_seed(1))
    shares = Share(0, 4, 6), Share(4, 6, 6)
    parts = [
        spread(values_NTF[s.start : s.stop], step_F, torch.Generator().manual_seed(1), s)
        for s in shares
    ]
    for one, others in zip(whole, zip(*parts, strict=True), strict=True):
        assert torch.equal(one, torch.cat(others))
