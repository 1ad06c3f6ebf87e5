"""Which device to train on."""

from __future__ import annotations

import torch

from rgan.errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """The torch device of "auto", "cpu", "cuda", "cuda:1" or "mps".

    auto takes the GPU with the most free memory, else the CPU.

    Raises:
        ConfigError: the device is not known, or not there.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        free = [torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())]
        return torch.device("cuda", free.index(max(free)))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise _absent(name) from error
    if device.type == "cuda":
        there = (device.index or 0) < torch.cuda.device_count()
    elif device.type == "mps":
        there = torch.backends.mps.is_available()
    else:
        there = device.type == "cpu" and not device.index
    if not there:
        raise _absent(name)
    return device


def _absent(name: str) -> ConfigError:
    count = torch.cuda.device_count()
    have = ["cpu", *(f"cuda:{i}" for i in range(count))]
    if torch.backends.mps.is_available():
        have.append("mps")
    return ConfigError(
        f'device "{name}" is not there',
        rule=f"devices here are: {', '.join(have)}",
        repair="--device cpu",
    )
