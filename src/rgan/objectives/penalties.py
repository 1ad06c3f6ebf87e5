"""Penalties on the critic's slope: pure functions of critic and batch.

All are means over sequences of squared gradient norms of a sequence's score, so that one weight
means the same in the exact and in the finite-difference form. Masks and lengths are respected: the
critic sets what is not observed to zero, so its gradient there is zero too.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rgan.nets.batch import Batch, join
from rgan.nets.critic import Critic, Votes
from rgan.nets.layers import double_backward
from rgan.nets.share import Share, drawn
from rgan.objectives.config import PenaltyConfig

CriticFunction = Callable[[Batch, int], Votes]


def slope_squared(critic: CriticFunction, batch: Batch, groups: int = 1) -> Tensor:
    """(N,): squared norm of the gradient of each sequence's score in its content, exactly.

    R1 on real sequences: Mescheder et al. 2018 (arXiv 1801.04406), eq. 9; R2 on generated ones.
    """
    x, static = batch.x.detach().requires_grad_(), batch.static.detach().requires_grad_()
    with double_backward():
        score = critic(batch.with_content(x, static), groups).mean()
        wanted = [x, static] if static.shape[1] else [x]
        slopes = torch.autograd.grad(score.sum(), wanted, create_graph=True)
        return torch.stack([slope.flatten(1).square().sum(1) for slope in slopes]).sum(0)


def slope_squared_by_difference(
    critic: CriticFunction,
    batch: Batch,
    score_N: Tensor,
    step: float,
    random: torch.Generator,
    groups: int = 1,
    share: Share | None = None,
) -> Tensor:
    """(N,): an estimate of ``slope_squared`` from one more pass, (D(x + e) - D(x))² / step².

    With e normal of deviation ``step`` its mean is the squared slope, up to terms of order step².
    No second derivative, so every recurrent kernel serves.

    Args:
        score_N: the critic's scores of ``batch`` itself, with their history.
        share: which sequences of a larger batch these are; the probes are those of its rows.
    """

    def noise(content: Tensor) -> Tensor:
        return step * drawn("normal", content.shape, random, share, groups)

    by_NTD = noise(batch.x)
    x_NTD = batch.x.detach()
    x_NTD = critic.moved(x_NTD, by_NTD) if isinstance(critic, Critic) else x_NTD + by_NTD
    static_NS = batch.static.detach() + noise(batch.static)
    moved = critic(batch.with_content(x_NTD, static_NS), groups).mean()
    return ((moved - score_N) / step).square()


def gradient_penalty(
    critic: CriticFunction,
    real: Batch,
    fake: Batch,
    random: torch.Generator,
    share: Share | None = None,
) -> Tensor:
    """Mean of (slope - 1)² between real and generated (Gulrajani et al. 2017, arXiv 1704.00028).

    A point between two sequences has the real one's length and condition.
    """
    mix = drawn("uniform", torch.Size((len(real), 1, 1)), random, share)
    between = real.with_content(
        real.x + mix * (fake.x.detach() - real.x),
        real.static + mix[:, :, 0] * (fake.static.detach() - real.static),
    )
    slope = (slope_squared(critic, between) + 1e-12).sqrt()
    return (slope - 1).square().mean()


def penalty(
    config: PenaltyConfig,
    critic: CriticFunction,
    real: Batch,
    fake: Batch,
    scores: tuple[Tensor, Tensor] | None,
    random: torch.Generator,
    share: Share | None = None,
) -> Tensor:
    """The weighted penalty that the critic's loss takes, one number.

    Args:
        scores: (N,) scores of real and of fake with their history, for the difference forms; None
            where the critic has judged them in a precision too coarse for a difference.
        share: which sequences of a larger batch these are.
    """
    if config.name == "none" or config.weight == 0:
        return real.x.new_zeros(())
    weight = config.weight * config.every
    if config.name == "gradient-penalty":
        return weight * gradient_penalty(critic, real, fake, random, share)
    parts = {"r1": [0], "r2": [1], "r1r2": [0, 1]}[config.name.removesuffix("-fd")]
    batches = [(real, fake)[i].detach() for i in parts]
    batch, groups = join(batches), len(batches)
    if config.name.endswith("-fd"):
        if scores is None:
            score_N = critic(batch, groups).mean()
        else:
            score_N = torch.cat([scores[i] for i in parts])
        squared = slope_squared_by_difference(
            critic, batch, score_N, config.step, random, groups, share
        )
    else:
        squared = slope_squared(critic, batch, groups)
    # Mean over the batch times the number of parts: R1 and R2 each count in full.
    size = real.x.shape[1] * real.x.shape[2]
    return 0.5 * weight * math.sqrt(size) * squared.mean() * groups
