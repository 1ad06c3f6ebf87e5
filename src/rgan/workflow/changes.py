"""What may change between a checkpoint and what goes on from it, and what may not."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from rgan.errors import RunError
from rgan.runs.folder import Run
from rgan.sequences import Sequences
from rgan.workflow.session import Session

_SECTIONS = ("data", "transform", "model", "generator", "critic")
_FREE = ("data.source", "data.data_dir", "critic.spectral_norm")
"""Settings in those sections that change neither networks nor data."""


def check_changes(changes: Mapping[str, list[Any]], run: Run) -> None:
    """Refuse settings that a run in place cannot change.

    Args:
        changes: {"section.key": [old, new]}.
        run: the run, for the line to paste.

    Raises:
        RunError: names the setting, why, and the way that works.
    """
    for path, (old, new) in changes.items():
        section = path.partition(".")[0]
        if path in _FREE or (section not in _SECTIONS and path != "train.seed"):
            continue
        if section in ("generator", "critic"):
            reason = "the weights of the checkpoint would not fit, or would mean something else"
        else:
            reason = "it would train on what it held out, or unlearn all that it learnt"
        reason += "; a branch is a new run with every weight that fits"
        value = ",".join(map(str, new)) if isinstance(new, list | tuple) else new
        raise RunError(
            f'"{path}" is to change from {old!r} to {new!r}',
            rule="a run in place keeps its networks, its data, its split, its scaling and its seed",
            reason=reason,
            repair=f"rgan train --resume {shlex.quote(str(run.path))} --branch "
            f"--set {shlex.quote(f'{path}={value}')}",
        )


def keeps_scaling(changes: Iterable[str]) -> bool:
    """Whether a branch with these changes can keep its parent's fitted scaling and packing."""
    return not any(
        path.partition(".")[0] in ("data", "transform", "model") and path not in _FREE
        for path in changes
    )


def other_split(changes: Iterable[str]) -> str:
    """The changed settings that decide what is held out, "" where there are none."""
    decisive = [p for p in changes if p == "train.seed" or p.startswith("data.")]
    return ", ".join(path for path in decisive if path not in _FREE)


def nothing_left(session: Session, words: str) -> RunError:
    """What to say of a training that has come to its end. ``words``: of the line to paste."""
    state, train = session.state, session.config.train
    longer = (
        f"--epochs {2 * train.epochs}" if train.epochs else f"--set train.steps={2 * state.step}"
    )
    return RunError(
        f"nothing is left to train: step {state.step:,} is the end of what is asked for",
        rule="epochs and steps are counted from the beginning of the run, its parent's included",
        repair=f"rgan train --resume {words} {longer}",
    )


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


def check_same_data(run: Run, sequences: Sequences, *, may_differ: bool = False) -> str:
    """Refuse data other than those that a run was trained on.

    Args:
        run: the run.
        sequences: what is to be trained on, or judged by.
        may_differ: whether other data are allowed.

    Returns:
        A sentence on how they differ, "" where they do not.

    Raises:
        RunError: their fingerprint differs and that is not allowed.
    """
    known = run.info.get("data") or {}
    mine = describe_data(sequences)
    if known.get("fingerprint") in (None, mine["fingerprint"]):
        return ""
    found = (
        f'the data "{sequences.name}" are not those that {run.path} was trained on: fingerprint '
        f"{str(mine['fingerprint'])[:12]} of {len(sequences)} sequences now, "
        f"{str(known['fingerprint'])[:12]} of {known.get('sequences')} then"
    )
    if may_differ:
        return found
    raise RunError(
        found,
        rule="a run goes on with the same data",
        reason="its scaling, its split and its history belong to them",
        repair=f"rgan train --resume {shlex.quote(str(run.path))} --new-data",
    )


def check_columns(run: Run, sequences: Sequences) -> None:
    """Refuse new data that a run's networks have no place for.

    Raises:
        RunError: other features, or another number of steps.
    """
    known, mine = run.info.get("data") or {}, describe_data(sequences)
    for what in ("features", "steps"):
        if known.get(what) not in (None, mine[what]):
            raise RunError(
                f"the new data have the {what} {mine[what]}, the run was trained with "
                f"{known[what]}",
                rule="new data in place have the features and the length of the old",
                reason="the networks are made for them",
                repair=f"rgan train --resume {shlex.quote(str(run.path))} --branch --new-data",
            )


def mixed_up(run: Run, why: str) -> str:
    """What run.json says where sequences held out now may have been trained on before, else ""."""
    before = str(run.info.get("held_out") or "")
    if before or not why:
        return before
    return f"sequences held out now may have been trained on before (changed: {why})"
