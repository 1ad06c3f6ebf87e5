"""Training with a run folder: begin, resume, and branch off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rgan.config import Config, changed, differences, from_sections
from rgan.data.load import load
from rgan.errors import DivergedError, RunError, TrainingError
from rgan.runs.checkpoint import Checkpoint, CheckpointStore
from rgan.runs.folder import Run
from rgan.runs.lock import RunLock
from rgan.sequences import Sequences
from rgan.train.events import Ended, Listener, Noted
from rgan.workflow.changes import (
    check_changes,
    check_columns,
    check_same_data,
    describe_data,
    keeps_scaling,
    mixed_up,
    nothing_left,
    other_split,
)
from rgan.workflow.checks import level_note
from rgan.workflow.monitor import check_monitor
from rgan.workflow.processes import device_words, team
from rgan.workflow.recording import Recording
from rgan.workflow.sampling import load_trained
from rgan.workflow.session import Session, open_session
from rgan.workflow.shrinking import check_halvable, fitted, halved, note_batch, reason_of
from rgan.workflow.stop import StopSignals
from rgan.workflow.trained import Trained

Say = Callable[[str], None]


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

    @property
    def trained(self) -> Trained:
        """What ``rgan sample`` takes: the best of a training by likelihood, else the last."""
        if self.session.config.objective.name != "likelihood":
            return self.session.trained
        return load_trained(self.run)[0]


def fit(
    config: Config,
    *,
    runs: str | Path = "runs",
    sequences: Sequences | None = None,
    listeners: tuple[Listener, ...] = (),
    command: str = "",
    shrink: bool = False,
    say: Say = lambda text: None,
) -> Outcome:
    """Train a new model, in a new run folder.

    Nothing is written before the data and the configuration have been found good.

    Args:
        config: the whole configuration; ``data.source`` says what to train on.
        runs: the folder that will hold the run.
        sequences: the data, where they are at hand already.
        listeners: are told the loop's events beside those of the run folder.
        command: what was typed, for run.json.
        shrink: where memory is short, take the largest batch that fits.
        say: is told of a busy GPU and of a smaller batch.

    Raises:
        InputError: the source, the data or a setting cannot be used, or memory is too small.
        DivergedError: a loss is not finite; the last good checkpoint stays.
        StorageError: the last checkpoint cannot be written.
    """
    if sequences is None:
        sequences = load(config.data, seed=config.train.seed)
    session = open_session(config, sequences)
    check_monitor(session)
    with team(_fitted(session, shrink, say)) as session:
        run = Run.create(
            runs,
            f"{sequences.name}-{session.config.model.kind}",
            device=device_words(session),
            data=describe_data(sequences),
            spec=session.encoder.packer.spec.to_dict(),
            command=command,
        )
        with RunLock(run.path) as lock:
            run.begin_segment(0)
            run.write_config(session.config.to_sections())
            return _train(run, session, lock, listeners, sequences)


def resume(
    run: Run,
    *,
    settings: Mapping[str, Any] | None = None,
    sequences: Sequences | None = None,
    new_data: bool = False,
    listeners: tuple[Listener, ...] = (),
    shrink: bool = False,
    say: Say = lambda text: None,
) -> Outcome:
    """Go on from a run's last good checkpoint.

    Args:
        run: the run folder.
        settings: ``{"section.key": value}`` to change; every change is said and recorded.
        sequences: the data, where the run's own source does not name them.
        new_data: whether the data may be others than those trained on.
        listeners: are told the loop's events beside those of the run folder.
        shrink: where memory is short, take the largest batch that fits.
        say: is told what changed and what was found damaged.

    Raises:
        RunError: the run cannot be resumed, another process trains it, the data differ from those
            trained on, or a changed setting does not fit the checkpoint.
        DivergedError: a loss is not finite.
        StorageError: the last checkpoint cannot be written.
    """
    with RunLock(run.path) as lock:
        if lock.took_over is not None:
            say(f"the lock that {lock.took_over} left behind is taken over")
        plan = _begin(run, settings, sequences, say)
        check_changes(plan.changes, run)
        note = check_same_data(run, plan.sequences, may_differ=new_data)
        more: dict[str, Any] = {}
        if note:
            check_columns(run, plan.sequences)
            say(note)
            more = {"data": [run.info.get("data"), describe_data(plan.sequences)]}
        session = open_session(plan.config, plan.sequences, plan.checkpoint)
        check_monitor(session)
        if note:  # another validation split: its curve begins anew
            session.state.monitor = {}
        if session.is_complete:
            say(nothing_left(session, str(run.path)).message)
        else:
            session = _fitted(session, shrink, say)
            note_batch(plan.changes, plan.config, session.config)
        with team(session) as session:
            run.history.truncate_after(session.state.step)
            run.begin_segment(session.state.step, plan.changes, **more)
            if note:
                run.update_info(data=describe_data(plan.sequences), held_out=mixed_up(run, note))
            run.write_config(session.config.to_sections())
            return _train(run, session, lock, listeners, plan.sequences)


def branch(
    parent: Run,
    *,
    runs: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    sequences: Sequences | None = None,
    new_data: bool = False,
    listeners: tuple[Listener, ...] = (),
    shrink: bool = False,
    say: Say = lambda text: None,
    command: str = "",
) -> Outcome:
    """Go on from a run's last good checkpoint in a new run; the parent stays as it is.

    Anything may change. Every weight that fits is carried over, with what its optimiser remembers;
    those that do not fit begin anew, and are named. Steps and epochs are counted on.

    Args:
        parent: the run to branch from; it may be in training.
        runs: the folder that will hold the new run; the parent's own if not given.
        settings, sequences, new_data, listeners, shrink, say, command: as for fit and resume.

    Raises:
        RunError, DivergedError, StorageError: as ``resume``.
    """
    plan = _begin(parent, settings, sequences, say)
    resplit = other_split(plan.changes)
    other = check_same_data(parent, plan.sequences, may_differ=new_data or bool(resplit))
    session = open_session(
        plan.config,
        plan.sequences,
        plan.checkpoint,
        fitting=True,
        own_scaling=bool(other) or not keeps_scaling(plan.changes),
    )
    check_monitor(session)
    for name, why in session.new_weights.items():
        say(f"begins anew: {name} {why}")
    if session.is_complete:
        raise nothing_left(session, f"{parent.path} --branch")
    session = _fitted(session, shrink, say)
    note_batch(plan.changes, plan.config, session.config)
    info = parent.info
    with team(session) as session:
        run = Run.create(
            parent.path.parent if runs is None else runs,
            f"{plan.sequences.name}-{session.config.model.kind}",
            device=device_words(session),
            data=describe_data(plan.sequences),
            spec=session.encoder.packer.spec.to_dict(),
            command=command,
            parent=info["id"],
            parents=[{"id": info["id"], "name": info["name"], "step": session.state.step}],
            held_out=mixed_up(parent, resplit or other),
        )
        with RunLock(run.path) as lock:
            new = dict(session.new_weights)
            run.begin_segment(session.state.step, plan.changes, new_weights=new)
            run.write_config(session.config.to_sections())
            return _train(run, session, lock, listeners, plan.sequences)


@dataclass(frozen=True)
class _Plan:
    """What a resume or a branch begins with."""

    config: Config
    changes: dict[str, list[Any]]
    checkpoint: Checkpoint
    sequences: Sequences


def _begin(
    run: Run, settings: Mapping[str, Any] | None, sequences: Sequences | None, say: Say
) -> _Plan:
    """The last good checkpoint, the configuration as it is to be, and the data."""
    config = changed(from_sections(run.read_config()), settings or {})
    checkpoint = CheckpointStore(run.checkpoints).load("latest")
    if checkpoint.warning:
        say(checkpoint.warning)
    # Against what the checkpoint was trained with, so that an edited config.toml is told as well.
    changes = differences(from_sections(checkpoint.state["config"]), config)
    for path, (before, after) in changes.items():
        say(f"{path}: {before} -> {after}")
    if sequences is None:
        if not config.data.source:
            raise RunError(
                f"{run.path} was trained on data that no source names",
                rule="a run is resumed on the data that it was trained on",
                repair=f"rgan train --resume {run.path} --set data.source=PATH, of the same data",
            )
        sequences = load(config.data, seed=config.train.seed)
    return _Plan(config, changes, checkpoint, sequences)


def _fitted(session: Session, shrink: bool, say: Say) -> Session:
    """A session that fits into memory, and what there is to say of it, said."""
    session, notes = fitted(session, shrink=shrink)
    for note in (level_note(session.config, session.encoder.packer), *notes):
        if note:
            say(note)
    return session


def _train(
    run: Run, session: Session, lock: RunLock, listeners: tuple[Listener, ...], data: Sequences
) -> Outcome:
    """Train to the end: rolled back where the health policy asks for it, and on with half the batch
    where memory runs out."""
    left = session.config.health.retries
    while True:
        try:
            return _segment(run, session, lock, listeners)
        except DivergedError as error:
            if not error.rollback or left == 0:
                error.args = (f"{error.message}\n  kept: the checkpoint before it, in {run.path}",)
                raise
            left -= 1
            session = _roll_back(run, session, error, listeners, data)
            continue
        except (RuntimeError, MemoryError) as error:
            check_halvable(error, session)
        # Only now is the error gone, which held the tensors of the step that failed.
        session = halved(run, session, listeners)


def _segment(run: Run, session: Session, lock: RunLock, listeners: tuple[Listener, ...]) -> Outcome:
    """Train until the loop ends; what has been begun as a segment ends as one."""
    status, reason = "failed", ""
    try:
        with Recording(run, session, lock, listeners) as recording, StopSignals() as stop:
            monitor = recording.monitor
            ended = recording.translated(session.run(recording, lambda: stop() or monitor.reason))
        status, reason = ended.status, ended.reason
    except TrainingError as error:
        reason = error.found
        raise
    except (RuntimeError, MemoryError) as error:
        reason = reason_of(error)
        raise
    except KeyboardInterrupt:
        status, reason = "interrupted", "a second Ctrl-C"
        raise
    finally:
        run.end_segment(session.state.step, status, reason)
    return Outcome(run, session, ended)


def _roll_back(
    run: Run,
    session: Session,
    error: DivergedError,
    listeners: tuple[Listener, ...],
    data: Sequences,
) -> Session:
    """The last good checkpoint with lower rates, as a new segment."""
    checkpoint = CheckpointStore(run.checkpoints).load("latest")
    old = session.config
    rates = {f"{n}_optimizer.rate": getattr(old, f"{n}_optimizer").rate for n in error.networks}
    config = changed(old, {path: rate / 5 for path, rate in rates.items()})
    changes = differences(old, config)
    again = open_session(config, data, checkpoint)
    again = replace(again, batch=session.batch, group=session.group)
    # What was remembered and decided on the way to the fault is not to be trusted.
    again.state.health, again.state.balance = {}, {}
    run.history.truncate_after(again.state.step)
    run.begin_segment(again.state.step, changes, rolled_back=error.found)
    run.write_config(config.to_sections())
    words = ", ".join(f"{path} {was:.3g} -> {now:.3g}" for path, (was, now) in changes.items())
    text = f"{error.found}. Rolled back to step {again.state.step:,}, and on with {words}"
    epoch = again.state.plan(len(again.batch)).epoch(again.state.step)
    note = Noted(again.state.step, epoch, text)
    run.history.append(note.as_dict())
    for listener in listeners:
        listener(note)
    return again
