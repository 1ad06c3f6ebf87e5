"""What keeps a training in its run folder: history, checkpoints, TensorBoard and pictures."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from numpy.typing import NDArray

from rgan.errors import StorageError
from rgan.report.board import Board
from rgan.report.board_parts import chosen_settings
from rgan.report.similarity import draw_similarity
from rgan.runs.atomic import explain_os_errors, write_bytes
from rgan.runs.folder import PROBE, Run
from rgan.runs.lock import RunLock
from rgan.train.events import Ended, Event, Listener, Noted
from rgan.train.health import NETWORKS
from rgan.workflow.monitor import Monitor
from rgan.workflow.pictures import Pictures
from rgan.workflow.saving import Checkpoints as Checkpoints
from rgan.workflow.session import Session

E = TypeVar("E", bound=Event)


class Recording:
    """Keeps a training in its run folder.

    A disk that fails, being full perhaps, does not end the training: it is said, what is to be
    written waits or is tried again, and only the end insists.

    Args:
        run: locked by this process.
        session: what is trained.
        lock: of the run.
        outer: are told every event, and notes, beside the run folder.
    """

    def __init__(
        self, run: Run, session: Session, lock: RunLock, outer: tuple[Listener, ...]
    ) -> None:
        self.run, self.session, self.outer = run, session, outer
        self.history = run.history
        self._stack = ExitStack()
        self._stack.enter_context(_told_elsewhere())
        state, settings = session.state, chosen_settings(session.config.to_sections())
        networks = {name: getattr(state, name) for name in NETWORKS}
        self.board = LastingBoard(run.tensorboard, networks=networks, settings=settings)
        self.monitor = Monitor(session, self, self.note)
        checkpoints = Checkpoints(session, run, lock, self.history.sync, self.monitor)
        self._stack.callback(self.board.close)
        self._stack.enter_context(checkpoints.saver)
        # The history first: what it is ahead of a checkpoint is cut off again, a gap would stay.
        self.own: list[Listener] = [
            Guarded("history.jsonl", self._record, self.note),
            self.monitor,  # before the checkpoint, so that a look is in it
            Guarded(
                "a checkpoint", checkpoints, self.note, lambda: checkpoints.count, insists=True
            ),
            Guarded("TensorBoard", self.board, self.note, lambda: self.board.count),
            Guarded("a picture", Pictures(session, run, self.board), self.note, self._pictures),
            Guarded("the curve of similarity", self._conclude, self.note),
        ]

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._stack.close()
        except OSError:  # of TensorBoard's own thread; nothing hangs on it
            self.note("TensorBoard could not be written to its end")

    def __call__(self, event: Event) -> None:
        event = self.translated(event)
        for listener in self.own:
            listener(event)
        self._tell(event)

    def translated(self, event: E) -> E:
        """The event; a training that the monitor stopped is finished, and not interrupted."""
        if isinstance(event, Ended) and event.reason and event.reason == self.monitor.reason:
            return replace(event, status="finished")
        return event

    def _conclude(self, event: Event) -> None:
        """At the end, say when the metric converged, and draw its curve."""
        curve = self.monitor.memory["curve"]
        if not isinstance(event, Ended) or event.status == "failed" or not curve:
            return
        found, metric = self.monitor.convergence(), self.monitor.config.metric
        self.run.update_info(convergence=found)
        if found:
            with contextlib.suppress(OSError, StorageError):  # told at the next event, if any
                final = {f"{name}_to_converge": found[name] for name in ("batches", "epochs")}
                self.board.numbers("final", final, event.step)
        draw_similarity(
            curve,
            self.run.figures / "similarity.png",
            metric="1 - tstr" if metric == "tstr" else metric,
            best=self.monitor.memory["kept"],
            converged=found["step"] if found else None,
            stopped=self.monitor.reason,
        )

    def note(self, text: str) -> None:
        """Tell everybody something."""
        state = self.session.state
        event = Noted(state.step, state.plan(len(self.session.batch)).epoch(state.step), text)
        self.own[0](event)
        self._tell(event)

    def _tell(self, event: Event) -> None:
        for listener in self.outer:
            # Words may go to a file on the same full disk; there is nobody to tell it to.
            with contextlib.suppress(OSError):
                listener(event)

    def _pictures(self) -> int:
        return len(list(self.run.figures.glob("samples-*.png")))

    def _record(self, event: Event) -> None:
        if event.kind != "step":
            self.history.append(event.as_dict())


class Guarded:
    """A listener whose disk may fail: that is said once, and once when it works again.

    Args:
        what: it writes, for the note.
        listener: is called.
        note: says it.
        count: how many things it has written so far; without it, each event but steps is one.
        insists: whether the training's end fails with it.
    """

    def __init__(
        self,
        what: str,
        listener: Listener,
        note: Callable[[str], None],
        count: Callable[[], int] | None = None,
        insists: bool = False,
    ) -> None:
        self.what, self.listener, self.note, self.insists = what, listener, note, insists
        self.count = count
        self.failed_at: int | None = None

    def __call__(self, event: Event) -> None:
        try:
            self.listener(event)
        except (OSError, StorageError) as error:
            if self.insists and isinstance(event, Ended):
                raise
            if self.failed_at is None:
                self.failed_at = self.count() if self.count else 0
                found = error.found if isinstance(error, StorageError) else str(error)
                self.note(f"{self.what} is not written: {found}. Training goes on.")
        else:
            if self.failed_at is None or event.kind == "step":
                return
            if self.count is None or self.count() > self.failed_at:
                self.failed_at = None
                self.note(f"{self.what} is written again")


class LastingBoard(Board):
    """TensorBoard on a disk that may fail.

    Its own thread dies of a full disk and would raise the same error for ever, so it is left, and a
    new file is begun as soon as that can be done.
    """

    count = 0

    def __call__(self, event: Event) -> None:
        """Writes what the event says.

        Raises:
            OSError: what was written since the last event is lost.
        """
        try:
            super().__call__(event)
        except OSError:
            self._leave()
            raise
        self.count += event.kind != "step"

    def images(self, name: str, picture: str | Path | NDArray[Any], step: int) -> None:
        """Adds a picture; where the disk fails, the next event tells."""
        try:
            super().images(name, picture, step)
        except (OSError, StorageError):
            self._leave()

    def _open(self, purge_step: int | None = None) -> Any:
        if self._writer is None:  # each attempt costs a thread, so the disk is tried first
            with explain_os_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            write_bytes(self.folder / PROBE, bytes(4096))
            (self.folder / PROBE).unlink()
        return super()._open(purge_step)

    def _leave(self) -> None:
        with contextlib.suppress(OSError):
            super().close()
        self._writer = None


@contextlib.contextmanager
def _told_elsewhere() -> Iterator[None]:
    """Keep threads' errors of the disk, which listeners tell in words, from being printed."""
    before = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if not isinstance(args.exc_value, OSError):
            before(args)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
