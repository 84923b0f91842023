"""Write a store of many finished runs, to time commands on: ``python benchmarks/large_store.py FOLDER --runs 5000``.

The records are as large as those of real runs, and are made by today's code. Beside the store lies ``grid.yaml``, which
asks for all of its runs. Then, for example::

    time python -m bench plan   --grid FOLDER/grid.yaml --out FOLDER/store
    time python -m bench status --out FOLDER/store
    python benchmarks/bench_report.py FOLDER/store --no-gallery
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from spectral_bench.bench.code.records import evaluation_code, fit_code
from spectral_bench.bench.grid.load import load_grid
from spectral_bench.bench.measure.environment import environment
from spectral_bench.bench.plan.build import make_plan
from spectral_bench.bench.plan.states import PlannedRun
from spectral_bench.datasets.registry import data_info
from spectral_bench.results.class_lists import class_tables
from spectral_bench.results.contingency import Contingency
from spectral_bench.results.record import EvaluationRecord, FitRecord, HealthCheck, StageCost
from spectral_bench.results.specification import View
from spectral_bench.results.store import Store

NOW = "2026-01-01T00:00:00+00:00"
IMAGES, CLUSTERS, SEEDS = 100, 64, 5
GRID = """\
name: large
defaults: {{dataset: camvid, seeds: {seeds}}}
ablate:
  base: {{method: neuralef, params: {{k: 64}}}}
  vary: {{alpha: {alphas}}}
runs:
  - {{method: kmeans, matrix: {{k: {ks}}}}}
"""


def write_grid(folder: Path, runs: int) -> Path:
    """A grid of ``runs`` runs over five seeds, half of them an ablation."""
    rows = max(runs // SEEDS, 2)
    alphas = [0.3, *(round(1 + index / rows, 6) for index in range(1, rows // 2))]  # 0.3 is the baseline's own
    path = folder / "grid.yaml"
    path.write_text(GRID.format(seeds=list(range(SEEDS)), alphas=alphas, ks=list(range(65, 65 + rows - rows // 2))))
    return path


def contingency(seed: int) -> Contingency:
    """Counts of a hundred images, most of them in the class that their cluster stands for."""
    random = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(CLUSTERS), 4)
    label = np.stack([(np.arange(CLUSTERS) + step) % 12 for step in range(4)], axis=1)
    label = np.sort(label, axis=1).ravel()
    size = len(cluster)
    image = np.repeat(np.arange(IMAGES), size)
    count = random.integers(1, 5000, IMAGES * size)
    ids = tuple(f"image{number:05d}" for number in range(IMAGES))
    places = (image, np.tile(cluster, IMAGES), np.tile(label, IMAGES))
    images, clusters, labels = (part.astype(np.int32) for part in places)
    return Contingency(ids, CLUSTERS, 12, images, clusters, labels, count)


def fill(store: Store, run: PlannedRun, counts: Contingency) -> None:
    """The records of one finished run."""
    common: dict[str, Any] = {
        "started": NOW,
        "finished": NOW,
        "environment": environment(),
        "execution": {"device": "cpu", "threads": 2},
    }
    costs = [StageCost(stage=name, wall_s=1.25, cpu_s=2.5, peak_rss=10**9, items=367) for name in ("features", "fit")]
    health = [HealthCheck(name="orthogonality", value=0.01, limit=0.1, passed=True)]
    fitted = FitRecord(
        run_id=run.run_id,
        spec=run.spec,
        status="done",
        n_clusters=CLUSTERS,
        parameters=10**6,
        costs=costs,
        health=health,
        code=fit_code(run.spec.method, run.spec.data.dataset, run.spec.backbone.name),
        **common,
    )
    store.write_fit(fitted)
    for view in run.views:
        store.write_evaluation(evaluated(run, view, common), counts)


def evaluated(run: PlannedRun, view: View, common: dict[str, Any]) -> EvaluationRecord:
    """The record of one finished evaluation."""
    names = ("features", "predict", "evaluate")
    info = data_info(view.dataset)
    return EvaluationRecord(
        run_id=run.run_id,
        view_id=view.view_id,
        view=view,
        status="done",
        n_images=IMAGES,
        n_clusters=CLUSTERS,
        n_raw_labels=12,
        class_sets=class_tables(info.class_sets),
        default_classes=info.default_classes,
        costs=[StageCost(stage=name, wall_s=1.25, cpu_s=2.5, peak_rss=10**9, items=100) for name in names],
        code=evaluation_code(run.spec.method, view.dataset, run.spec.backbone.name),
        **common,
    )


def main() -> None:
    """Write the grid and the store."""
    parser = argparse.ArgumentParser(description="Write a store of many finished runs.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=int, default=5000)
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    setattr(os, "fsync", lambda _: None)  # noqa: B010  # nothing here has to outlive a power cut
    grid = load_grid(write_grid(given.folder, given.runs), ())
    store = Store.open(given.folder / "store", create=True)
    plan = make_plan(grid, None, store.path)
    store.write_manifest(plan.manifest)
    for number, run in enumerate(plan.runs):
        fill(store, run, contingency(number))
    sys.stdout.write(f"{len(plan.runs)} runs in {store.path}; they are asked for by {given.folder / 'grid.yaml'}\n")


if __name__ == "__main__":
    main()
