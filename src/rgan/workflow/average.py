"""Averaging the generators of several runs into a new run: uniform, weighted, or greedy.

Weights of networks that were trained from one another, or from one beginning, can be averaged, and
the mean is often better than each (model soups, Wortsman et al. 2022, arXiv 2203.05482). They must
be the same network, speak of the same data, and on the same scale.
"""

from __future__ import annotations

import math
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from rgan.config import Config, changed, differences, from_sections
from rgan.errors import ConfigError, RunError
from rgan.runs import atomic
from rgan.runs.archive import unique
from rgan.runs.checkpoint import CheckpointStore
from rgan.runs.folder import Run
from rgan.runs.lock import RunLock
from rgan.runs.sealed import Checkpoint
from rgan.workflow.blend import blend, check_alike
from rgan.workflow.changes import other_split
from rgan.workflow.sampling import load_checkpoint

Say = Callable[[str], None]
_KEPT = ("data", "spec", "progress")
"""What the first run's run.json says for the new one as well."""
TEMPORARY = f"{atomic.TEMPORARY}average-"


@dataclass(frozen=True)
class Voice:
    """One run that is averaged, at one checkpoint.

    Args:
        run: its folder.
        info: what its run.json said.
        checkpoint: whole and checked.
        config: with which the checkpoint was trained; the source of the data is the run's.
    """

    run: Run
    info: dict[str, Any]
    checkpoint: Checkpoint
    config: Config

    @classmethod
    def of(cls, run: Run, which: str, say: Say) -> Voice:
        """A run's checkpoint.

        Raises:
            RunError: there is none that is whole, or it is not one of a trained model.
        """
        checkpoint = load_checkpoint(run, which)
        if checkpoint.warning:
            say(checkpoint.warning)
        state = checkpoint.state
        if not isinstance(state.get("encoder"), dict) or not isinstance(state.get("config"), dict):
            raise RunError(
                f"{checkpoint.path} does not hold a trained model",
                rule="a checkpoint's state has the parts encoder and config",
            )
        data = from_sections(run.read_config()).data
        source = {"data.source": data.source, "data.data_dir": data.data_dir}
        config = changed(from_sections(state["config"]), source)
        return cls(run, run.info, checkpoint, config)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.run.path.name

    @property
    def sampler(self) -> str:
        """Which of its two generators samples: "average" or "generator"."""
        return "average" if self.config.train.average else "generator"


def average_runs(
    runs: list[Run],
    *,
    root: str | Path | None = None,
    weights: Sequence[float] | None = None,
    which: str = "latest",
    greedy: str = "",
    settings: dict[str, Any] | None = None,
    name: str = "",
    command: str = "",
    say: Say = lambda text: None,
) -> Run | None:
    """A new run whose generator is the mean of others; critic and optimisers are the first's.

    Args:
        runs: at least two; the first is the one the new run goes on from, when it is resumed.
        root: the folder of the new run; the first run's if not given.
        weights: one for each, made to sum to 1; all alike if not given.
        which: the checkpoint of each: "latest", "best" or another mark.
        greedy: a metric or score. The runs are ranked by it on the validation split, the best is
            taken, and each other one only if the mean with it is better.
        settings: ``{"evaluate.key": value}`` for the greedy judge.
        name: of the new run; the first's with "-average" if not given.
        command: what was typed.
        say: is told each try, and what is odd.

    Returns:
        The new run; None where no mean is better than the best run alone.

    Raises:
        RunError: the runs cannot be averaged; names the first thing that differs.
        ConfigError: the weights or the metric are not usable.
    """
    _check_request(runs, weights, greedy)
    voices = [Voice.of(run, which, say) for run in runs]
    for voice in voices[1:]:
        check_alike(voices[0], voice)
    tries: list[dict[str, Any]] = []
    if greedy:
        from rgan.workflow.soup import greedy_soup

        voices, tries = greedy_soup(voices, greedy, settings or {}, say)
        if len(voices) == 1:
            say(f"no mean is better than {voices[0].name} alone, so no run is made")
            return None
    shares = _shares(weights, len(voices))
    model = blend(voices, shares)
    about = {
        "weights": shares,
        "checkpoints": [voice.checkpoint.step for voice in voices],
        **({"greedy": {"metric": greedy, "tries": tries}} if greedy else {}),
    }
    return _write(voices, model, about, Path(root or runs[0].path.parent), name, command, say)


def _check_request(runs: list[Run], weights: Sequence[float] | None, greedy: str) -> None:
    if len(runs) < 2:
        raise RunError(
            f"{len(runs)} run is named", rule="at least two are averaged",
            repair="rgan runs average A B",
        )  # fmt: skip
    ids = [run.id for run in runs]
    if len(set(ids)) < len(ids):
        raise RunError(
            "two of the folders are copies of one run", rule="each run is averaged once",
            reason="it would count twice", repair="--weights 2,1",
        )  # fmt: skip
    if weights is None:
        return
    if greedy:
        raise ConfigError("--weights and --greedy are given", rule="greedy weighs all alike")
    if len(weights) != len(runs):
        raise ConfigError(
            f"{len(weights)} weights for {len(runs)} runs", rule="one weight a run, in their order"
        )
    if not all(math.isfinite(w) and w > 0 for w in weights):
        raise ConfigError(
            f"the weights are {', '.join(f'{w:g}' for w in weights)}",
            rule="weights are above 0",
            repair="leave the run out",
        )


def _shares(weights: Sequence[float] | None, count: int) -> list[float]:
    weights = weights or [1.0] * count
    return [weight / math.fsum(weights) for weight in weights]


def _write(
    voices: list[Voice],
    model: dict[str, Tensor],
    about: dict[str, Any],
    root: Path,
    name: str,
    command: str,
    say: Say,
) -> Run:
    """The new run, built under another name and then renamed."""
    first = voices[0]
    step = first.checkpoint.step
    held_out = _held_out(voices)
    if held_out:
        say(held_out)
    called = name or f"{str(first.info['name']).removesuffix('-average')}-average"
    kept: dict[str, Any] = {key: first.info[key] for key in _KEPT if key in first.info}
    if held_out:
        kept["held_out"] = held_out
    building = root / f"{TEMPORARY}{secrets.token_hex(4)}"
    try:
        run = Run.create(
            building,
            called,
            parent=first.info["id"],
            parents=[
                {"id": v.info["id"], "name": v.info["name"], "step": v.checkpoint.step}
                for v in voices
            ],
            command=command,
            average=about,
            **kept,
        )
        with RunLock(run.path):
            run.begin_segment(step)
            run.write_config(first.config.to_sections())
            state = {**first.checkpoint.state, "config": first.config.to_sections()}
            tensors = {**first.checkpoint.tensors, "model": model}
            store = CheckpointStore(run.checkpoints)
            store.save(step, tensors, state)
            event = {"event": "averaged", "step": step, "epoch": _epoch(first), **about}
            run.history.append(event)
            store.load(step)  # as whoever uses it next will
            run.end_segment(step)
        with atomic.explain_os_errors(root):
            target = unique(root / run.path.name)
            run.path.rename(target)
            atomic.sync_folder(root)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return Run.open(target)


def _epoch(voice: Voice) -> int:
    """Complete passes at the checkpoint, from the history."""
    done = [0]
    for event in voice.run.history.read():
        if event.get("event") == "epoch" and event.get("step", 0) <= voice.checkpoint.step:
            done.append(int(event.get("epoch", 0)))
    return max(done)


def _held_out(voices: list[Voice]) -> str:
    """What is to be said where the runs did not hold out the same sequences."""
    known = next((str(v.info["held_out"]) for v in voices if v.info.get("held_out")), "")
    if known:
        return known
    for voice in voices[1:]:
        decisive = other_split(differences(voices[0].config, voice.config))
        if decisive:
            return f"sequences held out by one of the runs trained another (differing: {decisive})"
    return ""
