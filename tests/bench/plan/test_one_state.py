"""The one answer to "how far is this run?" against those that were given before, on random stores."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import old_answers as old
from hypothesis import given, settings
from plan_lab import FixedCode
from random_stores import DrawnRun, drawn_runs, stored

from spectral_bench.bench.cli.retry import RETRIED
from spectral_bench.bench.plan.records import Snapshot
from spectral_bench.bench.plan.states import condition, overview
from spectral_bench.reports.collect import collect
from spectral_bench.results.state import JobState, RunState, StoredRun, in_queue, run_state
from spectral_bench.results.store import Store

COUNTED: dict[str, int] = {}
EXAMPLES = int(os.environ.get("OLD_AGAINST_NEW", "100"))


def job_state(run: DrawnRun) -> JobState | None:
    if run.stand in (None, "settled"):
        return None
    if run.stand == "running":
        return JobState.RUNNING if run.turn == "own" else JobState.PENDING
    return JobState(run.stand)


def trace(run: DrawnRun) -> old.Trace | None:
    return None if run.turn == "nobody" else old.Trace(run.run_id if run.turn == "own" else "another")


def compare_run(run: DrawnRun, store: Store, verify: bool) -> None:
    snapshot = Snapshot(store, verify=verify)
    before = old.condition(run.run_id, run.views, snapshot, FixedCode())
    after = condition(run.run_id, run.views, snapshot, FixedCode())
    told = (after.state.word, after.missing, after.fitted, after.reason, after.changed, after.finished)
    assert told == (before.state, before.missing, before.fitted, before.reason, before.changed, before.finished)
    COUNTED[after.state] = COUNTED.get(after.state, 0) + 1
    old_status = old.store_status(store, run.run_id)
    new_status = store.status(run.run_id)
    assert (old_status, new_status) == ("failed", RunState.CANCELLED) or old_status == new_status


def compare_order(run: DrawnRun, store: Store) -> None:
    order = run.order(store)
    found = StoredRun(
        store.fit_record(run.run_id),
        {view.view_id: store.evaluation_record(run.run_id, view.view_id) for view in run.views},
    )
    state = run_state(found)
    assert old.settled(order, store) == (str(state) if state.finished else None)
    assert old.fit_outstanding(order, store) is not found.fitted
    if found.fitted:
        assert [view.view_id for view in old.views_outstanding(order, store)] == list(found.missing)


@settings(max_examples=EXAMPLES, deadline=None)
@given(runs=drawn_runs())
def test_the_new_answer_is_the_old_one(runs: tuple[DrawnRun, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder, stored(runs, Path(folder)) as store:
        for run in runs:
            compare_run(run, store, verify=False)
            compare_run(run, store, verify=True)
            compare_order(run, store)
        snapshot, told = Snapshot(store), {one.run_id: one.condition for one in overview(store, "drawn", FixedCode())}
        before, after = {}, {}
        for run in runs:
            was = old.Run(run.run_id, old.condition(run.run_id, run.views, snapshot, FixedCode()))
            was = old.with_place(was, None if run.stand is None else old.Place(run.stand), trace(run))
            state = in_queue(told[run.run_id].state, job_state(run))
            assert state.word == was.condition.state
            assert (state is RunState.ORDERED) is old.noted(was, store)
            before[run.run_id], after[run.run_id] = was.condition.state, state
        assert {name for name, state in after.items() if state in RETRIED} == old.retried(before, store)
        for entry in collect(store) if any(run.views for run in runs) else ():
            for result in entry.seeds:
                was_shown = old.shown(store, result.run_id, entry.protocol.view)
                if was_shown is None:
                    assert result.fit is not None
                    assert result.evaluation is not None
                    assert (result.fit.status, result.evaluation.status) == ("done", "done")
                else:
                    assert (result.state, result.reason) == was_shown
    COUNTED["examples"] = COUNTED.get("examples", 0) + 1


def test_the_examples_had_every_state() -> None:
    kinds = {str(state) for state in RunState} - {"pending", "unknown"}  # those are a queue's
    assert kinds <= set(COUNTED), COUNTED
