"""Settings of the objectives and penalties."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

ObjectiveName = Literal[
    "bce", "saturating", "hinge", "least-squares", "wasserstein", "relativistic", "likelihood"
]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ObjectiveConfig:
    """Section ``[objective]``: what critic and generator minimise."""

    name: ObjectiveName = "relativistic"
    """bce (non-saturating generator), saturating (the minimax generator of the first GAN), hinge,
    least-squares, wasserstein, or relativistic (pairing). likelihood, for ``generator.feedback``
    alone: the generator learns how likely each step of the data is, and the critic rests."""
    smooth_real: float = Field(default=0.0, ge=0.0, lt=0.5)
    """One-sided label smoothing: how far below 1 the critic's target for real sequences is; for bce
    and least-squares."""


PenaltyName = Literal["none", "r1", "r2", "r1r2", "r1-fd", "r1r2-fd", "gradient-penalty"]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PenaltyConfig:
    """Section ``[penalty]``: what keeps the critic smooth."""

    name: PenaltyName = "r1r2-fd"
    """none; r1 (slope on real sequences), r2 (on generated ones) or both, exact or by finite
    differences (-fd, which needs no second derivative); gradient-penalty (slope 1 in between)."""
    weight: float = Field(default=0.0375, ge=0.0)
    """Weight of the penalty. For r1 and r2 the loss takes half of the squared slope times this
    weight times the square root of the numbers in a sequence (steps times channels): a longer
    sequence gives a critic more to learn by heart, and needs a firmer hand."""
    step: float = Field(default=0.05, gt=0.0)
    """Standard deviation of the finite difference's probe, in scaled units."""
    every: int = Field(default=2, ge=1)
    """Apply it only at each n-th update, with n times the weight (lazy, Karras et al. 2020)."""
