"""A workbench with a fake Slurm for each test."""

from __future__ import annotations

import pytest
from slurm_workbench import SlurmLab

from spectral_bench.results.store import Store


@pytest.fixture
def slurm_lab(store: Store, no_fsync: None) -> SlurmLab:
    return SlurmLab(store)
