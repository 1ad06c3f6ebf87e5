"""The configuration section ``evaluate``."""

from __future__ import annotations

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from rgan.errors import ConfigError

LEAST = 4  # sequences of a set, below which nothing can be judged


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class EvaluateConfig:
    """How a generator is judged. Checked in full by ``check``."""

    metrics: tuple[str, ...] = ("all",)
    """Which metrics, by name; "all" is every one."""
    repeats: int = Field(default=3, ge=1)
    """How many times each is computed, with new draws; the spread is over these."""
    size: int = Field(default=0, ge=0)
    """Most sequences used of each set; 0: up to 2,000 (1,000 where quick)."""
    times: int = Field(default=1, ge=1, le=20)
    """Synthetic sequences that TSTR learns from for each real one that TRTR does: they cost nothing
    but time, and draw by draw average out what one draw happens to hold."""
    quick: bool = False
    """Fewer training steps, for a first look; legacy scores are then not the published protocol."""
    seed: int = Field(default=0, ge=0)
    """Of every draw and every initial weight."""

    def check(self) -> None:
        """Refuse what cannot be run.

        Raises:
            ConfigError: a metric is not known, or the size is too small to judge.
        """
        from rgan.evaluate.trial import choose  # which needs numpy

        choose(self.metrics)
        if 0 < self.size < LEAST:
            raise ConfigError(
                f"evaluate.size is {self.size}",
                rule=f"0 for the usual, or at least {LEAST} sequences",
                repair="--set evaluate.size=0",
            )
