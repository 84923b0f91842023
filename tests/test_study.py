"""The capsule of our own study is what its records give; CI computes it again with each change."""

from __future__ import annotations

from pathlib import Path

import pytest

from spectral_bench.reports.replay import replay

STUDY = Path(__file__).parents[1] / "results" / "study"


@pytest.mark.slow
@pytest.mark.skipif(not (STUDY / "capsule.json").exists(), reason="no capsule lies in results/study")
def test_the_study_is_computed_again_to_the_byte() -> None:
    """Where tables are meant to change: ``bench pack results/study --to results/study --force``."""
    found = replay(STUDY)
    assert not found.differences, found.differences[:3]
    assert found.equal, found.problem
