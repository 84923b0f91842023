"""Orders, jobs, failures and exit codes of a launch."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from cli_lab import FakeExecutor
from plan_lab import SMALL, FixedCode, Lab, failure, fit_record
from rich.console import Console
from rich.progress import Progress

from spectral_bench.bench.cli import launch as module
from spectral_bench.bench.cli.endings import Launch, failure_of_run, print_failures
from spectral_bench.bench.cli.launch import (
    BarWatcher,
    LeftColumn,
    LineWatcher,
    TimeLeft,
    launch,
    print_tables,
    write_job,
)
from spectral_bench.bench.executors.jobs import Event, Exit
from spectral_bench.bench.plan.build import make_plan, with_stale_anew
from spectral_bench.bench.plan.states import plan_orders
from spectral_bench.bench.work.order import Execution
from spectral_bench.bench.work.progress import ProgressFile
from spectral_bench.common.errors import StoreError
from spectral_bench.results.record import Failure


@pytest.mark.parametrize(
    ("exits", "kinds", "code", "unfinished"),
    [
        ({"a": "done", "b": "not_converged"}, {}, 0, 0),
        ({}, {}, 0, 0),
        ({"a": "done", "b": "failed"}, {"b": "exception"}, 1, 0),
        ({"a": "killed"}, {"a": "out_of_memory"}, 1, 0),
        ({"a": "failed", "b": "dependency"}, {"a": "data", "b": "dependency"}, 2, 0),
        ({"a": "failed"}, {"a": "store"}, 2, 0),
        ({"a": "interrupted", "b": "pending", "c": "done"}, {}, 1, 2),
        ({"a": "elsewhere"}, {}, 1, 1),
    ],
)
def test_exit_codes(exits: dict[str, Exit], kinds: dict[str, str], code: int, unfinished: int) -> None:
    ended = Launch(exits, {run: Failure(kind=kind, message="m") for run, kind in kinds.items()})
    assert (ended.exit_code, ended.unfinished) == (code, unfinished)


def test_the_same_order_has_one_file_and_another_order_another(lab: Lab) -> None:
    plan = lab.plan()
    order = plan_orders(plan, Execution(), [])[0]
    first, second = write_job(order, lab.store), write_job(order, lab.store)
    other = write_job(plan_orders(plan, Execution(threads=7), [])[0], lab.store)
    assert first == second
    assert other.order_path != first.order_path
    assert first.order_path.parent == lab.store.run_folder(plan.runs[0].run_id)
    assert json.loads(first.order_path.read_text())["execution"]["threads"] == 0
    assert (first.run_id, first.requires) == (plan.runs[0].run_id, frozenset())


def test_a_job_waits_for_the_fit_that_it_starts_from(lab: Lab) -> None:
    orders = plan_orders(lab.plan("{runs: [{method: neuralef_kmeans}]}"), Execution(), [])
    base, dependent = (write_job(order, lab.store) for order in orders)
    assert dependent.requires == {base.run_id}


def test_the_failure_of_a_run_is_its_fits_or_an_evaluations(lab: Lab) -> None:
    one, two, three, _ = lab.plan().runs
    lab.store.write_fit(fit_record(one.spec, "failed", failure=failure("exception", "fit")))
    lab.finish(two.spec, ())
    lab.evaluate(two.spec, two.views[0], status="failed", failure=failure("data", "look"))
    found = [failure_of_run(lab.store, run.run_id, run.views) for run in (one, two, three)]
    assert [one.message if one else None for one in found] == ["fit", "look", None]


def test_failures_are_told_once_each(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    runs = lab.plan().runs
    failures = {
        runs[0].run_id: Failure(kind="data", message="x.png: corrupt\nat byte 3"),
        runs[1].run_id: Failure(kind="data", message="x.png: corrupt\nat byte 3"),
        runs[2].run_id: Failure(kind="exception", message="ValueError: no"),
    }
    log = lab.store.run_folder(runs[2].run_id) / "log.txt"
    log.parent.mkdir(parents=True)
    log.touch()
    print_failures(lab.store, {run.run_id: f"{run.title}, seed {run.spec.seed}" for run in runs}, failures)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "error: x.png: corrupt"
    third = f"failed: {runs[2].title}, seed {runs[2].spec.seed}: exception: ValueError: no (log: {log})"
    assert lines[1] == third
    assert lines[2] == f"failed: {runs[3].title}, seed {runs[3].spec.seed}: failed: no reason recorded"
    assert len(lines) == 3


def test_a_launch_settles_weights_and_manifest_before_any_run(lab: Lab) -> None:
    plan = lab.plan()
    executor = FakeExecutor(lab.store, {"kmeans": "pending"})
    ended = launch(plan, lab.store, executor, Execution(), [])
    assert ended.unfinished == 4
    assert lab.store.weights_lock() == {"efficientnet_lite0": plan.runs[0].spec.backbone.weights}
    assert [row.title for row in lab.store.manifests()[0].rows] == ["kmeans, input=last", "kmeans, input=last_l2"]


def test_random_weights_settle_nothing(lab: Lab) -> None:
    plan = lab.plan(SMALL, "backbone_options={weights: random}")
    assert launch(plan, lab.store, FakeExecutor(lab.store), Execution(), []).exit_code == 0
    assert lab.store.weights_lock() == {}


def test_weights_of_a_users_own_backbone_may_differ_by_its_options(lab: Lab) -> None:
    """Those of an entry point, as those of a file: such as by a seed, which the name does not tell."""
    plan = lab.plan()
    runs = []
    for number, run in enumerate(plan.runs):
        backbone = run.spec.backbone.model_copy(update={"name": "lab", "weights": f"seed-{number}"})
        runs.append(replace(run, spec=run.spec.model_copy(update={"backbone": backbone})))
    launch(replace(plan, runs=tuple(runs)), lab.store, FakeExecutor(lab.store), Execution(), [])
    assert lab.store.weights_lock() == {}


def test_other_weights_stop_a_launch_before_it_writes(lab: Lab) -> None:
    lab.store.lock_weights("efficientnet_lite0", "ffff")
    with pytest.raises(StoreError, match="use another store for other weights"):
        launch(lab.plan(), lab.store, FakeExecutor(lab.store), Execution(), [])
    assert lab.store.runs() == []
    assert lab.store.manifests() == []


def test_stale_runs_are_done_anew_from_the_start(lab: Lab) -> None:
    first = lab.plan().runs[0]
    lab.finish(first.spec, first.views, code={"gone": "1"})
    plan = with_stale_anew(lab.plan())
    assert plan.runs[0] in plan.unfinished
    assert plan.runs[0].condition.missing == first.views
    assert len(plan.caches) == 2
    executor = FakeExecutor(lab.store)
    assert launch(plan, lab.store, executor, Execution(), []).exit_code == 0
    assert first.run_id in executor.carried_out
    record = lab.store.fit_record(first.run_id)
    assert record is not None
    assert record.code == {}


def test_a_stale_run_that_another_launcher_works_on_is_not_discarded(lab: Lab) -> None:
    first = lab.plan().runs[0]
    lab.finish(first.spec, first.views, code={"gone": "1"}, warnings=["kept"])
    plan = with_stale_anew(lab.plan())
    with lab.store.claim(first.run_id):
        assert launch(plan, lab.store, FakeExecutor(lab.store), Execution(), []).exit_code == 0
    record = lab.store.fit_record(first.run_id)
    assert record is not None
    assert record.warnings == ["kept"]


def test_tables_that_cannot_be_made_are_a_warning(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    print_tables(lab.store, "nothing")
    captured = capsys.readouterr()
    assert captured.err.startswith("warning: ")
    assert captured.out == ""


def test_a_plan_can_be_made_without_a_store_and_carried_out_with_one(lab: Lab) -> None:
    from spectral_bench.bench.grid.load import load_grid

    plan = make_plan(load_grid(lab.write(SMALL)), None, lab.out, FixedCode())
    executor = FakeExecutor(lab.store)
    launch(plan, lab.store, executor, Execution(), [])
    assert executor.carried_out == [run.run_id for run in plan.runs]


def test_the_time_left_of_all_is_what_runs_take_less_what_they_have_had(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    left = TimeLeft({"a": 60.0, "b": 40.0, "c": 20.0})
    assert left.seconds() == 120
    left.begin("a")
    left.begin("b")
    now = 50.0
    assert left.seconds() == (10 + 0 + 20) / 2  # two at a time; b is over its time
    left.end("a")
    left.end("b")
    assert left.seconds() == 10
    unknown = TimeLeft({"a": 60.0, "b": None})
    assert unknown.seconds() is None
    unknown.end("b")
    assert unknown.seconds() == 60


def test_bars_and_lines_tell_the_time_left(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    run_id = lab.plan().runs[0].run_id
    out = io.StringIO()
    with Progress("{task.description}", LeftColumn(), console=Console(file=out, width=80)) as progress:
        watchers = [
            BarWatcher(lab.store, {run_id: "one"}, progress, {run_id: 400.0}),
            LineWatcher(lab.store, {run_id: "one"}),
        ]
        told = ProgressFile(lab.store.run_folder(run_id) / "progress.json", every=0)
        for watch in watchers:
            watch(Event("started", run_id))
        told.update("fit", 0, 100)
        now += 40
        told.update("fit", 20, 100)
        for watch in watchers:
            watch(Event("tick"))
    bars = out.getvalue()
    assert "all runs 6 min left" in bars
    assert "one: fit 3 min left" in bars
    started, looked = capsys.readouterr().out.splitlines()
    assert started.endswith(" UTC one: started")
    assert looked.endswith(" UTC one: fit 20 of 100, 3 min left")
