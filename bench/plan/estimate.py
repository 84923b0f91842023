"""What the rest of a plan takes: disk for feature caches, time and memory."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import ValidationError

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
from spectral_bench.bench.plan.images import counts_of, image_count, training_sides, view_sides
from spectral_bench.bench.plan.measured import evaluation_part, features_part, fit_part, measurements, read_probes
from spectral_bench.bench.plan.prediction import Measurements, Part, predict
from spectral_bench.bench.plan.records import Snapshot
from spectral_bench.bench.plan.states import Plan, PlannedCache, PlannedRun, RunStatus, views_of
from spectral_bench.bench.plan.today import CurrentData
from spectral_bench.bench.work.order import Order, fit_missing, missing_views
from spectral_bench.bench.work.progress import PROGRESS_FILE, read_progress
from spectral_bench.common.errors import StoreError, UserError
from spectral_bench.common.registry import short_name
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.results.identity import digest
from spectral_bench.results.specification import FitSpec, TrainingData, View, identity_form
from spectral_bench.results.state import RunState
from spectral_bench.results.store import Store

FEATURES_FOLDER = "features"

Counts = Mapping[tuple[str, str], int]
"""(Data set, split) -> images, of data sets that do not state it."""


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


def features_key(spec: FitSpec) -> str:
    """What the fits that share patch features have in common."""
    data = identity_form(spec.model_dump(mode="json"))["data"]
    return digest([data, spec.features.model_dump(), spec.backbone.model_dump()])


def planned_caches(runs: Iterable[PlannedRun], store: Path) -> tuple[PlannedCache, ...]:
    """The feature caches that the unfinished among ``runs`` need, each once, in the order of their use."""
    found: dict[str, PlannedCache] = {}
    alike: dict[object, list[WantedCache]] = {}
    for run in runs:
        if run.condition.finished or run.spec.features.mode != "cache":
            continue
        kind = (run.features, run.condition.fitted, tuple(view.view_id for view in run.condition.missing))
        if kind not in alike:
            # Seeds and parameters change no cache: a grid of thousands of runs has a handful of kinds.
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
    # What is there already counts for the limit, which is about the store, and not for the free space.
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
        wanted.append(_cache(spec, view, view_recipe(view), view_sides(view), 1 if view.flip is None else 2))
    # Views that differ in what follows on features (labels, a CRF, which mirrored thing is averaged) read one cache.
    unique: dict[str, WantedCache] = {}
    for cache in wanted:
        unique.setdefault(cache.key, cache)
    return list(unique.values())


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
    mirrored = ", mirrored too" if isinstance(source, View) and source.flip is not None else ""
    title = f"{short_name(source.dataset)} {source.split}{subset}, {short_name(spec.backbone.name)}{mirrored}"
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
                alike[kind] = _absent_features(
                    run.spec, store, run.counts, fitted=run.condition.fitted, missing=run.condition.missing
                )
            # Counted for the first run that needs them, which is going to wait for them.
            parts += [part for key, part in alike[kind] if key not in extracted]
            extracted.update(key for key, _ in alike[kind])
            parts += _own_parts(
                run.spec,
                store,
                run.counts,
                fitted=run.condition.fitted,
                missing=run.condition.missing,
                interrupted=run.condition.state is RunState.INTERRUPTED,
            )
        predicted.append(replace(run, parts=tuple(parts), prediction=predict(parts, measured)))
    return predicted


def _absent_features(
    spec: FitSpec, store: Path, counts: Counts, *, fitted: bool, missing: Sequence[View]
) -> list[tuple[str, Part]]:
    """The caches that are still to be written for what a run has left to do, by key."""
    written = spec.model_dump(mode="json")
    return [
        (cache.key, features_part(written, cache.source.model_dump(mode="json"), _images(cache.source, counts)))
        for cache in wanted_caches(spec, fitted=fitted, missing=missing)
        if not is_present(store, cache.key)
    ]


def _own_parts(
    spec: FitSpec, store: Path, counts: Counts, *, fitted: bool, missing: Sequence[View], interrupted: bool
) -> list[Part]:
    """What only this run does: the rest of its fit, and its missing evaluations."""
    written = spec.model_dump(mode="json")
    parts = []
    if not fitted:
        part = fit_part(written, _images(spec.data, counts))
        # A checkpoint is never older than what a fit last said by more than its interval: near enough here.
        if interrupted and part.units is not None:
            part = replace(part, units=part.units * _share_left(store, spec.run_id))
        parts.append(part)
    for view in missing:
        parts.append(evaluation_part(written, view.model_dump(mode="json"), _images(view, counts)))
    return parts


def parts_by_cache(run: PlannedRun, store: Path) -> tuple[dict[str, Part], list[Part]]:
    """What a run of a plan has left to do: the features that it needs, by cache, and what only this run does."""
    how_far = run.condition
    left: dict[str, Any] = {"fitted": how_far.fitted, "missing": how_far.missing}
    absent = dict(_absent_features(run.spec, store, run.counts, **left))
    return absent, _own_parts(run.spec, store, run.counts, interrupted=how_far.state is RunState.INTERRUPTED, **left)


def parts_of_order(
    order: Order, store: Store, *, elsewhere: Collection[str] = (), anew: bool = False, data: CurrentData | None = None
) -> list[Part]:
    """What an order has left to do.

    Args:
        order: of a run, or of an extraction of features.
        store: where its results go.
        elsewhere: caches that another order writes before, by key.
        anew: it is going to be done again from the start, whatever is stored.
        data: counts images of data sets that do not state how many they have; None: of the order's roots.
    """
    left: dict[str, Any] = {"fitted": False, "missing": order.views}
    if not (anew or order.features_only):
        left = {"fitted": not fit_missing(order, store), "missing": missing_views(order, store)}
    splits = {(view.dataset, view.split) for view in left["missing"]}
    splits |= set() if left["fitted"] else {(order.spec.data.dataset, order.spec.data.split)}
    counts = counts_of(splits, (data or CurrentData(DataRoots(order.data_roots))).count)
    features = [part for key, part in _absent_features(order.spec, store.path, counts, **left) if key not in elsewhere]
    if order.features_only:
        return features
    interrupted = not anew and store.has_checkpoint(order.spec.run_id)
    return features + _own_parts(order.spec, store.path, counts, interrupted=interrupted, **left)


def _images(source: TrainingData | View, counts: Counts) -> float | None:
    count = image_count(source, counts)
    return None if count is None else float(count)


def _share_left(store: Path, run_id: str) -> float:
    """The share of a fit's steps that an interrupted one still has to do, by what it last said of itself."""
    told = read_progress(Store(store).run_folder(run_id) / PROGRESS_FILE)
    if told is None or told.stage != "fit" or not 0 < told.done < told.total:
        return 1.0
    return 1.0 - told.done / told.total


def seconds_left(store: Store, runs: Sequence[RunStatus]) -> dict[str, float | None]:
    """Seconds on the wall clock that unfinished runs have left; None for those of which nothing is known.

    Args:
        store: the store.
        runs: all that are asked about; finished ones, and those that no grid asks for, are passed over.

    Raises:
        StoreError: the store cannot be read.
    """
    unfinished = [run for run in runs if run.grid and not run.condition.finished]
    if not unfinished:
        return {}
    measured = Measurements(chain(measurements(Snapshot(store).past), read_probes(store.path)))
    planned = list(_planned(unfinished, runs))
    # Those of one's own need no roots; others state how many images they have.
    counts = counts_of(set().union(*(run.splits for run in planned)), CurrentData(DataRoots()).count)
    planned = [replace(run, counts=counts) for run in planned]
    try:
        predicted = with_predictions(planned, measured, store.path)
    except UserError:  # a file of the user's own is gone, and only the runs that need it shall miss it
        predicted = [one for run in planned for one in _alone(run, measured, store)]
    took = {run.run_id: run.seconds for run in predicted}
    return {run.run_id: _rest(store, run, took.get(run.run_id)) for run in unfinished}


def _planned(unfinished: Sequence[RunStatus], runs: Sequence[RunStatus]) -> Iterator[PlannedRun]:
    """The runs as a plan has them; one that has neither a record nor an order by another seed of its row."""
    of_row: dict[object, Mapping[str, Any]] = {}
    for run in runs:
        if run.spec:
            of_row.setdefault((run.grid, run.title), run.spec)
    for run in unfinished:
        written = run.spec or of_row.get((run.grid, run.title))
        if not written:
            continue
        with suppress(ValidationError):  # of another release
            spec = FitSpec.model_validate({**written, "seed": run.seed})
            views = views_of(run.row.protocols) if run.row is not None else ()
            state = RunState.INTERRUPTED if _in_steps(run) else run.condition.state
            how_far = replace(run.condition, state=state)
            yield PlannedRun(run.run_id, spec, features_key(spec), views, run.requires, run.title, condition=how_far)


def _alone(run: PlannedRun, measured: Measurements, store: Store) -> Iterator[PlannedRun]:
    with suppress(UserError):
        yield from with_predictions([run], measured, store.path)


def _in_steps(run: RunStatus) -> bool:
    """Whether a run is at work on a fit whose progress tells which share of it is left, as after an interruption."""
    return run.condition.state is RunState.RUNNING and run.progress is not None and run.progress.stage == "fit"


def _rest(store: Store, run: RunStatus, seconds: float | None) -> float | None:
    """What of a prediction is left of a run at work."""
    # A fit that is stored, or tells its steps, was left out of the prediction, or counted by what is left of it.
    if seconds is None or run.condition.state is not RunState.RUNNING or run.condition.fitted or _in_steps(run):
        return seconds
    return max(0.0, seconds - (elapsed(store.owner(run.run_id)) or 0.0))


def elapsed(owner: Mapping[str, Any]) -> float | None:
    """Seconds since the owner of a run took it in hand; None where it does not say."""
    try:
        return max(0.0, time.time() - datetime.fromisoformat(str(owner.get("since"))).timestamp())
    except ValueError:
        return None
