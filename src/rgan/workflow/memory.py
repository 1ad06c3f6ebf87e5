"""What memory a training will need, found by a dry step, held against what is free."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache

import torch

from rgan.errors import InputError
from rgan.train.gpus import gib
from rgan.workflow.available import Room, free_memory
from rgan.workflow.dry_step import DryChild, DryStepError, Need, dry_cuda
from rgan.workflow.dry_step import is_out_of_memory as is_out_of_memory
from rgan.workflow.session import Session

PROCESS = 200 * 2**20
"""What a further process takes before it does anything."""

Measure = Callable[[int], Need | None]
"""The need of a batch; None where there was not enough memory to find out."""


def check_memory(session: Session, *, shrink: bool = False) -> tuple[Need, Room] | None:
    """Whether a training fits into what is free; called before anything is written.

    Args:
        session: about to be trained; it is left as it is, to the last bit.
        shrink: take the largest batch that fits, not above the one that is set.

    Returns:
        What is needed and what is free; None where neither can be measured here.

    Raises:
        InputError: it does not fit; says by how much, and the largest batch that does.
    """
    device = session.state.device
    with ExitStack() as stack:
        if device.type == "cuda":
            measure: Measure = lambda batch: dry_cuda(session, batch)  # noqa: E731
            rooms = (
                Room(int(torch.cuda.mem_get_info(one)[0]), f"the memory of {one}")
                for one in session.devices or (device,)
            )
            room = min(rooms, key=lambda room: room.free_bytes)
        elif device.type == "cpu" and sys.platform == "linux":
            prepare(session)
            room = free_memory()
            measure = cache(stack.enter_context(DryChild(session, room.free_bytes)).need)
        else:
            return None
        try:
            return _found(_by_shares(measure, session), session, room, shrink)
        except DryStepError:
            return None


def _found(measure: Measure, session: Session, room: Room, shrink: bool) -> tuple[Need, Room]:
    wanted = min(session.config.train.batch_size, len(session.batch))
    need = find_need(measure, wanted, room.free_bytes)
    if need.basis == "measured" and need.more_bytes <= room.free_bytes:
        return need, room
    fits = largest_fitting(measure, need, room.free_bytes)
    if shrink and fits is not None:
        return fits, room
    raise _too_much(need, fits, room)


def _by_shares(measure: Measure, session: Session) -> Measure:
    """The need of a whole batch, where several processes each have a share of it.

    On the CPU those of this machine take from the same memory.
    """
    size, here = session.processes
    if size == 1:
        return measure
    beside = here - 1 if session.state.device.type == "cpu" else 0

    def need(batch: int) -> Need | None:
        one = measure(-(-batch // size))
        if one is None:
            return None
        more = one.more_bytes + beside * (one.more_bytes + PROCESS)
        return dataclasses.replace(one, batch=batch, more_bytes=more)

    return need


def prepare(session: Session) -> None:
    """What the run imports a moment later anyway is to be there when its memory is measured."""
    import torch.utils.tensorboard  # noqa: F401

    if session.config.train.figures:
        import matplotlib.figure  # noqa: F401


def find_need(measure: Measure, batch: int, free: int) -> Need:
    """The need of a batch, without ever taking more than is free to find it out.

    A small batch comes first: if a straight line from it says that all is well, the batch itself is
    measured.
    """
    over = Need(batch, free, free, "over")
    small = max(1, batch // 8)
    first = measure(small)
    if first is None or small == batch:
        return first or over
    # Twice the batch never needs more than twice the memory, so this is an upper bound.
    if first.more_bytes * batch / small <= free:
        return measure(batch) or over
    second = measure(2 * small)
    if second is None:
        return over
    line = _line(first, second, batch)
    return (measure(batch) or over) if line.more_bytes <= free else line


def largest_fitting(measure: Measure, need: Need, free: int) -> Need | None:
    """The largest batch below ``need``'s that was measured to fit: 1, 2, 3, 4, 6, 8, 12, ..."""
    for batch in reversed(_sizes(need.batch)):
        if need.more_bytes * batch / need.batch > 2 * free and batch > 1:
            continue  # far from fitting: not worth a step
        found = find_need(measure, batch, free)
        if found.basis == "measured" and found.more_bytes <= free:
            return found
    return None


def _sizes(below: int) -> list[int]:
    """Powers of two, and those halfway between them, below a batch."""
    sizes = {2**i for i in range(below.bit_length())} | {
        3 * 2**i for i in range(below.bit_length())
    }
    return sorted(size for size in sizes if size < below)


def _line(a: Need, b: Need, batch: int) -> Need:
    """On the line through two needs."""
    slope = max(0.0, (b.more_bytes - a.more_bytes) / (b.batch - a.batch))
    more = slope * (batch - b.batch)
    return Need(batch, int(b.peak_bytes + more), int(b.more_bytes + more), "line")


def _too_much(need: Need, fits: Need | None, room: Room) -> InputError:
    free = f"{room.limit} leaves {gib(room.free_bytes)}"
    if need.basis == "over":
        found = f"a batch of {need.batch} needs more memory than there is: {free}"
    else:
        about = "" if need.basis == "measured" else "about "
        over = gib(need.more_bytes - room.free_bytes)
        found = (
            f"a batch of {need.batch} needs {about}{gib(need.more_bytes)} more, and {free}: "
            f"{over} too much"
        )
    if fits is None:
        repair = "smaller networks (--set generator.hidden=32 --set critic.hidden=32)"
        found += "; a batch of 1 does not fit either"
    else:
        repair = f"--batch-size {fits.batch}   (the largest that was found to fit; so does auto)"
    return InputError(
        found,
        rule="a training fits into the memory that is free",
        reason="it would be ended in the middle, by the system and without a word",
        repair=repair,
    )
