"""A trained generator from a run folder."""

from __future__ import annotations

from pathlib import Path

from rgan.errors import RunError
from rgan.runs.checkpoint import Checkpoint, CheckpointStore
from rgan.runs.find import find_run
from rgan.runs.folder import Run
from rgan.workflow.session import trained_from_checkpoint
from rgan.workflow.trained import Trained


def load_trained(
    run: str | Path | Run, runs: str | Path = "runs", which: str = "auto", device: str = "cpu"
) -> tuple[Trained, str]:
    """The sampling generator of a run.

    Args:
        run: a run, its path, the start of its name, or "latest".
        runs: the folder in which names are looked up.
        which: "auto", "latest", "best" or a step.
        device: where to sample.

    Returns:
        The generator, and a warning where a damaged checkpoint was passed over ("" if none was).

    Raises:
        RunError: there is no such run or checkpoint, or none that is whole.
    """
    folder = run if isinstance(run, Run) else find_run(run, runs)
    checkpoint = load_checkpoint(folder, which)
    return trained_from_checkpoint(checkpoint, device), checkpoint.warning


def load_checkpoint(run: Run, which: str | int = "auto") -> Checkpoint:
    """A checkpoint that can be sampled from.

    Args:
        which: "auto", which is "best" for a training by likelihood, as the last steps of such a
            training may have learnt the data by heart, and else "latest"; or a step.

    Raises:
        RunError: there is none that is whole, or none after the first step.
    """
    store = CheckpointStore(run.checkpoints)
    checkpoint = store.load(_chosen(run, store) if which == "auto" else which)
    if checkpoint.step == 0:
        raise RunError(
            f"{run.path} has been saved only before its first step",
            rule="a generator samples after it has been trained",
            repair=f"rgan train --resume {run.path}",
        )
    return checkpoint


def _chosen(run: Run, store: CheckpointStore) -> str:
    objective = run.read_config().get("objective", {})
    by_likelihood = objective.get("name") == "likelihood"
    return "best" if by_likelihood and "best" in store.marks() else "latest"
