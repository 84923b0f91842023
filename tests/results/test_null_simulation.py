from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "null_simulation.py"


def simulate(repeats: int, seed: int) -> str:
    command = [sys.executable, str(SCRIPT), "--repeats", str(repeats), "--seed", str(seed)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_simulation_repeats_itself_and_finds_the_promised_rates():
    text = simulate(300, 1)
    assert text == simulate(300, 1)
    rates = {line.split("|")[1].strip(): line.split("|")[2:5] for line in text.splitlines()[2:]}
    assert all(1 <= float(rate) <= 9 for rate in rates["paired t test: false positives at the 5 % level"])
    assert all(91 <= float(rate) <= 99 for rate in rates["95 % interval over seeds: coverage"])
    assert all(float(rate) <= 7 for name, found in rates.items() if name.endswith("(as printed)") for rate in found)
    assert all(float(rate) < 1 for rate in rates["bold: the better row of 2 left out (as printed)"])
    assert float(rates["the better row of 2, by own seeds, no sign"][2]) > 0.5  # with unequal seeds
