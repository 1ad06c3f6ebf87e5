"""Training with a run folder: begin, resume, and what listens while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rgan.config import Config, changed, differences, from_sections
from rgan.data.load import load
from rgan.errors import DivergedError, RunError
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run
from rgan.sequences import Sequences
from rgan.train.events import Ended, EpochEnded, Event, Listener, Started
from rgan.workflow.pictures import Pictures
from rgan.workflow.session import Session, open_session
from rgan.workflow.stop import StopSignals


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    Args:
        run: its folder.
        session: data, networks and encoder as they are now.
        ended: the loop's last event.
    """

    run: Run
    session: Session
    ended: Ended


def fit(
    config: Config,
    *,
    runs: str | Path = "runs",
    sequences: Sequences | None = None,
    listeners: tuple[Listener, ...] = (),
    command: str = "",
) -> Outcome:
    """Train a new model, in a new run folder.

    Nothing is written before the data and the configuration have been found good.

    Args:
        config: the whole configuration; ``data.source`` says what to train on.
        runs: the folder that will hold the run.
        sequences: the data, where they are at hand already.
        listeners: are told the loop's events beside those of the run folder.
        command: what was typed, for run.json.

    Raises:
        InputError: the source, the data or a setting cannot be used.
        DivergedError: a loss is not finite; the last good checkpoint stays.
    """
    if sequences is None:
        sequences = load(config.data, seed=config.train.seed)
    session = open_session(config, sequences)
    run = Run.create(
        runs,
        f"{sequences.name}-{session.config.model.kind}",
        device=str(session.state.device),
        data=describe_data(sequences),
        command=command,
    )
    run.write_config(session.config.to_sections())
    return _train(run, session, {}, listeners)


def resume(
    run: Run,
    *,
    settings: Mapping[str, Any] | None = None,
    sequences: Sequences | None = None,
    listeners: tuple[Listener, ...] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Go on from a run's last good checkpoint.

    Args:
        run: the run folder.
        settings: ``{"section.key": value}`` to change; every change is said and recorded.
        sequences: the data, where the run's own source does not name them.
        say: is told what changed and what was found damaged.

    Raises:
        RunError: the run cannot be resumed, the data differ from those trained on, or a changed
            setting no longer fits the checkpoint.
        DivergedError: a loss is not finite.
    """
    old = from_sections(run.read_config())
    config = changed(old, settings or {})
    changes = differences(old, config)
    _check_changes(changes)
    checkpoint = CheckpointStore(run.checkpoints).load("latest")
    if checkpoint.warning:
        say(checkpoint.warning)
    if sequences is None:
        if not config.data.source:
            raise RunError(
                f"{run.path} was trained on data that no source names",
                rule="a run is resumed on the data that it was trained on",
                repair=f"rgan train --resume {run.path} --set data.source=PATH, of the same data",
            )
        sequences = load(config.data, seed=config.train.seed)
    check_same_data(run, sequences)
    for path, (before, after) in changes.items():
        say(f"{path}: {before} -> {after}")
    session = open_session(config, sequences, checkpoint)
    run.history.truncate_after(session.state.step)
    run.write_config(session.config.to_sections())
    return _train(run, session, changes, listeners)


def describe_data(sequences: Sequences) -> dict[str, Any]:
    """What run.json says of the data: no values, only names, sizes and a fingerprint."""
    return {
        "name": sequences.name,
        "fingerprint": sequences.fingerprint(),
        "sequences": len(sequences),
        "steps": sequences.n_steps,
        "features": list(sequences.feature_names),
        "share_observed": round(sequences.share_observed, 4),
    }


def _check_changes(changes: Mapping[str, Any]) -> None:
    for path in changes:
        section = path.partition(".")[0]
        fixed = section in ("data", "transform", "model") or path == "train.seed"
        if fixed and path not in ("data.source", "data.data_dir"):
            raise RunError(
                f'"{path}" is to change from {changes[path][0]!r} to {changes[path][1]!r}',
                rule="a resumed run keeps its data, its split, its scaling and its seed",
                reason="else it would train on what it held out, or unlearn all that it learnt",
                repair=f"leave {path} as it is, or train a new run",
            )


def check_same_data(run: Run, sequences: Sequences) -> None:
    """Refuse data other than those that a run was trained on.

    Raises:
        RunError: their fingerprint differs.
    """
    known = run.info.get("data") or {}
    if known.get("fingerprint") not in (None, sequences.fingerprint()):
        raise RunError(
            f'the data "{sequences.name}" are not those that {run.path} was trained on '
            f"({len(sequences)} sequences now, {known.get('sequences')} then)",
            rule="a run goes on with the same data",
            reason="its scaling, its split and its history belong to them",
            repair="train a new run on the new data",
        )


class _Checkpoints:
    """Saves at the beginning, at epochs' ends when it is time, and at the end."""

    def __init__(self, session: Session, run: Run) -> None:
        self.session, self.store = session, CheckpointStore(run.checkpoints)
        self.saved_at = time.monotonic()

    def __call__(self, event: Event) -> None:
        config = self.session.config.train
        waited = time.monotonic() - self.saved_at
        # A failed training has weights that are not to be taken up again.
        last = isinstance(event, Ended) and event.status != "failed"
        due = isinstance(event, EpochEnded) and waited >= 60 * config.checkpoint_minutes
        if (isinstance(event, Started) or last or due) and self.session.state.is_finite():
            state = self.session.state
            self.store.save(
                state.step, state.tensors(), self.session.checkpoint_state(), keep=config.keep
            )
            self.saved_at = time.monotonic()


def _train(
    run: Run, session: Session, changes: Mapping[str, Any], listeners: tuple[Listener, ...]
) -> Outcome:
    from rgan.report.board import Board

    history = run.history

    def record(event: Event) -> None:
        if event.kind != "step":
            history.append(event.as_dict())

    run.begin_segment(session.state.step, changes)
    with ExitStack() as stack:
        board = Board(run.tensorboard)
        stack.callback(board.close)
        pictures = Pictures(session, run, board)
        # The history first: what it is ahead of a checkpoint is cut off again, a gap would stay.
        own: tuple[Listener, ...] = (record, _Checkpoints(session, run), board, pictures)
        stop = stack.enter_context(StopSignals())

        def tell(event: Event) -> None:
            for listener in (*own, *listeners):
                listener(event)

        status = "failed"
        try:
            ended = session.run(tell, stop)
            status = ended.status
        except DivergedError as error:
            error.args = (f"{error.message}\n  kept: the checkpoint before it, in {run.path}",)
            raise
        finally:
            run.end_segment(session.state.step, status)
    return Outcome(run, session, ended)
