"""The grid that a specification is written out as asks for the very run, and for the views that it was looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from PIL import Image
from plan_lab import FixedCode, Lab, fit_record, with_texts

from spectral_bench.bench.grid.load import load_grid
from spectral_bench.bench.plan.build import make_plan
from spectral_bench.bench.plan.states import Plan, PlannedRun
from spectral_bench.common.documents.reading import parse_document
from spectral_bench.results.reproduce import asked_protocols, grid_of
from spectral_bench.results.specification import Protocol

ROOT = Path(__file__).parents[3]
SHIPPED = sorted([ROOT / "ablations.yaml", *(ROOT / "grids").rglob("*.yaml")])
SHIPPED = [path for path in SHIPPED if "protocols" not in path.parts]

METHOD = '''
"""A method for plans."""
from spectral_bench.methods.params import Params
from pydantic import Field


class P(Params):
    k: int = Field(4, ge=2, description="clusters")
    mark: str = Field("x", description="any text")


class {name}:
    """Mine."""
    Params, uses_labels, fit_from = P, False, {base}
    fit = predict = state_dict = load_state_dict = None

    @staticmethod
    def base_params(params):
        return {{"k": params.k, "mark": "base"}}
'''

DESCRIPTION = """
title: Mine
splits: {all: {images: ., labels: labels}}
classes: [{name: dark, ids: [0]}]
"""


def plan_of(text: str, folder: Path) -> Plan:
    folder.mkdir(exist_ok=True)
    path = folder / "again.yaml"
    path.write_text(text)
    return make_plan(load_grid(path), None, folder / "none")


def again(run: PlannedRun, protocols: list[Protocol], folder: Path) -> Plan:
    """The plan of the grid that reproduces a run, read in another folder than the grid that asked for it first."""
    return plan_of(grid_of(fit_record(run.spec), protocols, run.views), folder / "elsewhere")


def assert_same(run: PlannedRun, plan: Plan) -> None:
    (found,) = (one for one in plan.runs if one.asked_for)
    assert found.run_id == run.run_id
    assert {view.view_id for view in found.views} == {view.view_id for view in run.views}
    assert found.requires == run.requires


@pytest.fixture
def _digests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests of transformers would import timm and torch."""
    monkeypatch.setattr("spectral_bench.bench.plan.inputs.weights_digest", lambda name, options: "0" * 16)


@pytest.mark.usefixtures("_digests")
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_run_of_the_shipped_grids_is_reproduced_by_its_own_grid(path: Path, tmp_path: Path) -> None:
    plan = make_plan(load_grid(with_texts(path, tmp_path)), None, tmp_path / "none", FixedCode())
    asked = [run for run in plan.runs if run.asked_for]
    first = min(run.spec.seed for run in asked)
    for run in (one for one in asked if one.spec.seed == first):
        protocols = asked_protocols([plan.manifest], run.run_id)
        found = again(run, protocols, tmp_path)
        assert_same(run, found)
        resolved = [one for row in found.manifest.rows for one in row.protocols]
        assert sorted(map(repr, resolved)) == sorted(map(repr, protocols))  # scorings and names too


GRIDS = {
    "own protocol and seed": """
        protocols: [{name: cut, extends: centre320, view: {subset: 5, crf: {}}, scoring: {fit_split: train}}, whole]
        runs: [{method: kmeans, dataset: camvid, split: test, seeds: [7, 11], subset: 20, train_split: val}]
    """,
    "one name for two protocols": """
        runs:
        - {method: kmeans, protocols: [{name: one, view: {centre_crop: 64}}]}
        - {method: kmeans, protocols: [{name: one, view: {centre_crop: 96}}]}
    """,
    "several data sets": """
        runs:
        - {method: kmeans, train_dataset: camvid, dataset: camvid}
        - {method: kmeans, train_dataset: camvid, dataset: synthetic, eval_subset: 3}
    """,
    "transform, features and precision": """
        runs:
        - {method: neuralef, transform: {}, precision: bfloat16, features: {mode: online}, params: {batch_size: 1}}
        - method: neuralef
          transform: {resize: {mode: short_side, short_side: 64}, scale: [0.5, 2.0], crop: 64, flip: true}
          features: {views: 3, dtype: float32}
          params: {steps: 3, lr: 1e-4}
    """,
    "options of the backbone": """
        runs: [{method: kmeans, backbone_options: {weights: random, seed: 3}}]
    """,
    "a fit that starts from another": "runs: [{method: neuralef_kmeans, params: {k: 5, base_k: 9}}]",
    "texts that look like numbers": """
        runs: [{method: "mine.py:Mine", matrix: {mark: ["1e-3", "12:30", "", "~", "null", "no", "#x", "a: b", "ä\\n"]}}]
    """,
    "a data set of one's own": """
        runs: [{method: kmeans, dataset: "folder:own.yaml", split: all, train_split: all, params: {k: 3}}]
    """,
    "a method that starts from another of one's own": 'runs: [{method: "other.py:Other", params: {k: 5}}]',
}


@pytest.mark.parametrize("text", GRIDS.values(), ids=GRIDS)
def test_what_a_grid_can_state_is_reproduced(text: str, tmp_path: Path, lab: Lab) -> None:
    (tmp_path / "labels").mkdir()
    (tmp_path / "mine.py").write_text(METHOD.format(name="Mine", base=None))
    (tmp_path / "other.py").write_text(METHOD.format(name="Other", base='"mine.py:Mine"'))
    (tmp_path / "own.yaml").write_text(DESCRIPTION)
    for name in ("a", "b"):
        Image.new("RGB", (40, 40)).save(tmp_path / f"{name}.png")
        Image.new("L", (40, 40)).save(tmp_path / "labels" / f"{name}.png")
    plan = make_plan(load_grid(lab.write(text)), None, tmp_path / "none")
    asked = [run for run in plan.runs if run.asked_for]
    assert asked
    for run in asked:
        assert_same(run, again(run, asked_protocols([plan.manifest], run.run_id), tmp_path))
        assert_same(run, again(run, [], tmp_path))  # from its records alone, where no grid is left that asks for it


def test_the_grid_states_what_the_id_is_a_hash_of_and_the_weights(lab: Lab) -> None:
    (run,) = lab.plan("runs: [{method: kmeans, seeds: [3], params: {k: 8}}]").runs
    text = grid_of(run.spec, (), run.views)
    assert text.startswith(f"# Asks for run {run.run_id}.\n")
    assert run.spec.backbone.weights in text.splitlines()[1]
    (row,) = yaml.safe_load(text)["runs"]
    assert row["params"] == run.spec.params
    assert row["seeds"] == [3]
    assert "seeds: [3]\n" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_fit_alone_asks_for_no_protocol(lab: Lab) -> None:
    run = next(run for run in lab.plan("runs: [{method: neuralef_kmeans}]").runs if not run.asked_for)
    document = parse_document(grid_of(run.spec), "grid")
    assert document.get(("runs", 0, "protocols")) == []
    assert document.get(("runs", 0, "method")) == "neuralef"
