from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from store_samples import VIEW, evaluation, fit

from spectral_bench.results.contingency import Contingency
from spectral_bench.results.record import ClassTable, EvaluationRecord, FitRecord, StageCost
from spectral_bench.results.store import Store

RUNS = 1000


def _contingency() -> Contingency:
    """A hundred images at K = 64: about 50 kB on disk."""
    random = np.random.default_rng(0)
    code = np.sort(random.choice(100 * 64 * 12, 20_000, replace=False))
    rest, label = np.divmod(code, 12)
    image, cluster = np.divmod(rest, 64)
    ids = tuple(f"image{number:05d}" for number in range(100))
    count = random.integers(1, 5000, len(code))
    return Contingency(ids, 64, 12, *(part.astype(np.int32) for part in (image, cluster, label)), count)


def _records(seed: int) -> tuple[FitRecord, EvaluationRecord]:
    """Records of the size that real runs leave: 4 and 9 kB."""
    costs = [
        StageCost(stage=f"stage{number}", wall_s=1.25, cpu_s=2.5, peak_rss=10**9, items=367) for number in range(6)
    ]
    common = {
        "costs": costs,
        "environment": {"packages": {f"package{number}": "1.2.3" for number in range(25)}, "host": "somewhere"},
        "code": {f"methods.module_{number}": "0123456789abcdef" for number in range(45)},
    }
    names = [f"class {number}" for number in range(59)]
    palette = [[number] * 3 for number in range(59)]
    classes = ClassTable(classes=names, raw_ids=[[number] for number in range(59)], palette=palette)
    return fit(seed, **common), evaluation(seed, class_sets={"59": classes}, **common)


@pytest.mark.slow
def test_thousands_of_records_in_no_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """5000 records are to be read in 2 s: 0.3 s of CPU for 1000 here, with allowance for a slow machine."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    store = Store.open(tmp_path / "store", create=True)
    counts = _contingency()
    for seed in range(RUNS):
        fitted, evaluated = _records(seed)
        store.write_fit(fitted)
        store.write_evaluation(evaluated, counts)
    start = time.process_time()
    runs = store.load_all()
    took = time.process_time() - start
    assert len(runs) == RUNS
    assert all(run.evaluations[VIEW.view_id].default_classes == "3" for run in runs)
    assert took < 1.5
    start = time.process_time()
    assert {store.state(run.run_id) for run in runs} == {"done"}
    assert time.process_time() - start < 0.5
