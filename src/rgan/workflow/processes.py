"""Starting, joining and ending the processes that train one model on several devices.

This is for process 0, which the user started: it starts a process for each other device, or joins
those that torchrun has started, gives them the data, and ends them. See ``following`` for the
others.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
from torch.distributed import TCPStore, rendezvous  # type: ignore[attr-defined]

from rgan.errors import TrainingError
from rgan.train.distributed import Processes
from rgan.train.group import check_batch, launched
from rgan.workflow.dry_step import is_out_of_memory
from rgan.workflow.meeting import START, first_line, give, is_parting, loopback
from rgan.workflow.session import Session
from rgan.workflow.threads import worth

GRACE = 30.0
"""Seconds in which process 0 has to notice that another has ended."""
_PROGRAM = (
    "import json, sys; told = json.loads(sys.argv[1]); sys.path[:] = told['path']; "
    "from rgan.workflow.following import main; main(told)"
)


def device_words(session: Session) -> str:
    """All devices that a session trains on."""
    launch = launched()
    if launch is not None:
        return f"{session.state.device} and {launch.size - 1} more"
    return ", ".join(map(str, session.devices))


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
    size, _ = session.processes
    check_batch(min(session.config.train.batch_size, len(session.batch)), size)
    threads = torch.get_num_threads()
    mine = threads if launch or session.state.device.type != "cpu" else max(1, threads // size)
    torch.set_num_threads(mine)
    others = _Others(size, [] if launch else [str(device) for device in session.devices])
    group: Processes | None = None
    try:
        others.start(session.config.train.device, worth(session.config, mine, size))
        with loopback(not launch):
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
        if not is_parting(error):
            return error
        deadline = time.monotonic() + 5.0
        while not (fault := self.fault()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return _failed(fault or f"the processes have lost each other: {first_line(error)}")

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
