"""Changes through which a critic sees all sequences: what they keep and move."""

from __future__ import annotations

import pytest
import torch

from rgan.nets.batch import Batch
from rgan.nets.critic import Critic
from rgan.nets.share import cut
from rgan.train.augment import augment
from rgan.train.config import TrainConfig
from test_networks import CRITICS, SPEC, real_batch, scribble_over_hidden


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def many(n: int = 600) -> Batch:
    return real_batch().take(torch.arange(n) % 6)


def test_masks_and_lengths_are_kept() -> None:
    before = many()
    after = augment(before, SPEC, 0.7, random())
    masks = after.x[..., 3:]
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert (after.x * (1 - after.valid[..., None])).abs().max() == 0
    assert (after.x[..., [0, 2]] * (1 - masks)).abs().max() == 0
    assert (masks.sum((1, 2)) <= before.x[..., 3:].sum((1, 2))).all()
    assert torch.equal(after.static, before.static) and after.lengths is before.lengths


def test_each_change_is_made_as_often_as_asked() -> None:
    before, n = many(6000), 6000
    before = before.take(torch.arange(n)[before.lengths == 7])
    for probability in (0.2, 0.6):
        after = augment(before, SPEC, probability, random())
        same = (after.x == before.x).all(2).all(1).float().mean()
        # a shift or a block of no step changes nothing, so more stay as they are
        assert (1 - probability) ** 4 - 0.03 < same < (1 - probability) ** 2 + 0.03
    assert augment(before, SPEC, 0.0, random()) is before


def test_hidden_content_still_never_reaches_a_score() -> None:
    torch.manual_seed(0)
    critic, real = Critic(SPEC, CRITICS["pool"]), real_batch()
    one, other = (
        critic(augment(batch, SPEC, 0.8, random()))
        for batch in (real, _as_made(scribble_over_hidden(real)))
    )
    assert torch.equal(one.score, other.score)


def _as_made(batch: Batch) -> Batch:
    """As generators and packing give it: zero where nothing is observed."""
    valid, masks = batch.valid[..., None], batch.x[..., 3:] * batch.valid[..., None]
    seen = torch.stack([masks[..., 0], valid[..., 0], masks[..., 1]], 2)
    return batch.with_content(torch.cat([batch.x[..., :3] * seen, masks], 2), batch.static)


def test_a_shift_only_moves() -> None:
    real = many()
    real = real.take(torch.arange(600)[real.lengths == 7])
    x = torch.arange(7.0)[None, :, None].expand(len(real), -1, 5).clone()
    x[..., 3:] = 1
    moved = augment(real.with_content(x, real.static), SPEC, 0.8, random()).x[..., 1]
    ups = torch.diff(moved, dim=1).sign().sum(1)
    assert set(ups.tolist()) == {6.0, 4.0}, "rising, but for where it comes in again"


def test_slopes_reach_the_generator() -> None:
    real = real_batch()
    x = real.x.clone().requires_grad_()
    augment(real.with_content(x, real.static), SPEC, 0.8, random()).x.sum().backward()
    assert x.grad is not None and bool((x.grad[..., :3].abs().sum((1, 2)) > 0).all())


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_of_a_batch_change_as_the_whole(parts: int) -> None:
    both = many(12)
    whole = augment(both, SPEC, 0.6, random(), None, 2).x.unflatten(0, (2, 6))
    for share in cut(6, parts):
        rows = torch.arange(share.start, share.stop)
        part = both.take(torch.cat([rows, rows + 6]))
        mine = augment(part, SPEC, 0.6, random(), share, 2).x.unflatten(0, (2, len(share)))
        assert torch.equal(mine, whole[:, share.start : share.stop])


def test_a_probability_that_would_leak_is_refused() -> None:
    with pytest.raises(ValueError, match="augment"):
        TrainConfig(augment=0.9)
