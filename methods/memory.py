"""Memory that is free where a method computes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

_GROUPS = Path("/sys/fs/cgroup")
_OWN_GROUP = Path("/proc/self/cgroup")


def free_bytes(device: torch.device) -> int:
    """Bytes that this process can still allocate on a device.

    On CUDA what the device has free and what torch holds without using it. On the CPU what the system can give without
    swapping, or less where a control group (version 2, such as that of a Slurm job) limits the process.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return min([int(psutil.virtual_memory().available), *_group_rooms()])


def _group_rooms(groups: Path = _GROUPS, own: Path = _OWN_GROUP) -> Iterator[int]:
    """What the limit of each control group around this process leaves, innermost first."""
    try:
        lines = [line for line in own.read_text().splitlines() if line.startswith("0::/")]
    except OSError:  # not Linux
        return
    for line in lines:
        folder = groups / line.removeprefix("0::/")
        while folder != groups.parent:
            room = _room(folder)
            if room is not None:
                yield room
            folder = folder.parent


def _room(folder: Path) -> int | None:
    """Limit minus use of a control group, file cache that can be dropped not counted; None without a limit."""
    try:
        limit = (folder / "memory.max").read_text().strip()
        if limit == "max":
            return None
        used = int((folder / "memory.current").read_text())
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(0, int(limit) - used + int(statistics.get("inactive_file", 0)))
    except (OSError, ValueError):  # a group without the memory controller
        return None
