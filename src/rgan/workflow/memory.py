"""What memory a training will need, found by a dry step, held against what is free.

On Linux the step is made in a forked child: real updates of both networks on real sequences, beside
a snapshot as checkpoints take it. The training itself is untouched, to the last bit, and where the
step takes too much it is the child that ends. On a GPU the step is made on copies, in this process.
Elsewhere nothing is measured, and nothing claimed.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from rgan.errors import InputError
from rgan.runs.sealed import to_bytes
from rgan.train.gpus import gib
from rgan.train.health import NETWORKS
from rgan.train.plan import make_plan
from rgan.train.state import TrainState
from rgan.train.updates import Updater
from rgan.train.vitals import Probe
from rgan.workflow.available import Room, free_memory
from rgan.workflow.session import Session

UPDATES = 2
"""In a dry step: the second has what the optimisers remember of the first beside it."""
HOLES = 0.1
"""What the heap grows by over a longer training, of what the dry step took."""
BESIDE = 48 * 2**20
"""What pictures, TensorBoard and scores on the way take; like ``HOLES`` set from three whole
trainings, and checked by ``benchmarks/memory.py``."""
PATIENCE = 120.0
"""Seconds after which a child that does not answer is given up, and nothing is claimed."""


@dataclass(frozen=True)
class Need:
    """What a training needs with batches of one size.

    Args:
        batch: sequences in a batch.
        peak_bytes: the largest memory of this process, or of its part of the GPU.
        more_bytes: of that, what it does not hold yet.
        basis: "measured" where updates of just that size were made; "line" where it lies on the
            line through those of two smaller batches; "over" where all that is known is that it is
            more than what is free, which the numbers then are.
    """

    batch: int
    peak_bytes: int
    more_bytes: int
    basis: Literal["measured", "line", "over"] = "measured"


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
    if device.type == "cuda":
        measure: Measure = lambda batch: dry_cuda(session, batch)  # noqa: E731
        room = Room(int(torch.cuda.mem_get_info(device)[0]), f"the memory of {device}")
    elif device.type == "cpu" and sys.platform == "linux":
        prepare(session)
        room = free_memory()
        measure = lambda batch: dry_child(session, batch, room.free_bytes)  # noqa: E731
    else:
        return None
    wanted = min(session.config.train.batch_size, len(session.batch))
    try:
        need = find_need(measure, wanted, room.free_bytes)
        if need.basis == "measured" and need.more_bytes <= room.free_bytes:
            return need, room
        fits = largest_fitting(measure, need, room.free_bytes)
    except DryStepError:
        return None
    if shrink and fits is not None:
        return fits, room
    raise _too_much(need, fits, room)


class DryStepError(Exception):
    """A dry step gave no answer, for another reason than too little memory."""


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


# -- on the CPU ------------------------------------------------------------------------------


def dry_child(session: Session, batch: int, free: int) -> Need | None:
    """The need of a batch, measured in a child of this process.

    Args:
        session: the child's copy is trained, this one is not.
        batch: sequences in a batch.
        free: bytes that the child may take at most.

    Raises:
        DryStepError: the child failed otherwise, or gave no answer.
    """
    mine = _status("self")
    answer = _ask_child(lambda: _measure_here(session, batch, free))
    if answer is None or "full" in answer:  # killed, or refused memory
        return None
    if "peak" not in answer:
        raise DryStepError(str(answer.get("error", "no answer")))
    # A child begins without the pages of libraries that its parent has read, so of those the larger
    # number counts; all other pages it inherits.
    libraries = max(mine["RssFile"], answer["libraries"])
    peak = answer["peak"] - answer["libraries"] + libraries
    more = int(max(0, peak - mine["VmRSS"]) * (1 + HOLES)) + BESIDE
    # What has been held and given back already may have been more, as after a large file.
    return Need(batch, max(mine["VmHWM"], mine["VmRSS"] + more), more)


def _measure_here(session: Session, batch: int, free: int) -> dict[str, Any]:
    """In the child: make the updates, and tell what they took."""
    import resource

    with contextlib.suppress(OSError):  # if somebody has to be ended, this child
        Path("/proc/self/oom_score_adj").write_text("1000")
    before = _status("self")
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = before["VmData"] + free
    if soft == resource.RLIM_INFINITY or most < soft:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    torch.set_num_threads(1)  # threads do not outlive a fork
    try:
        dry_updates(session.state, session, batch)
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return {"full": True}
        raise
    after = _status("self")
    return {"peak": after["VmHWM"], "libraries": after["RssFile"]}


def _ask_child(work: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
    """What the work gives in a forked child; None where the child was killed."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads: the child needs none
        pid = os.fork()
    if pid == 0:
        _answer(work, writer)
    os.close(writer)
    try:
        text = _read_all(reader, time.monotonic() + PATIENCE)
    finally:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)  # done, or given up
        os.waitpid(pid, 0)
    if text is None:
        raise DryStepError("no answer in time")
    return json.loads(text) if text else None


def _answer(work: Callable[[], dict[str, Any]], writer: int) -> None:
    """In the child: write the answer, and end without what the parent does at its end."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        try:
            answer = work()
        except MemoryError:
            answer = {"full": True}
        except BaseException as error:  # whatever it is, the parent goes on
            answer = {"error": type(error).__name__}
        os.write(writer, json.dumps(answer).encode())
    finally:
        os._exit(0)


def _read_all(reader: int, until: float) -> bytes | None:
    """All that comes until the other end closes; None when time is up."""
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return None
        part = os.read(reader, 4096)
        if not part:
            return b"".join(parts)
        parts.append(part)


def _status(process: str) -> dict[str, int]:
    """Bytes of memory that Linux counts for a process, by its names for them."""
    lines = Path("/proc", process, "status").read_text().splitlines()
    pairs = (line.split() for line in lines if line.endswith(" kB"))
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in pairs}


def prepare(session: Session) -> None:
    """What the run imports a moment later anyway is to be there when its memory is measured."""
    import torch.utils.tensorboard  # noqa: F401

    if session.config.train.figures:
        import matplotlib.figure  # noqa: F401


# -- anywhere --------------------------------------------------------------------------------


def dry_updates(state: TrainState, session: Session, batch: int) -> None:
    """Updates as the training makes them, examined and with a penalty, beside a checkpoint."""
    config = session.config
    plan = make_plan(dataclasses.replace(config.train, batch_size=batch), len(session.batch))
    updater = Updater(state, session.batch, plan, config.objective, config.penalty)
    kept: list[Any] = []
    for _ in range(UPDATES):
        # At most one snapshot waits while another is written.
        kept.append({group: _copies(named) for group, named in state.tensors().items()})
        kept.append([to_bytes(group, named) for group, named in state.tensors().items()])
        state.drawn -= state.drawn % config.penalty.every
        updater.update(Probe({name: getattr(state, name) for name in NETWORKS}))


def _copies(named: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.to("cpu", copy=True) for name, tensor in named.items()}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no more memory."""
    if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
        return True
    words = ("not enough memory", "can't allocate memory", "out of memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


# -- on a GPU --------------------------------------------------------------------------------


def dry_cuda(session: Session, batch: int) -> Need | None:
    """The need of a batch on the GPU, measured on copies of the networks.

    What torch has reserved counts, rather than what tensors fill of it: others cannot have it.
    """
    device = session.state.device
    torch.cuda.empty_cache()
    held = torch.cuda.memory_reserved(device)
    torch.cuda.reset_peak_memory_stats(device)
    state = copy.deepcopy(session.state)
    copied = _bytes_of(state)
    try:
        dry_updates(state, session, batch)
        peak = torch.cuda.max_memory_reserved(device) - copied
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise DryStepError(type(error).__name__) from error
        return None
    finally:
        del state
        torch.cuda.empty_cache()
    return Need(batch, max(held, peak), max(0, peak - held))


def _bytes_of(state: TrainState) -> int:
    networks = (state.generator, state.critic, state.average)
    return sum(p.numel() * p.element_size() for n in networks for p in n.parameters())
