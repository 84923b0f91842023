"""Copies that clients of shared folders leave in a store."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from store_samples import contingency, evaluation, fit

from spectral_bench.results.store import Store

SYNCED = (" (1)", " (conflicted copy)", ".sync-conflict-20250131-101112-ABCDEFG", "-DESKTOP-1", " - Kopie")


@pytest.mark.parametrize("mark", SYNCED)
def test_copies_of_sync_clients_are_no_runs_and_stop_nothing(tmp_path: Path, mark: str) -> None:
    store = Store.open(tmp_path / "store", create=True)
    store.write_fit(fit(1))
    record = store.write_evaluation(evaluation(1), contingency())
    run_id, folder = record.run_id, store.run_folder(record.run_id)
    shutil.copytree(folder, folder.with_name(f"{run_id}{mark}"))
    (folder / "evaluations" / f"{record.view_id} of another{mark}.json").mkdir()
    for path in (folder / "fit.json", folder / "evaluations" / f"{record.view_id}.json"):
        path.with_name(f"{path.stem}{mark}.json").write_bytes(path.read_bytes())
    (folder / "attempts").mkdir()
    (folder / "attempts" / f"1{mark}.json").write_text("{}")
    (store.records_folder / "Icon\r").write_text("")
    assert store.runs() == [run_id]
    assert store.attempts(run_id) == []
    (run,) = store.load_all(verify=True)
    assert run.evaluations == {record.view_id: record}
    (summary,) = store.summaries()
    assert list(summary.evaluations) == [record.view_id]
    store.discard(run_id)
    assert store.summaries() == []
