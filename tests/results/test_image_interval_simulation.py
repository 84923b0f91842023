"""The script behind a table of docs/measurements.md."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from benchmark_scripts import load_script

from spectral_bench.common.seeds import SeedStreams


def test_the_script_repeats_itself_and_its_shares_add_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = load_script("image_interval_simulation")
    monkeypatch.setattr(script, "POPULATION", 500)
    monkeypatch.setattr(script, "IMAGES", (20,))
    monkeypatch.setattr(script, "RESAMPLES", 30)
    monkeypatch.setattr(sys, "argv", ["script", "--repeats", "4"])
    script.main()
    first = capsys.readouterr().out
    script.main()
    assert first == capsys.readouterr().out
    cells = [line.split("|")[3:6] for line in first.splitlines()[2:]]
    assert len(cells) == len(script.SETTINGS)
    assert all(sum(map(float, shares)) == pytest.approx(100) for shares in cells)


def test_counts_are_those_of_its_world() -> None:
    """Classes as often as they are said to be, each split as it is said to be."""
    script = load_script("image_interval_simulation")
    generator = SeedStreams(3).numpy("test")
    world = script.World.draw(generator, 7)
    counts = world.images(generator, 4000)
    assert counts.shape == (4000, 7, script.CLASSES)
    alphas = 20 * world.sizes + 0.2
    shares = counts.sum((0, 1)) / counts.sum()
    np.testing.assert_allclose(shares, alphas / alphas.sum(), rtol=0.15)
    assert script.contingency(counts[:3]).n_pixels == counts[:3].sum()
