"""Settings of the looks at similarity while training, and of early stopping."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid")
MonitorMetric = Literal[
    "overall",
    "mmd2",
    "marginal_w1",
    "autocorrelation",
    "discriminative",
    "tstr",
    "image_distance",
    "likelihood",
]


@dataclass(frozen=True, config=_STRICT)
class MonitorConfig:
    """Section ``[monitor]``: samples held against the validation split while training."""

    looks: int = Field(default=20, ge=0)
    """About how many looks over the training, at epochs' ends; 0: none."""
    every: int = Field(default=0, ge=0)
    """Epochs between two looks; 0: as ``looks`` has it."""
    budget: float = Field(default=0.04, ge=0.0, le=1.0)
    """The most that looks may take, as a share of the training's time so far; a look that would
    take more is put off. 0: no limit. By the clock; of ``likelihood`` by sequences."""
    size: int = Field(default=300, ge=20, le=2000)
    """Most sequences of each side in a look."""
    metric: MonitorMetric = "overall"
    """By which the best checkpoint is chosen, and by which training stops: overall is all
    distances together, each held against what real training sequences would have; likelihood, for
    ``generator.feedback``, is minus the mean logarithm of a step's, and all of a look."""


@dataclass(frozen=True, config=_STRICT)
class StoppingConfig:
    """Section ``[stopping]``: when a training ends before its time. All rules are off at first."""

    patience: int = Field(default=0, ge=0)
    """Looks in a row without a better ``monitor.metric``, after which training stops; 0: off."""
    margin: float = Field(default=0.01, ge=0.0, lt=1.0)
    """What counts as better for patience: by this share of the way from the first look to the
    best."""
    loss_ratio: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """How many times larger than the other one network's mean loss may be in three epochs in a row;
    0: off. For objectives whose losses are above zero."""
    divergence: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    """How far the smoothed metric may get worse over ``window`` looks, as a share of the way from
    the first look to the best; 0: off."""
    plateau: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Stop where the smoothed metric changes by less than this share over ``window`` looks; 0:
    off."""
    window: int = Field(default=6, ge=3)
    """Looks through which the smoothing line is laid."""
