"""A store on disk in any condition, and plans of grids against it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from spectral_bench.bench.grid.load import load_grid
from spectral_bench.bench.plan.build import make_plan
from spectral_bench.bench.plan.run_ids import ResolvedRow, resolve_rows
from spectral_bench.bench.plan.states import Plan
from spectral_bench.bench.plan.today import Data
from spectral_bench.datasets.registry import data_info
from spectral_bench.methods.maskclip.text_vectors import SUFFIX
from spectral_bench.methods.testing import text_file
from spectral_bench.results.contingency import ContingencyBuilder
from spectral_bench.results.record import EvaluationRecord, Failure, FitRecord, HealthCheck, StageCost
from spectral_bench.results.specification import FitSpec, View
from spectral_bench.results.store import Store

CLIP = "vit_base_patch16_clip_quickgelu_224.openai"
TEXTS = {"pascal_context": "59", "cityscapes": "19", "ade20k": "150"}
"""Data sets whose classes the grids that ship name by text, and which set."""

NOW = "2026-01-01T00:00:00+00:00"
CODE = {"bench.run": "aaaa", "methods.kmeans": "bbbb"}

TRAINED = "{defaults: {subset: 32}, runs: [{method: neuralef, params: {k: 8, batch_size: 4, epochs: 50}}]}"
SMALL = """\
name: small
defaults: {subset: 8, seeds: [0, 1]}
runs:
  - {method: kmeans, params: {k: 8}, matrix: {input: [last, last_l2]}}
"""


def fit_record(spec: FitSpec, status: str = "done", **changes: Any) -> FitRecord:
    values = {"started": NOW, "finished": NOW, "code": CODE, "n_clusters": 8}
    return FitRecord(run_id=spec.run_id, spec=spec, status=status, **{**values, **changes})


def evaluation_record(spec: FitSpec, view: View, status: str = "done", **changes: Any) -> EvaluationRecord:
    values: dict[str, Any] = {"started": NOW, "finished": NOW, "code": CODE}
    return EvaluationRecord(run_id=spec.run_id, view_id=view.view_id, view=view, status=status, **{**values, **changes})


def cost(stage: str, seconds: float, *, reused: bool = False) -> StageCost:
    return StageCost(stage=stage, wall_s=seconds, cpu_s=seconds, peak_rss=1, reused=reused)


def failure(kind: str = "exception", message: str = "it broke\nbadly") -> Failure:
    return Failure(kind=kind, message=message)


def unhealthy() -> HealthCheck:
    return HealthCheck(name="clusters in use", value=1.0, limit=2.0, passed=False, note="1 < 2")


def with_texts(path: Path, folder: Path, weights: str = "0" * 16) -> Path:
    """A grid of ours, beside text vectors of the data sets that it names by text; the grid itself where there is none.

    Args:
        path: of the grid.
        folder: where copies are put.
        weights: the digest of the backbone's weights.
    """
    named = [name for name in TEXTS if f"{name}{SUFFIX}" in path.read_text()]
    if not named:
        return path
    there = folder / path.parent.name
    shutil.copytree(path.parent, there, dirs_exist_ok=True)
    for name in named:
        classes = tuple(data_info(name).class_sets[TEXTS[name]].classes)
        text = text_file(classes, 512, backbone=CLIP, backbone_weights=weights)
        shutil.copy(text, there / f"{name}{SUFFIX}")
    return there / path.name


class FixedCode:
    """Today's code is always the same."""

    def fit(self, method: str, dataset: str, backbone: str) -> dict[str, str]:
        return CODE

    def evaluation(self, method: str, dataset: str, backbone: str) -> dict[str, str]:
        return CODE


class Lab:
    """A store on disk, grids written to a folder, and plans of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"

    @property
    def store(self) -> Store:
        return Store.open(self.out, create=True)

    def write(self, text: str) -> Path:
        path = self.folder / "g.yaml"
        path.write_text(text)
        return path

    def rows(self, text: str, *changes: str) -> list[ResolvedRow]:
        return resolve_rows(load_grid(self.write(text), changes), {})

    def plan(self, text: str = SMALL, *changes: str, verify: bool = False, data: Data | None = None) -> Plan:
        store = Store.open(self.out) if self.out.exists() else None
        grid = load_grid(self.write(text), changes)
        return make_plan(grid, store, self.out, FixedCode(), data=data, verify=verify)

    def evaluate(self, spec: FitSpec, view: View, **changes: Any) -> None:
        record = evaluation_record(spec, view, **changes)
        if record.status == "failed":
            self.store.write_evaluation(record)
            return
        builder = ContingencyBuilder(8, 12)
        self.store.write_evaluation(record, builder.build())

    def finish(self, spec: FitSpec, views: tuple[View, ...], **changes: Any) -> None:
        self.store.write_fit(fit_record(spec, **changes))
        for view in views:
            self.evaluate(spec, view, code=changes.get("code", CODE))
