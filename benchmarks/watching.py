"""What does it cost that a training watches itself?

    OMP_NUM_THREADS=1 python benchmarks/watching.py
    python benchmarks/watching.py --resume         after it was cut short
    python benchmarks/watching.py --show           print the table of the results file

The demo's model is trained twice side by side in one process, in turns of some steps: once with all
watching (health, a steered g-factor, looks at similarity within their budget, TensorBoard, history,
pictures, checkpoints, the final figures), once with none and without a run folder. Looks and
pictures come as often in a number of steps as in the demo, and the first look, which costs most, is
in each repeat. Bar: the median over the repeats is at most 12 % more time.

Processor time is counted as well as time on the wall: where cores are shared, the latter says more
about the neighbours. Threads that write files count to the side that keeps them busy.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from common import machine, markdown, reached

from rgan.config import changed, preset
from rgan.data.load import load
from rgan.runs.atomic import write_json
from rgan.runs.folder import Run
from rgan.runs.lock import RunLock
from rgan.train.events import Event, Stepped
from rgan.workflow.recording import Guarded, Recording
from rgan.workflow.session import Session, open_session

RESULTS = Path(__file__).parent / "results" / "watching.json"
BAR, DEMO, TURN = 0.12, 1500, 20
FIGURES, LOOKS = 4, 20
Row = dict[str, Any]


class Turns:
    """Two trainings in threads of their own, of which one works at a time; their times are kept."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.whose, self.left = 0, {0, 1}
        self.seconds = [[0.0, 0.0], [0.0, 0.0]]  # (wall, processor) of each
        self.begun = (0.0, 0.0)

    def take(self, side: int) -> None:
        """Wait for one's turn."""
        with self.changed:
            self.changed.wait_for(lambda: self.whose == side)
            self.begun = time.perf_counter(), time.process_time()

    def give(self, side: int, *, last: bool = False) -> None:
        """End one's turn."""
        now = time.perf_counter(), time.process_time()
        with self.changed:
            for clock in (0, 1):
                self.seconds[side][clock] += now[clock] - self.begun[clock]
            if last:
                self.left.discard(side)
            if self.left:
                self.whose = 1 - side if 1 - side in self.left else side
            self.changed.notify_all()


class Clocked:
    """A listener whose processor time is kept."""

    def __init__(self, listener: Callable[[Event], None]) -> None:
        self.listener, self.seconds = listener, 0.0

    def __call__(self, event: Event) -> None:
        begun = time.thread_time()
        self.listener(event)
        self.seconds += time.thread_time() - begun


def opened(steps: int, seed: int, watched: bool) -> Session:
    """The demo's model, ready to train."""
    config = changed(
        preset("default"),
        {
            "data.source": "icu",
            "model.kind": "rcgan",
            "train.device": "cpu",
            "train.real_examples": "always",
            "train.steps": steps,
            "train.seed": seed,
            "train.check_memory": False,
            "train.figures": max(1, round(FIGURES * steps / DEMO)) if watched else 0,
            "monitor.looks": max(1, round(LOOKS * steps / DEMO)) if watched else 0,
            "health.every": 10 if watched else 0,
            "gfactor.steer": "accuracy" if watched else "fixed",
        },
    )
    return open_session(config, load(config.data, seed=seed))


def repeat(steps: int, seed: int) -> Row:
    """Both trainings to their end; what each took, and what the watched one's parts took."""
    turns, row = Turns(), {"steps": steps, "seed": seed}
    sessions = [opened(steps, seed, watched) for watched in (False, True)]
    failed: list[BaseException] = []

    def stepped(side: int, event: Event) -> float:
        begun = time.monotonic()
        if isinstance(event, Stepped) and event.step % TURN == 0:
            turns.give(side)
            turns.take(side)
        return time.monotonic() - begun

    def bare() -> None:
        def listen(event: Event) -> None:
            stepped(0, event)

        sessions[0].run(listen)

    def watched() -> None:
        with tempfile.TemporaryDirectory() as runs:
            run = Run.create(runs, "watched")
            run.begin_segment(0)
            with RunLock(run.path) as lock, Recording(run, sessions[1], lock, ()) as recording:
                clocks = {_name(one): Clocked(one) for one in recording.own}
                recording.own = list(clocks.values())

                def listen(event: Event) -> None:
                    recording(event)
                    # The other side's turn is no time of this training, of which looks get a share.
                    recording.monitor.clock += stepped(1, event)

                sessions[1].run(listen)
                row["parts"] = {name: clock.seconds for name, clock in clocks.items()}
                row["curve"] = recording.monitor.memory["curve"]
                row["looked"] = recording.monitor.memory["spent"]

    def side(number: int, work: Callable[[], None]) -> None:
        turns.take(number)
        try:
            work()
        except BaseException as error:
            failed.append(error)
        turns.give(number, last=True)

    threads = [threading.Thread(target=side, args=pair) for pair in enumerate((bare, watched))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    row["steps"] = sessions[1].state.step  # to the end of an epoch
    return row | {"unwatched": turns.seconds[0], "watched": turns.seconds[1]}


def _name(listener: Any) -> str:
    return listener.what if isinstance(listener, Guarded) else "looks at similarity"


def table(rows: list[Row]) -> tuple[str, bool]:
    """The tables, and whether the bar is reached."""
    lines, best = [], []
    for clock, name in enumerate(("wall", "processor")):
        more = [row["watched"][clock] / row["unwatched"][clock] - 1 for row in rows]
        each = [f"{1000 * median(row[side][clock] / row['steps'] for row in rows):.1f}"
                for side in ("unwatched", "watched")]  # fmt: skip
        spread = f"{min(more):+.1%} to {max(more):+.1%}"
        best.append(median(more) <= BAR)
        lines.append([name, *each, f"{median(more):+.1%}", spread, reached(best[-1])])
    head = ["time", "ms a step, unwatched", "watched", "more (median)", "by repeat"]
    text = markdown([*head, f"at most {BAR:.0%}"], lines)
    parts = []
    for name in rows[0]["parts"]:
        share = median(row["parts"][name] / row["unwatched"][1] for row in rows)
        parts.append([name, f"{share:+.1%}"])
    rest = median(
        (row["watched"][1] - sum(row["parts"].values())) / row["unwatched"][1] - 1 for row in rows
    )
    parts.append(["examinations, steering, and chance", f"{rest:+.1%}"])
    looks = ", ".join(str(len(row["curve"]) - 1) for row in rows)
    steps = ", ".join(str(row["steps"]) for row in rows)
    note = f"Looks: {looks} in {steps} steps."
    return f"{text}\n\n{markdown(['part', 'processor time'], parts)}\n\n{note}", best[1]


def main() -> None:
    """Print the table; exit 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=750, help="of each training")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--resume", action="store_true", help="keep what the file holds")
    parser.add_argument("--show", action="store_true", help="print the file and run nothing")
    options = parser.parse_args()
    document: dict[str, Any] = {"machine": machine(), "rows": []}
    if (options.show or options.resume) and options.out.exists():
        document = json.loads(options.out.read_text())
    for seed in range(len(document["rows"]), 0 if options.show else options.repeats):
        document["rows"].append(repeat(options.steps, seed))
        write_json(options.out, document)
        print(document["rows"][-1], flush=True)
    text, good = table(document["rows"])
    print(f"{document['machine']}\n\n{text}")
    raise SystemExit(not good)


if __name__ == "__main__":
    main()
