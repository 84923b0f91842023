"""What the rest of a plan takes: disk for feature caches, time and memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spectral_bench.bench.features.backbones import backbone_info
from spectral_bench.bench.features.cache.meta import (
    META_FILE,
    cache_key,
    cache_material,
    gigabytes,
    images_of,
    planned_bytes,
)
from spectral_bench.bench.features.recipes import Recipe, cached_recipe, view_recipe
from spectral_bench.bench.plan.inputs import image_count, training_sides, view_sides
from spectral_bench.bench.plan.measured import evaluation_part, features_part, fit_part
from spectral_bench.bench.plan.prediction import Measurements, Part, predict
from spectral_bench.bench.plan.states import Plan, PlannedCache, PlannedRun
from spectral_bench.bench.work.progress import PROGRESS_FILE, read_progress
from spectral_bench.common.errors import StoreError
from spectral_bench.common.registry import short_name
from spectral_bench.results.specification import FitSpec, TrainingData, View
from spectral_bench.results.state import RunState
from spectral_bench.results.store import Store

FEATURES_FOLDER = "features"


@dataclass(frozen=True)
class WantedCache:
    """One cache: which images, seen how, through which backbone.

    Attributes:
        key: the name of its folder.
        source: the images; a view, or the training data of a fit.
        title: for tables.
        bytes: its size; None where it depends on images not seen yet.
    """

    key: str
    source: TrainingData | View
    title: str
    bytes: int | None


def planned_caches(runs: Iterable[PlannedRun], store: Path) -> tuple[PlannedCache, ...]:
    """The feature caches that the unfinished among ``runs`` need, each once, in the order of their use."""
    found: dict[str, PlannedCache] = {}
    alike: dict[object, list[WantedCache]] = {}
    for run in runs:
        if run.condition.finished or run.spec.features.mode != "cache":
            continue
        kind = (run.features, run.condition.fitted, tuple(view.view_id for view in run.condition.missing))
        if kind not in alike:
            alike[kind] = wanted_caches(run.spec, fitted=run.condition.fitted, missing=run.condition.missing)
        for wanted in alike[kind]:
            if wanted.key not in found:
                found[wanted.key] = PlannedCache(wanted.title, wanted.bytes, is_present(store, wanted.key), 0)
            found[wanted.key] = replace(found[wanted.key], runs=found[wanted.key].runs + 1)
    return tuple(found.values())


def require_space(plan: Plan, limit: int) -> None:
    """Refuse a plan whose caches do not fit, before anything is written.

    Raises:
        StoreError: the caches take more than ``limit`` bytes or more than what is free on the disk.
    """
    needed = plan.cache_bytes
    taken = needed + sum(cache.bytes or 0 for cache in plan.caches if cache.present)
    if taken > limit:
        raise StoreError(
            f"the feature caches of the plan take {gigabytes(taken)}, more than --cache-limit {gigabytes(limit)}; "
            "raise the limit, or set features.mode: online"
        )
    if needed > plan.free:
        raise StoreError(
            f"{plan.store}: the feature caches of the plan take {gigabytes(needed)} and {gigabytes(plan.free)} are free"
            " on its disk; free some, choose another --out, or set features.mode: online"
        )


def wanted_caches(spec: FitSpec, *, fitted: bool, missing: Sequence[View]) -> list[WantedCache]:
    """The caches that the rest of a run reads: of its training images unless it is fitted, and of missing views."""
    if spec.features.mode != "cache":
        return []
    wanted = []
    if not fitted:
        recipe = cached_recipe(spec.data.transform, spec.features)
        wanted.append(_cache(spec, spec.data, recipe, training_sides(spec.data), spec.features.views))
    for view in missing:
        wanted.append(_cache(spec, view, view_recipe(view), view_sides(view), 1))
    return wanted


def has_features(spec: FitSpec, store: Path, *, fitted: bool, missing: Sequence[View]) -> bool:
    """Whether the store in a folder holds all features that the rest of a run reads, so that it needs no weights."""
    wanted = wanted_caches(spec, fitted=fitted, missing=missing)
    return spec.features.mode != "online" and all(is_present(store, cache.key) for cache in wanted)  # files: no cache


def is_present(store: Path, key: str) -> bool:
    """Whether a cache is complete in the store in the folder ``store``."""
    return (store / FEATURES_FOLDER / key / META_FILE).is_file()


def _cache(
    spec: FitSpec, source: TrainingData | View, recipe: Recipe, sides: tuple[int, int] | None, shots: int
) -> WantedCache:
    images = image_count(source)
    size = None
    if sides is not None and images is not None:
        info = backbone_info(spec.backbone.name, spec.backbone.options)
        size = planned_bytes(images, shots, *sides, info, spec.features.dtype)
    material = cache_material(images_of(source), recipe, spec.backbone, spec.backbone.weights, spec.features.dtype)
    subset = f" ({source.subset} images)" if source.subset else ""
    title = f"{short_name(source.dataset)} {source.split}{subset}, {short_name(spec.backbone.name)}"
    return WantedCache(cache_key(material), source, title, size)


def with_predictions(runs: Sequence[PlannedRun], measured: Measurements, store: Path) -> list[PlannedRun]:
    """The runs with what each has left to do, and what that is going to take.

    Cached features cost nothing, and those still to be extracted are counted for the first run that needs them.

    Args:
        runs: in the order of execution.
        measured: all that is known.
        store: the folder of the store.
    """
    extracted: set[str] = set()
    alike: dict[object, list[tuple[str, Part]]] = {}
    predicted = []
    for run in runs:
        parts: list[Part] = []
        if not run.condition.finished:
            kind = (run.features, run.condition.fitted, tuple(view.view_id for view in run.condition.missing))
            if kind not in alike:
                alike[kind] = _absent_features(run, store)
            parts += [part for key, part in alike[kind] if key not in extracted]
            extracted.update(key for key, _ in alike[kind])
            parts += _own_parts(run, store)
        predicted.append(replace(run, parts=tuple(parts), prediction=predict(parts, measured)))
    return predicted


def _absent_features(run: PlannedRun, store: Path) -> list[tuple[str, Part]]:
    """The caches that are still to be written for a run, by key."""
    wanted = wanted_caches(run.spec, fitted=run.condition.fitted, missing=run.condition.missing)
    written = run.spec.model_dump(mode="json")
    return [
        (cache.key, features_part(written, cache.source.model_dump(mode="json"), _images(cache.source)))
        for cache in wanted
        if not is_present(store, cache.key)
    ]


def _own_parts(run: PlannedRun, store: Path) -> list[Part]:
    """What only this run does: the rest of its fit, and its missing evaluations."""
    written = run.spec.model_dump(mode="json")
    parts = []
    if not run.condition.fitted:
        part = fit_part(written, _images(run.spec.data))
        if run.condition.state is RunState.INTERRUPTED and part.units is not None:
            part = replace(part, units=part.units * _share_left(store, run.run_id))
        parts.append(part)
    for view in run.condition.missing:
        parts.append(evaluation_part(written, view.model_dump(mode="json"), _images(view)))
    return parts


def _images(source: TrainingData | View) -> float | None:
    count = image_count(source)
    return None if count is None else float(count)


def _share_left(store: Path, run_id: str) -> float:
    """The share of a fit's steps that an interrupted one still has to do, by what it last said of itself."""
    told = read_progress(Store(store).run_folder(run_id) / PROGRESS_FILE)
    if told is None or told.stage != "fit" or not 0 < told.done < told.total:
        return 1.0
    return 1.0 - told.done / told.total
