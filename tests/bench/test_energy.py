from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch

from spectral_bench.bench.measure import meter as module
from spectral_bench.bench.measure.meter import DeviceEnergy, Meter, StageEnergy
from spectral_bench.results.record import StageCost

CUDA = torch.device("cuda")


class FakeNvml(ModuleType):
    """The management library of a machine whose counter a test turns by hand."""

    class NVMLError(Exception):
        pass

    def __init__(self, fails_at: str = "") -> None:
        super().__init__("pynvml")
        self.millijoules, self.fails_at, self.open = 5_000_000, fails_at, 0

    def _call(self, name: str) -> None:
        if name == self.fails_at:
            raise self.NVMLError(name)

    def nvmlInit(self) -> None:
        self._call("init")
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        self._call("handle")
        assert uuid == "GPU-1"
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        self._call("energy")
        return self.millijoules


def install(monkeypatch: pytest.MonkeyPatch, fails_at: str = "") -> FakeNvml:
    fake = FakeNvml(fails_at)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setattr(module, "_uuid", lambda device: "GPU-1")
    for name in ("_synchronise", "_restart_device_peak"):
        monkeypatch.setattr(module, name, lambda device: None)
    monkeypatch.setattr(module, "_device_peak", lambda device: 0)
    monkeypatch.setattr(module, "PERIOD", 0.0)  # the counter is read whenever a stage begins or ends
    return fake


def energies(meter: Meter) -> dict[str, float | None]:
    return {cost.stage: cost.energy_j for cost in meter.costs()}


def test_the_counter_is_read_in_joules_and_closed_with_its_reader(monkeypatch: pytest.MonkeyPatch):
    fake = install(monkeypatch)
    reader = DeviceEnergy(CUDA)
    assert reader.read() == 5000.0
    assert fake.open == 1
    del reader
    assert fake.open == 0


@pytest.mark.parametrize("fails_at", ["init", "handle", "energy"])
def test_a_gpu_without_a_counter_has_no_energy(monkeypatch: pytest.MonkeyPatch, fails_at: str):
    fake = install(monkeypatch, fails_at)
    assert DeviceEnergy(CUDA).read() is None
    assert fake.open == 0


def test_no_library_no_device_no_energy(monkeypatch: pytest.MonkeyPatch):
    assert DeviceEnergy(None).read() is None
    assert DeviceEnergy(torch.device("cpu")).read() is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert DeviceEnergy(CUDA).read() is None


def test_each_stage_is_charged_what_it_used(monkeypatch: pytest.MonkeyPatch):
    fake = install(monkeypatch)
    meter = Meter(CUDA)
    fake.millijoules += 1000
    with meter.stage("fit"):
        fake.millijoules += 2000
        with meter.stage("graph"):
            fake.millijoules += 30_000
        fake.millijoules += 500
    assert energies(meter) == {"fit": 2.5, "graph": 30.0}


def test_between_two_readings_it_is_shared_by_time(monkeypatch: pytest.MonkeyPatch):
    fake = install(monkeypatch)
    monkeypatch.setattr(module, "PERIOD", 0.1)
    shares = StageEnergy(CUDA)
    fake.millijoules += 10_000
    shares.spend("fit", 0.02)
    shares.spend("graph", 0.04)
    shares.spend(None, 0.02)
    assert (shares.joules("fit"), shares.joules("graph")) == (None, None)
    shares.spend("fit", 0.02)  # a tenth of a second since the counter was read
    assert shares.joules("fit") == pytest.approx(4.0)
    assert shares.joules("graph") == pytest.approx(4.0)
    fake.millijoules += 3000
    shares.spend("graph", 0.01)
    shares.share_out()
    assert shares.joules("graph") == pytest.approx(7.0)
    assert shares.joules("fit") == pytest.approx(4.0)


def test_a_training_step_does_not_wait_for_the_counter(monkeypatch: pytest.MonkeyPatch):
    fake = install(monkeypatch)
    monkeypatch.setattr(module, "PERIOD", 0.1)
    readings: list[str] = []
    monkeypatch.setattr(fake, "_call", readings.append)
    now = 0.0
    monkeypatch.setattr(module.time, "perf_counter", lambda: now)
    meter = Meter(CUDA)
    readings.clear()
    with meter.stage("fit"):
        for _ in range(100):
            with meter.stage("graph"):
                now += 0.01
            now += 0.005
    assert len(readings) <= 16
    fake.millijoules += 1500
    assert sum(energies(meter).values()) == pytest.approx(1.5)


def test_on_a_cpu_it_is_not_known():
    meter = Meter()
    with meter.stage("fit"):
        pass
    assert energies(meter) == {"fit": None}


@pytest.mark.parametrize(("before", "total"), [(3.0, 5.0), (None, None)])
def test_a_part_that_is_not_known_makes_the_sum_unknown(
    monkeypatch: pytest.MonkeyPatch, before: float | None, total: float | None
):
    """A fit that was resumed does not know what it used before it was interrupted."""
    fake = install(monkeypatch)
    meter = Meter(CUDA)
    with meter.stage("fit"):
        fake.millijoules += 2000
    meter.charge(StageCost(stage="fit", wall_s=1, cpu_s=1, peak_rss=0, energy_j=before))
    assert energies(meter) == {"fit": total}


def test_a_counter_that_fails_on_the_way_is_not_guessed(monkeypatch: pytest.MonkeyPatch):
    fake, now = install(monkeypatch), 0.0
    monkeypatch.setattr(module.time, "perf_counter", lambda: now)
    meter = Meter(CUDA)
    with meter.stage("features"):
        fake.millijoules, now = fake.millijoules + 4000, now + 1
    fake.fails_at = "energy"
    with meter.stage("fit"):
        fake.millijoules, now = fake.millijoules + 1000, now + 2
    assert energies(meter) == {"features": 4.0, "fit": None}
    fake.fails_at = ""
    with meter.stage("predict"):
        fake.millijoules, now = fake.millijoules + 2000, now + 1
    assert energies(meter) == {"features": 4.0, "fit": 1.0, "predict": 2.0}, "the next reading shows it"


@pytest.mark.cuda
def test_on_a_real_device():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    first = DeviceEnergy(CUDA).read()
    if first is None:
        pytest.skip("this GPU has no energy counter")
    assert first > 0
