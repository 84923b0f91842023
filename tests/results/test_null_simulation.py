from __future__ import annotations

import sys

import pytest
from benchmark_scripts import load_script


def simulate(repeats: int, seed: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    monkeypatch.setattr(sys, "argv", ["null_simulation.py", "--repeats", str(repeats), "--seed", str(seed)])
    load_script("null_simulation").main()
    return capsys.readouterr().out


def test_the_simulation_repeats_itself(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert simulate(20, 1, monkeypatch, capsys) == simulate(20, 1, monkeypatch, capsys)


@pytest.mark.slow
def test_the_simulation_finds_the_promised_rates(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    text = simulate(300, 1, monkeypatch, capsys)
    rates = {line.split("|")[1].strip(): line.split("|")[2:5] for line in text.splitlines()[2:]}
    assert all(1 <= float(rate) <= 9 for rate in rates["paired t test: false positives at the 5 % level"])
    assert all(91 <= float(rate) <= 99 for rate in rates["95 % interval over seeds: coverage"])
    assert all(float(rate) <= 7 for name, found in rates.items() if name.endswith("(as printed)") for rate in found)
    assert all(float(rate) < 1 for rate in rates["bold: the better row of 2 left out (as printed)"])
    assert float(rates["the better row of 2, by own seeds, no sign"][2]) > 0.5  # with unequal seeds
