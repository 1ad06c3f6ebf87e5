"""One checkpoint on the disk: reading it back, and the seals that show damage.

``state.json`` is ``{"schema", "step", "serial", "saved", "files", "state", "sha256"}``: files has
the size and SHA-256 of each tensor file, sha256 is of everything else in the document.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from rgan.errors import RunError

Tensors = dict[str, dict[str, torch.Tensor]]

SCHEMA = 1
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Args:
        step: generator updates made when it was saved.
        tensors: groups of tensors on the CPU, {"model": {...}, "optimizer": {...}}.
        state: JSON data: counters, random states, controllers, data order.
        path: its folder.
        warning: says which damaged checkpoints were passed over to get to this one, "" if none.
    """

    step: int
    tensors: Tensors
    state: dict[str, Any]
    path: Path
    warning: str = ""


def to_bytes(group: str, tensors: Mapping[str, torch.Tensor]) -> bytes:
    """A group of tensors in the safetensors format; views and shared memory become copies.

    Raises:
        ValueError: the group's name cannot be that of a file.
    """
    if not NAME.fullmatch(group):
        raise ValueError(f"{group!r} cannot be the name of a group of tensors")
    seen: set[int] = set()
    own: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        flat = tensor.detach().to("cpu").contiguous()
        storage = flat.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != flat.nbytes:
            flat = flat.clone()  # safetensors refuses memory that two names share
        seen.add(flat.untyped_storage().data_ptr())
        own[name] = flat
    return safetensors.torch.save(own)


def read_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint in this folder, every byte checked.

    Raises:
        RunError: a file is missing, cut short or altered; names the file.
    """
    document = _read_state(path / "state.json")
    tensors: Tensors = {}
    for name, expected in document["files"].items():
        data = _bytes_of(path / name)
        if len(data) != expected["bytes"]:
            raise _damaged(path / name, f"it has {len(data)} of {expected['bytes']} bytes")
        if hashlib.sha256(data).hexdigest() != expected["sha256"]:
            raise _damaged(path / name, "its content is not what was written (SHA-256 differs)")
        try:
            tensors[Path(name).stem] = safetensors.torch.load(data)
        except SafetensorError as error:
            raise _damaged(path / name, str(error)) from error
    return Checkpoint(document["step"], tensors, document["state"], path)


def _read_state(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(_bytes_of(path))
        seal = document.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise _damaged(path, "it is not what rgan writes") from error
    if document.get("schema", 0) > SCHEMA:
        raise RunError(
            f'"{path}" follows schema {document["schema"]}',
            rule=f"this version of rgan reads checkpoints of schemas up to {SCHEMA}",
            repair="pip install --upgrade rgan",
        )
    if _digest(document) != seal:
        raise _damaged(path, "its content is not what was written (SHA-256 differs)")
    if any(Path(name).name != name for name in document["files"]):
        raise _damaged(path, "it names files outside its folder")
    return dict(document)


def serial_of(path: Path) -> int:
    """The how-manieth save it was, which steps do not tell after going back to an earlier one."""
    try:
        return int(json.loads((path / "state.json").read_bytes())["serial"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def seal(document: dict[str, Any]) -> bytes:
    """The text of ``state.json``: the document and its own hash."""
    sealed = {**document, "sha256": _digest(document)}
    return (json.dumps(sealed, indent=1) + "\n").encode("ascii")


def _digest(document: dict[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise _damaged(path, "it is missing") from error
    except OSError as error:
        raise _damaged(path, f"it cannot be read: {error.strerror}") from error


def _damaged(path: Path, how: str) -> RunError:
    return RunError(
        f'"{path}" is damaged: {how}',
        rule="every file of a checkpoint is as it was written",
        repair="use another checkpoint, or restore the file from a copy of the run",
    )


def check_plain(data: Any, where: str) -> None:
    """JSON would turn a number used as a key into text, without a word."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}; keys are text")
            check_plain(value, f"{where}.{key}")
    elif isinstance(data, list | tuple):
        for index, value in enumerate(data):
            check_plain(value, f"{where}[{index}]")
    elif data is not None and not isinstance(data, str | int | float | bool):
        raise TypeError(f"{where} is {type(data).__name__}; state is JSON data")
