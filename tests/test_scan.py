"""The recurrence that is computed for all steps at once: the same numbers as step by step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rgan.nets.layers import Recurrence
from rgan.nets.scan import Scan, in_chunks, in_turn, scan


def by_hand(keep: Tensor, add: Tensor, backwards: bool) -> Tensor:
    order = list(range(len(keep)))[:: -1 if backwards else 1]
    state, states = torch.zeros_like(add[0]), {}
    for t in order:
        states[t] = state = keep[t] * state + add[t]
    return torch.stack([states[t] for t in range(len(keep))])


def draw(t: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(t)
    keep = torch.rand(t, 3, 2, generator=random, dtype=torch.float64)
    return keep, torch.randn(t, 3, 2, generator=random, dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 16, 17, 99])
def test_both_ways_of_computing_it_are_the_recurrence(steps: int) -> None:
    keep, add = draw(steps)
    for backwards in (False, True):
        assert torch.allclose(scan(keep, add, backwards), by_hand(keep, add, backwards))
    assert torch.allclose(in_turn(keep, add), in_chunks(keep, add))


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_slopes_and_their_slopes_are_exact(steps: int, backwards: bool) -> None:
    keep, add = (x.requires_grad_() for x in draw(steps))
    assert torch.autograd.gradcheck(lambda a, b: scan(a, b, backwards), (keep, add))
    assert torch.autograd.gradgradcheck(lambda a, b: scan(a, b, backwards), (keep, add))


def test_what_is_kept_may_be_nearly_all_or_nothing_for_thousands_of_steps() -> None:
    """A scan by quotients or logarithms of cumulated products would overflow here."""
    random = torch.Generator().manual_seed(0)
    keep = torch.sigmoid(20 * torch.randn(5000, 2, 4, generator=random)).requires_grad_()
    add = torch.randn(5000, 2, 4, generator=random)
    states = scan(keep, (1 - keep) * add)
    wanted = by_hand(keep.detach().double(), ((1 - keep) * add).detach().double(), False)
    assert torch.allclose(states.double(), wanted, atol=1e-4)
    (slope,) = torch.autograd.grad(states[-1].sum(), keep)
    assert torch.isfinite(slope).all()


def test_each_direction_sees_its_side_only() -> None:
    torch.manual_seed(0)
    net, x = Recurrence("scan", 3, 4, 1, True), torch.randn(2, 9, 3)
    moved = x.clone()
    moved[:, 4] += 1
    changed = (net(x) - net(moved)).abs().sum((0, 2)), (net(x) - net(moved)).abs()
    assert (changed[1][:, :4, :4] == 0).all() and (changed[1][:, 5:, 4:] == 0).all()
    assert (changed[0] > 0).all()
    assert net.last(net(x), torch.tensor([9, 4])).shape == (2, 8)


def test_units_begin_with_memories_of_many_lengths() -> None:
    """What came first is still there after a hundred steps, in the slow units."""
    torch.manual_seed(0)
    net, x = Scan(3, 32), torch.zeros(1, 100, 3)
    moved = x.clone()
    moved[:, 0] = 3.0
    left = (net(x)[0] - net(moved)[0]).abs()[0, -1]
    assert left.max() > 1e-3 and left[0] < 1e-8
