"""One checkpoint on the disk: reading it back, and the seals that show damage.

``state.json`` is ``{"schema", "step", "serial", "saved", "files", "state", "sha256"}``: files has
the size and SHA-256 of each tensor file, sha256 is of everything else in the document.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from rgan.errors import RganError, RunError
from rgan.runs.atomic import read_bytes
from rgan.runs.info import is_step

Tensors = dict[str, dict[str, torch.Tensor]]

SCHEMA = 1
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
MOST_BYTES = 2**28
"""Of state.json, far more than rgan writes."""
_STRANGE = (
    *(ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError),
    *(RuntimeError, TypeError, ValueError),
)


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
        data = _bytes_of(path / name, expected["bytes"])
        if len(data) != expected["bytes"]:
            raise _damaged(path / name, f"it has {len(data)} of {expected['bytes']} bytes")
        if hashlib.sha256(data).hexdigest() != expected["sha256"]:
            raise _damaged(path / name, "its content is not what was written (SHA-256 differs)")
        try:
            tensors[Path(name).stem] = safetensors.torch.load(data)
        except (SafetensorError, *_STRANGE) as error:
            raise _damaged(path / name, f"it holds no tensors: {error}") from error
    return Checkpoint(document["step"], tensors, document["state"], path)


def _read_state(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(_bytes_of(path, MOST_BYTES))
        seal = document.pop("sha256")
        digest = _digest(document)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise _damaged(path, "it is not what rgan writes") from error
    if is_step(document.get("schema")) and document["schema"] > SCHEMA:
        raise RunError(
            f'"{path}" follows schema {document["schema"]}',
            rule=f"this version of rgan reads checkpoints of schemas up to {SCHEMA}",
            repair="pip install --upgrade rgan",
        )
    if digest != seal:
        raise _damaged(path, "its content is not what was written (SHA-256 differs)")
    _check_document(path, document)
    return dict(document)


def _check_document(path: Path, document: dict[str, Any]) -> None:
    """Refuse what is well sealed and yet not what rgan writes.

    Raises:
        RunError: says what it is.
    """
    if not is_step(document.get("schema")):
        raise _damaged(path, "it does not say which schema it follows")
    if not is_step(document.get("step")):
        raise _damaged(path, f"its step is {document.get('step')!r:.60}")
    files, state = document.get("files"), document.get("state")
    if not isinstance(files, dict) or not isinstance(state, dict):
        raise _damaged(path, "it has no files, or no state")
    for name, expected in files.items():
        if not NAME.fullmatch(name.removesuffix(".safetensors")):
            raise _damaged(path, f"it names files outside its folder: {name!r:.60}")
        if not isinstance(expected, dict) or not is_step(expected.get("bytes")):
            raise _damaged(path, f"it does not say how large {name} is")
    for part in ("counters", "encoder", "config"):
        if not isinstance(state.get(part, {}), dict):
            raise _damaged(path, f"its {part} is {state[part]!r:.60}")
    counters = state.get("counters", {})
    numbers = [counters[k] for k in ("step", "drawn", "fresh_from", "epoch_steps") if k in counters]
    origin = counters.get("origin", [])
    numbers += origin if isinstance(origin, list) else [None]
    if not all(map(is_step, numbers)):
        raise _damaged(path, "its counters are not numbers of steps")


@contextlib.contextmanager
def taking_up(path: Path) -> Iterator[None]:
    """Turns whatever a checkpoint's content makes go wrong into words.

    A seal shows accidents. A stranger can seal anything, and what does not fit shows only when
    networks, scalers and random states are made of it.

    Args:
        path: the checkpoint's folder.

    Raises:
        RunError: in place of any error that is not rgan's own.
    """
    try:
        yield
    except RganError:
        raise
    except _STRANGE as error:
        what = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        raise RunError(
            f'"{path}" holds something that cannot be taken up ({what:.300})',
            rule="a checkpoint is as rgan writes it",
            repair="use another checkpoint, or restore the run from a copy",
        ) from error


def serial_of(path: Path) -> int:
    """The how-manieth save it was, which steps do not tell after going back to an earlier one."""
    try:
        serial = json.loads(read_bytes(path / "state.json", MOST_BYTES))["serial"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return 0
    return serial if is_step(serial) else 0


def seal(document: dict[str, Any]) -> bytes:
    """The text of ``state.json``: the document and its own hash."""
    sealed = {**document, "sha256": _digest(document)}
    return (json.dumps(sealed, indent=1) + "\n").encode("ascii")


def _digest(document: dict[str, Any]) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _bytes_of(path: Path, most: int) -> bytes:
    try:
        return read_bytes(path, most)
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
