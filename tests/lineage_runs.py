"""Runs made by hand, as a training would have left them, without the training."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from rgan.config import Config, changed
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
PER_EPOCH = 10


def bare(root: Path, name: str, parent: Run | None = None, *, minute: float = 0, step: int = 0,
         **fields: Any) -> Run:  # fmt: skip
    """A run of which only run.json matters, trained at a minute after noon."""
    info = parent.info if parent else None
    if info:
        fields["parent"] = info["id"]
        fields["parents"] = [{"id": info["id"], "name": info["name"], "step": step}]
    moment = START + timedelta(minutes=minute)
    run = Run.create(root, name, moment, **fields)
    segment = {"started": run.info["created"], "from_step": step, "to_step": step, "changed": {}}
    run.update_info(segments=[segment], status="finished")
    named = root / name
    run.path.rename(named)
    return Run(named)


def trained(root: Path, name: str, parent: Run | None = None, *, begin: int = 0, end: int = 40,
            minute: float = 0, changes: dict[str, list[Any]] | None = None, tail: int = 0,
            every: int = PER_EPOCH, **fields: Any) -> Run:  # fmt: skip
    """A run with history, checkpoints, pictures and configuration, from ``begin`` to ``end``.

    Args:
        tail: steps told by its history after the last checkpoint, as after kill -9.
        every: steps between two checkpoints.
    """
    run = bare(root, name, parent, minute=minute, step=begin, **fields)
    (before,) = run.info["segments"]
    run.update_info(
        segments=[{**before, "to_step": end, "changed": changes or {}}],
        data={"name": "toy", "fingerprint": "f" * 64, "sequences": 30},
    )
    settings = {path: pair[1] for path, pair in (changes or {}).items()}
    run.write_config(changed(Config(), {"train.batch_size": 4, **settings}).to_sections())
    add_history(run, begin, end + tail)
    store = CheckpointStore(run.checkpoints)
    for step in range(begin, end + 1, every):
        save(store, step, f"{name} {step}")
    for step in range(begin + PER_EPOCH, end + tail + 1, PER_EPOCH):
        picture = Image.new("RGB", (12, 8), (step % 256, 0, 0))
        picture.save(run.figures / f"samples-{step:08d}.png")
    return run


def add_history(run: Run, begin: int, end: int, per_epoch: int = PER_EPOCH) -> None:
    """Events of a training from one step to another."""
    epoch = begin // per_epoch
    run.history.append(
        {"event": "started", "step": begin, "epoch": epoch, "steps_per_epoch": per_epoch,
         "total_steps": end}
    )  # fmt: skip
    for step in range(begin + per_epoch, end + 1, per_epoch):
        losses = {"critic": 1 / step, "generator": 2 / step}
        run.history.append(
            {"event": "epoch", "step": step, "epoch": step // per_epoch, "losses": losses,
             "rates": {"generator": 0.1, "critic": 0.1}, "seconds": 2.0,
             "sequences_per_second": 5.0}
        )  # fmt: skip


def save(store: CheckpointStore, step: int, what: str) -> Path:
    """A checkpoint that says whose it is."""
    tensors = {"model": {"generator.weight": torch.full((2,), float(step))}}
    return store.save(step, tensors, {"what": what, "counters": {"step": step}}, keep=99)


def damage(path: Path) -> None:
    """Flip one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def line_of(root: Path, **last: Any) -> list[Run]:
    """A, its branch B at step 20 of 40, and B's branch C."""
    a = trained(root, "a", end=40, minute=0)
    b = trained(root, "b", a, begin=20, end=50, minute=1,
                changes={"generator_optimizer.rate": [0.002, 0.01]})  # fmt: skip
    c = trained(root, "c", b, begin=40, end=70, minute=2, **last)
    return [a, b, c]
