"""Several runs side by side: the settings that differ, and what came of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rgan.errors import RunError
from rgan.runs.details import last_losses, seconds_trained
from rgan.runs.folder import Run
from rgan.runs.lineage import text
from rgan.runs.metric import convergence_of, scores
from rgan.runs.summary import summarise

_TO_CONVERGE = ("epochs", "batches", "seconds")
ABSENT = None
"""Stands where a run does not have a setting or a number that another one has."""


def compare(runs: list[Run]) -> dict[str, Any]:
    """What differs between runs, and their results, as JSON data.

    Returns:
        runs (name, id, path), settings and results ({"name": [one value a run]}), and notes: what
        makes the comparison weak.

    Raises:
        RunError: there are fewer than two runs, or one cannot be read.
    """
    if len(runs) < 2:
        raise RunError(
            "one run is named" if runs else "no run is named",
            rule="at least two are compared",
            repair="rgan runs compare A B",
        )
    return {
        "runs": [{"name": run.path.name, "id": run.id, "path": str(run.path)} for run in runs],
        "settings": different(runs),
        "results": results(runs),
        "notes": _notes(runs),
    }


def different(runs: list[Run]) -> dict[str, list[Any]]:
    """``{"section.key": [a value for each run]}`` of the settings that are not the same in all."""
    flat = [_flat(run.read_config()) for run in runs]
    names = dict.fromkeys(name for settings in flat for name in settings)
    rows = {name: [settings.get(name, ABSENT) for settings in flat] for name in names}
    # repr, since 1, 1.0 and true are equal and mean different things
    return {name: row for name, row in rows.items() if len(set(map(repr, row))) > 1}


def _flat(sections: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for section, keys in sections.items():
        if isinstance(keys, Mapping):
            found |= {f"{section}.{key}": value for key, value in keys.items()}
        else:
            found[section] = keys
    return found


def results(runs: list[Run]) -> dict[str, list[Any]]:
    """Scores of the evaluations, losses of the last epoch, convergence, epochs, steps, seconds."""
    columns = []
    for run in runs:
        row = summarise(run.path)
        column: dict[str, Any] = dict(scores(run.evaluation_json))
        if row.metric and row.metric.name not in column:
            column[f"best {row.metric.name}"] = row.metric.value
        column |= {f"loss of {name}": value for name, value in last_losses(run).items()}
        if row.convergence:
            near = row.convergence
            column |= {f"{name} to converge": getattr(near, name) for name in _TO_CONVERGE}
        done = row.progress
        column |= {"epochs": done.epoch, "steps": done.step, "seconds": seconds_trained(run)}
        columns.append(column)
    names = dict.fromkeys(name for column in columns for name in column)
    last = (*(f"{name} to converge" for name in _TO_CONVERGE), "epochs", "steps", "seconds")
    ordered = [*(n for n in names if n.startswith("best ")), *names]
    ordered = [n for n in dict.fromkeys(ordered) if n not in last]
    ordered += [name for name in last if name in names]
    return {name: [column.get(name, ABSENT) for column in columns] for name in ordered}


def _notes(runs: list[Run]) -> list[str]:
    notes = []
    prints = [_data(run) for run in runs]
    if len(set(prints)) > 1:
        notes.append("the data are not the same, so neither losses nor scores compare")
    near = {found.metric for run in runs if (found := convergence_of(run.info))}
    if len(near) > 1:
        notes.append(f"convergence is of different metrics: {', '.join(sorted(near))}")
    judged = [_evaluation(run.evaluation_json) for run in runs]
    missing = [run.path.name for run, found in zip(runs, judged, strict=True) if not found]
    if missing and len(missing) < len(runs):
        notes.append(f"not evaluated: {', '.join(missing)}")
    if len({json.dumps(found, sort_keys=True) for found in judged if found}) > 1:
        notes.append("the evaluations had different settings, so their scores compare poorly")
    return notes


def _data(run: Run) -> str:
    data = run.info.get("data")
    return text(data.get("fingerprint")) if isinstance(data, Mapping) else ""


def _evaluation(path: Path) -> dict[str, Any] | None:
    """How an evaluation was made; None where there is none."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    return {key: document.get(key) for key in ("against", "config")}
