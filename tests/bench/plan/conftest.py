from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from plan_lab import Lab

from spectral_bench.bench.plan.run_ids import ResolvedRow
from spectral_bench.results.store import Store


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
def scratch(lab: Lab) -> Store:
    """Where probes are carried out."""
    from spectral_bench.bench.plan.probe import scratch_store  # loads torch, which other tests do without

    return scratch_store(lab.store.path)


@pytest.fixture
def rows(lab: Lab) -> Callable[..., list[ResolvedRow]]:
    return lab.rows
