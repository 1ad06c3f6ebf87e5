"""Following a recurrence without going through its steps.

Shape letters: N sequences, T steps, I input and H output channels, L layers times directions.

The exporters follow a network with tensors that have shapes and no numbers. torch takes an LSTM or
a GRU apart for that, step by step, which took 17 s for 30 steps and would take an hour for a
thousand, only to learn the shape of the result. As the shape is plain, it is said at once here.
Nothing else changes: in the file stands torch's own LSTM or GRU as a whole, and the file is checked
after it is made. torch.export swaps the same entries for its own experiments
(``torch.export._patches``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


def _states(x: Tensor, hidden_LNH: Tensor, both_ways: bool) -> Tensor:
    return x.new_empty(x.shape[0], x.shape[1], hidden_LNH.shape[2] * (2 if both_ways else 1))


def _lstm(
    x_NTI: Tensor, hidden: Sequence[Tensor], params: Any, biases: bool, layers: int, *more: Any
) -> tuple[Tensor, Tensor, Tensor]:
    both_ways = bool(more[2])
    return (
        _states(x_NTI, hidden[0], both_ways),
        hidden[0].new_empty(hidden[0].shape),
        hidden[1].new_empty(hidden[1].shape),
    )


def _gru(
    x_NTI: Tensor, hidden: Tensor, params: Any, biases: bool, layers: int, *more: Any
) -> tuple[Tensor, Tensor]:
    return _states(x_NTI, hidden, bool(more[2])), hidden.new_empty(hidden.shape)


@contextlib.contextmanager
def shapes_at_once() -> Iterator[None]:
    """Within it, LSTM and GRU of tensors without numbers only say the shape of their result."""
    from torch._decomp import decomposition_table

    entries: list[tuple[dict[Any, Any], Any, Callable[..., Any]]] = []
    for op, shape in ((torch.ops.aten.lstm.input, _lstm), (torch.ops.aten.gru.input, _gru)):
        entries.append((decomposition_table, op, shape))
        for key in (torch._C.DispatchKey.CompositeImplicitAutograd, torch._C.DispatchKey.Autograd):
            entries.append((op.py_kernels, key, shape))
    # Where a torch has no such entry it goes its own way, which is only slower.
    entries = [entry for entry in entries if entry[1] in entry[0]]
    before = [table[key] for table, key, _ in entries]
    try:
        for table, key, shape in entries:
            table[key] = shape
        _forget()
        yield
    finally:
        for (table, key, _), kernel in zip(entries, before, strict=True):
            table[key] = kernel
        _forget()


def _forget() -> None:
    """Let both be looked up anew."""
    torch.ops.aten.lstm.input._dispatch_cache.clear()
    torch.ops.aten.gru.input._dispatch_cache.clear()
