"""The page about grids says what is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from plan_lab import Lab

from spectral_bench.bench.grid.keys import EXPANSION_KEYS, RUN_KEYS
from spectral_bench.bench.grid.load import GRID_KEYS

PAGE = (Path(__file__).parents[3] / "docs" / "grids.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spectral_bench.bench.plan.inputs.weights_digest", lambda name, options: "0" * 16)


def test_the_example_plans(lab: Lab) -> None:
    example, *_ = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    plan = lab.plan(example)
    assert [row.grid_row.factor for row in plan.rows[:8]] == [
        None,
        "k",
        "k",
        "alpha",
        "alpha",
        "backbone",
        "temperature_max, temperature_min",
        "temperature_max, temperature_min",
    ]
    assert len(plan.rows) == 14
    assert all(len(row.specs) == 3 for row in plan.rows)


def test_every_key_is_described() -> None:
    described = set(re.findall(r"`(\w+)`", PAGE)) | set(re.findall(r"^\s*(\w+):", PAGE, re.MULTILINE))
    assert set(RUN_KEYS) | set(GRID_KEYS) | set(EXPANSION_KEYS) <= described


@pytest.mark.parametrize("change", re.findall(r"`--set ([^`]+)`", PAGE))
def test_every_change_of_the_page_is_valid(lab: Lab, change: str) -> None:
    text = "{runs: [{method: neuralef, matrix: {k: [2, 4]}}]}"
    assert lab.plan(text, change).rows
