"""Energy of a GPU, as its own counter tells it, and what of it each stage of a run used."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


PERIOD = 0.1  # seconds between readings: the counter moves about as often, and a reading can take milliseconds


class DeviceEnergy:
    """The energy that a CUDA device has used, through NVIDIA's management library.

    The counter is that of the whole board (other processes on it included) and moves every 20 to 100 ms.

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


class StageEnergy:
    """The energy that each stage has used.

    The counter is read where a stage begins or ends, but not again within ``PERIOD`` seconds, and what it shows is
    shared among the stages since the last reading by their time. Stages that alternate faster get the same power, as
    parts of a training step do; the sum is exact.

    Args:
        device: as for ``DeviceEnergy``.
    """

    def __init__(self, device: torch.device | None) -> None:
        self._counter = DeviceEnergy(device)
        self._last = self._counter.read()
        self._waiting: dict[str | None, float] = {}
        self._joules: dict[str, float] = {}

    def spend(self, stage: str | None, seconds: float) -> None:
        """Note time that just went to a stage; None: to none, and its energy is charged to none."""
        if self._last is None:
            return
        self._waiting[stage] = self._waiting.get(stage, 0.0) + seconds
        if sum(self._waiting.values()) >= PERIOD:
            self.settle()

    def settle(self) -> None:
        """Read the counter, and share what it shows; where it cannot be read now, the next reading shows it too."""
        now = self._counter.read() if self._waiting else None
        if now is None or self._last is None:
            return
        total = sum(self._waiting.values())
        for stage, seconds in self._waiting.items():
            if stage is not None:
                part = seconds / total if total else 1 / len(self._waiting)
                self._joules[stage] = self._joules.get(stage, 0.0) + part * (now - self._last)
        self._last = now
        self._waiting.clear()

    def joules(self, stage: str) -> float | None:
        """What a stage has used up to the last reading; None where that does not hold all of it."""
        return None if self._last is None or stage in self._waiting else self._joules.get(stage, 0.0)


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
