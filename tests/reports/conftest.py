from __future__ import annotations

from pathlib import Path

import pytest
from report_samples import make_store

from spectral_bench.results.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path)
