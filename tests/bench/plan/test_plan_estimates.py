"""What a plan says of time and memory, from records on disk."""

from __future__ import annotations

import json
from typing import Any

import pytest
from plan_lab import SMALL, Lab

from spectral_bench.bench.plan.estimate import wanted_caches
from spectral_bench.bench.plan.states import PlannedRun
from spectral_bench.results.record import StageCost

TRAINED = "{defaults: {subset: 8, eval_subset: 4}, runs: [{method: neuralef, params: {k: 8, batch_size: 4, %s}}]}"
MACHINE = {"execution": {"device": "cpu", "threads": 1}, "environment": {"cpu": "lab"}}
GPU = {"execution": {"device": "cuda:0"}, "environment": {"gpus": [{"name": "H9"}]}}


def cost(stage: str, seconds: float, items: int | None = None, rss: int = 10**9, **more: Any) -> StageCost:
    return StageCost(stage=stage, wall_s=seconds, cpu_s=seconds, peak_rss=rss, items=items, **more)


def put(lab: Lab, run: PlannedRun, *costs: StageCost, evaluation: tuple[StageCost, ...] = (), **more: Any) -> None:
    """Store a run with these costs."""
    lab.finish(run.spec, (), costs=list(costs), **{**MACHINE, **more})
    for view in run.views if evaluation else ():
        lab.evaluate(run.spec, view, costs=list(evaluation), **{**MACHINE, **more})


def with_features(lab: Lab, text: str, *changes: str) -> list[PlannedRun]:
    """The unfinished runs of a grid once all features that it needs are cached."""
    for run in lab.plan(text, *changes).unfinished:
        for wanted in wanted_caches(run.spec, fitted=False, missing=run.views):
            folder = lab.out / "features" / wanted.key
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "meta.json").write_text("{}")
    return list(lab.plan(text, *changes).unfinished)


EVALUATED = (cost("predict", 2.0), cost("evaluate", 6.0, 4), cost("health", 1.0))


def test_a_training_of_a_hundred_times_the_steps_takes_a_hundred_times_the_time(lab: Lab) -> None:
    short, long = (lab.plan(TRAINED % f"steps: {steps}").runs[0] for steps in (20, 2000))
    put(lab, short, cost("fit", 3.0, 8), cost("graph", 1.0), cost("health", 0.5), evaluation=EVALUATED)
    (run,) = with_features(lab, TRAINED % "steps: 2000")
    assert run.run_id == long.run_id
    assert run.prediction is not None
    assert run.prediction.stages == pytest.approx(
        {"fit": 300.0, "graph": 100.0, "health": 0.5 + 1.0, "predict": 2.0, "evaluate": 6.0}
    )
    assert run.prediction.low < run.prediction.seconds < run.prediction.high


@pytest.mark.parametrize(("cohort", "seconds"), [({}, 120.0), ({"cohort": ["one", "other"]}, 13.0)])
def test_turns_of_others_are_no_part_of_what_a_run_takes(lab: Lab, cohort: dict[str, Any], seconds: float) -> None:
    (done,) = lab.plan(TRAINED % "steps: 20").runs
    times = {"started": "2026-01-02T03:04:00+00:00", "finished": "2026-01-02T03:05:00+00:00"}
    facts = {"execution": MACHINE["execution"] | cohort, **times}
    put(lab, done, cost("fit", 4.0, 8), evaluation=EVALUATED, **facts)
    (run,) = with_features(lab, TRAINED % "steps: 20", "seeds=[1]")
    assert run.prediction is not None
    assert run.prediction.seconds == pytest.approx(seconds)


def test_epochs_are_steps_of_as_many_full_batches(lab: Lab) -> None:
    put(lab, lab.plan(TRAINED % "steps: 20").runs[0], cost("fit", 4.0, 8), evaluation=EVALUATED)
    (run,) = with_features(lab, TRAINED % "epochs: 30")  # 2 batches of 4 among 8 images, 30 times
    assert run.prediction is not None
    assert run.prediction.stages["fit"] == pytest.approx(4.0 * 60 / 20)


def test_what_looks_at_images_grows_with_them(lab: Lab) -> None:
    text = "{defaults: {subset: %d, eval_subset: %d}, runs: [{method: kmeans, params: {k: 8}}]}"
    put(lab, lab.plan(text % (8, 4)).runs[0], cost("fit", 2.0, 8), evaluation=EVALUATED)
    (run,) = with_features(lab, text % (24, 20))
    assert run.prediction is not None
    assert run.prediction.stages == pytest.approx({"fit": 6.0, "predict": 10.0, "evaluate": 30.0, "health": 1.0})
    (near,) = with_features(lab, text % (9, 5))
    assert near.prediction is not None
    assert near.prediction.high / near.prediction.low < run.prediction.high / run.prediction.low


def test_features_cost_their_first_run_and_nothing_where_they_are_there(lab: Lab) -> None:
    text = "{defaults: {subset: 8, eval_subset: 4, seeds: [%s]}, runs: [{method: kmeans, params: {k: 8}}]}"
    extracted = (cost("features", 8.0, 8), cost("fit", 2.0, 8))
    put(lab, lab.plan(text % "0").runs[0], *extracted, evaluation=(cost("features", 2.0, 4), *EVALUATED))
    runs = lab.plan(text % "0, 1, 2").unfinished
    assert [run.seconds for run in runs] == pytest.approx([10.0 + 11.0, 11.0])
    assert [run.seconds for run in with_features(lab, text % "0, 1, 2")] == pytest.approx([11.0, 11.0])


def test_online_features_are_a_part_of_every_run(lab: Lab) -> None:
    text = "{defaults: {features: {mode: online}, subset: 8, eval_subset: 4, seeds: [%s]}, runs: [{method: kmeans}]}"
    evaluation = (cost("features", 2.0, 4), *EVALUATED)
    put(lab, lab.plan(text % "0").runs[0], cost("features", 1.0, 8), cost("fit", 5.0, 8), evaluation=evaluation)
    assert [run.seconds for run in lab.plan(text % "0, 1, 2").unfinished] == pytest.approx([17.0, 17.0])


def test_memory_is_the_highest_peak_and_a_gpus_hours_are_told(lab: Lab) -> None:
    text = "{defaults: {subset: 8, eval_subset: 4, seeds: [%s]}, runs: [{method: kmeans, params: {k: 8}}]}"
    costs = (cost("fit", 1800.0, 8, rss=3 * 10**9, peak_device=7 * 10**9), cost("health", 1.0, rss=10**9))
    put(lab, lab.plan(text % "0").runs[0], *costs, evaluation=(cost("evaluate", 1799.0, 4, rss=2 * 10**9),), **GPU)
    with_features(lab, text % "0, 1")
    plan = lab.plan(text % "0, 1")
    prediction = plan.unfinished[0].prediction
    assert prediction is not None
    assert (prediction.host, prediction.device, prediction.machine) == (3 * 10**9, 7 * 10**9, "GPU H9")
    from spectral_bench.bench.plan.show import gpu_hours, plan_lines, plan_rows

    assert gpu_hours(plan) == pytest.approx(1.0)
    assert "GPU-hours of these: 1" in plan_lines(plan)
    assert [row[5] for row in plan_rows(plan)] == ["", "3 GB, GPU 7 GB"]


def test_an_interrupted_fit_has_the_rest_of_its_steps_left(lab: Lab) -> None:
    put(lab, lab.plan(TRAINED % "steps: 20").runs[0], cost("fit", 4.0, 8), evaluation=EVALUATED)
    (run,) = lab.plan(TRAINED % "steps: 200").unfinished
    folder = lab.store.run_folder(run.run_id)
    folder.mkdir(parents=True)
    (folder / "checkpoint.pt").write_bytes(b"state")
    (folder / "progress.json").write_text(json.dumps({"stage": "fit", "done": 150, "total": 200, "updated": 0.0}))
    (left,) = with_features(lab, TRAINED % "steps: 200")
    assert left.condition.state.word == "interrupted"
    assert left.prediction is not None
    assert left.prediction.stages["fit"] == pytest.approx(10.0)


def test_another_method_backbone_or_data_set_says_nothing(lab: Lab) -> None:
    text = "{defaults: {subset: 8, eval_subset: 4}, runs: [{method: kmeans, params: {k: 8}}]}"
    put(lab, lab.plan(text).runs[0], cost("fit", 2.0, 8), evaluation=EVALUATED)
    for change in ("method=nystrom", "backbone=vit_small_patch16_384", "dataset=camvid"):
        assert [run.seconds for run in with_features(lab, text, change)] == [None]
    assert [run.seconds for run in with_features(lab, text, "k=9")] == pytest.approx([11.0])


def test_failures_say_nothing_and_finished_runs_need_no_time(lab: Lab) -> None:
    runs = lab.plan().runs
    lab.finish(runs[0].spec, (), status="failed", costs=[cost("fit", 7.0, 8)])
    assert {run.seconds for run in lab.plan().runs} == {None}
    put(lab, runs[1], cost("fit", 4.0, 8), evaluation=EVALUATED)
    with_features(lab, SMALL)
    planned = {run.run_id: run.seconds for run in lab.plan().runs}
    assert planned[runs[1].run_id] == 0
    assert planned[runs[0].run_id] is not None


def test_stale_runs_that_are_done_again_take_time_again(lab: Lab) -> None:
    from spectral_bench.bench.plan.build import with_stale_anew

    run = lab.plan().runs[0]
    lab.finish(run.spec, (), costs=[cost("fit", 4.0, 8)], code={"gone": "1"}, **MACHINE)
    lab.evaluate(run.spec, run.views[0], costs=list(EVALUATED), code={"gone": "1"}, **MACHINE)
    with_features(lab, SMALL)
    plan = lab.plan()
    assert plan.runs[0].seconds == 0
    assert with_stale_anew(plan).runs[0].seconds == pytest.approx(4.0 + 8.0 * 32 / 4 + 1.0)
