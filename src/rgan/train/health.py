"""Is a training well? Stated rules over what was measured, with a memory that is plain data.

nan          a loss or a gradient is not a finite number
explosion    an update changes a network by more than 15 % of its size, its weights have doubled
             since the last look, or its gradient is over 10 and 100 times its mean
vanishing    a gradient is a thousandth of what it was in the mean, or next to nothing, or a fifth
             of a network's units are dead
saturation   the critic tells every real sequence from generated ones and its loss is below a
             fiftieth of an ideal critic's: the generator learns nothing
collapse     generated sequences differ by less than a twentieth of what real ones do among
             themselves, and it gets no better; or more than a tenth of their pairs are next to
             the same, on the mean over eight looks: samples keep to fewer than ten modes

``LOOKS`` says how many times in a row each has to be seen.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rgan.train.config import HealthKind
from rgan.train.vitals import Vitals

Memory = dict[str, Any]

_DIVERSER = "--set critic.batch_statistics=true (with --branch), or a larger --batch-size"
NETWORKS = ("generator", "critic")
LOOKS = {"gradient": 5, "vanishing": 8, "saturation": 8, "dead": 5, "collapse": 5, "few": 3}
STILL = 8
"""Looks in a row that make an alarm of a sign; of others one does. A generator that was never
diverse has so many looks to get better."""
FEW = 0.1
"""Share of pairs that are twins, above which samples keep to a few modes: one over their number."""
LEARN = 5
"""Looks before a mean gradient is known."""
LARGE = 10.0
"""No gradient below this explodes: a generator that learns nothing at first has a tiny mean."""


@dataclass(frozen=True)
class Alarm:
    """Something is wrong.

    Args:
        kind: the rule.
        found: what was seen.
        advice: what to try, as words to paste.
        networks: whose learning rate is to blame.
    """

    kind: HealthKind
    found: str
    advice: str
    networks: tuple[str, ...] = NETWORKS


def examine(
    vitals: Vitals, memory: Memory, ideal: tuple[float, float]
) -> tuple[list[Alarm], Memory]:
    """Apply every rule.

    Args:
        vitals: what was measured.
        memory: what ``examine`` gave the last time; {} at first.
        ideal: losses of critic and generator where the critic cannot tell.

    Returns:
        New alarms, each told once until its sign is gone, and the next memory.
    """
    signs = dict(_signs(vitals, memory, ideal))
    counts: dict[str, int] = {}
    alarms = []
    for kind, alarm in signs.items():
        counts[kind] = int(memory.get("counts", {}).get(kind, 0)) + 1
        if counts[kind] == LOOKS.get(kind.split()[0], 1):
            alarms.append(alarm)
    means = dict(memory.get("gradient", {}))
    for network in NETWORKS:
        norm = vitals.gradient.get(network)
        sick = {f"gradient {network}", f"vanishing {network}"} & signs.keys()
        if norm and math.isfinite(norm) and not sick:
            log = math.log(norm)
            means[network] = 0.9 * means.get(network, log) + 0.1 * log
    next_memory = {
        "looks": int(memory.get("looks", 0)) + 1,
        "counts": counts,
        "gradient": means,
        "weight": {n: vitals.weight[n] for n in NETWORKS if n in vitals.weight},
        "diversity": [*memory.get("diversity", []), vitals.diversity][-STILL:],
        "twins": [*memory.get("twins", []), vitals.twins][-STILL:],
        "most_diverse": max(vitals.diversity, memory.get("most_diverse", 0.0)),
    }
    return alarms, next_memory


def _signs(
    vitals: Vitals, memory: Memory, ideal: tuple[float, float]
) -> Iterator[tuple[str, Alarm]]:
    """What looks bad now, by a name that is counted."""
    yield from _not_finite(vitals)
    before = memory.get("diversity", [])
    fallen = memory.get("most_diverse", 0.0) >= 0.2
    # Before the gradients: where samples are alike, many of the generator's units give the same.
    if vitals.diversity < 0.05 and (fallen or _stands_still(before, vitals.diversity)):
        found = "samples are nearly all alike: they differ by "
        found += f"{vitals.diversity:.1%} of what real sequences do"
        advice = _DIVERSER
        yield "collapse", Alarm("collapse", found, advice)
    else:
        yield from _few_modes([*memory.get("twins", []), vitals.twins][-STILL:])
    yield from _gradients(vitals, memory)
    critic = vitals.losses.get("critic", math.inf)
    if ideal[0] > 0 and vitals.accuracy > 0.99 and critic < 0.02 * ideal[0]:
        found = f"the critic is saturated: its loss is {critic:.2g}, and it takes "
        found += f"{vitals.accuracy:.0%} of real sequences for real"
        advice = "--set gfactor.steer=accuracy, or --set penalty.weight=0.1"
        yield "saturation", Alarm("saturation", found, advice, ("critic",))


def _few_modes(twins: list[float]) -> Iterator[tuple[str, Alarm]]:
    share = sum(twins) / len(twins)
    if len(twins) == STILL and share > FEW:
        found = f"samples keep to a few modes: of their pairs {share:.0%} are next to the same, "
        found += f"as if there were about {1 / share:.0f} different ones"
        yield "few", Alarm("collapse", found, _DIVERSER)


def _not_finite(vitals: Vitals) -> Iterator[tuple[str, Alarm]]:
    numbers = {f"the loss of the {k}": v for k, v in vitals.losses.items()}
    numbers |= {f"the gradient of the {k}": v for k, v in vitals.gradient.items()}
    for name, value in numbers.items():
        if not math.isfinite(value):
            yield "nan", Alarm("nan", f"{name} is {value}", _slower(NETWORKS))
            return


def _gradients(vitals: Vitals, memory: Memory) -> Iterator[tuple[str, Alarm]]:
    known = int(memory.get("looks", 0)) >= LEARN
    for network in NETWORKS:
        norm, change = vitals.gradient.get(network), vitals.update.get(network, 0.0)
        if norm is None or not math.isfinite(norm):
            continue
        mean = math.exp(_mean(memory, network, norm))
        if change > 0.15:
            found = f"one update changes the {network} by {change:.0%} of its size"
            yield f"update {network}", Alarm("explosion", found, _slower((network,)), (network,))
        size, before = vitals.weight.get(network, 0.0), memory.get("weight", {}).get(network)
        if before and size > 2 * before:
            found = f"the weights of the {network} have grown from {before:.3g} to {size:.3g}"
            yield f"weight {network}", Alarm("explosion", found, _slower((network,)), (network,))
        if known and norm > max(LARGE, 100 * mean):
            found = f"the gradient of the {network} is {norm:.2g}, in the mean it was {mean:.2g}"
            yield f"gradient {network}", Alarm("explosion", found, _slower((network,)), (network,))
        dead = vitals.dead.get(network, 0.0)
        if dead > 0.2:
            found = f"{dead:.0%} of the {network}'s units are dead"
            yield f"dead {network}", Alarm("vanishing", found, _slower((network,)), (network,))
        if norm < 1e-8 or (known and norm < 1e-3 * mean):
            found = f"the gradient of the {network} is {norm:.2g}, in the mean it was {mean:.2g}"
            advice = "--set objective.name=relativistic, or --set gfactor.steer=accuracy"
            yield f"vanishing {network}", Alarm("vanishing", found, advice, (network,))


def _stands_still(before: list[float], now: float) -> bool:
    return len(before) == STILL and now <= 1.1 * before[0]


def _mean(memory: Mapping[str, Any], network: str, norm: float) -> float:
    mean = memory.get("gradient", {}).get(network)
    return float(mean) if mean is not None else math.log(max(norm, 1e-300))


def _slower(networks: tuple[str, ...]) -> str:
    return "a fifth of the rate: " + " ".join(f"--set {n}_optimizer.rate=..." for n in networks)
