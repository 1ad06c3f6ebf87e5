"""How a training is divided into epochs, its learning rates on the way, and means over an epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rgan.train.config import TrainConfig
from rgan.train.events import EpochEnded


@dataclass(frozen=True)
class Plan:
    """How a training is divided.

    Args:
        batch: sequences in a batch.
        batches: batches in an epoch.
        steps: generator updates in an epoch.
        total: the step at which training ends.
        origin: the step, the epoch and the batch from which epochs of this length are counted; not
            all 0 where a resume changed their length.
    """

    batch: int
    batches: int
    steps: int
    total: int
    origin: tuple[int, int, int] = (0, 0, 0)

    def epoch(self, step: int) -> int:
        """Completed epochs at a step."""
        return self.origin[1] + (step - self.origin[0]) // self.steps

    def ends_epoch(self, step: int) -> bool:
        """Whether this step was the last of an epoch."""
        return (step - self.origin[0]) % self.steps == 0

    def place(self, drawn: int) -> int:
        """Which batch in the order of the data comes after so many have been drawn."""
        return self.origin[1] * self.batches + drawn - self.origin[2]


def make_plan(config: TrainConfig, n: int, origin: tuple[int, int, int] = (0, 0, 0)) -> Plan:
    """The plan for n sequences. A last, smaller batch is left out of an epoch; the next epoch has
    another order, so no sequence is left out of the training."""
    batch = min(config.batch_size, n)
    batches = max(1, n // batch)
    steps = max(1, batches // config.critic_steps)
    step, epoch, _ = origin
    epochs = (config.epochs - epoch) if config.epochs else -(-(config.steps - step) // steps)
    return Plan(batch, batches, steps, step + max(0, epochs) * steps, origin)


def rate_factor(step: int, total: int, config: TrainConfig, fresh_from: int = 0) -> float:
    """What the learning rates are multiplied by at a step, between 0 and 1.

    Args:
        step: updates made so far.
        total: the step at which training ends.
        config: warm-up and schedule.
        fresh_from: the step at which the youngest weights began; the warm-up is theirs.
    """
    factor = min(1.0, (step - fresh_from + 1) / config.warmup) if config.warmup else 1.0
    cosine = not config.epochs if config.schedule == "auto" else config.schedule == "cosine"
    if cosine:
        done = min(1.0, step / max(1, total))
        factor *= 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))
    return factor


@dataclass
class Meter:
    """Means over an epoch. What it holds of one that a stop breaks off goes into the checkpoint, so
    that the epoch's line in the history is of the whole epoch.

    Args:
        steps: generator updates so far.
        sums, counts: of each loss.
        seconds: what the epoch has taken before ``since``.
    """

    steps: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    since: float = field(default_factory=time.monotonic)

    def add(self, losses: Mapping[str, float]) -> None:
        """Takes in the losses of a step."""
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def elapsed(self) -> float:
        """Seconds that the epoch has taken in training, not in pauses between segments."""
        return self.seconds + time.monotonic() - self.since if self.steps else 0.0

    def resume(self) -> None:
        """Begin to count seconds again, after a pause."""
        self.since = time.monotonic()

    def pause(self) -> None:
        """Stop counting seconds."""
        self.seconds = self.elapsed()
        self.resume()

    def finish(self, step: int, epoch: int, rates: dict[str, float], seen: int) -> EpochEnded:
        """The epoch's event. ``seen``: real sequences that the critic saw in each step."""
        seconds = self.elapsed()
        means = {name: total / self.counts[name] for name, total in self.sums.items()}
        speed = self.steps * seen / max(seconds, 1e-9)
        return EpochEnded(step, epoch, means, rates, seconds, speed)

    def state(self) -> dict[str, Any]:
        """Plain JSON data."""
        sums, counts = dict(self.sums), dict(self.counts)
        return {"steps": self.steps, "sums": sums, "counts": counts, "seconds": self.elapsed()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Meter:
        """The meter that ``state`` wrote."""
        sums = {str(name): float(value) for name, value in state.get("sums", {}).items()}
        counts = {str(name): int(value) for name, value in state.get("counts", {}).items()}
        return cls(int(state.get("steps", 0)), sums, counts, float(state.get("seconds", 0.0)))
