"""Checkpoints written beside the training, so that it never waits for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.sealed import Tensors


@dataclass(frozen=True)
class _Job:
    step: int
    tensors: Tensors
    state: Mapping[str, Any]
    keep: int


class BackgroundSaver:
    """Saves checkpoints in a thread of its own, one after the other.

    A snapshot is taken at once. Where one still waits to be written when the next comes, the newer
    takes its place. Use as a context manager: leaving it waits for what is being written.

    Args:
        store: where they go.
        before: called in the thread before each; what it raises keeps the checkpoint from being
            written.
        after: called in the thread after each, with its step.
    """

    def __init__(
        self,
        store: CheckpointStore,
        before: Callable[[], None] = lambda: None,
        after: Callable[[int], None] = lambda step: None,
    ) -> None:
        self.store, self.before, self.after = store, before, after
        self._wake = threading.Condition()
        self._job: _Job | None = None
        self._busy = self._closed = False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, daemon=True, name="rgan-checkpoints")
        self._thread.start()

    def save(self, step: int, tensors: Tensors, state: Mapping[str, Any], *, keep: int) -> None:
        """Takes a snapshot to be written; see ``CheckpointStore.save``."""
        copies = {
            group: {name: tensor.detach().to("cpu", copy=True) for name, tensor in named.items()}
            for group, named in tensors.items()
        }
        with self._wake:
            self._job = _Job(step, copies, state, keep)
            self._wake.notify_all()

    def check(self) -> None:
        """Raise what went wrong in the last write, if anything did."""
        with self._wake:
            error, self._error = self._error, None
        if error is not None:
            raise error

    def wait(self) -> None:
        """Wait until the last snapshot is on the disk.

        Raises:
            StorageError: it could not be written.
        """
        with self._wake:
            self._wake.wait_for(lambda: self._job is None and not self._busy)
        self.check()

    def __enter__(self) -> BackgroundSaver:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._wake:
            self._closed = True
            self._wake.notify_all()
        self._thread.join()

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._job is not None or self._closed)
                job, self._job = self._job, None
                if job is None:
                    return
                self._busy = True
            error: Exception | None = None
            try:
                self.before()
                self.store.save(job.step, job.tensors, job.state, keep=job.keep)
                self.after(job.step)
            except Exception as caught:  # whatever it is, the training hears of it
                error = caught
            with self._wake:
                self._busy, self._error = False, error
                self._wake.notify_all()
