"""What a store says of its runs, without a grid file."""

from __future__ import annotations

import json

import pytest
from plan_lab import SMALL, FixedCode, Lab, failure, fit_record

from spectral_bench.bench.plan.records import Snapshot
from spectral_bench.bench.plan.states import RunStatus, runs_of_store
from spectral_bench.bench.work.progress import Progress
from spectral_bench.common.errors import StoreError


def states(lab: Lab, grid: str | None = None) -> list[tuple[str, str, int, str]]:
    found = runs_of_store(lab.store, grid, FixedCode())
    return [(run.grid, run.title, run.seed, run.condition.state) for run in found]


def test_rows_of_a_grid_with_their_seeds(lab: Lab) -> None:
    plan = lab.plan()
    lab.store.write_manifest(plan.manifest)
    lab.finish(plan.runs[0].spec, plan.runs[0].views)
    assert states(lab) == [
        ("small", "kmeans, input=last", 0, "done"),
        ("small", "kmeans, input=last", 1, "new"),
        ("small", "kmeans, input=last_l2", 0, "new"),
        ("small", "kmeans, input=last_l2", 1, "new"),
    ]


def test_a_run_without_all_views_of_its_protocols_is_partial(lab: Lab) -> None:
    plan = lab.plan(SMALL, "protocols=[whole, {name: fitted, extends: whole, scoring: {fit_split: train}}]")
    lab.store.write_manifest(plan.manifest)
    run = plan.runs[0]
    lab.finish(run.spec, run.views[:1])
    found = runs_of_store(lab.store, None, FixedCode())[0]
    assert (found.condition.state, len(found.condition.missing)) == ("partial", 1)
    assert found.condition.missing[0].split == "train"


def test_two_grids_may_ask_for_one_run(lab: Lab) -> None:
    plan = lab.plan()
    lab.store.write_manifest(plan.manifest)
    lab.store.write_manifest(lab.plan(SMALL.replace("small", "also")).manifest)
    assert [state[0] for state in states(lab)] == ["also"] * 4 + ["small"] * 4
    assert len(states(lab, "also")) == 4


def test_runs_of_no_grid_come_last(lab: Lab) -> None:
    plan = lab.plan()
    lab.store.write_manifest(lab.plan(SMALL, "seeds=[5]").manifest)
    failed, done = plan.runs[0], plan.runs[1]
    lab.store.write_fit(fit_record(failed.spec, "failed", failure=failure()))
    lab.finish(done.spec, done.views)
    (lab.store.run_folder("kmeans-s9-000000000000")).mkdir(parents=True)
    found = states(lab)
    assert [state[0] for state in found] == ["small", "small", "", "", ""]
    assert sorted(found[2:]) == [
        ("", "kmeans", 0, "done"),
        ("", "kmeans", 0, "failed"),
        ("", "kmeans", 9, "new"),  # by its id: there is neither a record nor an order
    ]
    assert len(states(lab, "small")) == 2


def test_an_unknown_grid_is_refused_with_the_nearest(lab: Lab) -> None:
    lab.store.write_manifest(lab.plan().manifest)
    with pytest.raises(StoreError, match='unknown grid "smal"; did you mean "small"'):
        runs_of_store(lab.store, "smal", FixedCode())


def test_progress_is_shown_while_a_run_is_at_work(lab: Lab) -> None:
    plan = lab.plan()
    lab.store.write_manifest(plan.manifest)
    running, interrupted, done, _ = plan.runs
    for run in (running, interrupted, done):
        folder = lab.store.run_folder(run.run_id)
        folder.mkdir(parents=True)
        (folder / "progress.json").write_text(json.dumps({"stage": "fit", "done": 3, "total": 9, "updated": 0.0}))
    (lab.store.run_folder(interrupted.run_id) / "checkpoint.pt").write_bytes(b"x")
    lab.finish(done.spec, done.views)
    with lab.store.claim(running.run_id):
        found = {run.run_id: run for run in runs_of_store(lab.store, None, FixedCode())}
    assert (found[running.run_id].condition.state, found[running.run_id].progress_text) == ("running", "fit 3/9")
    assert found[interrupted.run_id].condition.state == "interrupted"
    assert found[interrupted.run_id].progress_text == "fit 3/9"
    assert found[done.run_id].progress is None


@pytest.mark.parametrize(
    ("progress", "text"),
    [
        (None, ""),
        (Progress("features", 5, 0, 0.0), "features 5"),
        (Progress("evaluate", 5, 32, 0.0), "evaluate 5/32"),
    ],
)
def test_progress_in_words(lab: Lab, progress: Progress | None, text: str) -> None:
    run = lab.plan().runs[0]
    assert RunStatus("r", "g", "t", 0, run.condition, progress).progress_text == text


def test_an_empty_store_has_no_runs(lab: Lab) -> None:
    assert runs_of_store(lab.store, None, FixedCode()) == []


def test_a_snapshot_of_no_store_knows_nothing() -> None:
    snapshot = Snapshot(None)
    assert (list(snapshot.past), snapshot.known, snapshot.run("r")) == ([], frozenset(), None)
    assert snapshot.state("r", snapshot.stored("r", ["v"])) == "new"
    assert snapshot.stored("r", ["v"]).missing == ("v",)


def test_a_snapshot_is_of_one_moment_and_claims_are_of_now(lab: Lab) -> None:
    run = lab.plan().runs[0]
    lab.finish(run.spec, run.views)
    snapshot = Snapshot(lab.store)
    lab.store.discard(run.run_id)
    assert snapshot.run(run.run_id) is not None
    stored = snapshot.stored(run.run_id, [view.view_id for view in run.views])
    assert snapshot.state(run.run_id, stored) == "done"
    with lab.store.claim(run.run_id):
        assert snapshot.state(run.run_id, stored) == "running"
