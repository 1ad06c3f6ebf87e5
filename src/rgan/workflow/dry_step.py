"""Real updates of both networks, made only to see what memory they take.

On Linux they are made in a forked child, beside snapshots as checkpoints take them: the training
itself stays as it is, to the last bit, and where updates take too much it is the child that ends.
On a GPU they are made on copies, in this process.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import os
import select
import signal
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch

from rgan.runs.sealed import to_bytes
from rgan.train.health import NETWORKS
from rgan.train.plan import make_plan
from rgan.train.state import TrainState
from rgan.train.updates import Updater
from rgan.train.vitals import Probe
from rgan.workflow.session import Session

HOLES = 0.1
"""What the heap grows by over a longer training, of what the dry step took."""
BESIDE = 48 * 2**20
"""What pictures, TensorBoard and scores on the way take; like ``HOLES`` set from whole trainings,
and checked by ``benchmarks/memory.py``."""
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


class DryStepError(Exception):
    """A dry step gave no answer, for another reason than too little memory."""


def dry_updates(state: TrainState, session: Session, batch: int, count: int = 2) -> None:
    """Updates as the training makes them, examined and with a penalty, beside a checkpoint.

    Args:
        state: is trained.
        session: its data and configuration.
        batch: sequences in a batch.
        count: of updates; the second has what the optimisers remember of the first beside it.
    """
    config = session.config
    plan = make_plan(dataclasses.replace(config.train, batch_size=batch), len(session.batch))
    updater = Updater(state, session.batch, plan, config.objective, config.penalty)
    kept: list[Any] = []
    for _ in range(count):
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


# -- on the CPU ------------------------------------------------------------------------------


class DryChild:
    """A forked child that is asked for the needs of batches, and begun when first asked.

    One that has answered is asked again where the next batch is larger: it is warm, and what has
    been its peak is below what comes. Otherwise another one is forked.

    Args:
        session: the child's copy is trained, this one is not.
        free: bytes that a child may take at most.
    """

    def __init__(self, session: Session, free: int) -> None:
        self.session, self.free = session, free
        self._pid = self._asks = self._answers = 0
        self._last = 0

    def __enter__(self) -> DryChild:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def need(self, batch: int) -> Need | None:
        """The need of a batch; None where there was not enough memory to find out.

        Raises:
            DryStepError: the child failed otherwise, or gave no answer.
        """
        if not self._pid or batch <= self._last:
            self._end()
            self._begin()
        count = 1 if self._last else 2  # once is enough where the optimisers remember something
        self._last = batch
        with contextlib.suppress(BrokenPipeError):  # killed meanwhile, as the answer will show
            os.write(self._asks, json.dumps([batch, count]).encode() + b"\n")
        text = _read_line(self._answers, time.monotonic() + PATIENCE)
        answer = json.loads(text) if text else {"full": True}  # killed
        if "peak" not in answer:
            self._end()
            if "full" not in answer:
                raise DryStepError(answer["error"])
            return None
        return self._judged(batch, answer)

    def _judged(self, batch: int, answer: dict[str, int]) -> Need:
        # A child begins without the pages of libraries that its parent has read, so of those the
        # larger number counts; all other pages it inherits.
        mine = _status("self")
        libraries = max(mine["RssFile"], answer["libraries"])
        peak = answer["peak"] - answer["libraries"] + libraries
        more = int(max(0, peak - mine["VmRSS"]) * (1 + HOLES)) + BESIDE
        # What has been held and given back already may have been more, as after a large file.
        return Need(batch, max(mine["VmHWM"], mine["VmRSS"] + more), more)

    def _begin(self) -> None:
        (ask, self._asks), (self._answers, answer) = os.pipe(), os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads: the child needs none
            self._pid = os.fork()
        if self._pid == 0:
            os.close(self._asks)  # or the child would wait for itself
            os.close(self._answers)
            _serve(self.session, self.free, ask, answer)
        os.close(ask)
        os.close(answer)

    def _end(self) -> None:
        if not self._pid:
            return
        for handle in (self._asks, self._answers):
            os.close(handle)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)  # done, or given up
        os.waitpid(self._pid, 0)
        self._pid = self._last = 0


def _serve(session: Session, free: int, asks: int, answers: int) -> NoReturn:
    """In the child: answer until the parent is gone, and end without what the parent does then."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        _limit(free)
        torch.set_num_threads(1)  # threads do not outlive a fork
        while line := _read_line(asks):
            answer = json.dumps(_answer(session, *json.loads(line)))
            os.write(answers, answer.encode() + b"\n")
    finally:
        os._exit(0)


def _limit(free: int) -> None:
    """In the child: take no more than is free."""
    import resource

    with contextlib.suppress(OSError):  # if somebody has to be ended, this child
        Path("/proc/self/oom_score_adj").write_text("1000")
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = _status("self")["VmData"] + free
    if soft == resource.RLIM_INFINITY or most < soft:
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def _answer(session: Session, batch: int, count: int) -> dict[str, Any]:
    """In the child: make the updates, and tell what they took."""
    try:
        dry_updates(session.state, session, batch, count)
    except BaseException as error:  # whatever it is, the parent goes on
        return {"full": True} if is_out_of_memory(error) else {"error": type(error).__name__}
    after = _status("self")
    return {"peak": after["VmHWM"], "libraries": after["RssFile"]}


def _read_line(handle: int, until: float = float("inf")) -> bytes:
    """All up to the end of a line; nothing where the other end is closed before.

    Raises:
        DryStepError: time is up.
    """
    parts: list[bytes] = []
    while not (parts and parts[-1].endswith(b"\n")):
        left = None if until == float("inf") else max(0.0, until - time.monotonic())
        ready, _, _ = select.select([handle], [], [], left)
        if not ready:
            raise DryStepError("no answer in time")
        part = os.read(handle, 4096)
        if not part:
            return b""
        parts.append(part)
    return b"".join(parts)


def _status(process: str) -> dict[str, int]:
    """Bytes of memory that Linux counts for a process, by its names for them."""
    lines = Path("/proc", process, "status").read_text().splitlines()
    pairs = (line.split() for line in lines if line.endswith(" kB"))
    return {words[0].rstrip(":"): 1024 * int(words[1]) for words in pairs}


# -- on a GPU --------------------------------------------------------------------------------


def dry_cuda(session: Session, batch: int) -> Need | None:
    """The need of a batch on the GPU, measured on copies of the networks.

    What torch has reserved counts, rather than what tensors fill of it: others cannot have it.

    Raises:
        DryStepError: it failed for another reason than too little memory.
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
