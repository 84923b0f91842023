"""Runs of data sets and methods of a user's own: known by content, wherever they lie."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_lab import Bench
from PIL import Image

from spectral_bench.results.identity import digest
from spectral_bench.results.store import Store

METHOD = '''
"""Clusters by colours."""
import os
import torch
from spectral_bench.methods.params import Params
from sign import SIGN
from pydantic import Field


class Two(Params):
    k: int = Field(4, ge=2, description="clusters")


class Signs:
    """Which of the first k colours is strongest."""
    Params, uses_labels, fit_from = Two, False, None

    def __init__(self, params):
        self.n_clusters = params.k
        self.factor = torch.zeros(1)

    def fit(self, patches, *, context):
        if "BREAK" in os.environ:
            raise RuntimeError("broken")
        self.factor = torch.tensor([SIGN])
        return self

    def predict(self, batch):
        colours = torch.cat([batch.pixels, 1 - batch.pixels], -1)
        return (colours[..., : self.n_clusters] * self.factor).permute(0, 3, 1, 2)

    def state_dict(self):
        return {"factor": self.factor}

    def load_state_dict(self, state):
        self.factor = state["factor"]
'''
DESCRIPTION = """
title: Leaves
splits: {train: {images: pictures, labels: masks}, val: {images: pictures, labels: masks}}
classes: [{name: leaf, ids: [1]}, {name: ground, ids: [0, 2]}]
"""
GRID = """
name: leaves
defaults: {dataset: "folder:leaves.yaml", params: {k: 4}}
runs: [{method: kmeans}, {method: "signs.py:Signs"}]
"""


def project(folder: Path, seed: int = 0) -> Path:
    """A grid with images, labels, and a method, all named relative to it."""
    generator = np.random.default_rng(seed)
    for name in ("pictures", "masks"):
        (folder / name).mkdir(parents=True)
    for stem in ("a", "b"):
        pixels = generator.integers(0, 256, (64, 80 + 16 * seed, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / f"{stem}.png")
        Image.fromarray(generator.integers(0, 3, pixels.shape[:2], dtype=np.uint8)).save(
            folder / "masks" / f"{stem}.png"
        )
    for name, text in {"leaves.yaml": DESCRIPTION, "g.yaml": GRID, "signs.py": METHOD, "sign.py": "SIGN = 1.0"}.items():
        (folder / name).write_text(text)
    return folder


class Desk:
    """Projects that share a store."""

    def __init__(self, bench: Bench, store: Path) -> None:
        self.bench, self.store = bench, store

    def run(self, folder: Path, *more: str) -> None:
        grid = folder / "g.yaml"
        result = self.bench("run", "--grid", grid, "--out", self.store, "--executor", "inline", "--workers", 1, *more)
        assert result.code == 0, result.err

    def plan(self, folder: Path) -> dict[str, Any]:
        """Method -> the run that a plan tells."""
        found = json.loads(self.bench("plan", "--grid", folder / "g.yaml", "--out", self.store, "--json").out)
        return {run["run_id"].partition("-")[0]: run for run in found["runs"]}

    def states(self, folder: Path) -> dict[str, str]:
        return {method: run["state"] for method, run in self.plan(folder).items()}


@pytest.fixture
def desk(bench: Bench, tmp_path: Path) -> Desk:
    return Desk(bench, tmp_path / "store")


DONE = {"kmeans": "done", "signs": "done"}
NEW = {"kmeans": "new", "signs": "new"}


def test_moved_copied_and_called_from_anywhere(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = project(tmp_path / "one")
    desk.run(first)
    ids = {method: run["run_id"] for method, run in desk.plan(first).items()}
    monkeypatch.chdir("/")
    copy = shutil.copytree(first, tmp_path / "two")
    shutil.move(first, tmp_path / "three")
    for folder in (copy, tmp_path / "three"):
        assert desk.states(folder) == DONE
        assert {method: run["run_id"] for method, run in desk.plan(folder).items()} == ids


def test_another_project_of_the_same_names_is_another(desk: Desk, tmp_path: Path) -> None:
    first, second = project(tmp_path / "one"), project(tmp_path / "two", seed=1)
    desk.run(first)
    assert desk.states(second) == NEW
    assert "made of other files" in desk.plan(second)["kmeans"]["reason"]
    (tmp_path / "three").mkdir()
    third = shutil.copytree(first, tmp_path / "three", dirs_exist_ok=True)
    (third / "sign.py").write_text("SIGN = -1.0")
    assert desk.states(third) == {"kmeans": "done", "signs": "new"}
    desk.run(second)
    assert desk.states(first) == desk.states(second) == DONE


def test_a_class_list_is_no_part_of_a_run(desk: Desk, tmp_path: Path) -> None:
    folder = project(tmp_path / "one")
    desk.run(folder)
    (folder / "leaves.yaml").write_text(DESCRIPTION.replace("name: ground, ids: [0, 2]", "name: soil, ids: [2, 0]"))
    assert desk.states(folder) == DONE


def test_two_class_lists_over_the_same_files_are_no_rows_of_one_grid(desk: Desk, tmp_path: Path) -> None:
    """They are one data set to the store, whose rows are all scored over one list."""
    folder = project(tmp_path / "one")
    (folder / "g.yaml").write_text(
        "defaults: {method: kmeans, params: {k: 4}}\n"
        "runs:\n  - {dataset: 'folder:leaves.yaml'}\n  - {dataset: 'folder:other.yaml'}"
    )
    for ids, fine in (("[0, 2]", True), ("[2]", False)):
        (folder / "other.yaml").write_text(f"{DESCRIPTION.replace('[0, 2]', ids)}\nignore: [{7 if fine else 0}]")
        result = desk.bench("plan", "--grid", folder / "g.yaml", "--out", desk.store)
        assert result.code == (0 if fine else 2)
        if not fine:
            assert "g.yaml:4" in result.err
            assert "same images and labels as" in result.err
            assert "leaves.yaml" in result.err


def test_what_was_edited_is_stale_and_done_again_beside_what_was(desk: Desk, tmp_path: Path) -> None:
    folder = project(tmp_path / "one")
    desk.run(folder)
    before = desk.plan(folder)["kmeans"]
    (folder / "sign.py").write_text("SIGN = -1.0")
    stale = desk.plan(folder)
    assert (stale["kmeans"]["state"], stale["signs"]["state"]) == ("done", "stale")
    assert stale["signs"]["reason"] == "code changed since: sign.py"
    (folder / "sign.py").write_text("SIGN = 1.0")
    Image.new("RGB", (80, 64)).save(folder / "pictures" / "b.png")
    stale = desk.plan(folder)["kmeans"]
    assert (stale["state"], stale["run_id"]) == ("stale", before["run_id"])
    assert stale["reason"].startswith("data changed since: folder:leaves.yaml train images")
    desk.run(folder, "--rerun-stale")
    after = desk.plan(folder)
    assert {method: run["state"] for method, run in after.items()} == DONE
    assert after["kmeans"]["run_id"] != before["run_id"]
    assert Store(desk.store).fit_record(before["run_id"]) is not None


def test_runs_of_an_earlier_release_are_known_by_what_they_were_made_of(desk: Desk, tmp_path: Path) -> None:
    folder = project(tmp_path / "one")
    desk.run(folder)
    records = desk.store / "records"
    for path in sorted(records.iterdir()):
        as_before(path)
    (folder / "sign.py").write_text("SIGN = -1.0")  # which earlier releases did not look at
    found = desk.plan(folder)
    assert {method: run["state"] for method, run in found.items()} == {"kmeans": "done", "signs": "stale"}
    assert {run["run_id"] for run in found.values()} == {path.name for path in records.iterdir()}
    assert desk.states(project(tmp_path / "two", seed=1)) == NEW


def as_before(folder: Path) -> None:
    """Make the record of a run what the release before would have written."""

    def text(path: Path) -> dict[str, Any]:
        return dict(json.loads(path.read_text()))

    def spelled(named: dict[str, Any], key: str, name: str) -> None:
        if named.pop("known_as", None):
            named[key] = name

    fit = text(folder / "fit.json")
    spelled(fit["spec"], "method", "signs.py:Signs")
    spelled(fit["spec"]["data"], "dataset", "folder:leaves.yaml")
    fit["code"].pop("sign.py", None)
    fit |= {"schema_version": 1, "run_id": f"{folder.name.rpartition('-')[0]}-{digest(fit['spec'])}"}
    (folder / "fit.json").write_text(json.dumps(fit))
    for path in sorted((folder / "evaluations").glob("*.json")):
        record = text(path)
        spelled(record["view"], "dataset", "folder:leaves.yaml")
        record["code"].pop("sign.py", None)
        record |= {"schema_version": 1, "run_id": fit["run_id"], "view_id": digest(record["view"])}
        path.unlink()
        path.with_name(f"{record['view_id']}.json").write_text(json.dumps(record))
        path.with_suffix(".npz").rename(path.with_name(f"{record['view_id']}.npz"))
    for order in folder.glob("order-*"):
        order.unlink()
    folder.rename(folder.with_name(fit["run_id"]))


def test_why_and_predict_from_another_folder(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project(tmp_path / "one")
    desk.run(folder)
    monkeypatch.chdir("/")
    run_id = desk.plan(folder)["signs"]["run_id"]
    told = desk.bench("why", run_id, "--out", desk.store).out
    assert "state: done" in told
    assert "folder:leaves.yaml val images as today" in told
    masks = tmp_path / "masks"
    result = desk.bench("predict", run_id, folder / "pictures", "--to", masks, "--out", desk.store, "--no-overlays")
    assert result.code == 0, result.err
    assert (result.err, sorted(path.name for path in masks.iterdir())) == ("", ["a.png", "b.png", "legend.csv"])
    (folder / "sign.py").write_text("SIGN = -1.0")  # which signs.py imports
    given = [folder / "pictures", "--to", masks, "--out", desk.store, "--overwrite"]
    result = desk.bench("predict", run_id, *given, "--no-overlays")
    assert result.code == 0
    says = f"warning: edited since {run_id} was fitted: sign.py; these masks are of the code as it is now"
    assert result.errors == [says]
    of_kmeans = desk.plan(folder)["kmeans"]["run_id"]
    assert desk.bench("predict", of_kmeans, *given).err == ""


def test_a_state_that_does_not_load_is_a_failure(desk: Desk, tmp_path: Path) -> None:
    folder = project(tmp_path / "one")
    broken = METHOD.replace('self.factor = state["factor"]', 'self.factor = state["facto"]')
    (folder / "signs.py").write_text(broken)
    grid = folder / "g.yaml"
    result = desk.bench("run", "--grid", grid, "--out", desk.store, "--executor", "inline", "--workers", 1)
    assert result.code == 1
    failed = desk.plan(folder)["signs"]
    assert failed["state"] == "failed"
    assert "cannot be loaded into a fresh method: load_state_dict raised KeyError" in failed["reason"]


def test_a_path_that_is_none_says_where_it_was_looked_for(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project(tmp_path / "one")
    (folder / "deep").mkdir()
    shutil.move(folder / "g.yaml", folder / "deep" / "g.yaml")
    monkeypatch.chdir(folder)
    result = desk.bench("plan", "--grid", "deep/g.yaml", "--out", desk.store)
    assert result.code == 2
    assert f"no such file {folder}/deep/leaves.yaml; paths are relative to the grid file" in result.err


def test_retry_from_another_folder_goes_on_as_ordered(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project(tmp_path / "one")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("BREAK", "1")
    ordered = ("run", "--grid", "g.yaml", "--out", desk.store, "--executor", "inline", "--workers", 1)
    assert desk.bench(*ordered).code == 1
    assert desk.states(folder) == {"kmeans": "done", "signs": "failed"}
    monkeypatch.delenv("BREAK")
    monkeypatch.chdir("/")
    assert desk.bench("retry", "--out", desk.store).code == 0
    assert desk.states(folder) == DONE


def test_what_was_ordered_or_failed_before_an_edit_is_the_same_run(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project(tmp_path / "one")
    monkeypatch.setenv("BREAK", "1")
    grid = folder / "g.yaml"
    desk.bench("run", "--grid", grid, "--out", desk.store, "--executor", "inline", "--workers", 1)
    failed = desk.plan(folder)["signs"]
    (folder / "sign.py").write_text("SIGN = -1.0")
    assert desk.plan(folder)["signs"]["run_id"] == failed["run_id"]
    (desk.store / "records" / failed["run_id"] / "fit.json").unlink()  # ordered only
    assert desk.plan(folder)["signs"]["run_id"] == failed["run_id"]
