"""The numbers that say how good a run is: its best metric, how soon it came near it, and the scores
of its evaluation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from rgan.runs.lineage import text, whole

_MAIN = ("discriminative", "discriminative_legacy", "mmd2")
"""An evaluation's main figure is the first of these that it has, or else its first."""


@dataclass(frozen=True)
class Metric:
    """One number about a run: the metric's name, its value, the checkpoint's step if known."""

    name: str
    value: float
    step: int | None = None


@dataclass(frozen=True)
class Convergence:
    """When a run's metric first came near its best.

    Args:
        metric: its name.
        epochs, batches, seconds: until then; batches are those that the critic saw, and seconds are
            of training alone.
    """

    metric: str
    epochs: int
    batches: int
    seconds: float


def convergence_of(info: Mapping[str, Any]) -> Convergence | None:
    """What run.json says of it; None where it says nothing that can be read."""
    found = info.get("convergence")
    if not isinstance(found, Mapping) or not text(found.get("metric")):
        return None
    numbers = [found.get(name) for name in ("epochs", "batches", "seconds")]
    good = [float(value) for value in numbers if number(value) and value >= 0]
    if len(good) < len(numbers):
        return None
    return Convergence(text(found["metric"]), int(good[0]), int(good[1]), good[2])


def metric_of(path: Path, info: Mapping[str, Any]) -> Metric | None:
    """A run's best metric, or else the main figure of its evaluation; None where it has neither."""
    best = info.get("best")
    if isinstance(best, Mapping) and text(best.get("metric")) and number(best.get("value")):
        step = best.get("step")
        at = whole(step) if isinstance(step, int) else None
        return Metric(text(best["metric"]), float(best["value"]), at)
    found = scores(path / "evaluation.json")
    name = next((name for name in (*_MAIN, *found) if name in found), None)
    return Metric(name, found[name]) if name else None


def scores(evaluation_json: Path) -> dict[str, float]:
    """The scores of an evaluation by name; none where there is no file that says them."""
    try:
        document = json.loads(evaluation_json.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    listed = document.get("scores") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        return {}
    return {
        text(score["name"]): float(score["value"])
        for score in listed
        if isinstance(score, dict) and text(score.get("name")) and number(score.get("value"))
    }


def number(value: Any) -> TypeGuard[float]:
    """Whether a JSON value is a number that can be shown."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
