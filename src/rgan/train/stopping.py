"""When is a training good enough, or beyond help? Stated rules over the curve of one metric.

A curve is plain data: a list of looks, each ``{"epoch", "step", "batches", "seconds", "value"}``,
where a lower value is better. A memory is a JSON object that is never changed in place.

patience    so many looks in a row have not been better than the best by ``margin``
divergence  a straight line through the last looks rises; it is laid by the median slope of all
            pairs (Theil and Sen), which one bad look does not turn
plateau     such a line neither rises nor falls
loss ratio  one network's mean loss is many times the other's, three epochs in a row

Rises and margins are shares of the span: the way from the first look to the best one.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rgan.train.monitor_config import StoppingConfig

Look = Mapping[str, Any]
Memory = dict[str, Any]
NEAR = 0.05
"""Within this share of the span from the best, a metric has converged."""
RATIO_EPOCHS = 3


def init(metric: str = "overall") -> Memory:
    """The memory of a training that nobody has looked at.

    Args:
        metric: what the curve is of.
    """
    return {"metric": metric, "curve": [], "kept": None, "counted_from": 0, "lopsided": 0,
            "stopped": ""}  # fmt: skip


def adapt(memory: Memory, look: Look, config: StoppingConfig) -> tuple[Memory, bool]:
    """Take in a look.

    Args:
        memory: as ``init`` or ``adapt`` gave it.
        look: the newest.
        config: the rules.

    Returns:
        The next memory, whose "stopped" says why to stop if so; and whether this look's checkpoint
        is the best so far and is to be kept.
    """
    kept = memory["kept"]
    better = look["step"] > 0 and (kept is None or look["value"] < kept["value"])
    curve = [*memory["curve"], dict(look)]
    recent = curve[memory["counted_from"] :]
    return {
        **memory,
        "curve": curve,
        "kept": {"step": look["step"], "value": look["value"]} if better else kept,
        "stopped": memory["stopped"] or reason(curve, len(recent), config),
    }, better


def adapt_losses(memory: Memory, losses: Mapping[str, float], config: StoppingConfig) -> Memory:
    """Take in the mean losses of an epoch, "generator" and "critic"."""
    limit = config.loss_ratio
    generator, critic = losses.get("generator", 0.0), losses.get("critic", 0.0)
    if not limit or generator <= 0 or critic <= 0:
        return {**memory, "lopsided": 0}
    larger, smaller = max(generator, critic), min(generator, critic)
    count = memory["lopsided"] + 1 if larger > limit * smaller else 0
    why = ""
    if count >= RATIO_EPOCHS:
        names = ("generator", "critic") if generator > critic else ("critic", "generator")
        why = (
            f"the loss of the {names[0]} has been more than {limit:g} times that of the "
            f"{names[1]} for {count} epochs ({larger:.3g} and {smaller:.3g})"
        )
    return {**memory, "lopsided": count, "stopped": memory["stopped"] or why}


def go_on(memory: Memory) -> Memory:
    """The memory with which a stopped training is resumed: rules count anew, the best stays."""
    if not memory.get("stopped"):
        return memory
    return {**memory, "stopped": "", "lopsided": 0, "counted_from": len(memory["curve"])}


def best_of(curve: Sequence[Look]) -> Look:
    """The look with the least value; the first of equals."""
    return min(curve, key=lambda look: look["value"])


def span(curve: Sequence[Look]) -> float:
    """The way from the first look to the best; 0 where it has got no better."""
    return float(curve[0]["value"] - best_of(curve)["value"])


def reason(curve: Sequence[Look], recent: int, config: StoppingConfig) -> str:
    """Why to stop, in a sentence, or "".

    Args:
        curve: all looks.
        recent: how many of the last ones the rules may count.
        config: the rules.
    """
    best = best_of(curve)
    at = f"the best was {best['value']:.4g} at step {best['step']:,}"
    waited = _waited(curve, recent, config.margin)
    if config.patience and waited >= config.patience:
        return f"no better for {waited} looks: {at}"
    if recent < config.window:
        return ""
    rise, way = _rise([look["value"] for look in curve[-config.window :]]), span(curve)
    words = f"over {config.window} looks the metric has"
    if config.divergence and rise > config.divergence * max(way, 1e-12):
        return f"{words} got worse by {rise:.3g}: {at}"
    if config.plateau and abs(rise) < config.plateau * way:
        return f"{words} changed by {rise:+.2g} only: {at}"
    return ""


def _waited(curve: Sequence[Look], recent: int, margin: float) -> int:
    """Looks of the recent ones since the last that was better by the margin."""
    least, last = math.inf, -1
    for number, look in enumerate(curve):
        way = curve[0]["value"] - min(least, look["value"])
        if look["value"] < least - (margin * max(way, 0.0) if math.isfinite(least) else 0.0):
            least, last = look["value"], number
    return min(len(curve) - 1 - last, recent)


def _rise(values: Sequence[float]) -> float:
    """How far a straight line through the values rises from the first to the last."""
    pairs = itertools.combinations(enumerate(values), 2)
    slope = statistics.median((w - v) / (j - i) for (i, v), (j, w) in pairs)
    return slope * (len(values) - 1)


def convergence(curve: Sequence[Look], metric: str = "overall") -> dict[str, Any] | None:
    """When the metric first came near its best: within 5 % of the way from the first look to it.

    Args:
        curve: all looks; the first one should be of the untrained generator.
        metric: what it is called.

    Returns:
        "metric", "value", "best", "first", "within", and of that look "epochs", "step", "batches"
        (that the critic saw) and "seconds" (of training, looks left out). None where there are
        fewer than two looks or none was better than the first.
    """
    if len(curve) < 2 or span(curve) <= 0:
        return None
    best = best_of(curve)["value"]
    limit = best + NEAR * span(curve)
    near = next(look for look in curve if look["value"] <= limit)
    return {
        "metric": metric,
        "value": near["value"],
        "best": best,
        "first": curve[0]["value"],
        "within": NEAR,
        "epochs": near["epoch"],
        "step": near["step"],
        "batches": near["batches"],
        "seconds": near["seconds"],
    }
