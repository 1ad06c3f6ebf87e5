"""What must hold of a disturbed run, and disks that can be disturbed."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults import launch


def the_run(cwd: Path) -> Path | None:
    """The one run that was made in this folder, if one was."""
    found = sorted(path.parent for path in cwd.glob("runs/*/run.json"))
    assert len(found) <= 1, found
    return found[0] if found else None


def has_checkpoint(run: Path) -> bool:
    """Whether a whole checkpoint stands there, perhaps moved aside."""
    return bool([*run.glob("checkpoints/0*/state.json"), *run.glob("checkpoints/.old-*")])


def check_opens(run: Path) -> None:
    """What must hold at any moment: the run opens, its history reads, no step is told twice."""
    from rgan.runs.folder import Run

    opened = Run.open(run)
    steps = [e["step"] for e in opened.history.read() if e["event"] == "epoch"]
    assert steps == sorted(set(steps)), f"steps in history.jsonl: {steps}"


def final(run: Path) -> tuple[bytes, bytes, Any]:
    """The tensors of the last checkpoint as they lie on the disk, and the counters."""
    from rgan.runs.checkpoint import CheckpointStore

    checkpoint = CheckpointStore(run / "checkpoints").load()
    assert not checkpoint.warning, checkpoint.warning
    files = [(checkpoint.path / f"{n}.safetensors").read_bytes() for n in ("model", "optimizer")]
    return files[0], files[1], checkpoint.state["counters"]


def check_whole(run: Path, straight: Path) -> None:
    """What must hold of a run that was disturbed, resumed, and has come to its end.

    Args:
        run: it.
        straight: a run of the same settings that nothing disturbed.
    """
    from rgan.runs.folder import Run

    info, other = Run.open(run).info, Run.open(straight).info
    assert info["status"] == "finished", info["status"]
    lines = (run / "history.jsonl").read_bytes().split(b"\n")
    assert lines.pop() == b"", "history.jsonl does not end in a whole line"
    epochs, theirs = _epochs(map(json.loads, lines)), _epochs(Run.open(straight).history.read())
    assert [e[0] for e in epochs] == list(range(1, len(theirs) + 1)), [e[0] for e in epochs]
    assert epochs == theirs, "the history differs from that of the undisturbed run"
    assert final(run) == final(straight), "the tensors differ from those of the undisturbed run"
    at = 0
    for segment in info["segments"]:
        assert segment["from_step"] == at, f"segments have a gap: {_spans(info)}"
        at = segment["to_step"]
    assert at == other["segments"][-1]["to_step"], f"segments end early: {_spans(info)}"
    odd = re.compile(r"\.tmp-|\.old-|lock\.json$|.*\.part$")
    left = [str(path.relative_to(run)) for path in run.rglob("*") if odd.match(path.name)]
    assert not left, f"left behind: {left}"
    _check_pictures(run, straight)


def missing_pictures(run: Path, straight: Path) -> int:
    """How many pictures of the undisturbed run this one has not."""
    names = {path.name for path in (run / "figures").iterdir()}
    return len({path.name for path in (straight / "figures").iterdir()} - names)


def check_samples(run: Path, cwd: Path) -> None:
    """``rgan sample`` works."""
    target = cwd / "sampled.npy"
    child = launch(("sample", run, "-n", 3, "-o", target, "-q"), cwd)
    assert child.wait() == 0 and target.is_file(), child.err
    target.unlink()


def _epochs(events: Any) -> list[tuple[Any, ...]]:
    told = ("epoch", "step", "rates", "losses")
    return [tuple(e[key] for key in told) for e in events if e["event"] == "epoch"]


def _spans(info: dict[str, Any]) -> list[tuple[int, int]]:
    return [(segment["from_step"], segment["to_step"]) for segment in info["segments"]]


def _check_pictures(run: Path, straight: Path) -> None:
    """Each can be read, and those of samples are the same as without a disturbance."""
    from PIL import Image

    for picture in (run / "figures").iterdir():
        with Image.open(picture) as image:
            image.load()
        if picture.match("samples-*.png"):
            same = (straight / "figures" / picture.name).read_bytes() == picture.read_bytes()
            assert same, f"{picture.name} differs"


# -- disks and folders -----------------------------------------------------------------------


def saved(cwd: Path) -> int:
    """The step of the last checkpoint below a folder; -1 where there is none."""
    return max((int(p.name) for p in cwd.glob("runs/*/checkpoints/0*")), default=-1)


def may_mount() -> bool:
    """Whether this process can make file systems: root on Linux."""
    return sys.platform == "linux" and os.geteuid() == 0


@contextlib.contextmanager
def small_disk(path: Path, size: str = "8m") -> Iterator[Path]:
    """A file system of its own in memory, of this size.

    Raises:
        OSError: it cannot be mounted here.
    """
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)], capture_output=True
    )
    if done.returncode:
        raise OSError(done.stderr.decode().strip())
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def remount(path: Path, how: str) -> None:
    """``how``: "ro" or "rw"."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(path)], check=True)


@dataclass
class Filler:
    """A file that takes all that is left of a disk."""

    path: Path

    def fill(self) -> None:
        with self.path.open("ab", buffering=0) as file:
            for block in (1 << 16, 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(block))

    def free(self) -> None:
        self.path.unlink()


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that every user may read, unlike those of pytest."""
    path = Path(tempfile.mkdtemp(prefix="rgan-faults-"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
