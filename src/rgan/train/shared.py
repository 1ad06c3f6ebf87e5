"""The training sequences once in a machine's memory, for all processes there.

On Linux they lie in memory without a name (memfd), which others open by way of the process that
made it. So there is nothing to be removed, and it is gone with the last process however that ends.
Elsewhere it is a temporary file, removed as soon as all have opened it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rgan.nets.batch import Batch

FIELDS = ("x", "static", "lengths", "condition")
ALIGNED = 64
"""Bytes at a multiple of which each tensor begins."""


def describe(batch: Batch) -> list[dict[str, Any]]:
    """Where the tensors of a batch lie, as JSON data."""
    parts, at = [], 0
    for name in FIELDS:
        tensor: Tensor = getattr(batch, name)
        kind = str(tensor.dtype).removeprefix("torch.")
        parts.append({"shape": list(tensor.shape), "kind": kind, "at": at})
        at += -(-tensor.numel() * tensor.element_size() // ALIGNED) * ALIGNED
    return parts


def size_of(parts: list[dict[str, Any]]) -> int:
    """Bytes that a batch takes so."""
    last = parts[-1]
    length = torch.Size(last["shape"]).numel() * getattr(torch, last["kind"]).itemsize
    return max(1, int(last["at"]) + length)


class SharedMemory:
    """Bytes that several processes of a machine see.

    Args:
        size: of new memory, or of memory that is there.
        path: of memory that another process has made; without it new memory is made.

    Attributes:
        path: by which others open it.
        bytes: (B,) uint8, mapped.
    """

    def __init__(self, size: int, path: str = "") -> None:
        self._own, self._file = "", -1
        if not path and sys.platform == "linux":
            self._file = os.memfd_create("rgan-data")
            os.ftruncate(self._file, size)
            path = f"/proc/{os.getpid()}/fd/{self._file}"
        elif not path:
            handle, path = tempfile.mkstemp(prefix="rgan-data-")
            os.truncate(handle, size)
            os.close(handle)
            self._own = path
        self.path = path
        self.bytes = torch.from_file(path, shared=True, size=size, dtype=torch.uint8)

    def all_have_it(self) -> None:
        """No more process will open it."""
        if self._own:
            Path(self._own).unlink()
        elif self._file >= 0:
            os.close(self._file)

    def write(self, batch: Batch, parts: list[dict[str, Any]]) -> None:
        """Put the tensors of a batch there."""
        for name, tensor in zip(FIELDS, self._tensors(parts), strict=True):
            tensor.copy_(getattr(batch, name))

    def batch(self, parts: list[dict[str, Any]]) -> Batch:
        """The batch that lies there."""
        return Batch(*self._tensors(parts))

    def _tensors(self, parts: list[dict[str, Any]]) -> list[Tensor]:
        tensors = []
        for part in parts:
            kind, shape = getattr(torch, part["kind"]), torch.Size(part["shape"])
            length = shape.numel() * kind.itemsize
            piece = self.bytes[part["at"] : part["at"] + length]
            tensors.append(piece.view(kind).view(shape))
        return tensors
