from __future__ import annotations

import pytest
from fake_work import MakeOrder
from local_batch import Batch

from spectral_bench.results.store import Store


@pytest.fixture
def batch(store: Store, make_order: MakeOrder) -> Batch:
    return Batch(store, make_order)
