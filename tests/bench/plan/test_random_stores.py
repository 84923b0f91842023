"""On random stores, whoever asks how far a run is gets the same answer, and it follows from what was put there."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from plan_lab import FixedCode
from random_stores import DrawnRun, drawn_runs, stored

from spectral_bench.bench.cli.retry import RETRIED
from spectral_bench.bench.plan.records import Snapshot
from spectral_bench.bench.plan.states import condition, runs_of_store
from spectral_bench.reports.collect import collect
from spectral_bench.reports.table import CellState
from spectral_bench.results.state import RunState, StoredRun, run_state
from spectral_bench.results.store import Store

GOOD = ("done", "not_converged")


def expected(run: DrawnRun) -> RunState:
    """The rules, on what was drawn."""
    wanted = run.evaluations[: run.wanted]
    if run.claimed:
        return RunState.RUNNING
    if run.fit in ("nothing", "torn"):
        return RunState.INTERRUPTED if run.checkpoint else RunState.ORDERED if run.ordered else RunState.NEW
    failures = [run.fit] if run.fit not in GOOD else [kept for kept in wanted if kept in ("failed", "cancelled")]
    if failures:
        return RunState(failures[0])
    if any(kept in ("nothing", "torn") for kept in wanted):
        return RunState.PARTIAL
    if "not_converged" in (run.fit, *wanted):
        return RunState.NOT_CONVERGED
    return RunState.STALE if any(run.edited[: 1 + run.wanted]) else RunState.DONE


def of_order(run: DrawnRun, store: Store) -> RunState:
    """By the records in full, as an executor reads them for an order."""
    found = {view.view_id: store.evaluation_record(run.run_id, view.view_id) for view in run.views}
    return run_state(StoredRun(store.fit_record(run.run_id), found))


def check_reports(run: DrawnRun, store: Store) -> None:
    """A table has a number, or says why not, only by what is recorded."""
    results = {entry.protocol.name: entry.seeds[0] for entry in collect(store) if entry.seeds[0].run_id == run.run_id}
    for view, kept in zip(run.views, run.evaluations, strict=False):
        shown = results[view.split].state
        if run.fit == "not_converged" or (run.fit == "done" and kept == "not_converged"):
            assert shown is CellState.NOT_CONVERGED
        elif run.fit in ("failed", "cancelled") or (run.fit == "done" and kept in ("failed", "cancelled")):
            assert shown is CellState.FAILED
        elif run.fit == "done" == kept:
            assert shown in (CellState.DONE, CellState.NOT_APPLICABLE)
        else:
            assert shown is (CellState.RUNNING if run.claimed else CellState.MISSING)


@settings(max_examples=60)
@given(runs=drawn_runs())
def test_every_reader_gives_the_same_answer(runs: tuple[DrawnRun, ...]) -> None:
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(os, "fsync", lambda handle: None)
        with stored(runs, Path(folder)) as store:
            told = {one.run_id: one.condition for one in runs_of_store(store, "drawn", FixedCode())}
            for run in runs:
                state = expected(run)
                for verify in (False, True):
                    snapshot = Snapshot(store, verify=verify)
                    found = condition(run.run_id, run.views, snapshot, FixedCode())
                    assert found == told[run.run_id]
                    assert found.state is state
                    assert found.finished is state.finished
                unfinished = [kept for kept in run.evaluations[: run.wanted] if kept not in GOOD]
                assert len(found.missing) == (len(unfinished) if run.fit in GOOD else run.wanted)
                assert of_order(run, store).finished is expected(replace(run, claimed=False)).finished
                fit_alone = replace(run, wanted=0, ordered=False, edited=(False,) * 4)
                assert store.state(run.run_id) is expected(fit_alone)
                check_reports(run, store)


def test_retry_takes_up_what_did_not_end_well_and_what_was_never_begun() -> None:
    left = {RunState.NEW, RunState.PENDING, RunState.RUNNING, RunState.DONE, RunState.STALE, RunState.NOT_CONVERGED}
    assert set(RETRIED) == set(RunState) - left
