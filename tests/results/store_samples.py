"""Small records for tests of the store."""

from __future__ import annotations

from typing import Any

import numpy as np

from spectral_bench.results.contingency import Contingency
from spectral_bench.results.manifest import Manifest, ManifestRow
from spectral_bench.results.record import ClassTable, EvaluationRecord, Failure, FitRecord, StageCost
from spectral_bench.results.specification import BackboneSpec, FitSpec, Protocol, Scoring, TrainingData, View

START, END = "2026-01-02T03:04:05+00:00", "2026-01-02T03:14:15+00:00"
VIEW = View(dataset="synthetic", split="val")
OTHER_VIEW = View(dataset="synthetic", split="val", subset=2)
FAILURE = Failure(kind="exception", message="ValueError: boom", traceback="Traceback ...", log_tail="last words")


def spec(seed: int = 0, **params: Any) -> FitSpec:
    return FitSpec(
        data=TrainingData(dataset="synthetic"),
        backbone=BackboneSpec(name="random", weights="0123456789ab"),
        method="kmeans",
        params={"k": 4} | params,
        seed=seed,
    )


def fit(seed: int = 0, status: str = "done", **changes: Any) -> FitRecord:
    what = spec(seed)
    record = FitRecord(
        run_id=what.run_id,
        spec=what,
        status="done",
        started=START,
        finished=END,
        n_clusters=4,
        costs=[StageCost(stage="fit", wall_s=1.5, cpu_s=2.5, peak_rss=10**8)],
        environment={"host": "somewhere"},
        code={"methods.kmeans": "abc"},
    )
    failure = FAILURE if status == "failed" else None
    return record.model_copy(update={"status": status, "failure": failure} | changes)


def evaluation(seed: int = 0, status: str = "done", view: View = VIEW, **changes: Any) -> EvaluationRecord:
    record = EvaluationRecord(
        run_id=spec(seed).run_id,
        view_id=view.view_id,
        view=view,
        status="done",
        started=START,
        finished=END,
        n_images=2,
        n_clusters=4,
        n_raw_labels=3,
        class_sets={"3": ClassTable(classes=["a", "b", "c"], raw_ids=[[0], [1], [2]])},
        default_classes="3",
    )
    failure = FAILURE if status == "failed" else None
    return record.model_copy(update={"status": status, "failure": failure} | changes)


def contingency(scale: int = 1) -> Contingency:
    image, cluster, label = (np.array(values, dtype=np.int32) for values in ([0, 0, 1], [0, 3, 2], [1, 0, 2]))
    return Contingency(("one", "two"), 4, 3, image, cluster, label, np.array([7, 5, 12], dtype=np.int64) * scale)


def manifest(name: str = "example", title: str = "kmeans") -> Manifest:
    row = ManifestRow(
        title=title,
        method="kmeans",
        dataset="synthetic",
        train_dataset="synthetic",
        backbone="random",
        settings={"k": 4},
        runs={seed: spec(seed).run_id for seed in (0, 1)},
        protocols=[Protocol(name="whole", view=VIEW, scoring=Scoring())],
    )
    return Manifest(name=name, written=START, rows=[row])
