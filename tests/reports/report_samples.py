"""A small store whose scores are known by heart: two clusters, two classes, so many wrong pixels of each hundred."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spectral_bench.results.contingency import Contingency
from spectral_bench.results.manifest import Manifest, ManifestRow
from spectral_bench.results.record import (
    ClassTable,
    EvaluationRecord,
    Failure,
    FitRecord,
    HealthCheck,
    StageCost,
    Status,
)
from spectral_bench.results.specification import (
    BackboneSpec,
    Crf,
    FitSpec,
    Protocol,
    Resize,
    Scoring,
    TrainingData,
    View,
)
from spectral_bench.results.store import Store

START, END = "2026-01-02T03:04:05+00:00", "2026-01-02T03:14:15+00:00"
VIEW = View(dataset="synthetic", split="val")
WHOLE = Protocol(name="whole", view=VIEW, scoring=Scoring())
_CENTRE = View(
    dataset="cityscapes",
    split="val",
    resize=Resize(mode="short_side", short_side=320),
    centre_crop=320,
    label_resize=True,
    crf=Crf(),
)
_WINDOWS = View(
    dataset="cityscapes",
    split="val",
    resize=Resize(mode="short_side", short_side=1024),
    window=768,
    stride=512,
)
AGAINST_PUBLISHED = [
    Protocol(name="centre320", view=_CENTRE, scoring=Scoring()),
    Protocol(name="hungarian", view=_CENTRE, scoring=Scoring(matching="hungarian")),
    Protocol(name="sliding", view=_WINDOWS, scoring=Scoring()),
]
CLASSES = ClassTable(classes=["sky", "sea"], raw_ids=[[0], [1]], palette=[[0, 0, 255], [0, 128, 0]])


def miou(wrong: int) -> float:
    """mIoU in per cent when ``wrong`` of the hundred pixels of each class lie in the other's cluster."""
    return 100 * (100 - wrong) / (100 + wrong)


def contingency(wrong: int, images: int = 1) -> Contingency:
    per_image = [[0, 0, 100 - wrong], [0, 1, wrong], [1, 0, wrong], [1, 1, 100 - wrong]]
    cells = [[image, *cell] for image in range(images) for cell in per_image if cell[2]]
    image, cluster, label, count = np.array(cells, dtype=np.int64).T
    ids = tuple(f"image{index}" for index in range(images))
    narrow = (part.astype(np.int32) for part in (image, cluster, label))
    return Contingency(ids, 2, 2, *narrow, count)


@dataclass
class Outcome:
    """What became of one seed: wrong pixels of each hundred, or a status; no fit at all where both are None."""

    wrong: int | None = None
    fit_status: Status | None = "done"
    evaluation_status: Status | None = "done"
    fit_s: float = 10.0
    peak_device: int | None = None
    reused: tuple[str, ...] = ()
    base: str | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    execution: dict[str, Any] = field(default_factory=dict)
    health: list[HealthCheck] = field(default_factory=list)
    evaluation_health: list[HealthCheck] = field(default_factory=list)
    health_s: float | None = None
    counts: Contingency | None = None
    energy: float | None = None
    flops: tuple[int | None, int | None] = (None, None)
    files: tuple[str, str] = ("", "")
    finished: str = END
    started: str = START
    features_reused: bool = False


FAILED = Outcome(fit_status="failed", evaluation_status=None)
NOT_CONVERGED = Outcome(fit_status="not_converged", evaluation_status=None)
MISSING = Outcome(fit_status=None, evaluation_status=None)
NOT_EVALUATED = Outcome(evaluation_status=None)


def outcomes(*wrong: int) -> dict[int, Outcome]:
    return {seed: Outcome(value) for seed, value in enumerate(wrong)}


def add_row(
    store: Store,
    title: str,
    seeds: dict[int, Outcome],
    *,
    method: str = "kmeans",
    protocols: Sequence[Protocol] = (WHOLE,),
    params: Mapping[str, Any] | None = None,
    **changes: Any,
) -> ManifestRow:
    """Write the records of a row and return its entry in the manifest."""
    runs = {}
    for seed, outcome in seeds.items():
        spec = FitSpec(
            data=TrainingData(dataset="synthetic"),
            backbone=BackboneSpec(name="random"),
            method=method,
            params={"title": title, **(params or {})},
            seed=seed,
        )
        runs[seed] = spec.run_id
        _write(store, spec, outcome, protocols)
    defaults: dict[str, Any] = {"dataset": "synthetic", "train_dataset": "synthetic", "backbone": "random"}
    fields = defaults | {"title": title, "method": method, "runs": runs, "protocols": list(protocols)} | changes
    return ManifestRow(**fields)


def write_grid(store: Store, *rows: ManifestRow, name: str = "example", note: str = "") -> Store:
    store.write_manifest(Manifest(name=name, note=note, written=START, rows=list(rows)))
    return store


def make_store(folder: Path) -> Store:
    return Store.open(folder / "store", create=True)


def _write(store: Store, spec: FitSpec, outcome: Outcome, protocols: Sequence[Protocol]) -> None:
    if outcome.fit_status is None:
        return
    costs = [
        StageCost(
            stage="features",
            wall_s=3.0,
            cpu_s=3.0,
            peak_rss=2 * 10**9,
            energy_j=outcome.energy,
            items=8,
            reused=outcome.features_reused,
        ),
        StageCost(
            stage="fit",
            wall_s=outcome.fit_s,
            cpu_s=20.0,
            peak_rss=3 * 10**8,
            peak_device=outcome.peak_device,
            energy_j=outcome.energy,
            items=8,
        ),
        *(StageCost(stage=name, wall_s=99.0, cpu_s=99.0, peak_rss=1, reused=True) for name in outcome.reused),
    ]
    store.write_fit(
        FitRecord(
            run_id=spec.run_id,
            spec=spec,
            status=outcome.fit_status,
            started=outcome.started,
            finished=END,
            n_clusters=2,
            parameters=1234,
            base=outcome.base,
            costs=costs,
            failure=_failure(outcome.fit_status),
            environment=outcome.environment,
            execution=outcome.execution,
            health=outcome.health,
        )
    )
    if outcome.evaluation_status is not None:
        for view in {protocol.view.view_id: protocol.view for protocol in protocols}.values():
            _write_evaluation(store, spec, outcome, view)


def _write_evaluation(store: Store, spec: FitSpec, outcome: Outcome, view: View) -> None:
    assert outcome.evaluation_status is not None
    failed = outcome.evaluation_status == "failed"
    record = EvaluationRecord(
        run_id=spec.run_id,
        view_id=view.view_id,
        view=view,
        status=outcome.evaluation_status,
        started=outcome.started,
        finished=outcome.finished,
        n_images=1,
        n_clusters=2,
        n_raw_labels=2,
        class_sets={
            "two": CLASSES,
            "sky": ClassTable(classes=["sky"], raw_ids=[[0]]),
            "three": ClassTable(classes=["sky", "sea", "ship"], raw_ids=[[0], [1], []]),
        },
        default_classes="two",
        costs=_evaluation_costs(outcome),
        flops_features=outcome.flops[0],
        flops_predict=outcome.flops[1],
        health=outcome.evaluation_health,
        failure=_failure(outcome.evaluation_status),
        data_digest=outcome.files[0],
        label_files=outcome.files[1],
        execution=outcome.execution,
    )
    store.write_evaluation(record, None if failed else outcome.counts or contingency(outcome.wrong or 0))


def _evaluation_costs(outcome: Outcome) -> list[StageCost]:
    costs = [StageCost(stage="evaluate", wall_s=2.0, cpu_s=2.0, peak_rss=4 * 10**8, energy_j=outcome.energy, items=1)]
    if outcome.health_s is not None:
        costs.append(StageCost(stage="health", wall_s=outcome.health_s, cpu_s=1.0, peak_rss=9 * 10**9))
    return costs


def _failure(status: Status) -> Failure | None:
    if status != "failed":
        return None
    return Failure(kind="out_of_memory", message="tried to allocate\na lot", traceback="Traceback", log_tail="tail")
