from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings
from report_samples import make_store

from spectral_bench.results.store import Store

settings.register_profile("no-deadline", deadline=None)  # a busy machine is no failure
settings.load_profile("no-deadline")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path)
