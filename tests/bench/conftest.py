"""A store and orders for tests of the harness; also puts this folder on the path, where ``fake_work`` lies."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_work import VIEWS, MakeOrder, spec_of

from spectral_bench.bench.work.order import Execution, Order
from spectral_bench.results.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store", create=True)


@pytest.fixture
def make_order(store: Store) -> MakeOrder:
    """Writes an order for a fake run with two views; keywords are the fake method's parameters."""

    def make(seed: int = 0, *, features_only: bool = False, threads: int = 0, **behaviour: Any) -> Path:
        spec = spec_of(seed, **behaviour)
        execution = Execution(threads=threads, executor="test")
        order = Order(spec=spec, views=VIEWS, store=store.path, execution=execution, features_only=features_only)
        path = store.path.parent / "orders" / f"{'features' if features_only else spec.run_id}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(order.model_dump_json())
        return path

    return make


@pytest.fixture
def crf_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes of a CRF come from a server that has loaded torch, where nothing is asked of how they start."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["spectral_bench.bench.evaluation.crf"])
    namespace = SimpleNamespace(get_context=lambda method: context, active_children=multiprocessing.active_children)
    monkeypatch.setattr("spectral_bench.bench.evaluation.crf.multiprocessing", namespace)


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the disk where a test is not about crashes of the machine."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
