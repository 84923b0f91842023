"""Methods whose clusters are the classes: K from the data set, and what a plan refuses before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from plan_lab import FixedCode

from spectral_bench.bench.grid.load import load_grid
from spectral_bench.bench.plan.build import make_plan
from spectral_bench.bench.plan.show import plan_json, plan_lines, plan_rows
from spectral_bench.bench.plan.states import Plan, runs_of_store
from spectral_bench.bench.plan.titles import LABELS_NOTE
from spectral_bench.common.errors import ConfigError
from spectral_bench.results.store import Store


def planned(folder: Path, run: str) -> Plan:
    path = folder / "grid.yaml"
    path.write_text(f"protocols: [whole]\nruns:\n  - {run}\n")
    return make_plan(load_grid(path), None, folder / "out", FixedCode())


@pytest.mark.parametrize(("dataset", "classes"), [("camvid", 11), ("synthetic", 12)])
@pytest.mark.parametrize("method", ["linear_probe", "oracle"])
def test_k_is_the_number_of_classes_where_a_grid_leaves_it_out(
    method: str, dataset: str, classes: int, tmp_path: Path
) -> None:
    (run,) = planned(tmp_path, f"{{method: {method}, dataset: {dataset}}}").runs
    assert run.spec.params["k"] == classes
    (stated,) = planned(tmp_path, f"{{method: {method}, dataset: {dataset}, params: {{k: {classes}}}}}").runs
    assert stated.run_id == run.run_id


def test_other_methods_keep_their_k(tmp_path: Path) -> None:
    assert [run.spec.params["k"] for run in planned(tmp_path, "{method: kmeans}").runs] == [64]
    assert [run.spec.params["k"] for run in planned(tmp_path, "{method: neuralef_label_leak}").runs] == [256]


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            "{method: linear_probe, params: {k: 64}}",
            r"grid.yaml:3.*k is 64, but the clusters of linear_probe are the 12 classes of synthetic .*set k: 12",
        ),
        (
            "{method: oracle, train_dataset: camvid}",
            r"k is 11, but the clusters of oracle are the 12 classes of synthetic",
        ),
        (
            "{method: linear_probe, train_dataset: imagenet}",
            r"linear_probe is fitted with labels, and data set imagenet has none",
        ),
        (
            "{method: neuralef_label_leak, train_dataset: imagenet}",
            r"neuralef_label_leak is fitted with labels, and data set imagenet has none",
        ),
        ("{method: linear_probe, params: {epochs: 0}}", r"grid.yaml:3.*epochs = 0"),
    ],
)
def test_what_cannot_be_fitted_with_labels_is_refused_with_its_place(run: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        planned(tmp_path, run)


def test_a_linear_probe_may_be_evaluated_on_data_of_other_classes(tmp_path: Path) -> None:
    (run,) = planned(tmp_path, "{method: linear_probe, train_dataset: camvid}").runs
    assert run.spec.params["k"] == 11


def test_a_plan_marks_methods_that_use_labels(tmp_path: Path) -> None:
    plan = planned(tmp_path, "{method: linear_probe}\n  - {method: kmeans}")
    assert [row[1] for row in plan_rows(plan)] == ["linear_probe †", "kmeans"]
    assert [run["uses_labels"] for run in plan_json(plan)["runs"]] == [True, False]
    assert LABELS_NOTE in plan_lines(plan)
    assert LABELS_NOTE not in plan_lines(planned(tmp_path, "{method: kmeans}"))


def test_status_marks_methods_that_use_labels(tmp_path: Path) -> None:
    plan = planned(tmp_path, "{method: linear_probe}\n  - {method: kmeans}")
    store = Store.open(tmp_path / "out", create=True)
    store.write_manifest(plan.manifest)
    found = runs_of_store(store, None, FixedCode())
    assert [(run.title, run.uses_labels) for run in found] == [("linear_probe", True), ("kmeans", False)]
