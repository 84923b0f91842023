"""Energy of a GPU, as its own counter tells it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class DeviceEnergy:
    """The energy that a CUDA device has used, through NVIDIA's management library.

    The counter is that of the whole board (other processes on it included) and moves every 20 to 100 ms: shares of
    short stages are approximate, their sum is not.

    Args:
        device: a CUDA device; ``None``, a CPU or a GPU without such a counter: ``read`` gives None.
    """

    def __init__(self, device: torch.device | None) -> None:
        self._nvml, self._handle = _open(device)
        if self._nvml is not None:
            weakref.finalize(self, self._nvml.nvmlShutdown)

    def read(self) -> float | None:
        """Joules since the driver was loaded; None where it is not known."""
        if self._nvml is None:
            return None
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1000
        except self._nvml.NVMLError:
            return None


def _open(device: torch.device | None) -> tuple[Any, Any]:
    """The library and the handle of a device; two times None where there is no counter to read."""
    if device is None or device.type != "cuda":
        return None, None
    try:
        import pynvml
    except ImportError:
        return None, None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None, None
    try:
        handle = pynvml.nvmlDeviceGetHandleByUUID(_uuid(device))
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError:
        pynvml.nvmlShutdown()
        return None, None
    return pynvml, handle


def _uuid(device: torch.device) -> str:
    """The device's own name: indices of torch and of the management library may differ."""
    import torch

    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"
