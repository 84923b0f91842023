from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from work_counter import calls

from spectral_bench.bench.measure import meter as memory
from spectral_bench.bench.measure import meter as module
from spectral_bench.bench.measure.meter import Meter, ResidentPeak
from spectral_bench.results.record import StageCost

MIB = 2**20


class Clocks:
    """Clocks that a test turns by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = self.cpu = 100.0
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.wall)
        monkeypatch.setattr(module, "_cpu_seconds", lambda: self.cpu)

    def turn(self, wall: float, cpu: float = 0.0) -> None:
        self.wall += wall
        self.cpu += cpu

    def turn_and_raise(self, wall: float) -> None:
        self.turn(wall)
        raise KeyError


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


def costs(meter: Meter) -> dict[str, tuple[float, float]]:
    return {cost.stage: (cost.wall_s, cost.cpu_s) for cost in meter.costs()}


class TestTime:
    def test_only_what_is_inside_of_a_stage_counts(self, clocks: Clocks) -> None:
        meter = Meter()
        clocks.turn(50)
        with meter.stage("fit"):
            clocks.turn(2, 3)
        clocks.turn(70)
        assert costs(meter) == {"fit": (2, 3)}

    def test_inner_stage_is_not_charged_to_the_outer(self, clocks: Clocks) -> None:
        meter = Meter()
        with meter.stage("fit"):
            clocks.turn(1)
            with meter.stage("graph"):
                clocks.turn(10, 20)
                with meter.stage("sort"):
                    clocks.turn(100)
            clocks.turn(2)
        assert costs(meter) == {"fit": (3, 0), "graph": (10, 20), "sort": (100, 0)}

    def test_stages_add_up_when_entered_again(self, clocks: Clocks) -> None:
        meter = Meter()
        for _ in range(3):
            with meter.stage("graph", items=8):
                clocks.turn(1, 2)
        (cost,) = meter.costs()
        assert (cost.wall_s, cost.cpu_s, cost.items) == (3, 6, 24)

    def test_stage_within_itself_counts_once(self, clocks: Clocks) -> None:
        meter = Meter()
        with meter.stage("fit"):
            clocks.turn(1)
            with meter.stage("fit"):
                clocks.turn(2)
        assert costs(meter) == {"fit": (3, 0)}

    def test_error_passes_and_its_time_counts(self, clocks: Clocks) -> None:
        meter = Meter()
        with pytest.raises(KeyError), meter.stage("fit"), meter.stage("graph", items=5):
            clocks.turn_and_raise(4)
        with meter.stage("other"):
            clocks.turn(1)
        assert costs(meter) == {"fit": (0, 0), "graph": (4, 0), "other": (1, 0)}
        assert meter.costs()[1].items is None

    def test_open_stages_count_up_to_now(self, clocks: Clocks) -> None:
        meter = Meter()
        with meter.stage("fit"):
            clocks.turn(5)
            assert costs(meter) == {"fit": (5, 0)}
            clocks.turn(5)
        assert costs(meter) == {"fit": (10, 0)}

    @settings(max_examples=60, deadline=None)
    @given(st.recursive(st.just([]), lambda inner: st.lists(st.tuples(st.sampled_from("abc"), inner), max_size=4)))
    def test_nothing_is_lost_or_counted_twice(self, tree: list[tuple[str, list[object]]]) -> None:
        expected: dict[str, float] = {}
        now = 0.0

        with pytest.MonkeyPatch.context() as patch:
            clocks = Clocks(patch)
            meter = Meter()

            def enter(nodes: list[tuple[str, list[object]]]) -> None:
                nonlocal now
                for name, inner in nodes:
                    with meter.stage(name):
                        clocks.turn(1)
                        expected[name] = expected.get(name, 0) + 1
                        enter(inner)  # type: ignore[arg-type]
                        clocks.turn(2)
                        expected[name] += 2

            enter(tree)
            assert {name: wall for name, (wall, _) in costs(meter).items()} == expected

    def test_cpu_time_of_threads_and_ended_children_counts(self) -> None:
        code = "import time; end = time.process_time() + 0.15\nwhile time.process_time() < end: pass"
        meter = Meter()
        with meter.stage("children"):
            subprocess.run([sys.executable, "-c", code], check=True)
        with meter.stage("sleep"):
            time.sleep(0.05)
        children, sleep = meter.costs()
        assert children.cpu_s >= 0.15
        assert sleep.cpu_s < 0.04
        assert sleep.wall_s >= 0.05


class TestMemory:
    def test_peak_within_a_stage_though_freed_at_once(self) -> None:
        meter = Meter()
        with meter.stage("before"):
            pass
        with meter.stage("big"):
            _use(200 * MIB)
        with meter.stage("after"):
            pass
        before, big, after = (cost.peak_rss for cost in meter.costs())
        assert before > 10 * MIB
        assert 180 * MIB < big - before < 260 * MIB
        assert after - before < 60 * MIB

    def test_inner_peak_is_not_the_outer_ones(self) -> None:
        meter = Meter()
        with meter.stage("outer"), meter.stage("inner"):
            _use(200 * MIB)
        outer, inner = (cost.peak_rss for cost in meter.costs())
        assert inner - outer > 150 * MIB

    def test_what_helpers_hold_adds_to_the_peaks_until_told_anew(self) -> None:
        meter = Meter()
        with meter.stage("alone"):
            pass
        with meter.stage("outer"), meter.stage("helped"):
            meter.helpers(10**12)
        with meter.stage("still"):
            meter.helpers(0)
        with meter.stage("after"):
            pass
        peaks = {cost.stage: cost.peak_rss for cost in meter.costs()}
        assert {name for name, peak in peaks.items() if peak > 10**12} == {"outer", "helped", "still"}

    def test_source_is_named(self) -> None:
        expected = "VmHWM" if memory._restart_mark() else "sampled"
        assert Meter().memory_source == expected

    def test_sampling_where_the_kernel_keeps_no_mark(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(memory, "_restart_mark", lambda: False)
        peak = ResidentPeak()
        assert peak.source == "sampled"
        peak.restart()
        before = peak.read()
        data = bytearray(200 * MIB)
        end = time.monotonic() + 300
        while peak.read() - before < 150 * MIB and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        del data
        assert 150 * MIB < peak.read() - before < 260 * MIB
        peak.restart()
        assert peak.read() - before < 60 * MIB

    def test_no_device_memory_without_a_device(self) -> None:
        meter = Meter()
        with meter.stage("fit"):
            pass
        assert meter.costs()[0].peak_device is None


class TestDevice:
    def test_waits_for_the_device_at_both_ends_and_keeps_its_peak(self, monkeypatch: pytest.MonkeyPatch) -> None:
        torch = pytest.importorskip("torch")
        calls: list[str] = []
        peaks = iter([10, 70, 30])
        monkeypatch.setattr(module, "_synchronise", lambda device: calls.append("wait"))
        monkeypatch.setattr(module, "_restart_device_peak", lambda device: calls.append("restart"))
        monkeypatch.setattr(module, "_device_peak", lambda device: next(peaks))
        meter = Meter(torch.device("cuda"))
        with meter.stage("fit"):
            calls.append("work")
            with meter.stage("graph"):
                pass
        assert calls[:4] == ["wait", "restart", "work", "wait"]
        assert [cost.peak_device for cost in meter.costs()] == [30, 70]

    @pytest.mark.cuda
    def test_on_a_real_device(self) -> None:
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        held = torch.cuda.memory_allocated()  # by the libraries, once other tests have used them
        meter = Meter(torch.device("cuda"))
        with meter.stage("fit"):
            torch.empty(100 * MIB, dtype=torch.uint8, device="cuda")
        assert 100 * MIB <= (meter.costs()[0].peak_device or 0) - held < 101 * MIB


class TestForeignCosts:
    def test_costs_of_others_are_added(self, clocks: Clocks) -> None:
        meter = Meter()
        with meter.stage("features", items=3):
            clocks.turn(1, 1)
        other = StageCost(stage="features", wall_s=2, cpu_s=3, peak_rss=10**12, peak_device=5, items=4, reused=True)
        meter.charge(other)
        meter.charge(StageCost(stage="new", wall_s=1, cpu_s=1, peak_rss=7))
        features, new = meter.costs()
        assert (features.wall_s, features.cpu_s, features.items) == (3, 4, 7)
        assert (features.peak_rss, features.peak_device, features.reused) == (10**12, 5, True)
        assert (new.wall_s, new.peak_rss, new.items, new.reused) == (1, 7, None, False)

    def test_reuse_is_marked(self) -> None:
        meter = Meter()
        meter.reused("features")
        assert [(cost.stage, cost.reused, cost.wall_s) for cost in meter.costs()] == [("features", True, 0.0)]

    def test_order_is_that_of_first_entry(self) -> None:
        meter = Meter()
        for name in ("b", "a", "b", "c"):
            with meter.stage(name):
                pass
        assert [cost.stage for cost in meter.costs()] == ["b", "a", "c"]


def test_costs_little() -> None:
    meter = Meter()

    def steps(count: int) -> None:
        for _ in range(count):
            with meter.stage("step"):
                pass

    steps(1)  # what is looked up once
    assert calls(lambda: steps(100)) < 100 * 150


def test_imports_no_torch() -> None:
    code = "import sys; from spectral_bench.bench.measure.meter import Meter; Meter(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _use(size: int) -> None:
    data = bytearray(size)
    data[:: 2**12] = b"x" * len(data[:: 2**12])
