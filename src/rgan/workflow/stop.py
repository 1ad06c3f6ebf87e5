"""Ctrl-C and SIGTERM as a request that the loop reads after each step."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class StopSignals:
    """While open, the first SIGINT or SIGTERM asks for a stop; a second one ends at once.

    >>> with StopSignals() as stop:
    ...     stop()
    ''
    """

    def __init__(self) -> None:
        self.reason = ""
        self._before: dict[int, object] = {}

    def __call__(self) -> str:
        """Why to stop, or ""."""
        return self.reason

    def __enter__(self) -> StopSignals:
        # Only the main thread may set handlers; elsewhere (a notebook's executor) there are none.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.reason:
            raise KeyboardInterrupt
        self.reason = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
