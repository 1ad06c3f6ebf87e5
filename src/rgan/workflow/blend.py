"""Whether the generators of two runs may be averaged, and their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rgan.config import differences
from rgan.errors import RunError
from rgan.workflow.session import trained_from_checkpoint

if TYPE_CHECKING:
    from rgan.workflow.average import Voice

GROUPS = ("generator", "average")
_RULE = "averaged runs have the same network, the same data and the same scaling"
Path = tuple[str | int, ...]


def check_alike(one: Voice, other: Voice) -> None:
    """Refuse two runs whose generators cannot be averaged.

    Raises:
        RunError: another kind of model, other data, another tensor, setting or scaling; names the
            first that differs.
    """
    kinds = [voice.config.model.kind for voice in (one, other)]
    if kinds[0] != kinds[1]:
        raise _differ("the model", one, other, kinds)
    prints = [str((voice.info.get("data") or {}).get("fingerprint")) for voice in (one, other)]
    if prints[0] != prints[1]:
        raise _differ("the data's fingerprint", one, other, [text[:12] for text in prints])
    _check_tensors(one, other)
    settings = differences(one.config, other.config)
    for path, values in settings.items():
        if path.startswith("generator."):
            raise _differ(path, one, other, values, "its weights mean something else")
    states = [voice.checkpoint.state["encoder"] for voice in (one, other)]
    where = difference(*states)
    if where is not None:
        values = [_at(state, where) for state in states]
        reason = "a network speaks in the scale it was trained on; the mean of two speaks in none"
        raise _differ(_called(states[0], where), one, other, values, reason)


def _check_tensors(one: Voice, other: Voice) -> None:
    first, second = (_generators(voice) for voice in (one, other))
    names = sorted(first.keys() | second.keys())
    for name in sorted(names, key=lambda name: GROUPS.index(name.partition(".")[0])):
        shapes = [
            f"{tuple(model[name].shape)} {str(model[name].dtype).removeprefix('torch.')}"
            if name in model
            else "not there"
            for model in (first, second)
        ]
        if shapes[0] != shapes[1]:
            raise _differ(name, one, other, shapes, "there is no mean of tensors that do not match")


def _generators(voice: Voice) -> dict[str, Tensor]:
    model = voice.checkpoint.tensors.get("model", {})
    return {name: t for name, t in model.items() if name.partition(".")[0] in GROUPS}


def blend(voices: Sequence[Voice], shares: Sequence[float]) -> dict[str, Tensor]:
    """The model of the first run, its generators the weighted mean of all, summed in float64.

    Both generators are averaged: the trained one of the trained ones, the one that samples of those
    that sample. Buffers, which describe the data, and whole numbers are the first's.

    Args:
        voices: alike, as ``check_alike`` says.
        shares: one for each, with the sum 1.

    Raises:
        RunError: a buffer differs, or a weight is not finite.
    """
    first = voices[0]
    buffers = {n for n, _ in trained_from_checkpoint(first.checkpoint).generator.named_buffers()}
    model = dict(first.checkpoint.tensors["model"])
    for name in _generators(first):
        group, _, key = name.partition(".")
        tensors = [
            voice.checkpoint.tensors["model"][f"{_group(voice, group)}.{key}"] for voice in voices
        ]
        if key in buffers or not tensors[0].is_floating_point():
            for voice, tensor in zip(voices, tensors, strict=True):
                if not torch.equal(tensors[0], tensor):
                    raise _differ(
                        name, first, voice, ["one content", "another"], "it describes the data"
                    )
            continue
        for voice, tensor in zip(voices, tensors, strict=True):
            if not bool(torch.isfinite(tensor).all()):
                raise RunError(
                    f"{name} of {voice.name} is not finite",
                    rule="weights that are averaged are finite",
                    repair="another checkpoint, or leave the run out",
                )
        mean = sum((share * t.double() for share, t in zip(shares, tensors, strict=True)))
        assert isinstance(mean, Tensor)
        model[name] = mean.to(tensors[0].dtype)
    return model


def _group(voice: Voice, group: str) -> str:
    """The run's generator that goes into this group; without averaging the last one samples."""
    return voice.sampler if group == "average" else group


def difference(one: Any, other: Any, path: Path = ()) -> Path | None:
    """Where two pieces of JSON data first differ; None where they do not.

    >>> difference({"a": [1, 2]}, {"a": [1, 3]})
    ('a', 1)
    """
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            if key not in one or key not in other:
                return (*path, key)
            if (*path, key) == ("packer", "name"):
                continue  # what the data are called changes no network
            found = difference(one[key], other[key], (*path, key))
            if found is not None:
                return found
        return None
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        found_in = (difference(a, b, (*path, i)) for i, (a, b) in pairs)
        return next((found for found in found_in if found is not None), None)
    return None if one == other else path


def _at(state: Any, path: Path) -> Any:
    for key in path:
        try:
            state = state[key]
        except (KeyError, IndexError, TypeError):
            return "not there"
    return state


def _called(encoder: dict[str, Any], path: Path) -> str:
    """What stands at a place of an encoder's state, with the feature's name where it is one's."""
    words = ".".join(str(key) for key in path if isinstance(key, str))
    names = _at(encoder, ("packer", "feature_names"))
    if path[:2] == ("pipeline", "steps") and len(path) > 2:
        step = _at(encoder, path[:3])
        names = step.get("features") or step.get("attributes") if isinstance(step, dict) else names
        words = f"the scaling ({_at(step, ('name',))} {path[3] if len(path) > 3 else ''})"
    place = path[-1] if isinstance(path[-1], int) else path[-2] if len(path) > 1 else None
    if isinstance(place, int) and isinstance(names, list | tuple) and place < len(names):
        return f'{words} of "{names[place]}"'
    return words


def _differ(
    what: str, one: Voice, other: Voice, values: Sequence[Any], reason: str = ""
) -> RunError:
    said = [f"{value!s:.60}" for value in values]
    return RunError(
        f"{what} is {said[0]} in {one.name} and {said[1]} in {other.name}",
        rule=_RULE,
        reason=reason,
        repair="leave one of them out",
    )
