"""What the training loop tells its listeners.

A listener is any callable that takes an event. Events hold plain numbers; ``as_dict`` gives the
line that goes into ``history.jsonl``. Times are in seconds, rates in sequences per second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Event:
    """Base of all events. ``step`` counts generator updates from 0, ``epoch`` completed passes."""

    kind: ClassVar[str] = "event"
    step: int
    epoch: int

    def as_dict(self) -> dict[str, Any]:
        """``{"event": kind, ...}`` with every field, ready for JSON."""
        return {"event": self.kind, **asdict(self)}


@dataclass(frozen=True)
class Started(Event):
    """Training begins, or goes on after a resume.

    Args:
        total_steps: the step at which training will end.
        steps_per_epoch: generator updates in one pass over the data.
        sequences: number of training sequences.
        parameters: trainable parameters by network, {"generator": ..., "critic": ...}.
        device: where it runs.
    """

    kind: ClassVar[str] = "started"
    total_steps: int = 0
    steps_per_epoch: int = 1
    sequences: int = 0
    parameters: dict[str, int] = field(default_factory=dict)
    device: str = "cpu"


@dataclass(frozen=True)
class Stepped(Event):
    """A generator update has been made. Emitted for every step, so listeners must be quick.

    Args:
        losses: "generator", "critic", and each penalty by name.
        rates: learning rates by network.
    """

    kind: ClassVar[str] = "step"
    losses: dict[str, float] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class EpochEnded(Event):
    """A pass over the data is complete.

    Args:
        losses: means over the epoch.
        rates: learning rates at its end.
        seconds: what the epoch took.
        sequences_per_second: real sequences the critic saw, a second.
    """

    kind: ClassVar[str] = "epoch"
    losses: dict[str, float] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    sequences_per_second: float = 0.0


@dataclass(frozen=True)
class Ended(Event):
    """Training is over.

    Args:
        status: "finished", "interrupted" or "failed".
        reason: why, in a sentence, where it was not simply finished.
        seconds: what this segment of training took.
    """

    kind: ClassVar[str] = "ended"
    status: str = "finished"
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Noted(Event):
    """Something that a user should know has been seen or done.

    Args:
        text: a sentence.
    """

    kind: ClassVar[str] = "note"
    text: str = ""


@dataclass(frozen=True)
class Examined(Event):
    """The training has been examined; see ``vitals.Vitals`` for the fields."""

    kind: ClassVar[str] = "health"
    losses: dict[str, float] = field(default_factory=dict)
    gradient: dict[str, float] = field(default_factory=dict)
    update: dict[str, float] = field(default_factory=dict)
    weight: dict[str, float] = field(default_factory=dict)
    dead: dict[str, float] = field(default_factory=dict)
    accuracy: float = 0.5
    margin: float = 0.0
    logit: float = 0.0
    diversity: float = 1.0
    twins: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Networks only, four digits: a history holds hundreds of these."""

        def short(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: short(one) for key, one in value.items() if "." not in key}
            return float(f"{value:.4g}") if isinstance(value, float) else value

        return {key: short(value) for key, value in super().as_dict().items()}


@dataclass(frozen=True)
class Judged(Event):
    """Samples have been compared with held-out real sequences.

    Args:
        values: by metric.
        metric: the one that chooses.
        value: of that one; None where it could not be computed.
        best: whether it is the best so far.
        seconds: what it took.
    """

    kind: ClassVar[str] = "similarity"
    values: dict[str, float] = field(default_factory=dict)
    metric: str = "overall"
    value: float | None = None
    best: bool = False
    seconds: float = 0.0


Listener = Callable[[Event], None]
