"""How much memory a process can still take: the machine's, a container's, and its own limit."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Room:
    """Memory that can still be taken.

    Args:
        free_bytes: of it.
        limit: who sets it, in words.
    """

    free_bytes: int
    limit: str


def free_memory(proc: Path = Path("/proc"), root: Path = Path("/")) -> Room:
    """What this process can still take before somebody stops it.

    Args:
        proc: where the system tells of processes.
        root: below which the paths of control groups lie, as ``/proc/self/mountinfo`` names them.
    """
    import psutil  # type: ignore[import-untyped, unused-ignore]

    rooms = [Room(int(psutil.virtual_memory().available), "the machine's memory")]
    rooms += cgroup_rooms(proc, root)
    rooms += _own_limits(proc)
    return min(rooms, key=lambda room: room.free_bytes)


def cgroup_rooms(proc: Path = Path("/proc"), root: Path = Path("/")) -> list[Room]:
    """What each control group (of a container, a batch job) leaves, from its own up to the top.

    Pages of files that nobody uses any more are dropped before a group is out of memory, so they
    count as free.
    """
    found = []
    for folder, new in _memory_groups(proc, root):
        names = ("memory.max", "memory.current", "inactive_file")
        if not new:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        limit, used = _number(folder / names[0]), _number(folder / names[1])
        if limit is None or used is None or limit >= 2**60:  # "max", and what v1 has for it
            continue
        inactive = dict(_pairs(folder / "memory.stat")).get(names[2], 0)
        found.append(Room(max(0, limit - used + min(inactive, used)), "the container's limit"))
    return found


def cpu_limit(proc: Path = Path("/proc"), root: Path = Path("/")) -> float | None:
    """How many CPUs the control groups grant, None without such a limit."""
    granted = []
    for folder, new in _groups(proc, root, "cpu"):
        if new:
            quota, _, period = _text(folder / "cpu.max").partition(" ")
        else:
            quota, period = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            granted.append(int(quota) / int(period))
    return min(granted, default=None)


def _memory_groups(proc: Path, root: Path) -> Iterator[tuple[Path, bool]]:
    return _groups(proc, root, "memory")


def _groups(proc: Path, root: Path, controller: str) -> Iterator[tuple[Path, bool]]:
    """(folder, whether version 2) of this process's groups with a controller, upwards."""
    for mount_root, place, new, controllers in _mounts(proc / "self" / "mountinfo"):
        for line in _text(proc / "self" / "cgroup").splitlines():
            number, _, rest = line.partition(":")
            names, _, path = rest.partition(":")
            mine = number == "0" if new else controller in names.split(",")
            if not mine or (not new and controller not in controllers):
                continue
            # Inside a container the mount begins at the container's own group.
            inner = path.removeprefix(mount_root.rstrip("/")) if mount_root != "/" else path
            top = root / place.lstrip("/")
            folder = top / inner.strip("/")
            if ".." in folder.parts or not folder.is_dir():
                folder = top
            while True:
                yield folder, new
                if folder == top:
                    break
                folder = folder.parent


def _mounts(table: Path) -> Iterator[tuple[str, str, bool, list[str]]]:
    """(root within the hierarchy, where, whether version 2, controllers) of mounted groups."""
    for line in _text(table).splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) > 4 and kind and kind[0] in ("cgroup", "cgroup2"):
            yield fields[3], fields[4], kind[0] == "cgroup2", kind[-1].split(",")


def _own_limits(proc: Path) -> list[Room]:
    """What ``ulimit`` leaves, as batch systems set it."""
    if sys.platform == "win32":
        return []
    import resource

    status = dict(_pairs(proc / "self" / "status"))  # in KiB
    found = []
    for what, field in (("RLIMIT_AS", "VmSize:"), ("RLIMIT_DATA", "VmData:")):
        limit = resource.getrlimit(getattr(resource, what))[0] if hasattr(resource, what) else -1
        if limit != resource.RLIM_INFINITY and limit >= 0 and field in status:
            left = max(0, limit - 1024 * status[field])
            found.append(Room(left, f"the process's own limit ({what})"))
    return found


def _pairs(path: Path) -> Iterator[tuple[str, int]]:
    for line in _text(path).splitlines():
        words = line.split()
        if len(words) > 1 and words[1].isdigit():
            yield words[0], int(words[1])


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
