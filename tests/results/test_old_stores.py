"""Stores that earlier releases wrote load for ever. The fixtures are never written again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from store_samples import OTHER_VIEW, VIEW, contingency, evaluation

from spectral_bench.results.store import STORE_SCHEMA_VERSION, Store

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture
def first(tmp_path: Path) -> Store:
    """A copy of the store of schema 1."""
    return Store.open(shutil.copytree(FIXTURES / "store_v1", tmp_path / "store"))


def test_every_schema_has_its_fixture() -> None:
    assert {path.name for path in FIXTURES.glob("store_v*")} >= {f"store_v{n + 1}" for n in range(STORE_SCHEMA_VERSION)}


def test_fits(first: Store) -> None:
    runs = {run.fit.spec.seed: run for run in first.load_all(verify=True)}
    assert {seed: run.fit.status for seed, run in runs.items()} == {
        0: "done",
        1: "failed",
        2: "not_converged",
        3: "done",
    }
    assert {seed: first.state(run.run_id) for seed, run in runs.items()} == {
        seed: run.fit.status for seed, run in runs.items()
    }
    assert runs[0].fit.costs[0].wall_s == 1.5
    assert (runs[0].fit.parameters, runs[0].fit.data_digest, runs[0].fit.warnings) == (
        123,
        "abcdef",
        ["one image is black"],
    )
    assert runs[1].fit.failure is not None
    assert runs[1].fit.failure.message == "ValueError: boom"
    assert [check.note for check in runs[2].fit.health] == ["collapsed"]
    assert runs[3].fit.uses_labels
    assert {run.fit.method_check for run in runs.values()} == {None}  # schema 1 does not tell
    assert runs[3].fit.spec.data.transform.crop == 480


def test_evaluations(first: Store) -> None:
    runs = {run.fit.spec.seed: run for run in first.load_all(verify=True)}
    done = runs[0].evaluations[VIEW.view_id]
    same = {"run_id": done.run_id, "contingency_sha256": done.contingency_sha256, "schema_version": 1}
    assert done == evaluation(0, **same)
    (rich,) = [record for record in runs[0].evaluations.values() if record.view.crf is not None]
    assert rich.view.window == 480
    assert runs[2].evaluations[OTHER_VIEW.view_id].failure is not None


def test_contingency(first: Store) -> None:
    (run,) = [run for run in first.load_all() if run.fit.spec.seed == 0]
    assert first.contingency(run.run_id, VIEW.view_id) == contingency()


def test_grids_and_weights(first: Store) -> None:
    (grid,) = first.manifests()
    assert (grid.name, grid.rows[0].method, sorted(grid.rows[0].runs)) == ("example", "kmeans", [0, 1])
    assert first.weights_lock() == {"random": "0123456789ab"}


def test_failed_attempts(first: Store) -> None:
    attempts = {run.fit.spec.seed: first.attempts(run.run_id) for run in first.load_all()}
    assert attempts == {0: [], 1: ["1"], 2: ["1", f"{OTHER_VIEW.view_id}-1"], 3: []}


def test_identities_are_what_they_were(first: Store) -> None:
    """A change of the specification's defaults or canonical form would orphan every stored run."""
    for run in first.load_all():
        assert run.fit.spec.run_id == run.run_id
        for view_id, record in run.evaluations.items():
            assert record.view.view_id == view_id


def test_can_be_written_to(first: Store) -> None:
    (failed,) = [run for run in first.load_all() if run.fit.status == "failed"]
    first.write_fit(failed.fit.model_copy(update={"status": "done", "failure": None}))
    assert first.state(failed.run_id) == "done"


def test_records_of_schema_2_tell_no_shares(tmp_path: Path) -> None:
    """Those of before runs were carried out side by side: see ``results.record.SCHEMA_VERSION``."""
    store = Store.open(shutil.copytree(FIXTURES / "records_v2", tmp_path / "store"))
    runs = store.load_all(verify=True)
    assert {run.fit.schema_version for run in runs} == {2}
    assert {run.fit.spec.seed: run.fit.status for run in runs} == {
        0: "done",
        1: "failed",
        2: "not_converged",
        3: "done",
    }
    costs = [cost for run in runs for record in (run.fit, *run.evaluations.values()) for cost in record.costs]
    assert costs
    assert {(cost.share_wall_s, cost.share_cpu_s) for cost in costs} == {(None, None)}
