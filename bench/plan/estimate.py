"""What the rest of a plan takes: disk for feature caches, and time, by what past runs took."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

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
from spectral_bench.bench.plan.records import Cost, PastRun
from spectral_bench.bench.plan.states import Plan, PlannedCache, PlannedRun
from spectral_bench.common.errors import StoreError
from spectral_bench.common.registry import short_name
from spectral_bench.results.specification import FitSpec, TrainingData, View, own_name

FEATURES_FOLDER = "features"

Stages = dict[str, float]
"""Seconds by stage."""


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
        if run.condition.finished or run.spec.features.mode == "online":
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
    if spec.features.mode == "online":
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
    return spec.features.mode != "online" and all(is_present(store, cache.key) for cache in wanted)


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


class History:
    """What past runs cost, by configuration and by family.

    A family is a method on one split and subset with one backbone; its parameters and seeds may differ. Estimates are
    medians of wall time, as measured on whatever machines made the records.
    """

    def __init__(self, past: Iterable[PastRun]) -> None:
        self._fits: dict[object, list[Stages]] = defaultdict(list)
        self._evaluations: dict[object, list[Stages]] = defaultdict(list)
        self._usual: dict[object, Stages | None] = {}
        for run in past:
            fit = run.fit
            if fit.status != "failed":
                stages = _stages(fit.costs)
                self._fits[fit.configuration_id].append(stages)
                self._fits[fit.family].append(stages)
            for view_id, record in run.evaluations.items():
                if record.status != "failed":
                    self._evaluations[(view_id, fit.method, fit.family[-1])].append(_stages(record.costs))

    def estimate(self, run: PlannedRun) -> Stages | None:
        """Seconds by stage of what is left of a run; None where the past says nothing about a part of it."""
        spec = run.spec
        total: Stages = {}
        if not run.condition.fitted:
            past = self._medians(self._fits, spec.configuration_id) or self._medians(self._fits, spec.family)
            if past is None:
                return None
            total = dict(past)
        for view in run.condition.missing:
            seen = self._medians(self._evaluations, (view.view_id, spec.method, own_name(spec.backbone.name)))
            if seen is None:
                return None
            for stage, seconds in seen.items():
                total[stage] = total.get(stage, 0.0) + seconds
        return total

    def _medians(self, past: Mapping[object, list[Stages]], key: object) -> Stages | None:
        """What is usual under a key, computed once; None where there is no past."""
        if key not in self._usual:
            self._usual[key] = _medians(past[key]) if key in past else None
        return self._usual[key]


def _stages(costs: Sequence[Cost]) -> Stages:
    """Wall seconds by stage; what another run had paid for is left out."""
    total: Stages = defaultdict(float)
    for cost in costs:
        if not cost.reused:
            total[cost.stage] += cost.wall_s
    return dict(total)


def _medians(past: Sequence[Stages]) -> Stages:
    """The median of each stage over the runs that have it."""
    stages = dict.fromkeys(stage for one in past for stage in one)
    return {stage: median(one[stage] for one in past if stage in one) for stage in stages}
