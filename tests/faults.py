"""Trouble for trainings: real processes that are killed, starved and misled, and what must hold.

Each trial is a process of its own, forked from a server that has everything imported already, so
that it costs no start of an interpreter. The same machinery serves ``test_faults.py`` (short) and
``benchmarks/faults.py`` (long).
"""

from __future__ import annotations

import contextlib
import mmap
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

TINY = (
    *("--device", "cpu", "--set", "generator.hidden=8", "--set", "critic.hidden=8"),
    *("--set", "critic.channels=8", "--set", "train.warmup=2"),
    *("--max-sequences", "100", "--batch-size", "16"),
    *("--set", "train.checkpoint_minutes=0.000001", "-q"),
)
PER_EPOCH = 4
TRAIN = ("train", "sines", *TINY, "--epochs", "8", "--set", "train.figures=2")
"""A training of moments, with a checkpoint after each epoch, figures and TensorBoard."""
LONG = ("train", "sines", *TINY, "--epochs", "24", "--set", "train.figures=4")
"""The same over some seconds, so that there is time to disturb it."""

_IMPORTED = [
    *("rgan.cli.main", "rgan.workflow.fit", "rgan.workflow.sampling", "rgan.report.progress"),
    *("torch.utils.tensorboard", "matplotlib.backends.backend_agg", "matplotlib.font_manager"),
    *("PIL.PngImagePlugin", "PIL.GifImagePlugin", "rgan.data.write", "rgan.data.toy"),
    *("torch._dynamo", "matplotlib.legend", "matplotlib.projections", "matplotlib.category"),
    *("psutil", "rgan.evaluate.trial"),
]
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(_IMPORTED)

# -- what is done to a process ---------------------------------------------------------------

PHASES = ("begun", "training", "checkpoint", "figure", "ended")
_CHANGES = frozenset({"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"})


@dataclass(frozen=True)
class Trouble:
    """What a process does to itself, beside what the test does to it.

    Args:
        operation: it is killed just before this change of a file below its folder (1 is the
            first); 0: never.
        uid: the user it turns into; None: it stays.
        jump: seconds by which its clock has jumped once the step is reached; (step, seconds).
        file_bytes: no file may grow beyond this.
        slow: seconds that every file of a checkpoint takes longer, so that it can be met.
    """

    operation: int = 0
    uid: int | None = None
    jump: tuple[int, float] | None = None
    file_bytes: int | None = None
    slow: float = 0.0


@dataclass
class Child:
    """A command in a process of its own."""

    process: Any
    out_path: Path
    err_path: Path
    phases_path: Path

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def wait(self, seconds: float = 120.0) -> int:
        """The exit code; minus the number of the signal that ended it."""
        self.process.join(seconds)
        code = self.process.exitcode
        assert code is not None, f"it did not end within {seconds:g} s:\n{self.err}"
        return int(code)

    def send(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> int:
        self.send(signal.SIGKILL)
        return self.wait()

    @property
    def alive(self) -> bool:
        return bool(self.process.is_alive())

    @property
    def out(self) -> str:
        return self.out_path.read_text("utf-8", "replace")

    @property
    def err(self) -> str:
        return self.err_path.read_text("utf-8", "replace")

    @property
    def phases(self) -> frozenset[str]:
        """What it was doing when it ended."""
        flags = self.phases_path.read_bytes()[: len(PHASES)]
        return frozenset(name for name, on in zip(PHASES, flags, strict=True) if on)

    @property
    def where(self) -> str:
        """The same in a word or two."""
        on = self.phases
        if "training" not in on:
            return "start-up, run folder there" if "begun" in on else "start-up"
        busy = [name for name in ("checkpoint", "figure") if name in on]
        doing = " and ".join(busy) or "neither"
        return f"{'the end' if 'ended' in on else 'training'}: {doing}"


_count = 0


def launch(
    words: tuple[object, ...],
    cwd: Path,
    trouble: Trouble | None = None,
    notes: Path | None = None,
) -> Child:
    """``rgan WORDS`` in a forked process.

    Args:
        words: of the command line.
        cwd: where it works.
        trouble: what it does to itself.
        notes: the folder where what it says goes to; ``cwd`` if not given.
    """
    global _count
    _count += 1
    notes = (notes or cwd) / "notes"
    notes.mkdir(exist_ok=True)
    paths = [notes / f"{_count:05d}-{what}" for what in ("out", "err", "phases")]
    for path in paths:
        path.write_bytes(bytes(mmap.PAGESIZE) if path.name.endswith("phases") else b"")
        path.chmod(0o666)
    argv = ("rgan", *map(str, words))
    process = _server.Process(
        target=_child, args=(argv, str(cwd), paths, trouble or Trouble()), daemon=True
    )
    process.start()
    return Child(process, *paths)


def _child(argv: tuple[str, ...], cwd: str, paths: list[Path], trouble: Trouble) -> None:
    for number, path in ((1, paths[0]), (2, paths[1])):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(handle, number)
        os.close(handle)
    os.chdir(cwd)
    _note_phases(paths[2])
    _apply(trouble, cwd)
    from rgan.cli.main import main

    sys.argv = list(argv)
    main()


def _apply(trouble: Trouble, cwd: str) -> None:
    if trouble.operation:
        _die_at(trouble.operation, cwd)
    if trouble.file_bytes is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (trouble.file_bytes, resource.RLIM_INFINITY))
    if trouble.jump:
        _jump_clock(*trouble.jump)
    if trouble.slow:
        _slow_disk(trouble.slow)
    if trouble.uid is not None:
        os.setgroups([])
        os.setgid(trouble.uid)
        os.setuid(trouble.uid)


def _note_phases(path: Path) -> None:
    """Keep in a file, which outlives a kill, what the process is doing."""
    from rgan.runs.checkpoint import CheckpointStore
    from rgan.runs.folder import Run
    from rgan.train.events import Ended
    from rgan.workflow.pictures import Pictures
    from rgan.workflow.recording import Recording

    with path.open("r+b") as file:
        flags = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def during(owner: type, method: str, phase: str, stays: bool = False) -> None:
        original, index = getattr(owner, method), PHASES.index(phase)

        def noted(*args: Any, **more: Any) -> Any:
            flags[index] = 1
            try:
                return original(*args, **more)
            finally:
                flags[index] = int(stays)

        setattr(owner, method, noted)

    during(Run, "begin_segment", "begun", stays=True)
    during(Recording, "__enter__", "training", stays=True)
    during(CheckpointStore, "save", "checkpoint")
    during(Pictures, "draw", "figure")
    during(Pictures, "finish", "figure")
    tell = Recording.__call__

    def called(self: Recording, event: Any) -> None:
        if isinstance(event, Ended):
            flags[PHASES.index("ended")] = 1
        tell(self, event)

    Recording.__call__ = called  # type: ignore[method-assign]


def _die_at(operation: int, cwd: str) -> None:
    """Be killed just before the so-manieth change of a file below a folder."""
    seen = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if event == "open":
            changes = bool(args[2] & (os.O_WRONLY | os.O_RDWR)) if args[2] is not None else False
        else:
            changes = event in _CHANGES
        if not changes or not isinstance(args[0], str | os.PathLike):
            return
        path = os.path.abspath(os.fspath(args[0]))  # noqa: PTH100  a Path here would audit as well
        if isinstance(path, str) and path.startswith(cwd):
            seen += 1
            if seen == operation:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _jump_clock(step: int, seconds: float) -> None:
    """From a step on, every clock but the monotonic ones says another time."""
    from rgan.train.events import Stepped
    from rgan.workflow.recording import Recording

    jumped, true_time, tell = False, time.time, Recording.__call__

    class Jumping(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=seconds if jumped else 0)

    def called(self: Recording, event: Any) -> None:
        nonlocal jumped
        if isinstance(event, Stepped) and event.step >= step:
            jumped = True
        tell(self, event)

    Recording.__call__ = called  # type: ignore[method-assign]
    time.time = lambda: true_time() + (seconds if jumped else 0)
    for name, module in list(sys.modules.items()):
        if name.startswith("rgan.") and getattr(module, "datetime", None) is datetime:
            module.datetime = Jumping  # type: ignore[attr-defined]


def _slow_disk(seconds: float) -> None:
    from rgan.runs import atomic

    write = atomic.write_synced

    def slowly(path: Path, data: bytes) -> None:
        write(path, data)
        if path.name.endswith((".safetensors", "state.json")):
            time.sleep(seconds)

    atomic.write_synced = slowly


def wait_until(ready: Callable[[], bool], child: Child, seconds: float = 90) -> None:
    """Wait for something that a process does; fails where it ends before."""
    deadline = time.monotonic() + seconds
    while not ready():
        if not child.alive:
            assert ready(), f"it ended before: {child.out}\n{child.err}"
            return
        assert time.monotonic() < deadline, "it did not come so far"
        time.sleep(0.005)


@contextlib.contextmanager
def none_outlives(*children: Child) -> Iterator[None]:
    """No process outlives its trial."""
    try:
        yield
    finally:
        for child in children:
            child.kill()
