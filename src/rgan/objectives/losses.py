"""Adversarial objectives: pure functions of critic scores, element by element.

Each takes scores of real and of generated sequences of one shape (N, V), high = real, unbounded,
and gives losses of that shape; the caller weighs and averages them. So per-step votes (Esteban et
al. 2017, section 3: the mean over the steps of each step's cross-entropy) and one vote a sequence
are one code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu, softplus

from rgan.objectives.config import ObjectiveName


@dataclass(frozen=True)
class Objective:
    """A pair of losses.

    Args:
        critic: (real_NV, fake_NV, smooth) to losses (N, V) that the critic minimises.
        generator: (real_NV, fake_NV) to losses (N, V) that the generator minimises.
        ideal: losses of critic and generator where the critic cannot tell real from generated.
        border: the score between real and generated; None where only differences count.
        needs_real: whether the generator's loss depends on the real scores.
    """

    critic: Callable[[Tensor, Tensor, float], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    ideal: tuple[float, float]
    border: float | None = 0.0
    needs_real: bool = False


def _bce_critic(real: Tensor, fake: Tensor, smooth: float) -> Tensor:
    # Cross-entropy with the target 1 - smooth for real: softplus(r) - (1 - smooth) r.
    return softplus(real) - (1 - smooth) * real + softplus(fake)


def _bce_generator(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-fake)


def _saturating_generator(real: Tensor, fake: Tensor) -> Tensor:
    return -softplus(fake)


def _hinge_critic(real: Tensor, fake: Tensor, smooth: float) -> Tensor:
    return relu(1 - real) + relu(1 + fake)


def _least_squares_critic(real: Tensor, fake: Tensor, smooth: float) -> Tensor:
    return (real - (1 - smooth)) ** 2 + fake**2


def _least_squares_generator(real: Tensor, fake: Tensor) -> Tensor:
    return (fake - 1) ** 2


def _wasserstein_critic(real: Tensor, fake: Tensor, smooth: float) -> Tensor:
    return fake - real


def _linear_generator(real: Tensor, fake: Tensor) -> Tensor:
    return -fake


def _relativistic_critic(real: Tensor, fake: Tensor, smooth: float) -> Tensor:
    return softplus(fake - real)


def _relativistic_generator(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(real - fake)


OBJECTIVES: dict[ObjectiveName, Objective] = {
    # Goodfellow et al. 2014 (arXiv 1406.2661), section 3, with the generator that does not saturate
    "bce": Objective(_bce_critic, _bce_generator, (math.log(4), math.log(2))),
    # the same paper's minimax game
    "saturating": Objective(_bce_critic, _saturating_generator, (math.log(4), -math.log(2))),
    # Lim & Ye 2017 (arXiv 1705.02894)
    "hinge": Objective(_hinge_critic, _linear_generator, (2.0, 0.0)),
    # Mao et al. 2017 (arXiv 1611.04076), a=0, b=c=1
    "least-squares": Objective(
        _least_squares_critic, _least_squares_generator, (0.5, 0.25), border=0.5
    ),
    # Arjovsky et al. 2017 (arXiv 1701.07875)
    "wasserstein": Objective(_wasserstein_critic, _linear_generator, (0.0, 0.0), border=None),
    # Jolicoeur-Martineau 2018 (arXiv 1807.00734), in the pairing form of Huang et al. 2024 (R3GAN)
    "relativistic": Objective(
        _relativistic_critic,
        _relativistic_generator,
        (math.log(2), math.log(2)),
        border=None,
        needs_real=True,
    ),
}


def weighted_mean(loss_NV: Tensor, weight_NV: Tensor) -> Tensor:
    """One number: each sequence's weighted mean over its votes, averaged over the sequences.

    A sequence counts the same whatever its length.
    """
    per_sequence = (loss_NV * weight_NV).sum(1) / weight_NV.sum(1).clamp(min=1.0)
    return per_sequence.mean()
