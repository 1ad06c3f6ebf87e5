"""Batches that fit: before a training begins, and where its memory runs out on the way."""

from __future__ import annotations

import dataclasses
import gc
from typing import Any

import torch

from rgan.config import Config, changed, differences
from rgan.errors import TrainingError
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run
from rgan.runs.sealed import taking_up
from rgan.train.device import busy_note
from rgan.train.events import Listener, Noted
from rgan.train.gpus import gib
from rgan.workflow.memory import check_memory, is_out_of_memory
from rgan.workflow.session import Session


def fitted(session: Session, *, shrink: bool = False) -> tuple[Session, list[str]]:
    """A session that fits into memory; called before anything is written.

    Args:
        session: about to be trained.
        shrink: take the largest batch that fits, not above the one that is set.

    Returns:
        The session, and what is to be said: a busy GPU, a smaller batch.

    Raises:
        InputError: it does not fit; names the largest batch that does.
    """
    notes = [busy_note(session.state.device, session.config.train.device)]
    if session.config.train.check_memory or shrink:
        found = check_memory(session, shrink=shrink)
        wanted = session.config.train.batch_size
        if found is not None and found[0].batch < min(wanted, len(session.batch)):
            need, room = found
            notes.append(
                f"a batch of {need.batch} instead of {wanted} is taken: it needs "
                f"{gib(need.more_bytes)} more, and {room.limit} leaves {gib(room.free_bytes)}"
            )
            session = _with_batch(session, need.batch)
        elif found is None and shrink:
            notes.append(f"memory cannot be measured here: batches stay at {wanted}")
    return session, [note for note in notes if note]


def note_batch(changes: dict[str, list[Any]], before: Config, after: Config) -> None:
    """Put a batch that has become smaller into ``{"section.key": [old, new]}``."""
    old, new = before.train.batch_size, after.train.batch_size
    if old != new:
        first = changes.get("train.batch_size", [old])[0]
        changes["train.batch_size"] = [first, new]


def reason_of(error: BaseException) -> str:
    """Why a segment ended, where it is memory; else ""."""
    return "out of memory" if is_out_of_memory(error) else ""


def check_halvable(error: Exception, session: Session) -> None:
    """Raise an error again that a smaller batch would not help.

    Raises:
        TrainingError: memory ran out with a batch of 1.
    """
    if not is_out_of_memory(error):
        raise error
    if _batch(session) == 1:
        raise TrainingError(
            f"memory ran out at step {session.state.step:,} with a batch of 1",
            rule="a training fits into the memory that is free",
            reason="the last checkpoint stays as it was",
            repair="end what else uses the memory, and: rgan train --resume latest",
        ) from error


def halved(run: Run, session: Session, listeners: tuple[Listener, ...]) -> Session:
    """The last good checkpoint with batches of half the size, as a new segment.

    The tensors of the session are used again, so that this takes no more memory.
    """
    batch, failed_at = _batch(session), session.state.step
    checkpoint = CheckpointStore(run.checkpoints).load("latest")
    state = session.state
    for name in ("generator", "critic"):
        optimizer = getattr(state, f"{name}_optimizer")
        optimizer.zero_grad(set_to_none=True)
        optimizer.state.clear()
        state.unfreeze(name)  # the step that failed may have left it frozen
    with taking_up(checkpoint.path):
        state.load_tensors(checkpoint.tensors)
        state.load_counters(checkpoint.state["counters"])
    gc.collect()
    if state.device.type == "cuda":
        torch.cuda.empty_cache()
    again = _with_batch(session, max(1, batch // 2))
    found = f"memory ran out at step {failed_at:,} with a batch of {batch}"
    run.history.truncate_after(state.step)
    changes = differences(session.config, again.config)
    run.begin_segment(state.step, changes, out_of_memory=found)
    run.write_config(again.config.to_sections())
    text = f"{found}. Back to step {state.step:,}, and on with a batch of {_batch(again)}"
    note = Noted(state.step, state.plan(len(again.batch)).epoch(state.step), text)
    run.history.append(note.as_dict())
    for listener in listeners:
        listener(note)
    return again


def _batch(session: Session) -> int:
    """How many sequences really are in a batch: no more than there are."""
    return min(session.config.train.batch_size, len(session.batch))


def _with_batch(session: Session, batch: int) -> Session:
    """The same networks and data in smaller batches."""
    config = changed(session.config, {"train.batch_size": batch})
    session.state.config = config.train
    return dataclasses.replace(session, config=config)
