"""How the processes of a training meet, and how the data come to all of them.

They meet at a store of torch's, where each leaves a word: "leader" (the device setting), "joined/1"
and so on, and "error/1" where one has failed.
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist

from rgan.nets.batch import Batch
from rgan.train.distributed import Processes
from rgan.train.shared import SharedMemory, describe, size_of

START = 300.0
"""Seconds in which all processes have to be there."""
LEADER = timedelta(days=7)
"""How long launched processes wait for process 0 to read its data."""


def is_parting(error: Exception) -> bool:
    """Whether an error says that another process is gone, or silent."""
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()


def first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@contextlib.contextmanager
def loopback(wanted: bool) -> Iterator[None]:
    """Processes of one machine meet on its loopback interface, where nobody else can listen."""
    name = "GLOO_SOCKET_IFNAME"
    there = {interface for _, interface in socket.if_nameindex()} & {"lo", "lo0"}
    if not wanted or name in os.environ or not there:
        yield
        return
    os.environ[name] = there.pop()
    try:
        yield
    finally:
        del os.environ[name]


def give(group: Processes, batch: Batch) -> Batch:
    """Give the data to all processes; in this one they are then where all see them."""
    parts = describe(batch)
    group.send({"do": "data", "parts": parts})
    shared = share_data(group, parts, batch)
    return batch if batch.x.device.type != "cpu" else shared


def share_data(group: Processes, parts: list[dict[str, Any]], batch: Batch | None = None) -> Batch:
    """The data in memory that all processes of a machine share.

    The first process of each machine makes room; between machines the bytes travel once.
    """
    machines = group.told_by_all(machine_name())
    heads = sorted({machines.index(machine) for machine in machines})
    head, size = machines.index(machines[group.rank]), size_of(parts)
    memory = SharedMemory(size) if group.rank == head else None
    if memory is not None and batch is not None:
        memory.write(batch, parts)
    if len(heads) > 1:
        among = group.subgroup(heads)
        if memory is not None:
            group.spread(memory.bytes, among)
    paths = group.told_by_all(memory.path if memory else "")
    seen = memory or SharedMemory(size, paths[head])
    group.told_by_all("it is open")
    if memory is not None:
        memory.all_have_it()
    return seen.batch(parts)


def machine_name() -> str:
    """The same words for processes that see each other."""
    spaces = Path("/proc/self/ns/pid")
    place = spaces.stat().st_ino if spaces.exists() else 0
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{platform.node()[:200]} {boot.read_text().strip() if boot.exists() else ''} {place}"
