"""What all processes of a training but the first do: meet process 0, and compute as it says.

They read no file and write none: configuration, weights and data come from process 0.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from datetime import timedelta
from typing import Any

import torch
from torch.distributed import TCPStore, rendezvous  # type: ignore[attr-defined]

from rgan.config import from_sections
from rgan.errors import RganError
from rgan.nets.batch import Batch
from rgan.nets.spec import SequenceSpec
from rgan.train.build import build_networks
from rgan.train.device import resolve_devices
from rgan.train.distributed import Processes
from rgan.train.group import launched
from rgan.train.loop import follow
from rgan.train.state import TrainState
from rgan.train.updates import Updater
from rgan.workflow.dry_step import is_out_of_memory
from rgan.workflow.meeting import LEADER, START, first_line, is_parting, loopback, share_data
from rgan.workflow.session import optimizers_of


def main(told: dict[str, Any]) -> None:
    """A process that ``team`` has started."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_leader, daemon=True).start()
    torch.set_num_threads(told["threads"])
    store = TCPStore("127.0.0.1", told["port"], told["size"], is_master=False)
    sys.exit(_work(store, told["rank"], told["size"]))


def main_launched() -> int:
    """A process that torchrun has started beside process 0; gives the exit code."""
    store, rank, size = next(iter(rendezvous("env://", timeout=timedelta(seconds=START))))
    return _work(store, rank, size)


def _end_with_leader() -> None:
    """Process 0 holds the other end of standard input; when it is gone, so is this process."""
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    os._exit(1)


def _work(store: Any, rank: int, size: int) -> int:
    """Meet process 0 and do what it says; gives the exit code."""
    try:
        store.wait(["leader"], LEADER)
        launch = launched()
        devices = resolve_devices(store.get("leader").decode(), launch)
        device = devices[0 if launch else rank]
        store.set(f"joined/{rank}", device.type)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # process 0 saves, and then says quit
        with loopback(launch is None):
            group = Processes(store, rank, size, device)
        serve(group)
        group.close()
    except Exception as error:
        return _tell(store, rank, error)
    return 0


def _tell(store: Any, rank: int, error: Exception) -> int:
    """Leave word of what went wrong."""
    if is_parting(error):
        return 1  # another has failed, and is told of
    found = error.found if isinstance(error, RganError) else first_line(error)
    if is_out_of_memory(error):
        found = "memory ran out; try a smaller batch"
    elif not isinstance(error, RganError):
        traceback.print_exception(error)
    with contextlib.suppress(RuntimeError):
        store.set(f"error/{rank}", found)
    return 1


def serve(group: Processes) -> None:
    """Do what process 0 says until it says quit."""
    batch: Batch | None = None
    while True:
        message, tensors = group.receive()
        if message["do"] == "quit":
            return
        if message["do"] == "data":
            batch = share_data(group, message["parts"]).to(group.device)
            continue
        assert batch is not None
        follow(_updater(group, message, tensors, batch))


def _updater(
    group: Processes, message: dict[str, Any], tensors: dict[str, torch.Tensor], batch: Batch
) -> Updater:
    """The training as process 0 has it."""
    config, spec = from_sections(message["config"]), SequenceSpec.from_dict(message["spec"])
    generator, critic = build_networks(spec, config.generator, config.critic, config.train.seed)
    device = group.device
    state = TrainState(generator.to(device), critic.to(device), config.train, optimizers_of(config))
    groups: dict[str, dict[str, torch.Tensor]] = {"model": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        kind, _, rest = name.partition("|")
        groups[kind][rest] = tensor
    state.load_tensors(groups)
    state.load_counters(message["counters"])
    plan = state.plan(len(batch))
    return Updater(state, batch, plan, config.objective, config.penalty, group)
