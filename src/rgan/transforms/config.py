"""Settings of the scaling."""

from __future__ import annotations

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

AUTO = "auto"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class TransformConfig:
    """How values are scaled for the networks, and what is done to generated ones."""

    scale: tuple[str, ...] = (AUTO,)
    """Transforms in order: zscore, minmax, symmetric, local-max, differences, pixels, none.
    auto: pixels for images, zscore for everything else."""

    clip: bool = True
    """Whether generated values are limited to the range of the training data."""

    round: bool = True
    """Whether generated values are rounded to as many decimals as the training data has."""
