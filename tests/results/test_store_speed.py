from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from store_samples import VIEW, evaluation, fit
from work_counter import calls

from spectral_bench.results.contingency import Contingency
from spectral_bench.results.record import ClassTable, EvaluationRecord, FitRecord, StageCost
from spectral_bench.results.runs import Run
from spectral_bench.results.store import Store


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


@pytest.mark.parametrize("runs", [10, 40])
def test_a_record_costs_few_calls_to_read_and_none_of_its_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: int
) -> None:
    """5000 records are to be read in 2 s: it takes 175 calls a run, however many there are, and 0.3 ms of CPU time.

    Most are pathlib's, which makes 1.5 to 2 times as many under Python 3.12.
    """
    room = 1 if sys.version_info < (3, 12) else 1.7
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    store = Store.open(tmp_path / "store", create=True)
    counts = _contingency()
    for seed in range(runs):
        fitted, evaluated = _records(seed)
        store.write_fit(fitted)
        store.write_evaluation(evaluated, counts)
    Store.open(store.path).load_all()  # what is done once a process, such as imports
    read: list[Run] = []
    assert calls(lambda: read.extend(store.load_all())) < 250 * room * runs
    assert len(read) == runs
    assert all(run.evaluations[VIEW.view_id].default_classes == "3" for run in read)
    states: set[str] = set()
    assert calls(lambda: states.update(store.state(run.run_id) for run in read)) < 130 * room * runs
    assert states == {"done"}
