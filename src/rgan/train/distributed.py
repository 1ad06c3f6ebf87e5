"""Several processes that train one model: each on its share of every batch, all with one result.

Losses are means over the whole batch, so what one process contributes is weighted by its share, and
gradients are added up.

Shape letters: N sequences of the whole batch, n of one process's part.
"""

from __future__ import annotations

import contextlib
import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor, nn

from rgan.nets.batch import Batch
from rgan.nets.share import Share, cut
from rgan.train.group import Group, Order, check_batch

PATIENCE = timedelta(minutes=30)
"""How long one waits for another. The longest that all wait for is a look at similarity, or a slow
disk; a process that ends is noticed at once."""
CHUNK = 2**26
"""Bytes that travel in one message."""
WORD = 512
"""Bytes of what a process says to all."""


class Processes(Group):
    """This process among others, once all have met.

    Args:
        store: where they met.
        rank: which one this is.
        size: how many there are.
        device: what this one trains on; on GPUs gradients are added up by NCCL, else by gloo.
        explain: turns an error of a process that waited in vain for another into one that says why.
    """

    def __init__(
        self,
        store: Any,
        rank: int,
        size: int,
        device: torch.device,
        explain: Callable[[Exception], Exception] = lambda error: error,
    ) -> None:
        self.rank, self.size, self.device, self._explain = rank, size, device, explain
        if device.type == "cuda":
            torch.cuda.set_device(device)
        _import_before_meeting()
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=PATIENCE)
        self._gradients = dist.new_group(backend="nccl") if device.type == "cuda" else None
        self.total = self._total

    def close(self) -> None:
        """Part."""
        dist.destroy_process_group()

    def share(self, whole: int) -> Share:
        """The part of a batch that is worked on here.

        Raises:
            ConfigError: there are more processes than sequences.
        """
        check_batch(whole, self.size)
        return cut(whole, self.size)[self.rank]

    def add_up(self, network: nn.Module, beside: Tensor) -> Tensor:
        """Add up gradients in one message, with ``beside`` at its end; gives what that became."""
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([*(g.flatten() for g in gradients), beside.to(torch.float32)])
        dist.all_reduce(flat, group=self._gradients)
        parts = flat.split([*(g.numel() for g in gradients), beside.numel()])
        if gradients:
            added = [part.view_as(g) for part, g in zip(parts, gradients, strict=False)]
            torch._foreach_copy_(gradients, added)
        return parts[-1]

    def gathered(self, part: Batch, share: Share | None) -> Batch:
        """The whole batch, on every process."""
        if share is None:
            return part
        fields = (part.x, part.static, part.lengths, part.condition)
        wholes = [share.placed(field.detach()) for field in fields]
        for whole in wholes:
            if whole.numel():
                dist.all_reduce(whole, group=self._gradients)
        return Batch(*wholes)

    def _total(self, tensor: Tensor) -> Tensor:
        added: Tensor = _Total.apply(tensor, self._gradients)
        return added

    # -- what process 0 says -----------------------------------------------------------------

    @contextlib.contextmanager
    def update(self, order: Order) -> Iterator[None]:
        """Say what comes next; an error on the way leaves the others in the middle of it."""
        self._post([1, order.step, order.critic_steps, *order.rates, order.examined])
        try:
            yield
        except BaseException:
            self.is_broken = True
            raise

    def halt(self) -> None:
        """Let the others wait for a message."""
        if not self.is_broken:
            self._post([0] * 6)

    def _post(self, numbers: Iterable[float]) -> None:
        try:
            dist.broadcast(torch.tensor(list(numbers), dtype=torch.float64), 0)
        except BaseException:
            self.is_broken = True
            raise

    def order(self) -> Order | None:
        """Wait for what comes next."""
        numbers = torch.zeros(6, dtype=torch.float64)
        dist.broadcast(numbers, 0)
        goes_on, step, critic_steps, generator, critic, examined = numbers.tolist()
        if not goes_on:
            return None
        return Order(int(step), int(critic_steps), (generator, critic), bool(examined))

    def send(self, message: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> None:
        """Tell all others something."""
        words = json.dumps(message).encode()
        blob = save({name: t.detach().cpu().contiguous() for name, t in (tensors or {}).items()})
        both = torch.frombuffer(bytearray(words + blob), dtype=torch.uint8)
        self._post([2, len(words), len(both), 0, 0, 0])
        self.spread(both)

    def receive(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Wait for what process 0 sends."""
        numbers = torch.zeros(6, dtype=torch.float64)
        dist.broadcast(numbers, 0)
        words, size = (int(number) for number in numbers[1:3].tolist())
        both = torch.zeros(size, dtype=torch.uint8)
        self.spread(both)
        text = both.numpy().tobytes()
        return json.loads(text[:words]), load(text[words:])

    def spread(self, bytes_B: Tensor, among: dist.ProcessGroup | None = None) -> None:
        """The bytes of process 0, for all; in portions, so that large ones take no more memory."""
        for part in bytes_B.split(CHUNK):
            dist.broadcast(part, 0, group=among)

    def told_by_all(self, word: str) -> list[str]:
        """What each process says, in a few hundred letters."""
        mine = torch.zeros(WORD, dtype=torch.uint8)
        text = word.encode()[:WORD]
        mine[: len(text)] = (
            torch.frombuffer(bytearray(text), dtype=torch.uint8) if text else mine[:0]
        )
        said = [torch.zeros_like(mine) for _ in range(self.size)]
        dist.all_gather(said, mine)
        return [one.numpy().tobytes().rstrip(b"\0").decode() for one in said]

    def subgroup(self, ranks: list[int]) -> dist.ProcessGroup:
        """Some of the processes; all have to ask for it."""
        return dist.new_group(ranks, backend="gloo")

    def explained(self, error: Exception) -> Exception:
        """Why this process waited in vain."""
        return self._explain(error)


def _import_before_meeting() -> None:
    """Import what keeps the group as it stands at import, as defaults of its functions.

    Optimizers import it with much else. With a group in it, that group's threads outlive ``close``,
    and now and then abort the process while Python ends.
    """
    importlib.import_module("torch.distributed.nn")


class _Total(torch.autograd.Function):
    """The sum over all processes. What each makes of it goes back to all, so its gradient is the
    sum of theirs; and so on for a second derivative."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        tensor = tensor.clone()
        dist.all_reduce(tensor, group=group)
        return tensor

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Total.apply(gradient.contiguous(), ctx.group), None
