"""Which device to train on."""

from __future__ import annotations

import torch

from rgan.errors import ConfigError
from rgan.train.gpus import CudaDevice, Gpu, cuda_devices, idlest, matched, read_gpus
from rgan.train.group import Launch


def resolve_device(name: str) -> torch.device:
    """The torch device of "auto", "cpu", "cuda", "cuda:1" or "mps".

    auto takes the GPU that has least to do, else Apple's (mps), else the CPU; so does cuda, but for
    GPUs only.

    Raises:
        ConfigError: the device is not known, not there, or there are several.
    """
    names = parse_devices(name)
    if len(names) > 1:
        raise ConfigError(
            f'device "{name}" means {len(names)} devices',
            rule="only a training takes several devices",
            repair=f"--device {names[0]}",
        )
    if name in ("auto", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", _idlest())
    if name == "auto":
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(names[0])
    except RuntimeError as error:
        raise _absent(name) from error
    if device.type == "cuda":
        there = (device.index or 0) < torch.cuda.device_count()
    elif device.type == "mps":
        there = torch.backends.mps.is_available() and not device.index
    else:
        there = device.type == "cpu" and not device.index
    if not there:
        raise _absent(name)
    return device


def resolve_devices(name: str, launch: Launch | None = None) -> tuple[torch.device, ...]:
    """The devices to train on, each with a process of its own; this process has the first.

    Args:
        name: as ``resolve_device`` takes it, or several: "cuda:0,1", "cpu,cpu".
        launch: where a launcher has started the other processes already: this process's own device
            is then the only one, of several the one that has its place on this machine.

    Raises:
        ConfigError: a device is not known or not there, they are of several kinds, or they are not
            as many as the launched processes.
    """
    names = parse_devices(name)
    if launch is not None:
        return (_launched_device(name, names, launch),)
    if len(names) == 1:
        return (resolve_device(name),)
    devices = tuple(resolve_device(one) for one in names)
    kinds = sorted({device.type for device in devices})
    several = len(set(devices)) == len(devices) or kinds == ["cpu"]
    if len(kinds) > 1 or not several or not {"cuda", "cpu"}.issuperset(kinds):
        raise ConfigError(
            f'device "{name}" means {", ".join(map(str, devices))}',
            rule="several devices are GPUs of NVIDIA's, or processes on the CPU",
            reason="they wait for each other at every update",
            repair="--device cuda:0,1, or --device cpu,cpu",
        )
    return devices


def _launched_device(name: str, names: tuple[str, ...], launch: Launch) -> torch.device:
    place, count = launch.local_rank, launch.local_size
    if len(names) == 1 and name in ("auto", "cuda") and torch.cuda.is_available():
        names = tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))[:count]
    elif name in ("auto", "cpu"):
        names = (name,) * count
    if len(names) != count:
        raise ConfigError(
            f'{count} processes were launched on this machine, and device "{name}" means '
            f"{len(names)} here",
            rule="each process has a device of its own",
            repair=f"as many devices as processes: --nproc-per-node {len(names)}",
        )
    return resolve_device(names[place])


def parse_devices(name: str) -> tuple[str, ...]:
    """The devices that a text names: "cuda:1,3" and "cuda:1,cuda:3" are both two. The CPU may come
    several times, a GPU but once.

    Raises:
        ConfigError: an entry is empty, comes twice, or a number follows what has none.

    >>> parse_devices("cuda:1,3")
    ('cuda:1', 'cuda:3')
    """
    found: list[str] = []
    for part in (part.strip() for part in name.split(",")):
        plain = part.isascii() and part.isdigit()
        whole = f"cuda:{part}" if plain and found and found[-1].startswith("cuda:") else part
        twice = whole in found and whole != "cpu"
        if not whole or twice or (plain and whole == part):
            raise ConfigError(
                f'device "{name}" cannot be read: "{part}" is empty, there already, or a number '
                "without a kind",
                rule="devices are auto, cpu, mps, cuda, cuda:1, or several: cuda:1,3 or cpu,cpu",
                repair="--device auto",
            )
        found.append(whole)
    return tuple(found)


def busy_note(device: torch.device, asked: str) -> str:
    """What to say where somebody else uses the device that is to be trained on; "" where nobody.

    Args:
        device: to be trained on.
        asked: the setting; auto has taken the idlest, which may be busy all the same.
    """
    if device.type != "cuda":
        return ""
    gpu = matched(cuda_devices(), read_gpus()[0]).get(device.index or 0)
    return busy_words(str(device), gpu, asked)


def busy_words(device: str, gpu: Gpu | None, asked: str) -> str:
    """The words of ``busy_note``, of a GPU as it was read."""
    if gpu is None or not gpu.is_busy:
        return ""
    words = f"{device} ({gpu.name}) is busy: {gpu.why_busy()}"
    if asked in ("auto", "cuda"):
        return f"{words}; all GPUs here are, and it is the least busy"
    return f"{words}; --device auto takes the idlest, rgan devices shows all"


def auto_device(seen: list[CudaDevice], gpus: dict[int, Gpu], has_mps: bool) -> str:
    """The name of what "auto" takes among these."""
    if seen:
        return f"cuda:{idlest(seen, gpus)}"
    return "mps" if has_mps else "cpu"


def _idlest() -> int:
    seen = cuda_devices()
    return idlest(seen, matched(seen, read_gpus()[0])) if len(seen) > 1 else 0


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
