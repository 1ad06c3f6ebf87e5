"""What NVIDIA GPUs are doing now, by NVML, and which of them is the idlest.

NVML and torch count devices in orders of their own: torch by CUDA_VISIBLE_DEVICES and by speed,
NVML all of them by their place on the bus. They are matched by UUID, else by the place.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

_T = TypeVar("_T")
BUSY_PERCENT = 10
"""From this utilisation on, or this share of memory in use, a GPU is called busy."""


@dataclass(frozen=True)
class GpuProcess:
    """A process that computes on a GPU.

    Args:
        pid: as NVML tells it; in a container that may be the host's number.
        name: of the program, "" where it cannot be known.
        memory_bytes: on the GPU; None where the driver does not tell.
    """

    pid: int
    name: str
    memory_bytes: int | None


@dataclass(frozen=True)
class Gpu:
    """One GPU at one moment; None is what its driver does not tell.

    Args:
        uuid, bus_id: which it is: "GPU-..." and "0000:3b:00.0".
        name: the model.
        total_bytes, used_bytes: its memory.
        percent: the share of the last moment in which it computed, 0..100.
        celsius: its temperature.
        processes: that compute on it, this one left out.
    """

    uuid: str
    bus_id: str
    name: str
    total_bytes: int
    used_bytes: int
    percent: int | None
    celsius: int | None
    processes: tuple[GpuProcess, ...] = ()

    @property
    def is_busy(self) -> bool:
        """Whether somebody else uses it. Containers hide processes, so memory and work count."""
        used = 100 * self.used_bytes >= BUSY_PERCENT * self.total_bytes
        return bool(self.processes) or used or (self.percent or 0) >= BUSY_PERCENT

    @property
    def work(self) -> tuple[bool, int, float]:
        """What the idlest has least of: others on it, tenths of utilisation, memory in use."""
        tenths = (self.percent or 0) // BUSY_PERCENT
        return self.is_busy, tenths, self.used_bytes / max(1, self.total_bytes)

    def why_busy(self) -> str:
        """Its processes by name, else what it is seen to do."""
        if self.processes:
            return ", ".join(
                f"{p.name or 'a process'} (pid {p.pid}"
                + (")" if p.memory_bytes is None else f", {gib(p.memory_bytes)})")
                for p in self.processes
            )
        share = "" if self.percent is None else f"{self.percent} % busy, "
        return f"{share}{gib(self.used_bytes)} of {gib(self.total_bytes)} in use"


@dataclass(frozen=True)
class CudaDevice:
    """A device as torch counts it.

    Args:
        index: of ``cuda:INDEX``.
        uuid, bus_id: as in ``Gpu``; "" where torch does not tell.
        name: the model.
        total_bytes: its memory.
    """

    index: int
    uuid: str
    bus_id: str
    name: str
    total_bytes: int


def gib(n: int) -> str:
    """Bytes in words: "7.8 GiB", "412 MiB"."""
    return f"{n / 2**30:.1f} GiB" if abs(n) >= 2**30 else f"{n / 2**20:.0f} MiB"


def matched(seen: Sequence[CudaDevice], gpus: Sequence[Gpu]) -> dict[int, Gpu]:
    """The GPU behind each of torch's indices, where it can be told which."""
    uuids = {_plain_uuid(gpu.uuid): gpu for gpu in gpus}
    places = {_plain_bus(gpu.bus_id): gpu for gpu in gpus}
    found: dict[int, Gpu] = {}
    for device in seen:
        gpu = uuids.get(_plain_uuid(device.uuid)) if device.uuid else None
        if gpu is None and device.bus_id:
            gpu = places.get(_plain_bus(device.bus_id))
        if gpu is not None:
            found[device.index] = gpu
    return found


def idlest(seen: Sequence[CudaDevice], gpus: Mapping[int, Gpu]) -> int:
    """torch's index of the device that has least to do; of two alike, the larger one.

    A device that NVML does not know is taken only where all that it knows are busy.
    """

    def key(device: CudaDevice) -> tuple[int, int, float, int, int]:
        gpu = gpus.get(device.index)
        if gpu is None:
            return 1, 0, 0.0, -device.total_bytes, device.index
        busy, tenths, used = gpu.work
        return 2 * busy, tenths, round(used, 2), -device.total_bytes, device.index

    return min(seen, key=key).index


def cuda_devices() -> list[CudaDevice]:
    """The devices that torch can use, CUDA_VISIBLE_DEVICES respected."""
    import torch

    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        p: Any = torch.cuda.get_device_properties(index)
        bus = ""
        if hasattr(p, "pci_bus_id"):  # of torch since 2.6
            bus = f"{p.pci_domain_id:04x}:{p.pci_bus_id:02x}:{p.pci_device_id:02x}.0"
        uuid = str(getattr(p, "uuid", "") or "")
        found.append(CudaDevice(index, uuid, bus, p.name, int(p.total_memory)))
    return found


def read_gpus() -> tuple[list[Gpu], str]:
    """Every GPU that NVML sees, and why there is none where it sees none.

    What a device does not tell is None; a device that is lost meanwhile is left out.
    """
    try:
        import pynvml
    except ImportError:
        return [], "the package nvidia-ml-py is not installed"
    with contextlib.ExitStack() as stack:
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            return [], f"no NVIDIA driver answers ({error})"
        stack.callback(pynvml.nvmlShutdown)
        return list(_all(pynvml)), ""


def _all(nvml: Any) -> Iterator[Gpu]:
    for index in range(nvml.nvmlDeviceGetCount()):
        with contextlib.suppress(nvml.NVMLError):
            yield _one(nvml, nvml.nvmlDeviceGetHandleByIndex(index))


def _one(nvml: Any, handle: Any) -> Gpu:
    def told(read: Callable[..., _T], *args: Any) -> _T | None:
        try:
            return read(*args)
        except nvml.NVMLError:
            return None

    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    running = told(nvml.nvmlDeviceGetComputeRunningProcesses, handle) or []
    rates = told(nvml.nvmlDeviceGetUtilizationRates, handle)
    others = [p for p in running if p.pid != os.getpid()]
    return Gpu(
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        bus_id=_text(nvml.nvmlDeviceGetPciInfo(handle).busId),
        name=_text(nvml.nvmlDeviceGetName(handle)),
        total_bytes=int(memory.total),
        used_bytes=int(memory.used),
        percent=None if rates is None else int(rates.gpu),
        celsius=told(nvml.nvmlDeviceGetTemperature, handle, 0),
        processes=tuple(
            GpuProcess(
                p.pid,
                _program(told(nvml.nvmlSystemGetProcessName, p.pid)),
                p.usedGpuMemory,
            )
            for p in others
        ),
    )


def _program(command: str | bytes | None) -> str:
    """A program's own name, without its folder and without what it was given."""
    words = _text(command or "").split()
    return words[0].rpartition("/")[2] if words else ""


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _plain_uuid(uuid: str) -> str:
    return uuid.lower().removeprefix("gpu-")


def _plain_bus(bus_id: str) -> str:
    """ "00000000:3B:00.0" and "0000:3b:00.0" alike."""
    domain, _, rest = bus_id.lower().partition(":")
    return f"{domain.lstrip('0') or '0'}:{rest}"
