"""Which rows are probed, by which orders, and what is made of what these leave."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from plan_lab import TRAINED, Lab, cost, fit_record

from spectral_bench.bench.plan.measured import read_probes, write_probe
from spectral_bench.bench.plan.prediction import Measurement, Measurements, Part, predict
from spectral_bench.bench.plan.probe import (
    EVALUATED_IMAGES,
    LEAST_GROWTH,
    SCRATCH_FOLDER,
    _growth,
    _host_per_image,
    found_by,
    orders_of,
    probe_of,
    runs_to_probe,
)
from spectral_bench.bench.plan.states import PlannedRun
from spectral_bench.bench.run.context import Run
from spectral_bench.bench.run.probe import (
    FOUND_FILE,
    LONG_S,
    Asked,
    Pace,
    execute,
)
from spectral_bench.bench.work.order import Execution
from spectral_bench.results.record import FitRecord, StageCost
from spectral_bench.results.store import Store


def test_of_a_configuration_one_run_is_probed_whatever_its_length(lab: Lab) -> None:
    text = (
        "{defaults: {seeds: [0, 1]}, runs: [{method: neuralef, params: {k: 8}, matrix: {steps: [10, 1000]}}, "
        "{method: neuralef, params: {k: 9}}, {method: kmeans, matrix: {subset: [16, 32]}}]}"
    )
    titles = [(run.title, run.spec.seed) for run in runs_to_probe(lab.plan(text))]
    assert titles == [("neuralef, k=8, steps=1000", 0), ("neuralef, k=9", 0), ("kmeans, subset=32", 0)]


def test_a_probe_is_as_small_as_the_parameters_allow(lab: Lab, scratch: Store) -> None:
    (run,) = lab.plan(TRAINED).unfinished
    probe = probe_of(run, scratch, Execution(threads=3), [lab.folder])
    (order,), (asked,) = probe.orders, probe.asked
    assert (order.spec.data.subset, order.spec.params["steps"]) == (4, 2)
    assert [view.subset for view in order.views] == [EVALUATED_IMAGES]
    assert (order.store, order.data_roots, order.execution.threads) == (scratch.path, (lab.folder,), 3)
    assert asked.whole is not None
    # Of the 50 epochs of 8 batches, not of the one batch that the probe's images make: the curve follows from it.
    assert asked.whole.spec.params["steps"] == 400
    assert asked.whole.spec.data.subset == 16  # four batches, of which the first is not timed
    (larger,), (most,) = asked.larger
    assert (larger.spec.data.subset, most.spec.data.subset, larger.views) == (16, 32, ())
    assert run.run_id not in {order.spec.run_id, asked.whole.spec.run_id, larger.spec.run_id}


def test_a_fit_of_all_patches_at_once_is_probed_on_more_and_more_images(lab: Lab, scratch: Store) -> None:
    (run,) = lab.plan("{defaults: {subset: 50}, runs: [{method: kmeans, params: {k: 8}}]}").unfinished
    (asked,) = probe_of(run, scratch, Execution(), []).asked
    assert [order.spec.data.subset for (order,) in asked.larger] == [16, 32, 50]


@pytest.mark.parametrize(("images", "sizes"), [(4, []), (5, [5]), (17, [17]), (33, [16, 33]), (48, [16, 32, 48])])
def test_no_two_sizes_are_so_near_that_noise_would_pass_for_growth(
    lab: Lab, scratch: Store, images: int, sizes: list[int]
) -> None:
    (run,) = lab.plan(f"{{defaults: {{subset: {images}}}, runs: [{{method: kmeans, params: {{k: 8}}}}]}}").unfinished
    (asked,) = probe_of(run, scratch, Execution(), []).asked
    assert [order.spec.data.subset for (order,) in asked.larger] == sizes


@pytest.mark.parametrize(
    ("fit_s", "sizes"), [(0.1, [4, 4, 16, 32, 50]), (0.3 * LONG_S, [4, 4, 16, 32]), (LONG_S, [4, 4, 16])]
)
def test_features_do_not_decide_how_many_sizes_are_fitted(
    lab: Lab, scratch: Store, monkeypatch: pytest.MonkeyPatch, fit_s: float, sizes: list[int]
) -> None:
    (run,) = lab.plan("{defaults: {subset: 50}, runs: [{method: kmeans, params: {k: 8}}]}").unfinished
    probe = probe_of(run, scratch, Execution(), [])
    (order,) = (one.model_copy(update={"views": ()}) for one in orders_of([probe], scratch))
    fitted: list[int | None] = []

    def fit(run: Run) -> tuple[FitRecord, None]:
        fitted.append(run.spec.data.subset)
        return fit_record(run.spec, costs=[cost("features", 60.0), cost("fit", fit_s)]), None

    monkeypatch.setattr("spectral_bench.bench.run.probe.fit", fit)
    monkeypatch.setattr("spectral_bench.bench.run.probe._time_features", lambda run, asked, pace: None)
    execute(order, store=scratch, should_stop=lambda: False)
    assert fitted == sizes


@pytest.mark.parametrize(
    ("seconds", "grows"),
    [
        ([1.0, 2.0, 4.0], 4.0),  # 0.1 s an image
        ([1.5, 2.5, 4.5], 4.0),
        ([1.0, 3.0, 4.0], 4.0 * 13 / 14),  # of all, where the last two would tell 0.05
        ([4.0, 2.0, 1.0], 0.0),
        ([0.0, 0.0, 4.0], 4.0),
    ],
)
def test_what_grows_is_told_by_all_sizes(seconds: list[float], grows: float) -> None:
    found = _growth([10.0, 20.0, 40.0], [{"fit": one} for one in seconds])
    assert found == {"fit": pytest.approx(grows)}


def test_more_clusters_than_patches_ask_for_more_images(lab: Lab, scratch: Store) -> None:
    (run,) = lab.plan("runs: [{method: kmeans, params: {k: 1500}}]").unfinished
    probe = probe_of(run, scratch, Execution(), [])
    assert probe.orders[0].spec.data.subset == 16
    assert probe.asked[0].whole is None


def test_a_fit_that_others_start_from_is_carried_out_once_and_as_its_own_probe_asks(lab: Lab, scratch: Store) -> None:
    text = (
        "{defaults: {params: {k: 8, batch_size: 4, steps: 30}}, runs: [{method: neuralef_kmeans}, {method: neuralef}]}"
    )
    probes = [probe_of(run, scratch, Execution(), []) for run in runs_to_probe(lab.plan(text))]
    orders = orders_of(probes, scratch)
    methods = [(order.spec.method, len(order.views)) for order in orders]
    assert sorted(methods) == [("neuralef", 1), ("neuralef_kmeans", 1)]
    base, dependent = sorted(orders, key=lambda order: order.spec.method)
    assert dependent.requires == base.spec.run_id
    asked = Asked.model_validate_json((scratch.run_folder(base.spec.run_id) / "probe.json").read_bytes())
    assert asked.whole is not None


def test_what_a_fit_starts_from_is_made_on_more_and_more_images_too(lab: Lab, scratch: Store) -> None:
    text = "runs: [{method: neuralef_kmeans, subset: 50, params: {k: 8, batch_size: 4, steps: 30}}]"
    (run,) = (one for one in lab.plan(text).unfinished if one.spec.method == "neuralef_kmeans")
    _, asked = probe_of(run, scratch, Execution(), []).asked
    for (base, own), images in zip(asked.larger, [16, 32, 50], strict=True):
        assert (base.spec.method, base.spec.data.subset, base.spec.params["steps"]) == ("neuralef", images, 2)
        assert (own.spec.method, own.spec.data.subset) == ("neuralef_kmeans", images)
        assert own.requires == base.spec.run_id


def leave(lab: Lab, scratch: Store, run: PlannedRun, pace: Pace, first: float = 3.0) -> list[Measurement]:
    """What is made of a probe that left these costs on 4 images, on 4 again, and on 16; ``first``: of its first fit."""
    probe = probe_of(run, scratch, Execution(), [])
    (order,), (asked,) = probe.orders, probe.asked
    facts = {"execution": {"device": "cpu", "threads": 1}, "environment": {"cpu": "lab"}, "code": {}}

    def costs(images: int, fit: float, health: float, rss: int) -> list[StageCost]:
        one = cost("fit", fit).model_copy(update={"items": images, "peak_rss": rss})
        return [one, cost("graph", 1.0), cost("health", health)]

    scratch.write_fit(fit_record(order.spec, costs=costs(4, first, 0.5, 10**9), **facts))
    again = fit_record(order.spec, costs=costs(4, 3.0, 0.5, 10**9), **facts)
    memory = 10**9 + 12 * LEAST_GROWTH
    scratch.write_fit(fit_record(asked.larger[0][-1].spec, costs=costs(16, 3.6, 2.0, memory), **facts))
    lab_like = Lab(scratch.path.parent)
    lab_like.out = scratch.path
    evaluated = cost("evaluate", 6.0).model_copy(update={"items": 3})
    lab_like.evaluate(order.spec, order.views[0], costs=[evaluated, cost("health", 1.0)], **facts)
    (scratch.run_folder(order.spec.run_id) / FOUND_FILE).write_text(
        pace.model_copy(update={"again": again}).model_dump_json()
    )
    return found_by(probe, scratch)


def test_a_training_is_scaled_by_its_pace_and_the_rest_by_images_or_not_at_all(lab: Lab, scratch: Store) -> None:
    (run,) = lab.plan(TRAINED).unfinished
    view = probe_of(run, scratch, Execution(), []).orders[0].views[0].view_id
    extracted = cost("features", 5.0).model_copy(update={"items": 4})
    evaluated = cost("features", 2.0).model_copy(update={"items": 3})
    pace = Pace(
        step_s=0.5,
        image_s={view: 1.5},
        features={"": extracted, view: evaluated},
        feature_s={"": 0.75, view: 0.5},
    )
    found = leave(lab, scratch, run, pace)
    assert all(one.probe for one in found)
    prediction = predict(run.parts, Measurements(found))
    assert prediction is not None
    features = 2 * (2.0 + 0.75 * 32)  # of both splits by the larger sample: loading the network, then 32 images
    fit = 0.5 * 400
    looks = (3.6 - 3.0) / 12 * 32  # by which fits of as many steps grow with images
    checks = 2.0 + 0.125 * (32 - 16)  # of as many images as there are, up to 32
    evaluation = 1.5 * 32 + 1.0
    rest = (4.0 - 0.05 * 4 - 0.5 * 2) + (6.0 - 1.5 * 3)
    assert prediction.seconds == pytest.approx(features + fit + looks + checks + evaluation + rest)
    assert prediction.host == pytest.approx(10**9 + LEAST_GROWTH * 28)
    assert prediction.basis == "probes"


def test_steps_that_see_as_many_images_as_there_are_do_not_grow_with_these(lab: Lab, scratch: Store) -> None:
    """Two steps of two images are no look at all four: a larger probe that was no slower would make a step cost 0."""
    (run,) = lab.plan(TRAINED.replace("batch_size: 4", "batch_size: 2")).unfinished
    (fit,) = [one for one in leave(lab, scratch, run, Pace(step_s=0.5)) if one.part.kind == "fit"]
    assert fit.part.units == fit.part.images == 4
    assert sum(fit.growing.values()) == pytest.approx(0.5 * 2)
    assert fit.by_image["fit"] == pytest.approx((3.6 - 3.0) / 12 * 4)
    assert fit.once["rest"] == pytest.approx(4.0 - 0.05 * 4 - 0.5 * 2)


def test_no_more_than_so_many_images_are_checked_after_a_training(lab: Lab, scratch: Store) -> None:
    (run,) = lab.plan(TRAINED.replace("subset: 32", "subset: 60")).unfinished
    (fit,) = [one for one in leave(lab, scratch, run, Pace(step_s=0.5)) if one.part.kind == "fit"]
    assert fit.once["health"] == pytest.approx(2.0 + 0.125 * (32 - 16))


def test_looks_do_not_grow_by_what_new_images_cost(lab: Lab, scratch: Store) -> None:
    (run,) = lab.plan(TRAINED).unfinished
    pace = Pace(step_s=0.5, new_s=0.05, made=[4, 16])
    (fit,) = [one for one in leave(lab, scratch, run, pace) if one.part.kind == "fit"]
    assert fit.by_image["graph"] == 0  # of 1.0 - 4 x 0.05 and 1.0 - 16 x 0.05
    (other,) = [one for one in leave(lab, scratch, run, Pace(step_s=0.5)) if one.part.kind == "fit"]
    assert fit.by_image["fit"] == other.by_image["fit"] > 0


@pytest.mark.parametrize(("images", "told"), [(12, True), (11, False)])
def test_memory_grows_by_what_enough_more_images_took(images: int, told: bool) -> None:
    """Of one image more or two, the difference is what allocators do."""
    few, many = (
        Measurement(Part("fit", "a", "b", images=float(count)), {}, host=10**8 * count) for count in (4, images)
    )
    assert _host_per_image([few, many]) == (10**8 if told else 0.0)


def test_a_pace_holds_where_looks_take_all_that_a_small_fit_took(lab: Lab, scratch: Store) -> None:
    (run,) = lab.plan(TRAINED).unfinished
    found = leave(lab, scratch, run, Pace(step_s=0.5), first=0.01)
    assert sum(next(one for one in found if one.part.kind == "fit").growing.values()) == pytest.approx(0.5 * 2)


@pytest.mark.parametrize("room", [None, 32, 31])
def test_new_images_cost_more_once_or_each_time_where_there_is_no_room(
    lab: Lab, scratch: Store, room: int | None
) -> None:
    """Of 400 steps of four images 32 are new; where fewer can be kept, each of the 1600 is made anew."""
    (run,) = lab.plan(TRAINED).unfinished
    known, told = (
        predict([part for part in run.parts if part.kind == "fit"], Measurements(leave(lab, scratch, run, pace)))
        for pace in (Pace(step_s=0.5), Pace(step_s=0.5, new_s=0.01, room=room))
    )
    assert known is not None
    assert told is not None
    times = 1600 if room == 31 else 32
    assert told.seconds - known.seconds == pytest.approx(0.01 * times)
    assert told.stages["graph"] - known.stages["graph"] == pytest.approx(0.01 * times)


def test_a_fit_of_all_patches_is_scaled_by_its_last_two_sizes_with_a_wide_range(lab: Lab, scratch: Store) -> None:
    (run,) = lab.plan("{defaults: {subset: 32}, runs: [{method: kmeans, params: {k: 8}}]}").unfinished
    found = leave(lab, scratch, run, Pace(), first=3.75)
    (fit,) = [one for one in found if one.part.kind == "fit"]
    assert fit.part.images == 16
    assert fit.growing["fit"] == pytest.approx(0.8)  # of (3.6 - 3.0) / 12 images, sixteen
    assert fit.once["health"] == pytest.approx(2.0)  # of a sample, whatever it is drawn from
    # Of a constant graph, of the fit without its growth, and of what only the first one took.
    assert fit.once["rest"] == pytest.approx(1.0 + 2.8 + 0.75)
    assert fit.host == pytest.approx(10**9 + 12 * LEAST_GROWTH)
    narrow, wide = (
        predict([part], Measurements([fit])) for part in (fit.part, replace(fit.part, units=400.0, images=400.0))
    )
    assert narrow is not None
    assert wide is not None
    assert wide.high / wide.low > narrow.high / narrow.low


def test_a_probe_that_failed_has_measured_nothing(lab: Lab, scratch: Store) -> None:
    (run,) = lab.plan(TRAINED).unfinished
    probe = probe_of(run, scratch, Execution(), [])
    assert found_by(probe, scratch) == []
    scratch.write_fit(fit_record(probe.orders[0].spec, "failed"))
    assert found_by(probe, scratch) == []
    scratch.write_fit(fit_record(probe.orders[0].spec))
    assert found_by(probe, scratch) == []  # it ended before the pace was told


def test_what_was_measured_comes_back_and_rubbish_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Measurement(Part("fit", "a", "b", {"k": 3, "x": [1, 2]}, 4.0, 2.0), {"fit": 1.0}, host=5, machine="m")
    write_probe(tmp_path, [one])
    write_probe(tmp_path, [replace(one, host=6)])
    assert list(read_probes(tmp_path)) == [replace(one, host=6)]
    (tmp_path / "probes" / "x.json").write_text("{")
    (tmp_path / "probes" / SCRATCH_FOLDER).mkdir()
    assert list(read_probes(tmp_path)) == [replace(one, host=6)]
    assert "x.json: passed over" in caplog.text
