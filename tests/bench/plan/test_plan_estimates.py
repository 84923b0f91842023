from __future__ import annotations

from dataclasses import replace

import pytest
from plan_lab import Lab, cost, evaluation_record, fit_record

from spectral_bench.bench.plan.build import with_estimates
from spectral_bench.bench.plan.estimate import History
from spectral_bench.bench.plan.states import Condition, PlannedRun
from spectral_bench.results.record import StageCost
from spectral_bench.results.specification import FitSpec
from spectral_bench.results.store import Run


def past(spec: FitSpec, *costs: StageCost, status: str = "done", **evaluations: float) -> Run:
    records = {view: evaluation_record_of(spec, view, seconds) for view, seconds in evaluations.items()}
    return Run(fit_record(spec, status, costs=list(costs)), records)


def evaluation_record_of(spec: FitSpec, view: str, seconds: float) -> object:
    from spectral_bench.results.specification import View

    record = evaluation_record(spec, View(dataset="synthetic", split="val"), costs=[cost("evaluate", seconds)])
    return record.model_copy(update={"view_id": view})


@pytest.fixture
def run(lab: Lab) -> PlannedRun:
    return lab.plan("{runs: [{method: kmeans, params: {k: 8}}]}").runs[0]


def seconds(run: PlannedRun, *history: Run) -> float | None:
    stages = History(history).estimate(run)
    return None if stages is None else sum(stages.values())


def test_the_past_of_the_same_configuration_counts_by_stage(run: PlannedRun) -> None:
    view = run.views[0].view_id
    history = [past(run.spec, cost("fit", t), cost("features", 10 * t), **{view: 1.0}) for t in (1.0, 2.0, 9.0)]
    assert History(history).estimate(run) == {"fit": 2.0, "features": 20.0, "evaluate": 1.0}


def test_other_parameters_of_the_same_method_count_where_there_is_nothing_closer(run: PlannedRun) -> None:
    view = run.views[0].view_id
    other = run.spec.model_copy(update={"params": {**run.spec.params, "k": 99}})
    assert seconds(run, past(other, cost("fit", 7.0), **{view: 1.0})) == 8.0
    same = past(run.spec.model_copy(update={"seed": 9}), cost("fit", 3.0), **{view: 1.0})
    assert seconds(run, past(other, cost("fit", 7.0)), same) == 4.0


def test_another_method_backbone_or_subset_says_nothing(run: PlannedRun) -> None:
    view = run.views[0].view_id
    others = [
        run.spec.model_copy(update={"method": "neuralef"}),
        run.spec.model_copy(update={"data": run.spec.data.model_copy(update={"subset": 3})}),
        run.spec.model_copy(update={"backbone": run.spec.backbone.model_copy(update={"name": "vit"})}),
    ]
    for other in others:
        assert seconds(run, past(other, cost("fit", 7.0), **{view: 1.0})) is None


def test_failures_and_what_others_had_paid_for_do_not_count(run: PlannedRun) -> None:
    view = run.views[0].view_id
    assert seconds(run, past(run.spec, cost("fit", 7.0), status="failed")) is None
    history = past(run.spec, cost("features", 50.0, reused=True), cost("fit", 7.0), **{view: 1.0})
    assert seconds(run, history) == 8.0


def test_a_fitted_run_needs_its_missing_evaluations_only(run: PlannedRun) -> None:
    view = run.views[0].view_id
    fitted = replace(run, condition=Condition("partial", run.views, fitted=True))
    assert seconds(fitted, past(run.spec, cost("fit", 7.0), **{view: 1.5})) == 1.5
    assert seconds(fitted, past(run.spec, cost("fit", 7.0))) is None


def test_shared_features_are_counted_once(lab: Lab) -> None:
    runs = lab.plan("{defaults: {seeds: [0, 1, 2]}, runs: [{method: kmeans}]}").runs
    view = runs[0].views[0].view_id
    history = History([past(runs[0].spec, cost("features", 60.0), cost("fit", 5.0), **{view: 1.0})])
    assert [run.seconds for run in with_estimates(runs, history)] == [66.0, 6.0, 6.0]


def test_online_features_are_counted_for_each_run(lab: Lab) -> None:
    text = "{defaults: {seeds: [0, 1], features: {mode: online}}, runs: [{method: kmeans}]}"
    runs = lab.plan(text).runs
    view = runs[0].views[0].view_id
    history = History([past(runs[0].spec, cost("features", 60.0), cost("fit", 5.0), **{view: 1.0})])
    assert [run.seconds for run in with_estimates(runs, history)] == [66.0, 66.0]


def test_a_finished_run_needs_no_time(lab: Lab) -> None:
    run = lab.plan().runs[0]
    lab.finish(run.spec, run.views, costs=[cost("fit", 4.0)])
    for view in run.views:
        lab.evaluate(run.spec, view, costs=[cost("evaluate", 2.0)])
    planned = lab.plan().runs
    assert planned[0].seconds == 0
    assert [other.seconds for other in planned[1:]] == [6.0, 6.0, 6.0]


def test_without_any_past_there_is_no_estimate(lab: Lab) -> None:
    assert {run.seconds for run in lab.plan().runs} == {None}
