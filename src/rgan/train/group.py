"""What the loop sees of other processes that train with this one: a group, of one at least.

Process 0 leads. It alone reads data and writes a run, decides how many critic updates come next and
at which rates, and tells the others before each update (``Order``). The others hold the same
networks and optimisers, add their gradients, and know nothing else. ``distributed`` has the group
of several.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from rgan.errors import ConfigError
from rgan.nets.batch import Batch
from rgan.nets.share import Share


@dataclass(frozen=True)
class Launch:
    """What a launcher such as torchrun says in the environment.

    Args:
        rank: which process this is of all, from 0.
        size: how many there are on all machines.
        local_rank, local_size: the same on this machine.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int


def launched() -> Launch | None:
    """How this process was launched; None where it was started by itself."""
    words = [
        os.environ.get(n, "") for n in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    ]
    if "MASTER_ADDR" not in os.environ or not all(word.isdigit() for word in words):
        return None
    launch = Launch(*map(int, words))
    return launch if launch.size > 1 else None


def check_batch(whole: int, size: int) -> None:
    """Refuse a batch that is smaller than the group.

    Raises:
        ConfigError: says how large it has to be.
    """
    if whole < size:
        raise ConfigError(
            f"a batch has {whole} sequences, and {size} processes are to share it",
            rule="each process has at least one sequence of every batch",
            repair=f"--batch-size {size}, or fewer devices",
        )


@dataclass(frozen=True)
class Order:
    """What comes next: an update, as process 0 has decided on it.

    Args:
        step: generator updates made so far, which must be the same everywhere.
        critic_steps: critic updates.
        rates: learning rates of generator and critic.
        examined: whether the batch is to be gathered, to be measured.
    """

    step: int
    critic_steps: int
    rates: tuple[float, float]
    examined: bool = False


class Group:
    """A process alone: everything is whole already.

    Attributes:
        rank: which process this is.
        size: how many there are.
        is_broken: whether this process left an update in the middle, so that the others cannot be
            told anything any more.
        total: adds a tensor up over all processes, with its gradient; None where there is but one.
    """

    rank, size = 0, 1
    is_broken = False
    total: Callable[[Tensor], Tensor] | None = None

    def share(self, whole: int) -> Share | None:
        """The part of a batch that is worked on here; None where it is all of it."""
        return None

    def add_up(self, network: nn.Module, beside: Tensor) -> Tensor:
        """Add up a network's gradients over all processes, in place, and a few numbers."""
        return beside

    def gathered(self, part: Batch, share: Share | None) -> Batch:
        """The whole batch from all processes' parts."""
        return part

    @contextlib.contextmanager
    def update(self, order: Order) -> Iterator[None]:
        """One update, made by all processes together; called by process 0."""
        yield

    def halt(self) -> None:
        """No update follows for now; called by process 0."""

    def order(self) -> Order | None:
        """Wait for what comes next; None where no update does. For all but process 0."""
        return None

    def send(self, message: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> None:
        """Tell all others something, JSON data and tensors; called by process 0."""

    def explained(self, error: Exception) -> Exception:
        """The error as it is to be told."""
        return error


ALONE = Group()
