"""How finely networks compute: in 32 bits, in 16, or in between on GPUs.

bf16 and fp16 concern what networks do inside, by torch's autocast. Weights, optimisers, the last
layer of each network, losses and penalties stay in 32 bits: a finite difference of two scores is
lost where each is rounded to three digits. With fp16 losses are scaled up before they go back,
since small gradients would become zero (Micikevicius et al. 2018, arXiv 1710.03740, section 3.2);
the scale is plain data, ``init`` / ``adapt``, and resumes with the checkpoint.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

import torch

from rgan.errors import ConfigError
from rgan.nets.layers import double_backward

Name = Literal["fp32", "tf32", "bf16", "fp16"]
Scale = dict[str, Any]

GROWTH = 2000
"""Updates without an overflow after which the scale is doubled."""
LARGEST = 2.0**16
SMALLEST = 1.0
"""Below it, gradients are not finite for another reason, and are let through to be seen."""
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def init() -> Scale:
    """The scale to begin with."""
    return {"scale": LARGEST, "clean": 0}


def adapt(scale: Scale, finite: bool) -> Scale:
    """Half the scale after gradients that are not finite, twice after many that are.

    >>> adapt({"scale": 1024.0, "clean": 7}, finite=False)
    {'scale': 512.0, 'clean': 0}
    """
    if not finite:
        return {"scale": max(SMALLEST, scale["scale"] / 2), "clean": 0}
    clean = scale["clean"] + 1
    if clean < GROWTH:
        return {**scale, "clean": clean}
    return {"scale": min(LARGEST, scale["scale"] * 2), "clean": 0}


class Precision:
    """A precision on a device.

    Args:
        name: fp32, tf32, bf16 or fp16.
        device: where networks compute.

    Attributes:
        is_low: whether networks compute in 16 bits.
        scales: whether losses are to be scaled.

    Raises:
        ConfigError: the device cannot.
    """

    def __init__(self, name: Name, device: torch.device) -> None:
        check(name, device)
        self.name, self.device = name, device
        self.is_low, self.scales = name in _TYPES, name == "fp16"
        self._plain = self.is_low and device.type == "cpu" and not _cpu_has_kernels(_TYPES[name])

    @contextlib.contextmanager
    def _low(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            if self._plain:
                stack.enter_context(double_backward())  # torch's own kernels
            stack.enter_context(torch.autocast(self.device.type, dtype=_TYPES[self.name]))
            yield

    def passes(self) -> contextlib.AbstractContextManager[None]:
        """Inside, networks compute in this precision."""
        return self._low() if self.is_low else contextlib.nullcontext()

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Inside, products of matrices on a GPU are as fp32 or tf32 says; torch's own settings come
        back afterwards."""
        if self.device.type != "cuda":
            yield
            return
        products, networks = torch.backends.cuda.matmul, torch.backends.cudnn
        before = products.allow_tf32, networks.allow_tf32
        products.allow_tf32 = networks.allow_tf32 = self.name == "tf32"
        try:
            yield
        finally:
            products.allow_tf32, networks.allow_tf32 = before


def check(name: Name, device: torch.device) -> None:
    """Refuse a precision that a device does not have.

    Raises:
        ConfigError: says which it has.
    """
    why = _why_not(name, device)
    if why:
        raise ConfigError(
            f"train.precision is {name}, and the device is {device}",
            rule=why,
            repair="--precision fp32",
        )


def _why_not(name: Name, device: torch.device) -> str:
    if name == "fp32" or (device.type == "cpu" and name in _TYPES):
        return ""
    if device.type != "cuda":
        have = "fp32, bf16 and fp16" if device.type == "cpu" else "fp32"
        return f"on {device.type} it is {have}"
    generation = torch.cuda.get_device_capability(device)
    if name != "fp16" and generation < (8, 0):
        had = ".".join(map(str, generation))
        return f"{name} needs a GPU of compute capability 8.0 (Ampere) or later; this has {had}"
    return ""


def _cpu_has_kernels(dtype: torch.dtype) -> bool:
    """Whether this CPU has recurrent kernels of 16 bits: only a trial tells."""
    try:
        with torch.random.fork_rng(devices=[]):
            lstm = torch.nn.LSTM(1, 1, batch_first=True)
        with torch.autocast("cpu", dtype=dtype):
            states = lstm(torch.ones(1, 2, 1))[0]
        states.float().sum().backward()
    except RuntimeError:
        return False
    return True
