"""Titles, manifests, orders, and what is printed of a plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from plan_lab import CODE, Lab, cost, failure, fit_record

from spectral_bench.bench.plan.prediction import Prediction
from spectral_bench.bench.plan.run_ids import ResolvedRow
from spectral_bench.bench.plan.show import PLAN_COLUMNS, plan_json, plan_lines, plan_rows, total_seconds
from spectral_bench.bench.plan.states import plan_orders
from spectral_bench.bench.plan.titles import row_titles, show_value, stated_settings
from spectral_bench.bench.work.order import Execution
from spectral_bench.common.names import duration
from spectral_bench.results.manifest import Manifest

Rows = Callable[..., list[ResolvedRow]]


def test_a_title_says_no_more_than_tells_rows_apart(rows: Rows) -> None:
    text = (
        "{runs: [{method: kmeans, params: {restarts: 2}, matrix: {k: [4, 8], input: [last, last_l2]}},"
        " {method: neuralef, params: {k: 4}}]}"
    )
    assert row_titles(rows(text)) == [
        "kmeans, k=4, input=last",
        "kmeans, k=4, input=last_l2",
        "kmeans, k=8, input=last",
        "kmeans, k=8, input=last_l2",
        "neuralef",
    ]


def test_a_name_is_the_title_and_variations_are_named_after_their_change(rows: Rows) -> None:
    text = (
        "{ablate: {base: {method: neuralef, params: {k: 4}}, vary: {alpha: [0.0], backbone_options: "
        "[{weights: random}]}}, runs: [{method: kmeans, name: plain}, "
        "{method: kmeans, name: many, matrix: {k: [4, 8]}}]}"
    )
    assert row_titles(rows(text)) == [
        "neuralef (baseline)",
        "neuralef, alpha=0.0",
        "neuralef, backbone_options={weights: random}",
        "plain",
        "many, k=4",
        "many, k=8",
    ]


def test_an_unstated_setting_is_left_out_of_a_title(rows: Rows) -> None:
    found = rows("{runs: [{method: kmeans, params: {k: 4}}, {method: kmeans, params: {k: 4, scores: distance}}]}")
    assert row_titles(found) == ["kmeans", "kmeans, scores=distance"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.3, "0.3"), (True, "true"), (None, "null"), ("a b", "a b"), ([1, [2]], "[1, [2]]"), ({"a": 1}, "{a: 1}")],
)
def test_values_are_shown_as_in_the_grid(value: Any, text: str) -> None:
    assert show_value(value) == text


def test_settings_are_what_the_grid_states(rows: Rows) -> None:
    text = "{defaults: {subset: 8, seeds: [1]}, runs: [{method: kmeans, name: n, params: {k: 4}}]}"
    assert stated_settings(rows(text)[0]) == {"k": 4, "subset": 8}


def test_the_manifest_holds_rows_seeds_and_protocols(lab: Lab) -> None:
    text = (
        "{name: g, note: small on purpose, defaults: {seeds: [0, 3]}, ablate: {base: {method: neuralef, params: "
        "{k: 4}}, vary: {alpha: [0.0]}}, runs: [{method: kmeans, train_dataset: camvid}]}"
    )
    plan = lab.plan(text)
    manifest = plan.manifest
    assert (manifest.name, manifest.note) == ("g", "small on purpose")
    baseline, variation, row = manifest.rows
    assert (baseline.role, variation.role, row.role) == ("baseline", "variation", "row")
    assert (variation.factor, variation.value, variation.settings) == ("alpha", 0.0, {"k": 4, "alpha": 0.0})
    assert (row.dataset, row.train_dataset, row.backbone) == ("synthetic", "camvid", "efficientnet_lite0")
    assert {run_id for entry in manifest.rows for run_id in entry.runs.values()} == {r.run_id for r in plan.runs}
    assert all(list(entry.runs) == [0, 3] for entry in manifest.rows)
    assert [protocol.name for protocol in row.protocols] == ["whole"]
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest


def test_orders_are_the_unfinished_runs_in_order_with_absolute_paths(lab: Lab) -> None:
    first = lab.plan().runs[0]
    lab.finish(first.spec, first.views)
    plan = lab.plan()
    execution = Execution(device="cpu", threads=1)
    orders = plan_orders(replace(plan, store=Path("out")), execution, [Path("data")])
    assert [order.spec.run_id for order in orders] == [run.run_id for run in plan.runs[1:]]
    assert all(order.views == run.views for order, run in zip(orders, plan.runs[1:], strict=True))
    assert orders[0].store.is_absolute()
    assert orders[0].data_roots == (Path("data").absolute(),)
    assert orders[0].execution == execution


def test_orders_name_the_fit_that_they_start_from(lab: Lab) -> None:
    orders = plan_orders(lab.plan("{runs: [{method: neuralef_kmeans}]}"), Execution(), [])
    assert (orders[0].requires, orders[0].views) == (None, ())
    assert orders[1].requires == orders[0].spec.run_id


def test_json_holds_all_and_can_be_read_again(lab: Lab) -> None:
    runs = lab.plan().runs
    lab.finish(runs[0].spec, runs[0].views, costs=[cost("fit", 4.0)])
    lab.store.write_fit(fit_record(runs[1].spec, "failed", failure=failure()))
    found = json.loads(json.dumps(plan_json(lab.plan())))
    assert found["counts"] == {"done": 1, "failed": 1, "new": 2}
    assert found["runs"][1]["reason"] == "exception: it broke"
    assert found["runs"][0]["missing"] == []
    assert found["caches"][0]["bytes"] > 0
    assert found["provisional_backbones"] == []
    assert {"run_id", "title", "state", "seconds", "requires", "views"} <= found["runs"][2].keys()


def test_the_rows_show_each_run_and_the_lines_the_totals(lab: Lab) -> None:
    runs = lab.plan().runs
    lab.finish(runs[0].spec, runs[0].views, code={**CODE, "methods.kmeans": "x"})
    plan = lab.plan()
    first, second, *_ = [dict(zip(PLAN_COLUMNS, row, strict=True)) for row in plan_rows(plan)]
    assert first == {
        "state": "stale",
        "row": "kmeans, input=last",
        "seed": "0",
        "evaluated": "1/1",
        "time": "",
        "memory": "",
        "run": runs[0].run_id,
        "note": "code changed since: methods.kmeans",
    }
    assert (second["state"], second["evaluated"], second["run"]) == ("new", "0/1", runs[1].run_id)
    lines = plan_lines(plan)
    assert lines[0] == "small: 4 runs: 1 stale, 3 new"
    assert lines[1].startswith("features of synthetic train (8 images), efficientnet_lite0: ")


def test_a_note_names_the_fit_that_a_run_starts_from(lab: Lab) -> None:
    base, dependent = plan_rows(lab.plan("{runs: [{method: neuralef_kmeans}]}"))
    assert (base[1], base[3], base[-1]) == ("for neuralef_kmeans", "0/0", "")
    assert dependent[-1] == f"starts from {base[6]}"


def test_a_fit_that_a_row_nearly_asks_for_is_told_with_what_differs(lab: Lab) -> None:
    row = "{method: neuralef, params: {k: 4, steps: 3}}"
    other = "{method: neuralef_kmeans, params: {base_k: 4}}"
    lines = plan_lines(lab.plan(f"{{defaults: {{seeds: [0, 1]}}, runs: [{row}, {other}]}}"))
    told = [line for line in lines if "a fit of its own" in line]
    assert len(told) == 1
    assert told[0].startswith('neuralef_kmeans: starts from a fit of its own, as row "neuralef" differs in steps; with')
    shared = "{method: neuralef_kmeans, params: {base_k: 4, steps: 3}}"
    assert not any("a fit of its own" in line for line in plan_lines(lab.plan(f"{{runs: [{row}, {shared}]}}")))


def test_caches_of_unknown_size_are_not_counted_as_nothing(lab: Lab) -> None:
    plan = lab.plan()
    unknown = replace(plan.caches[0], bytes=None, present=False)
    lines = plan_lines(replace(plan, caches=(unknown,)))
    assert any(line.startswith("feature caches to write: size unknown; free") for line in lines)
    known = replace(plan.caches[0], bytes=10**6, present=False)
    lines = plan_lines(replace(plan, caches=(unknown, known)))
    assert any("to write: 1 MB and what is of unknown size; free" in line for line in lines)


def test_lines_say_what_to_mind(lab: Lab) -> None:
    plan = lab.plan()
    assert not any("time left" in line for line in plan_lines(plan))
    spec = plan.runs[0].spec
    bare = spec.model_copy(update={"backbone": spec.backbone.model_copy(update={"weights": ""})})
    provisional = replace(plan, runs=(replace(plan.runs[0], spec=bare),))
    assert any("weights not on this machine: efficientnet_lite0" in line for line in plan_lines(provisional))
    found = Prediction({"fit": 30.0}, 25.0, 36.0, 10**9, None, "m", "runs")
    timed = replace(plan, runs=(replace(plan.runs[0], prediction=found), replace(plan.runs[1], prediction=None)))
    assert any("past records: 30 s (25 s to 36 s), without 1 run of" in line for line in plan_lines(timed))
    assert [row[4:6] for row in plan_rows(timed)] == [("30 s", "1 GB"), ("-", "-")]
    probed = replace(timed, runs=(replace(plan.runs[0], prediction=replace(found, basis="probes")),))
    assert any("one worker, from probes: 30 s" in line for line in plan_lines(probed))
    assert total_seconds(timed) == 30.0


def test_a_plan_says_that_its_caches_are_too_large(lab: Lab) -> None:
    plan = lab.plan()
    big = replace(plan.caches[0], bytes=60 * 10**9)
    lines = plan_lines(replace(plan, caches=(big,), free=10**12))
    assert any(line.startswith("run refuses caches beyond --cache-limit (50 GB by default)") for line in lines)
    assert not any(line.startswith("run refuses") for line in plan_lines(plan))
    assert any(line.startswith("run refuses") for line in plan_lines(replace(plan, free=10)))


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.4, "0 s"), (89, "89 s"), (120, "2 min"), (5399, "90 min"), (9000, "2.5 h")]
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text
