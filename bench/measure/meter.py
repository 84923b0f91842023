"""What the stages of a run cost: wall time, CPU time, peak memory on host and device, energy of the device."""

from __future__ import annotations

import operator
import resource
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from spectral_bench.results.record import StageCost

if TYPE_CHECKING:
    import torch

    from spectral_bench.methods.shared import Product


SAMPLE_S = 0.02

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def resident_peak() -> int:
    """The most resident memory of this process since its start (or since a ``ResidentPeak`` restarted), in bytes.

    Where there is no ``VmHWM`` (outside of Linux) the present size.
    """
    # Not ru_maxrss of getrusage(2): Linux hands down that of the process that started this one, through fork and exec.
    try:
        return _mark()
    except OSError:
        return _resident()


class ResidentPeak:
    """The highest resident memory since the last ``restart``, in bytes.

    Where Linux lets a process reset its high-water mark, the kernel keeps it (``source`` is ``VmHWM``) and the value
    is exact. Elsewhere a thread looks every 20 ms (``source`` is ``sampled``) and may miss a shorter peak.
    """

    def __init__(self) -> None:
        self.source = "VmHWM" if _restart_mark() else "sampled"
        self._sampler = None if self.source == "VmHWM" else _Sampler()
        if self._sampler is not None:
            weakref.finalize(self, self._sampler.stop)  # the thread holds the sampler, and would outlive this

    def restart(self) -> None:
        """Forget what was before."""
        if self._sampler is not None:
            self._sampler.peak = _resident()
        else:
            _restart_mark()

    def read(self) -> int:
        """The peak so far, in bytes."""
        if self._sampler is not None:
            return max(self._sampler.peak, _resident())  # a block may be shorter than the sampler's step
        return _mark()


class _Sampler:
    """A daemon thread that keeps the highest resident memory it sees."""

    def __init__(self) -> None:
        self.peak = _resident()
        self._ended = threading.Event()
        threading.Thread(target=self._sample, name="memory-sampler", daemon=True).start()

    def stop(self) -> None:
        self._ended.set()

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self.peak = max(self.peak, _resident())


def _resident() -> int:
    return int(psutil.Process().memory_info().rss)


def _restart_mark() -> bool:
    try:  # see proc(5); not possible in every container
        # 5: the mark alone, and not the bits of pages that were looked at (1 to 4).
        _CLEAR.write_text("5")
    except OSError:
        return False
    return True


def _mark() -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return _resident()


PERIOD = 0.1  # seconds between readings: the counter moves about as often, and a reading can take milliseconds


@dataclass
class _Stage:
    """Sums of one stage so far; its energy but for what was measured elsewhere is kept by ``StageEnergy``."""

    name: str
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_rss: int = 0
    peak_device: int | None = None
    foreign_j: float | None = 0.0
    items: int | None = None
    reused: bool = False
    products: list[Product] = field(default_factory=list)


class Meter:
    """Measures named stages. A stage entered again adds to its cost; an inner stage's cost is not its outer one's.

    Time is cut into segments wherever a stage begins or ends, and each segment is charged to the innermost stage then
    open: what ran outside of all stages is charged to none. On a CUDA device every cut waits until the device is idle.
    Warming up is the caller's. One thread uses a meter.

    Args:
        device: where the stages compute; None or a CPU device: no device memory is recorded.
    """

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device if device is not None and device.type == "cuda" else None
        self._stages: dict[str, _Stage] = {}
        self._open: list[_Stage] = []
        self._memory, self._helpers = ResidentPeak(), 0
        self._energy = StageEnergy(self._device)
        self._wall, self._cpu = time.perf_counter(), _cpu_seconds()

    @property
    def memory_source(self) -> str:
        """How peak resident memory is found: ``VmHWM`` (exact, by the kernel) or ``sampled`` (every 20 ms)."""
        return self._memory.source

    @contextmanager
    def stage(self, name: str, items: int | None = None) -> Iterator[None]:
        """Charge the block to a stage.

        Args:
            name: of the stage.
            items: images that the block goes over, added to those of earlier blocks.
        """
        stage = self._stage(name)
        self._cut()  # what came before belongs to the stage around this one
        self._open.append(stage)
        try:
            yield
            if items is not None:
                stage.items = (stage.items or 0) + items
        finally:
            self._cut()  # for a stage that raises, too: what follows is none of its cost
            self._open.pop()

    def charge(self, cost: StageCost) -> None:
        """Add a cost that was measured elsewhere, such as in another process."""
        stage = self._stage(cost.stage)
        stage.wall_s += cost.wall_s
        stage.cpu_s += cost.cpu_s
        stage.peak_rss = max(stage.peak_rss, cost.peak_rss)
        if cost.peak_device is not None:
            stage.peak_device = max(stage.peak_device or 0, cost.peak_device)
        stage.foreign_j = _sum(stage.foreign_j, cost.energy_j)
        if cost.items is not None:
            stage.items = (stage.items or 0) + cost.items
        stage.reused |= cost.reused

    def helpers(self, n_bytes: int) -> None:
        """Tell the bytes that other processes hold which work for this one; they add to the peaks until told anew.

        Their CPU time counts when they have ended and were waited for, in the stage that is open then.
        """
        self._cut()
        self._helpers = n_bytes

    def used(self, product: Product, made: bool) -> None:
        """Charge the innermost open stage with a product that several runs share, as if it had been made for it alone.

        What it costs is measured when it is made. The share of it that falls to this run is settled when costs are
        asked for, by how many have used it up to then.

        Args:
            product: what was asked for.
            made: whether it was made in this stage just now, so that its time counts already, and its parts are told of
                one by one.
        """
        if not self._open:  # outside of all stages time is charged to none
            return
        stage = self._open[-1]
        for part in [product] if made else product.every():
            part.uses += 1
            stage.products.append(part)
            if not made:
                stage.wall_s += part.wall_s
                stage.cpu_s += part.cpu_s

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Charge the block to no stage, open ones included: others are at work in this process meanwhile."""
        self._cut()
        try:
            yield
        finally:
            self._energy.spend(None, time.perf_counter() - self._wall)
            self._restart()

    def reused(self, name: str) -> None:
        """Note that the product of a stage was there already: another run paid for it."""
        self._stage(name).reused = True

    def total(self) -> tuple[float, float]:
        """Wall and CPU seconds of all stages up to now."""
        self._cut()
        stages = self._stages.values()
        return sum(stage.wall_s for stage in stages), sum(stage.cpu_s for stage in stages)

    def costs(self) -> list[StageCost]:
        """The stages in the order in which they were first entered, open ones up to now."""
        self._cut()
        self._energy.share_out()
        return [self._cost(stage) for stage in self._stages.values()]

    def _cut(self) -> None:
        """End a segment, charge it to the innermost open stage, begin the next."""
        if self._device is not None:
            _synchronise(self._device)  # kernels run on after the call that started them has returned
        wall, cpu = time.perf_counter(), _cpu_seconds()
        self._energy.spend(self._open[-1].name if self._open else None, wall - self._wall)
        if self._open:
            stage = self._open[-1]
            stage.wall_s += wall - self._wall
            stage.cpu_s += cpu - self._cpu
            stage.peak_rss = max(stage.peak_rss, self._memory.read() + self._helpers)
            if self._device is not None:
                stage.peak_device = max(stage.peak_device or 0, _device_peak(self._device))
        self._restart()

    def _restart(self) -> None:
        self._memory.restart()
        if self._device is not None:
            _restart_device_peak(self._device)
        self._wall, self._cpu = time.perf_counter(), _cpu_seconds()

    def _stage(self, name: str) -> _Stage:
        return self._stages.setdefault(name, _Stage(name))

    def _cost(self, stage: _Stage) -> StageCost:
        sums = {key: value for key, value in vars(stage).items() if key not in ("name", "foreign_j", "products")}
        if not stage.products:
            energy = _sum(self._energy.joules(stage.name), stage.foreign_j)
            return StageCost(stage=stage.name, energy_j=energy, **sums)
        # What a product costs is shared by all that have used it by now, so the sum over runs is what was spent.
        others = [1 - 1 / product.uses for product in stage.products]
        wall, cpu = (
            sum(map(operator.mul, others, map(operator.attrgetter(cost), stage.products)))
            for cost in ("wall_s", "cpu_s")
        )
        share = {"share_wall_s": max(0.0, stage.wall_s - wall), "share_cpu_s": max(0.0, stage.cpu_s - cpu)}
        return StageCost(stage=stage.name, energy_j=None, **sums, **share)  # what others made took energy, too


def _sum(one: float | None, other: float | None) -> float | None:
    """Energy of two parts; not known where that of one of them is not."""
    return None if one is None or other is None else one + other


def _cpu_seconds() -> float:
    """CPU seconds of this process, all threads, and of its children that have ended."""
    # Those that still run are not known to the kernel's sum: they count when they are waited for.
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _synchronise(device: torch.device) -> None:
    import torch

    torch.cuda.synchronize(device)


def _device_peak(device: torch.device) -> int:
    import torch

    return torch.cuda.max_memory_allocated(device)


def _restart_device_peak(device: torch.device) -> None:
    import torch

    torch.cuda.reset_peak_memory_stats(device)


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
            self.share_out()

    def share_out(self) -> None:
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
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)  # as a trial: boards before Volta have no such counter
    except pynvml.NVMLError:
        pynvml.nvmlShutdown()
        return None, None
    return pynvml, handle


def _uuid(device: torch.device) -> str:
    # By name, as torch and the management library may number devices differently (CUDA_VISIBLE_DEVICES, PCI order).
    import torch

    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"
