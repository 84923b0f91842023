"""Records in short say the same as the records themselves."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
from store_samples import OTHER_VIEW, VIEW, contingency, evaluation, fit, spec

from spectral_bench.common.errors import StoreError
from spectral_bench.results.record import HealthCheck
from spectral_bench.results.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store", create=True)


def test_a_summary_agrees_with_its_records(store: Store):
    checks = [HealthCheck(name="collapse", value=1.0, limit=2.0, passed=False, note="collapsed")]
    store.write_fit(fit(0, uses_labels=True))
    store.write_fit(fit(1, "failed"))
    store.write_fit(fit(2, "not_converged", health=checks))
    store.write_evaluation(evaluation(0, code={"bench.run": "abc"}), contingency())
    store.write_evaluation(evaluation(0, "failed", view=OTHER_VIEW))
    runs, summaries = store.load_all(), store.summaries()
    assert [one.run_id for one in summaries] == [run.run_id for run in runs]
    for run, short in zip(runs, summaries, strict=True):
        names = ("status", "failure", "health", "code", "method", "dataset", "seed", "uses_labels", "family")
        for name in (*names, "configuration_id"):
            assert getattr(short.fit, name) == getattr(run.fit, name), name
        assert [(cost.stage, cost.wall_s, cost.reused) for cost in short.fit.costs] == [
            (cost.stage, cost.wall_s, cost.reused) for cost in run.fit.costs
        ]
        assert list(short.evaluations) == list(run.evaluations)
        for view_id, record in run.evaluations.items():
            for name in ("status", "failure", "health", "code", "dataset"):
                assert getattr(short.evaluations[view_id], name) == getattr(record, name), name


def test_an_evaluation_without_its_contingency_counts_as_absent(store: Store, caplog: pytest.LogCaptureFixture):
    store.write_fit(fit())
    store.write_evaluation(evaluation(), contingency())
    (store.run_folder(spec().run_id) / "evaluations" / f"{VIEW.view_id}.npz").unlink()
    with caplog.at_level(logging.WARNING):
        (found,) = store.summaries()
    assert found.evaluations == {}
    assert "the contingency beside it is missing" in caplog.text


def test_a_torn_record_counts_as_absent(store: Store, caplog: pytest.LogCaptureFixture):
    store.write_fit(fit())
    store.write_fit(fit(1))
    path = store.run_folder(spec().run_id) / "fit.json"
    path.write_text(path.read_text()[:200])
    with caplog.at_level(logging.WARNING):
        assert [one.run_id for one in store.summaries()] == [spec(1).run_id]
    assert "taken as absent" in caplog.text


def test_a_record_of_a_newer_release_is_refused(store: Store):
    store.write_fit(fit())
    path = store.run_folder(spec().run_id) / "fit.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99, "unknown": 1}))
    with pytest.raises(StoreError, match="schema 99"):
        store.summaries()


def test_old_stores_have_summaries(tmp_path: Path):
    old = Store.open(shutil.copytree(Path(__file__).parent / "fixtures" / "store_v1", tmp_path / "old"))
    runs, summaries = old.load_all(), old.summaries()
    assert [one.run_id for one in summaries] == [run.run_id for run in runs]
    assert [one.fit.configuration_id for one in summaries] == [run.fit.configuration_id for run in runs]
