"""What an exported file says of itself, so that somebody who has only the file can sample.

No value of a single person is in it that the model does not hold anyway; ``docs/export.md`` lists
what that is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rgan.layouts import layout_to_dict
from rgan.runs.info import versions
from rgan.transforms.conditions import ClassCondition, ContinuousCondition
from rgan.transforms.packing import Packer
from rgan.workflow.exporting.module import Port, Sampler

FORMAT = 1
KEY = "rgan"
"""Under which an ONNX file holds the description; a .pt2 file holds it as ``rgan.json``."""


def describe(
    sampler: Sampler, packer: Packer, *, run: str, step: int, averaged: bool
) -> dict[str, Any]:
    """The description as plain JSON data.

    Args:
        sampler: what is exported.
        packer: of the same model.
        run: the run's id.
        step: of the checkpoint.
        averaged: whether the weights are averaged over training.
    """
    return {
        "format": FORMAT,
        "made_by": {name: versions()[name] for name in ("rgan", "torch")},
        "run": run,
        "checkpoint_step": step,
        "weights": "averaged" if averaged else "last",
        "data": packer.name,
        "features": list(packer.feature_names),
        "units": list(packer.units),
        "steps": packer.spec.steps,
        "time_step": {"size": packer.step, "unit": packer.step_unit},
        "layout": layout_to_dict(packer.layout),
        "label": _label(packer),
        "lengths": _lengths(packer),
        "static": [
            {"name": s.name, "kind": s.kind, "levels": list(s.levels), "unit": s.unit}
            for s in sampler.decoder.static_info
        ],
        "inputs": _ports(sampler.inputs()),
        "outputs": _ports(sampler.outputs()),
    }


def _label(packer: Packer) -> dict[str, Any]:
    labels = packer.labels
    if isinstance(labels, ClassCondition):
        total = sum(labels.counts)
        shares = [count / total for count in labels.counts]
        known = {"kind": "classes", "classes": list(labels.classes), "shares": shares}
        return {"name": packer.label_name, **known}
    if isinstance(labels, ContinuousCondition):
        known = {"kind": "continuous", "quantiles": list(labels.quantiles)}
        return {"name": packer.label_name, **known}
    return {"kind": "none"}


def _lengths(packer: Packer) -> list[dict[str, Any]]:
    """One table for each class, or one for all."""
    return [
        {
            "lengths": [length for length, _ in counts],
            "shares": [count / sum(c for _, c in counts) for _, count in counts],
        }
        for counts in packer.lengths.by_class or (packer.lengths.overall,)
    ]


def _ports(ports: Iterable[Port]) -> dict[str, Any]:
    entries = {}
    for port in ports:
        entry = asdict(port) | {"shape": ["N", *port.shape]}
        entries[entry.pop("name")] = {key: value for key, value in entry.items() if value != ""}
    return entries
