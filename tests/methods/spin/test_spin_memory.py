"""What a fit of SpIN says that it takes: counted in full, refused before work, and what is measured."""

import logging
import re
import subprocess
import sys
from typing import Any

import pytest

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.spin import memory
from spectral_bench.methods.testing import MemorySource, Recorder, fit, scenes

SMALL: dict[str, Any] = {"k": 4, "functions": 3, "neighbours": 12, "steps": 2, "batch_size": 4, "width": 8}
COUNT = 18 * 8 + 8 + 8 * 8 + 8 + 8 * 3 + 3  # parameters of the network
FUNCTIONS = 40 * 80 * 3 + 128 * 9  # of 80 patches of a batch
NEEDED = 16 * COUNT + FUNCTIONS + memory.KEPT
AVERAGED = NEEDED + 6 * COUNT * 4 + 4 * 6 * (2 * COUNT + 80 * (3 + 2 * 8))


@pytest.fixture
def source() -> MemorySource:
    return scenes(8, (4, 5))[0]


def allow(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: free)


def told(text: str) -> float:
    """The bytes that the last fit said it takes."""
    found = re.findall(r"in all ([\d,.]+) MB", text)
    return float(found[-1].replace(",", "")) * 1e6


def test_more_memory_than_there_is_is_refused_before_work(
    source: MemorySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(monkeypatch, 10**8)
    recorder = Recorder()
    with pytest.raises(ConfigError, match=r"functions = 99, .* takes 99 \(99 \+ 1\) / 2 pairs .* MB are free on"):
        fit("spin", {**SMALL, "functions": 99, "width": 256, "decay": 0.9}, source, recorder=recorder)
    assert recorder == Recorder()


def test_a_network_larger_than_memory_is_refused_without_averages_too(source: MemorySource) -> None:
    with pytest.raises(ConfigError, match=r"width = 3000000, .* the network and its optimiser take [\d,.]+ MB, its"):
        fit("spin", {**SMALL, "width": 3_000_000}, source)


@pytest.mark.parametrize(("decay", "needed"), [(0.0, NEEDED), (0.9, AVERAGED)])
def test_the_limit_is_all_that_is_held_at_once(
    source: MemorySource, monkeypatch: pytest.MonkeyPatch, decay: float, needed: int
) -> None:
    allow(monkeypatch, needed - 1)
    with pytest.raises(ConfigError, match=r"lower one of them" + (r", or set decay: 0" if decay else "$")):
        fit("spin", {**SMALL, "decay": decay}, source)
    allow(monkeypatch, needed)
    fit("spin", {**SMALL, "decay": decay}, source)


def test_the_log_names_the_parts_and_a_jacobian_only_where_there_is_one(
    source: MemorySource, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        fit("spin", SMALL, source)
        assert "Jacobian" not in caplog.text
        fit("spin", {**SMALL, "decay": 0.9}, source)
    assert f"3 (3 + 1) / 2 pairs of functions x {COUNT} parameters x 4 bytes" in caplog.text


def test_functions_of_many_patches_and_their_algebra_are_counted() -> None:
    assert memory.function_bytes(1000, 1600, 1600) == 40 * 1600 * 1000 + 128 * 1000**2
    assert memory.function_bytes(16, 1600, 300_000) == 20 * 300_000 * 16


MEASURE = """
import logging
import sys
from spectral_bench.bench.measure.meter import ResidentPeak
from spectral_bench.methods.testing import fit, scenes

class Forgetful:  # a checkpoint in memory would be measured too
    def due(self): return False
    def save(self, state): pass
    def load(self): return None

peak = ResidentPeak()
if peak.source == "VmHWM":
    params, source = eval(sys.argv[1]), scenes(8, (4, 5))[0]
    fit("spin", {**params, "width": 16}, source)  # what the first fit of a process allocates for good
    peak.restart()
    before = peak.read()
    logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
    fit("spin", params, source, checkpoint=Forgetful())
    print("measured", peak.read() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("functions", "width"), [(8, 1200), (16, 600)])
def test_what_is_told_is_no_less_than_what_is_measured_and_not_much_more(functions: int, width: int) -> None:
    """36 pairs are three backward passes, and 136 are nine: what one held must be gone in the next.

    In a process of its own: one that has run many tests holds freed memory, and what fits into that is not measured.
    """
    params = {**SMALL, "functions": functions, "width": width, "decay": 0.9}
    done = subprocess.run([sys.executable, "-c", MEASURE, repr(params)], capture_output=True, text=True, check=True)
    if "measured" not in done.stdout:
        pytest.skip("the system keeps no high-water mark that a process may reset")
    measured = int(done.stdout.split()[-1])
    assert measured <= told(done.stdout) <= 1.5 * measured
