"""The feature caches that a plan needs, and their bytes on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from bench.features.backbones import backbone_info
from bench.features.cache.material import cache_key, cache_material
from bench.features.cache.meta import META_FILE
from bench.features.cache.size import gigabytes, planned_bytes
from bench.features.recipes import Recipe, cached_recipe, view_recipe
from bench.plan.model import Plan, PlannedCache, PlannedRun
from common.errors import StoreError
from datasets import data_info
from results.specification import Resize, TrainingData, View

FEATURES_FOLDER = "features"


@dataclass(frozen=True)
class _Wanted:
    """One cache: which images, seen how, through which backbone."""

    key: str
    source: TrainingData | View
    title: str
    bytes: int | None


def planned_caches(runs: Iterable[PlannedRun], store: Path) -> tuple[PlannedCache, ...]:
    """The feature caches that the unfinished among ``runs`` need, each once, in the order of their use."""
    found: dict[str, PlannedCache] = {}
    alike: dict[object, list[_Wanted]] = {}
    for run in runs:
        if run.condition.finished or run.spec.features.mode == "online":
            continue
        kind = (run.features, run.condition.fitted, tuple(view.view_id for view in run.condition.missing))
        for wanted in alike.get(kind) or alike.setdefault(kind, _wanted(run)):
            if wanted.key not in found:
                present = (store / FEATURES_FOLDER / wanted.key / META_FILE).is_file()
                found[wanted.key] = PlannedCache(wanted.title, wanted.bytes, present, 0)
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


def _wanted(run: PlannedRun) -> list[_Wanted]:
    spec = run.spec
    wanted = []
    if not run.condition.fitted:
        recipe = cached_recipe(spec.data.transform, spec.features)
        wanted.append(_cache(run, spec.data, recipe, _training_sides(spec.data), spec.features.views))
    for view in run.condition.missing:
        wanted.append(_cache(run, view, view_recipe(view), _view_sides(view), 1))
    return wanted


def _cache(
    run: PlannedRun, source: TrainingData | View, recipe: Recipe, sides: tuple[int, int] | None, shots: int
) -> _Wanted:
    spec = run.spec
    images = _images(source)
    size = None
    if sides is not None and images is not None:
        info = backbone_info(spec.backbone.name, spec.backbone.options)
        size = planned_bytes(images, shots, *sides, info, spec.features.dtype)
    images_of = {"dataset": source.dataset, "split": source.split, "subset": source.subset}
    material = cache_material(images_of, recipe, spec.backbone, spec.backbone.weights, spec.features.dtype)
    subset = f" ({source.subset} images)" if source.subset else ""
    title = f"{source.dataset} {source.split}{subset}, {spec.backbone.name}"
    return _Wanted(cache_key(material), source, title, size)


def _images(source: TrainingData | View) -> int | None:
    return source.subset or data_info(source.dataset).splits.get(source.split)


def _training_sides(data: TrainingData) -> tuple[int, int] | None:
    """Height and width in pixels of what the backbone sees; None where they depend on the images."""
    if data.transform.crop is not None:
        return data.transform.crop, data.transform.crop
    return _resized(data.transform.resize)


def _view_sides(view: View) -> tuple[int, int] | None:
    if view.window is not None:
        return None  # the number of windows depends on the images
    if view.centre_crop is not None:
        return view.centre_crop, view.centre_crop
    return _resized(view.resize)


def _resized(resize: Resize) -> tuple[int, int] | None:
    return resize.size if resize.mode == "exact" else None
