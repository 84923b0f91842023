"""The data sets of the dataset-level literature, generated in the layouts of their owners, and the grids on them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from cli_lab import Bench
from dataset_trees import ade20k, cityscapes, coco_stuff, pascal_context, pascal_voc, potsdam3
from plan_lab import Lab, with_texts

GRIDS = Path(__file__).parents[3] / "grids"
ROWS = {"paper/primaps_kmeans": 6, "paper/stego": 24, "paper/text": 9, "facets": 36}
OPTIONS_STATED = ("facets", "paper/text")
"""Grids whose rows differ in options of the backbone, so that no one set of them stands for all."""

TREES = {"coco_stuff": coco_stuff, "pascal_voc": pascal_voc, "potsdam3": potsdam3}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with Cityscapes, COCO-Stuff, VOC, Potsdam-3, Pascal Context and ADE20K."""
    for tree in (cityscapes, pascal_context, ade20k, *TREES.values()):
        tree(tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("name", TREES)
def test_a_sound_tree_is_counted_against_the_published_numbers(bench: Bench, root: Path, name: str) -> None:
    result = bench("data", "verify", name, "--data-root", root, "--all", "--json")
    reports = {report["split"]: report for report in json.loads(result.out)}
    absent = {"train_aug"} & set(reports)
    assert result.code == (1 if absent else 0)
    assert {split: report["sound"] for split, report in reports.items()} == {s: s not in absent for s in reports}
    assert all(report["found"] == report["read"] == 3 for split, report in reports.items() if split not in absent)
    assert not any(report["complete"] for report in reports.values())


@pytest.mark.parametrize(
    ("name", "gone", "says", "source"),
    [
        ("coco_stuff", "cocostuff/curated", "val2017/Coco164kFull_Stuff_Coarse_7.txt: no such file", "xu-ji/IIC"),
        (
            "coco_stuff",
            "cocostuff/annotations",
            "stuffthingmaps/val2017: no such folder",
            "stuffthingmaps_trainval2017",
        ),
        (
            "pascal_voc",
            "VOCdevkit/VOC2012/SegmentationClass",
            "SegmentationClass: no such folder",
            "VOCtrainval_11-May",
        ),
        ("potsdam3", "potsdam/gt", "gt: no such folder", "potsdam_prepare.py"),
    ],
)
def test_what_is_missing_is_told_with_its_source_and_licence(
    bench: Bench, root: Path, name: str, gone: str, says: str, source: str
) -> None:
    shutil.rmtree(root / gone)
    result = bench("data", "verify", name, "--data-root", root)
    assert result.code == 1
    assert says in result.out
    if gone == "cocostuff/curated":
        assert result.out.count(says) == 1  # images and labels both want the list
    assert source in result.out.splitlines()[-1]
    assert "research" in result.out.splitlines()[-1] or "CC BY" in result.out.splitlines()[-1]


@pytest.mark.parametrize("grid", ROWS)
def test_grids_of_the_field_plan_on_data_in_the_real_layouts(
    bench: Bench, lab: Lab, root: Path, grid: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Looking for weights would import timm and torch, and what is cached differs between machines.
    monkeypatch.setattr("spectral_bench.bench.plan.inputs.weights_digest", lambda name, options: "0" * 16)
    path = with_texts(GRIDS / f"{grid}.yaml", lab.out.parent)
    result = bench("plan", path, "--out", lab.out, "--data-root", root, "--json")
    assert (result.code, result.errors) == (0, [])
    planned = json.loads(result.out)
    assert len({run["title"] for run in planned["runs"] if run["asked_for"]}) == ROWS[grid]
    assert {run["state"] for run in planned["runs"]} == {"new"}


WITH_CRF = ("paper/primaps_kmeans", "paper/stego")


@pytest.mark.parametrize("grid", ROWS)
def test_grids_of_the_field_find_nothing_wrong_with_such_data(bench: Bench, lab: Lab, root: Path, grid: str) -> None:
    """All that a launch checks of grid, packages and data, but weights, which no test may fetch."""
    if grid in WITH_CRF:
        pytest.importorskip("pydensecrf.densecrf")
    options = "random" if grid in OPTIONS_STATED else "{weights: random, facet: tokens, layers: [11]}"
    key = "backbone_options.weights" if grid in OPTIONS_STATED else "backbone_options"
    path = with_texts(GRIDS / f"{grid}.yaml", lab.out.parent, "random-0")
    command = ("run", "--grid", path, "--out", lab.out, "--data-root", root, "--dry-run", "--set", f"{key}={options}")
    result = bench(*command, "--set", "subset=null")
    assert result.code == 0, result.err
    assert not lab.out.exists()
