"""``rgan devices``: what can be trained on, and what is busy."""

from __future__ import annotations

import json as text_json
import os
from typing import Annotated, Any

import typer


def devices(
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show GPUs with their processes, cores and memory, and what --device auto would take."""
    found = survey()
    if json:
        typer.echo(text_json.dumps(found, indent=2))
        return
    _print(found)


def survey() -> dict[str, Any]:
    """All that there is to train on, as JSON data."""
    import torch

    from rgan.train.device import auto_device
    from rgan.train.gpus import cuda_devices, matched, read_gpus

    gpus, why_not = read_gpus()
    seen = cuda_devices()
    by_index = matched(seen, gpus)
    has_mps = torch.backends.mps.is_available()
    taken = auto_device(seen, by_index, has_mps)
    rows = [
        _gpu_row(device.name, f"cuda:{device.index}", by_index.get(device.index), device)
        for device in seen
    ]
    hidden = [gpu for gpu in gpus if gpu not in by_index.values()]
    rows += [_gpu_row(gpu.name, None, gpu, gpu) for gpu in hidden]
    if has_mps:
        rows.append(
            {
                "device": "mps",
                "name": "Apple GPU",
                "total_bytes": None,
                "used_bytes": None,
                "percent": None,
                "celsius": None,
                "processes": [],
            }
        )
    return {
        "taken": taken,
        "devices": rows,
        "cpu": _cpu(),
        "no_nvml": why_not,
        "hidden": _why_hidden(torch, len(hidden)),
    }


def _gpu_row(name: str, device: str | None, gpu: Any, sized: Any) -> dict[str, Any]:
    return {
        "device": device,
        "name": name,
        "total_bytes": sized.total_bytes,
        "used_bytes": gpu.used_bytes if gpu else None,
        "percent": gpu.percent if gpu else None,
        "celsius": gpu.celsius if gpu else None,
        "busy": gpu.is_busy if gpu else None,
        "processes": [vars(process) for process in gpu.processes] if gpu else [],
    }


def _why_hidden(torch: Any, hidden: int) -> str:
    """Why torch cannot use some GPUs that NVML sees."""
    if not hidden:
        return ""
    if torch.version.cuda is None:
        return "this torch is built without CUDA: install one that has it"
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return f"CUDA_VISIBLE_DEVICES={os.environ['CUDA_VISIBLE_DEVICES']} hides it"
    return "torch cannot use it: the driver may be too old for this torch"


def _cpu() -> dict[str, Any]:
    import psutil  # type: ignore[import-untyped, unused-ignore]

    from rgan.workflow.available import cpu_limit, free_memory

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    room = free_memory()
    return {
        "cores": os.cpu_count(),
        "allowed_cores": allowed,
        "granted_cores": cpu_limit(),
        "total_bytes": int(psutil.virtual_memory().total),
        "free_bytes": room.free_bytes,
        "limited_by": room.limit,
    }


def _print(found: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from rgan.train.gpus import gib

    table = Table(box=None, pad_edge=False)
    for title in ("device", "name", "memory used", "busy", "temp.", "processes", ""):
        table.add_column(title, overflow="fold")
    for row in found["devices"]:
        used = "?" if row["used_bytes"] is None else gib(row["used_bytes"])
        total = "?" if row["total_bytes"] is None else gib(row["total_bytes"])
        table.add_row(
            row["device"] or "hidden",
            row["name"],
            f"{used} / {total}",
            "?" if row["percent"] is None else f"{row['percent']} %",
            "?" if row["celsius"] is None else f"{row['celsius']} °C",
            ", ".join(
                f"{p['name'] or '?'} {p['pid']}"
                + (f" {gib(p['memory_bytes'])}" if p["memory_bytes"] is not None else "")
                for p in row["processes"]
            ),
            "auto takes this" if row["device"] == found["taken"] else "",
        )
    cpu = found["cpu"]
    cores = f"{cpu['allowed_cores']} of {cpu['cores']} cores"
    if cpu["granted_cores"] is not None:
        cores += f", {cpu['granted_cores']:g} granted by the container"
    memory = f"{gib(cpu['total_bytes'] - cpu['free_bytes'])} / {gib(cpu['total_bytes'])}"
    table.add_row(
        "cpu", cores, memory, "", "", "", "auto takes this" if found["taken"] == "cpu" else ""
    )
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(f"free for a training: {gib(cpu['free_bytes'])}, by {cpu['limited_by']}")
    if found["hidden"]:
        console.print(f"hidden: {found['hidden']}")
    if found["no_nvml"]:
        console.print(f"no NVIDIA GPU is seen: {found['no_nvml']}")
