"""Starting, joining and ending the processes that train one model on several devices.

``team`` is for process 0, which the user started: it starts a process for each other device, or
joins those that torchrun has started, gives them the data, and ends them. ``serve`` is what the
others do. They read no file and write none: configuration, weights and data come from process 0.

They meet at a store of torch's, where each leaves a word: "leader" (the device setting), "joined/1"
and so on, and "error/1" where one has failed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import TCPStore, rendezvous  # type: ignore[attr-defined]

from rgan.config import from_sections
from rgan.errors import RganError, TrainingError
from rgan.nets.batch import Batch
from rgan.nets.spec import SequenceSpec
from rgan.train.build import build_networks
from rgan.train.device import resolve_devices
from rgan.train.distributed import Processes, check_batch, launched
from rgan.train.loop import follow
from rgan.train.shared import SharedMemory, describe, size_of
from rgan.train.state import TrainState
from rgan.train.updates import Updater
from rgan.workflow.memory import is_out_of_memory
from rgan.workflow.session import Session, optimizers_of

START = 300.0
"""Seconds in which all processes have to be there."""
LEADER = timedelta(days=7)
"""How long launched processes wait for process 0 to read its data."""
GRACE = 30.0
"""Seconds in which process 0 has to notice that another has ended."""
_PROGRAM = (
    "import json, sys; told = json.loads(sys.argv[1]); sys.path[:] = told['path']; "
    "from rgan.workflow.processes import main; main(told)"
)


def device_words(session: Session) -> str:
    """All devices that a session trains on."""
    launch = launched()
    if launch is not None:
        return f"{session.state.device} and {launch.size - 1} more"
    return ", ".join(map(str, session.devices))


# -- process 0 -------------------------------------------------------------------------------


@contextlib.contextmanager
def team(session: Session) -> Iterator[Session]:
    """The session with all processes that are to train it, which end with the block.

    Raises:
        TrainingError: a process could not be started, or has failed.
        ConfigError: a batch is smaller than the group.
    """
    launch = launched()
    if launch is None and len(session.devices) < 2:
        yield session
        return
    size = launch.size if launch else len(session.devices)
    check_batch(min(session.config.train.batch_size, len(session.batch)), size)
    threads = torch.get_num_threads()
    mine = threads if launch or session.state.device.type != "cpu" else max(1, threads // size)
    torch.set_num_threads(mine)
    others = _Others(size, [] if launch else [str(device) for device in session.devices])
    group: Processes | None = None
    try:
        others.start(session.config.train.device, mine)
        with _loopback(not launch):
            group = Processes(others.store, 0, size, session.state.device, others.explained)
        try:
            session = dataclasses.replace(session, batch=give(group, session.batch), group=group)
            yield session
            group.send({"do": "quit"})
        except (RuntimeError, MemoryError) as error:
            told = others.explained(error)
            if told is error:
                raise
            raise told from error
        others.await_end()
    finally:
        others.end()
        if group is not None:
            group.close()
        torch.set_num_threads(threads)


class _Others:
    """The other processes, as process 0 sees them.

    Args:
        size: processes in all.
        devices: of all, where process 0 is to start the others; [] where they have been launched.
    """

    def __init__(self, size: int, devices: list[str]) -> None:
        self.size, self.devices = size, devices
        self.children: dict[int, subprocess.Popen[bytes]] = {}
        self.store: Any = None
        self._over = threading.Event()

    def start(self, setting: str, threads: int) -> None:
        """Start or find them, and wait until all are there.

        Raises:
            TrainingError: one has failed, or does not come.
        """
        if self.devices:
            self._spawn(threads)
        else:
            self.store, _, _ = next(iter(rendezvous("env://", timeout=timedelta(seconds=START))))
        self.store.set("leader", setting)
        deadline = time.monotonic() + START
        while not self.store.check([f"joined/{rank}" for rank in range(1, self.size)]):
            fault = self.fault()
            if not fault and time.monotonic() > deadline:
                fault = "a process has not come within " + f"{START:.0f} s"
            if fault:
                raise _failed(fault)
            time.sleep(0.02)
        if self.children:
            threading.Thread(target=self._watch, daemon=True, name="rgan-processes").start()

    def _spawn(self, threads: int) -> None:
        meeting = socket.create_server(("127.0.0.1", 0))  # nobody else on the network
        port = meeting.getsockname()[1]
        self.store = TCPStore(
            "127.0.0.1",
            port,
            self.size,
            is_master=True,
            wait_for_workers=False,
            master_listen_fd=meeting.detach(),
        )
        for rank in range(1, self.size):
            told: dict[str, Any] = {
                "rank": rank,
                "size": self.size,
                "port": port,
                "threads": threads,
            }
            told["path"] = sys.path
            environment = dict(os.environ)
            if self.devices[rank] == "cpu":
                environment["OMP_NUM_THREADS"] = str(threads)
            self.children[rank] = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, json.dumps(told)],
                stdin=subprocess.PIPE,  # it ends when this is closed, however that happens
                stdout=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,  # a Ctrl-C is process 0's affair
            )

    def fault(self) -> str:
        """What has gone wrong in another process; "" where nothing is known."""
        for rank in range(1, self.size):
            if self.store.check([f"error/{rank}"]):
                return f"{self._name(rank)} failed: {self.store.get(f'error/{rank}').decode()}"
            child = self.children.get(rank)
            if child is not None and child.poll() is not None:
                return f"{self._name(rank)} {_ended(child.returncode)}"
        return ""

    def _name(self, rank: int) -> str:
        where = f", on {self.devices[rank]}" if self.devices else ""
        return f"process {rank} of 0 to {self.size - 1}{where},"

    def explained(self, error: Exception) -> Exception:
        """What is to be told of an error of process 0's."""
        if is_out_of_memory(error):
            return TrainingError(
                "memory ran out in process 0",
                rule="a share of a batch fits into the memory of each device",
                reason="the last checkpoint stays as it was",
                repair="rgan train --resume latest --batch-size N, of half the size",
            )
        if not _is_parting(error):
            return error
        deadline = time.monotonic() + 5.0
        while not (fault := self.fault()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return _failed(fault or f"the processes have lost each other: {_first_line(error)}")

    def _watch(self) -> None:
        """End this process where it waits in vain: NCCL does not notice that another is gone."""
        while not self._over.wait(0.5):
            if not any(child.poll() is not None for child in self.children.values()):
                continue
            on_gpu = any(device.startswith("cuda") for device in self.devices)
            if on_gpu and not self._over.wait(GRACE):
                print(f"rgan: {_failed(self.fault()).message}", file=sys.stderr, flush=True)
                os._exit(1)
            return

    def await_end(self) -> None:
        """Wait a moment for those that have been told to end."""
        self._over.set()
        deadline = time.monotonic() + 20.0
        for child in self.children.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.1, deadline - time.monotonic()))

    def end(self) -> None:
        """End those that still run."""
        self._over.set()
        for child in self.children.values():
            assert child.stdin is not None
            with contextlib.suppress(OSError):
                child.stdin.close()
        for child in self.children.values():
            try:
                child.wait(3.0)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def _failed(fault: str) -> TrainingError:
    return TrainingError(
        fault,
        rule="all processes of a training go to its end together",
        reason="each adds its share to every update; the last checkpoint stays as it was",
        repair="rgan train --resume latest",
    )


def _ended(code: int) -> str:
    if code >= 0:
        return f"has ended by itself, with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"


def _is_parting(error: Exception) -> bool:
    """Whether an error says that another process is gone, or silent."""
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


@contextlib.contextmanager
def _loopback(wanted: bool) -> Iterator[None]:
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


# -- data ------------------------------------------------------------------------------------


def give(group: Processes, batch: Batch) -> Batch:
    """Give the data to all processes; in this one they are then where all see them."""
    parts = describe(batch)
    group.send({"do": "data", "parts": parts})
    shared = _share(group, parts, batch)
    return batch if batch.x.device.type != "cpu" else shared


def _share(group: Processes, parts: list[dict[str, Any]], batch: Batch | None = None) -> Batch:
    """The data in memory that all processes of a machine share.

    The first process of each machine makes room; between machines the bytes travel once.
    """
    machines = group.told_by_all(_machine())
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


def _machine() -> str:
    """The same words for processes that see each other."""
    spaces = Path("/proc/self/ns/pid")
    place = spaces.stat().st_ino if spaces.exists() else 0
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{platform.node()[:200]} {boot.read_text().strip() if boot.exists() else ''} {place}"


# -- all others ------------------------------------------------------------------------------


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
        with _loopback(launch is None):
            group = Processes(store, rank, size, device)
        serve(group)
        group.close()
    except Exception as error:
        return _tell(store, rank, error)
    return 0


def _tell(store: Any, rank: int, error: Exception) -> int:
    """Leave word of what went wrong."""
    if _is_parting(error):
        return 1  # another has failed, and is told of
    found = error.found if isinstance(error, RganError) else _first_line(error)
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
            batch = _share(group, message["parts"]).to(group.device)
            continue
        assert batch is not None
        follow(_updater(group, message, tensors, batch), group)


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
