"""Memory that is free where a method computes."""

from __future__ import annotations

import psutil
import torch

from spectral_bench.common.cgroups import memory_rooms


def free_bytes(device: torch.device) -> int:
    """Bytes that this process can still allocate on a device.

    On CUDA what the device has free and what torch holds without using it. On the CPU what the system can give without
    swapping, or less where a control group (such as that of a container or of a Slurm job) limits the process.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))
    return min([int(psutil.virtual_memory().available), *memory_rooms()])
