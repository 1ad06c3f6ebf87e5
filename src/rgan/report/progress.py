"""What training shows on the terminal: a bar, plain lines, or nothing.

Each is a listener of the loop's events and is closed when training is over, however it ends:

    with make_progress(quiet=False) as progress:
        train(..., listeners=[progress])
"""

from __future__ import annotations

import atexit
import math
import sys
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

from rgan.report.verdict import Watcher
from rgan.train.events import Ended, EpochEnded, Event, Judged, Noted, Started, Stepped

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

_SHORT = {"generator": "G", "critic": "C"}


class ProgressListener(Protocol):
    """A listener that shows something until it is closed; closing twice does no harm."""

    def __call__(self, event: Event) -> None: ...

    def close(self) -> None: ...

    def __enter__(self) -> ProgressListener: ...

    def __exit__(self, *error: object) -> None: ...


def make_progress(quiet: bool = False, console: Console | None = None) -> ProgressListener:
    """The listener that fits where the words go.

    Args:
        quiet: show nothing.
        console: where to write; standard error if not given, so that output can be piped.

    Returns:
        A bar on a terminal, a line now and then elsewhere, or nothing.
    """
    if quiet:
        return SilentProgress()
    from rich.console import Console

    console = console or Console(stderr=True)
    return ProgressBar(console) if console.is_terminal else PlainProgress(console)


class SilentProgress:
    """Shows nothing but what somebody has to know."""

    def __call__(self, event: Event) -> None:
        """Writes a note to standard error, and nothing else."""
        if isinstance(event, Noted):
            print(f"step {event.step:,}: {event.text}", file=sys.stderr)

    def close(self) -> None:
        """Does nothing."""

    def __enter__(self) -> SilentProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Pace:
    """How fast training goes and how long it will take, from steps and a clock."""

    def __init__(self) -> None:
        self.total, self.per_step = 0, 0.0
        self._begun = (0.0, 0)

    def start(self, event: Started) -> None:
        self.total = event.total_steps
        self.per_step = event.sequences / max(1, event.steps_per_epoch)
        self._begun = (time.monotonic(), event.step)

    def steps_per_second(self, step: int) -> float:
        seconds = time.monotonic() - self._begun[0]
        return (step - self._begun[1]) / seconds if seconds > 0 else 0.0

    def sequences_per_second(self, step: int) -> float:
        return self.steps_per_second(step) * self.per_step

    def seconds_left(self, step: int) -> float:
        rate = self.steps_per_second(step)
        return (self.total - step) / rate if rate > 0 else math.inf


class ProgressBar:
    """A bar with the step, the losses, the rate in sequences a second, and the time left; under it
    one line that judges the balance.

    Args:
        console: a terminal.
        every: seconds between updates of the words.
    """

    def __init__(self, console: Console, *, every: float = 0.2) -> None:
        self._console, self._every = console, every
        self._pace, self._told, self._near = _Pace(), -math.inf, ""
        self._watcher = Watcher()
        self._progress: Progress | None = None
        self._task: int | None = None

    def __call__(self, event: Event) -> None:
        """Shows what the event says; for a step this takes some microseconds."""
        self._watcher(event)
        if isinstance(event, Started):
            self._start(event)
        elif isinstance(event, Stepped):
            now = time.monotonic()
            if now - self._told >= self._every or event.step >= self._pace.total:
                self._told = now
                self._update(event.step, event.losses, self._pace.sequences_per_second(event.step))
        elif isinstance(event, Noted):
            self._console.print(f"step {event.step:,}: {event.text}", markup=False, highlight=False)
        elif isinstance(event, Judged):
            self._near = _near(event)
        elif isinstance(event, EpochEnded):
            self._update(event.step, event.losses, event.sequences_per_second, event.epoch)
        elif isinstance(event, Ended):
            self.close()

    def _start(self, event: Started) -> None:
        from rich import progress as parts

        self.close()
        self._pace.start(event)
        self._progress = _judged_progress(self._watcher)(
            parts.TextColumn("{task.description}"),
            parts.BarColumn(bar_width=None),
            parts.MofNCompleteColumn(),
            parts.TextColumn("{task.fields[losses]}"),
            parts.TextColumn("[dim]{task.fields[rate]}"),
            parts.TimeRemainingColumn(compact=True),
            console=self._console,
            refresh_per_second=8,
            expand=True,
        )
        self._task = self._progress.add_task(
            f"epoch {event.epoch}",
            total=event.total_steps,
            completed=event.step,
            losses="",
            rate="",
        )
        self._progress.start()
        atexit.register(self.close)  # the cursor comes back even if nobody closes this

    def _update(
        self, step: int, losses: Mapping[str, float], rate: float, epoch: int | None = None
    ) -> None:
        from rich.progress import TaskID

        if self._progress is None or self._task is None:
            return
        words = {} if epoch is None else {"description": f"epoch {epoch}"}
        self._progress.update(
            TaskID(self._task),
            completed=step,
            losses=_losses(losses, _SHORT) + self._near,
            rate=f"{rate:,.0f} seq/s" if rate else "",
            **words,  # type: ignore[arg-type]
        )

    def close(self) -> None:
        """Takes the bar off the terminal's hands: its last state stays, the cursor comes back."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
            atexit.unregister(self.close)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class PlainProgress:
    """A line at the start, at the end, and every so many seconds in between.

    Args:
        console: where the lines go, such as a log file.
        every: seconds between lines.
    """

    def __init__(self, console: Console, *, every: float = 15.0) -> None:
        self._console, self._every = console, every
        self._pace, self._told, self._near = _Pace(), 0.0, ""
        self._watcher = Watcher()

    def __call__(self, event: Event) -> None:
        """Writes a line if it is time for one."""
        self._watcher(event)
        if isinstance(event, Started):
            self._pace.start(event)
            self._told = time.monotonic()
            sizes = ", ".join(f"{name} {size:,}" for name, size in event.parameters.items())
            self._say(
                f"step {event.step} of {event.total_steps}: {event.sequences:,} sequences on "
                f"{event.device}" + (f", parameters: {sizes}" if sizes else "")
            )
        elif isinstance(event, Judged):
            self._near = _near(event)
        elif isinstance(event, Stepped | EpochEnded):
            if time.monotonic() - self._told >= self._every:
                self._told = time.monotonic()
                self._say(self._line(event))
        elif isinstance(event, Noted):
            self._say(f"step {event.step:,}: {event.text}")
        elif isinstance(event, Ended):
            reason = f": {event.reason}" if event.reason else ""
            self._say(
                f"{event.status} at step {event.step}, epoch {event.epoch}, after "
                f"{spell(event.seconds)}{reason}"
            )

    def _line(self, event: Stepped | EpochEnded) -> str:
        rate = self._pace.sequences_per_second(event.step)
        left = self._pace.seconds_left(event.step)
        return (
            f"epoch {event.epoch}, step {event.step} of {self._pace.total}: "
            f"{_losses(event.losses, {})}{self._near}, {rate:,.0f} sequences/s"
            + (f", {spell(left)} left" if math.isfinite(left) else "")
            + (f"; {self._watcher.words}" if self._watcher.words else "")
        )

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Does nothing: every line is whole already."""

    def __enter__(self) -> PlainProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _judged_progress(watcher: Watcher) -> type[Progress]:
    """rich's display with the watcher's words on a line of their own."""
    from rich.console import RenderableType
    from rich.progress import Progress
    from rich.text import Text

    class WithWords(Progress):
        def get_renderables(self) -> Iterable[RenderableType]:
            yield from super().get_renderables()
            if watcher.words:
                yield Text(watcher.words, style="dim", no_wrap=True, overflow="ellipsis")

    return WithWords


def spell(seconds: float) -> str:
    """A time in the words one would use.

    >>> spell(42), spell(130), spell(7320)
    ('42 s', '2 min 10 s', '2 h 02 min')
    """
    whole = round(max(0.0, seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _near(event: Judged) -> str:
    """The last look's word: " mmd2 0.013", with a star where it is the best."""
    if event.value is None:
        return ""
    return f" {event.metric} {event.value:.3g}{'*' if event.best else ''}"


def _losses(losses: Mapping[str, float], short: Mapping[str, str]) -> str:
    """The networks' losses; penalties are for the figures."""
    shown = {name: loss for name, loss in losses.items() if name in _SHORT} or losses
    return " ".join(f"{short.get(name, name)} {loss:.3g}" for name, loss in shown.items())
