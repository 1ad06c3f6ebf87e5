"""Checkpoints as a training goes, and the mark on the best of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from rgan.errors import StorageError
from rgan.runs.background import BackgroundSaver
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run
from rgan.runs.lock import RunLock
from rgan.train.events import Ended, EpochEnded, Event, Started
from rgan.workflow.monitor import Monitor
from rgan.workflow.session import Session


class Checkpoints:
    """Saves at the beginning, at epochs' ends when it is time, where a look at similarity is the
    best so far, and at the end.

    Attributes:
        marked: the best look whose checkpoint is on the disk and marked.
    """

    def __init__(
        self,
        session: Session,
        run: Run,
        lock: RunLock,
        sync: Callable[[], None],
        monitor: Monitor,
    ) -> None:
        self.session, self.run, self.lock, self.sync = session, run, lock, sync
        self.monitor = monitor
        self.marked = monitor.kept
        store = CheckpointStore(run.checkpoints)
        self.saver = BackgroundSaver(store, self._before, self._after)
        self.due_at = 0.0
        self.count = 0

    def __call__(self, event: Event) -> None:
        # A failed training has weights that are not to be taken up again.
        last = isinstance(event, Ended) and event.status != "failed"
        best = isinstance(event, EpochEnded) and self.monitor.asks
        # A newer snapshot would take the place of a best one that waits to be written.
        writing = self.monitor.kept != self.marked and not best
        due = isinstance(event, EpochEnded) and time.monotonic() >= self.due_at and not writing
        if last and writing:
            self._settle()
        if (isinstance(event, Started) or last or due or best) and self.session.state.is_finite():
            self.due_at = time.monotonic() + 60 * self.session.config.train.checkpoint_minutes
            self._save()
        if isinstance(event, Ended):
            self.saver.wait()
        elif isinstance(event, EpochEnded):
            try:
                self.saver.check()
            except StorageError:
                self.due_at = 0.0  # so it is tried again after the next epoch
                self.monitor.keep(self.marked)
                raise

    def _settle(self) -> None:
        """Wait for the best; where it cannot be written, the one before stays the best."""
        with contextlib.suppress(StorageError):
            self.saver.wait()
        if self.monitor.kept != self.marked:
            self.monitor.keep(self.marked)

    def _save(self) -> None:
        session = self.session
        keep = session.config.train.keep
        state = session.state
        self.saver.save(state.step, state.tensors(), session.checkpoint_state(), keep=keep)

    def _before(self) -> None:
        self.lock.check()
        self.sync()

    def _after(self, step: int) -> None:
        self.count += 1
        plan = self.session.state.plan(len(self.session.batch))
        self.run.progress(step, epoch=plan.epoch(step), total_steps=plan.total)
        self._mark(step)

    def _mark(self, step: int) -> None:
        """Mark the best checkpoint, if it is among those written; a kill may have come before."""
        best, store = self.monitor.kept, self.saver.store
        if best is None or best["step"] > step or best["step"] not in store.steps():
            return
        said = self.monitor.named(best)
        if store.marks().get("best") != f"{best['step']:08d}" or said != self.run.info.get("best"):
            store.mark_best(best["step"])
            self.run.update_info(best=said)
        self.marked = best
