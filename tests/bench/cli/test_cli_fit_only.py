"""``protocols: []``: runs that are fitted and not scored, through every command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_lab import Bench, FakeExecutor, Result
from PIL import Image
from plan_lab import SMALL, Lab

FIT_ONLY = f"{SMALL}protocols: []\n"
Launcher = Callable[..., tuple[Result, FakeExecutor]]


@pytest.fixture
def launch(bench: Bench, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Launcher:
    def call(text: str) -> tuple[Result, FakeExecutor]:
        executor = FakeExecutor(lab.store)
        monkeypatch.setattr("spectral_bench.bench.cli.run.make_executor", lambda *given, **options: executor)
        return bench("run", "--grid", lab.write(text), "--out", lab.out), executor

    return call


def test_fits_are_stored_and_a_later_grid_with_protocols_evaluates_them(launch: Launcher, lab: Lab) -> None:
    result, executor = launch(FIT_ONLY)
    assert (result.code, len(executor.orders)) == (0, 4)
    assert {order.views for order in executor.orders} == {()}
    assert "small: 2 rows fit only (protocols: []), so there is nothing to score" in result.out
    fitted = lab.plan(FIT_ONLY)
    assert {run.condition.state.word for run in fitted.runs} == {"done"}
    later = lab.plan(SMALL)
    assert [run.run_id for run in later.runs] == [run.run_id for run in fitted.runs]
    assert {(run.condition.fitted, len(run.condition.missing)) for run in later.runs} == {(True, 1)}
    before = {run.run_id: lab.store.fit_record(run.run_id) for run in later.runs}
    result, executor = launch(SMALL)
    assert result.code == 0
    assert "| configuration" in result.out
    assert {run_id: lab.store.fit_record(run_id) for run_id in before} == before
    assert lab.plan(SMALL).counts() == {"done": 4}


def test_every_query_takes_a_store_of_fits(bench: Bench, launch: Launcher, lab: Lab) -> None:
    launch(FIT_ONLY)
    out = ["--out", lab.out]
    plan = bench("plan", "--grid", lab.folder / "g.yaml", *out)
    assert (plan.code, plan.out.count("fit only")) == (0, 4)
    status = json.loads(bench("status", *out, "--json").out)
    assert [one["state"] for one in status] == ["done"] * 4
    run_id = status[0]["run_id"]
    assert "asked for by grid small, row kmeans, input=last, fit only" in bench("why", run_id, *out).out
    assert bench("retry", *out).code == 0
    for options in ([], ["--format", "latex"], ["--format", "csv"], ["--all", "rep"], ["--protocol", "whole"]):
        result = bench("report", *out, *options)
        assert (result.code, "nothing to score" in result.out) == (0, True), options
    assert json.loads(bench("report", *out, "--json").out) == []
    assert bench("report", *out, "--per-run", "runs.csv").code == 0
    assert bench("report", *out, "--grid", "smal").code == 2


def test_rows_without_protocols_beside_others_are_told_of(bench: Bench, launch: Launcher, lab: Lab) -> None:
    mixed = f"{SMALL}  - {{method: kmeans, name: alone, params: {{k: 9}}, protocols: []}}\n"
    result, executor = launch(mixed)
    assert (result.code, sorted(len(order.views) for order in executor.orders)) == (0, [0, 0, 1, 1, 1, 1])
    assert "small: 1 row fit only" in result.out
    assert "| configuration" in result.out
    csv = bench("report", "--out", lab.out, "--format", "csv")
    assert (csv.code, "nothing to score" in csv.out, "1 row fit only" in csv.err) == (0, False, True)


def test_two_rows_that_are_the_same_fit_are_refused(bench: Bench, lab: Lab) -> None:
    twice = "{name: g, protocols: [], runs: [{method: kmeans}, {method: kmeans, name: again}]}"
    result = bench("plan", "--grid", lab.write(twice), "--out", lab.out)
    assert (result.code, "the same run as runs[0]" in result.err) == (2, True)


def test_images_without_labels_and_other_splits_need_nothing_else(bench: Bench, lab: Lab, tmp_path: Path) -> None:
    """From photographs to masks, with the work done."""
    (tmp_path / "photos").mkdir()
    for name in ("a", "b"):
        noise = np.random.default_rng(len(name)).integers(0, 255, (64, 80, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "data.yaml").write_text("title: Photos\nsplits:\n  train: {images: photos}\n")
    resize = "transform: {resize: {mode: exact, size: [64, 64]}}"
    grid = lab.write(
        f"{{protocols: [], runs: [{{method: kmeans, params: {{k: 3}}, dataset: 'folder:data.yaml', {resize}}}]}}"
    )
    result = bench("run", "--grid", grid, "--out", lab.out, "--executor", "inline", "--device", "cpu")
    assert result.code == 0, result.err
    found: list[dict[str, Any]] = json.loads(bench("status", "--out", lab.out, "--json").out)
    assert [one["state"] for one in found] == ["done"]
    run_id = found[0]["run_id"]
    result = bench("predict", run_id, "photos", "--to", "masks", "--out", lab.out)
    assert (result.code, result.err) == (0, "")
    assert sorted(path.name for path in Path("masks").iterdir()) == [
        "a.png",
        "a_overlay.jpg",
        "b.png",
        "b_overlay.jpg",
        "legend.csv",
    ]
    result = bench("predict", run_id, "photos", "--to", "classes", "--out", lab.out, "--classes")
    assert (result.code, "no grid of the store asks for it under a protocol" in result.err) == (2, True)
    assert not Path("classes").exists()
