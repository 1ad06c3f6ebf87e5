"""Settings of the networks."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Cell = Literal["lstm", "gru"]
Readout = Literal["sequence", "last", "pool"]
MOST_LAYERS, MOST_UNITS = 100, 2**16
"""Beyond what any machine trains; a stranger's configuration must not ask for a day of building."""
_STRICT = ConfigDict(extra="forbid")


@dataclass(frozen=True, config=_STRICT)
class GeneratorConfig:
    """Section ``[generator]``: noise and condition in, a packed sequence out."""

    cell: Cell = "lstm"
    """Recurrent cell: lstm or gru."""
    hidden: int = Field(default=64, ge=1, le=MOST_UNITS)
    """Units of each recurrent layer and direction."""
    layers: int = Field(default=1, ge=1, le=MOST_LAYERS)
    """Recurrent layers on top of each other."""
    bidirectional: bool = True
    """Whether each layer also reads the noise backwards in time."""
    compress: int = Field(default=0, ge=0)
    """How many steps one step of the recurrence stands for; it is decoded to single steps before
    ``convs_after``. 1: none; 0: so many that the recurrence has 16 to 31 steps."""
    convs_before: int = Field(default=0, ge=0, le=MOST_LAYERS)
    """Convolutions over time between the noise and the recurrence."""
    convs_after: int = Field(default=1, ge=0, le=MOST_LAYERS)
    """Convolutions over time between the recurrence and the output."""
    kernel: int = Field(default=5, ge=1, le=MOST_UNITS)
    """Width of the convolutions in steps; odd."""
    noise_global: int = Field(default=32, ge=0, le=MOST_UNITS)
    """Size of the noise vector that a whole sequence shares."""
    noise_step: int = Field(default=8, ge=0, le=MOST_UNITS)
    """Size of the noise vector of each step."""
    position: bool = True
    """Whether each step is told where it stands in the sequence."""
    planar: bool = False
    """For images read by rows or columns: the recurrence makes lines of a coarser picture, which
    convolutions over both axes bring to full size (docs/images.md). ``compress`` is 1, 2, 4, ...
    then, or 0 for so many that 5 to 9 lines are left; ``convs_after`` are on the coarse picture;
    ``convs_before`` and ``kernel`` have no part."""
    channels: int = Field(default=64, ge=1, le=MOST_UNITS)
    """With ``planar``: channels of the coarse picture; half as many at each stage up to 16."""
    feedback: bool = False
    """Whether each step is made from those before it, which the recurrence reads back, so that the
    likelihood of data is known (docs/training.md); without convolutions, folds and whitening."""
    dropout: float = Field(default=0.5, ge=0.0, lt=1.0)
    """With ``feedback``: the share of units left out at random while likelihood is learnt, of what
    the recurrence reads, of its states, and of the head that draws values."""
    whiten: bool = False
    """Whether it makes innovations, which a fixed change of coordinates makes values of: for series
    without gaps whose neighbouring values nearly agree (docs/training.md)."""


@dataclass(frozen=True, config=_STRICT)
class CriticConfig:
    """Section ``[critic]``: a packed sequence and its condition in, votes out."""

    cell: Cell = "lstm"
    """Recurrent cell: lstm or gru."""
    hidden: int = Field(default=48, ge=1, le=MOST_UNITS)
    """Units of each recurrent layer and direction."""
    layers: int = Field(default=1, ge=1, le=MOST_LAYERS)
    """Recurrent layers on top of each other."""
    bidirectional: bool = True
    """Whether each layer also reads the sequence backwards."""
    compress: int = Field(default=0, ge=0)
    """How many steps are folded into one before the recurrence. 1: none; 0: so
    many that the recurrence has 16 to 31 steps."""
    convs: int = Field(default=1, ge=0, le=MOST_LAYERS)
    """Convolutions over time before the recurrence."""
    channels: int = Field(default=48, ge=1, le=MOST_UNITS)
    """Channels of those convolutions; with ``planar`` those of the coarse picture."""
    kernel: int = Field(default=5, ge=1, le=MOST_UNITS)
    """Width of the convolutions in steps; odd."""
    differences: bool = True
    """Whether the critic also sees the first differences between observed neighbours."""
    readout: Readout = "pool"
    """One vote at every step (sequence), one from the last state (last), or one from the mean and
    maximum over the steps (pool)."""
    projection: bool = True
    """Whether the condition also enters by an inner product with the state (projection critic,
    Miyato & Koyama 2018), beside being part of the input."""
    position: bool = True
    """Whether each step is told where it stands in the sequence."""
    planar: bool = False
    """For images read by rows or columns: convolutions over both axes, and a recurrence over lines
    of the coarser picture that they leave; ``compress`` as in ``[generator]``, ``convs`` are on the
    coarse picture, and ``kernel`` has no part."""
    batch_statistics: bool = False
    """Whether the critic sees the spread within the batch (against collapse, Karras et al. 2018,
    section 3). The spread is taken over real and over generated sequences apart."""
    whiten: bool = False
    """Whether the critic also sees innovations, and differences in their own deviations; and is
    kept smooth in innovations instead of values (docs/training.md)."""
    spectral_norm: bool = False
    """Whether each weight matrix's largest singular value is held at 1 or below after every update
    (Miyato et al. 2018, by projection, so that it fits recurrent weights too)."""
