from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from plan_lab import Lab

from spectral_bench.bench.plan.build import free_bytes
from spectral_bench.bench.plan.estimate import planned_caches, require_space
from spectral_bench.bench.plan.states import Plan, PlannedCache
from spectral_bench.common.errors import StoreError

# (64 + 192 + 320 channels + 3 colours) at two bytes, 12 x 16 patches of 192 x 256 pixels.
IMAGE = 12 * 16 * (64 + 192 + 320 + 3) * 2


def sizes(plan: Plan) -> list[tuple[str, int | None, int]]:
    return [(cache.title, cache.bytes, cache.runs) for cache in plan.caches]


def test_training_and_evaluation_features_are_planned_once_each(lab: Lab) -> None:
    plan = lab.plan("{defaults: {subset: 8, eval_subset: 4, seeds: [0, 1]}, runs: [{method: kmeans}]}")
    assert sizes(plan) == [
        ("synthetic train (8 images), efficientnet_lite0", 8 * IMAGE, 2),
        ("synthetic val (4 images), efficientnet_lite0", 4 * IMAGE, 2),
    ]
    assert plan.cache_bytes == 12 * IMAGE
    assert not any(cache.present for cache in plan.caches)


def test_views_and_precision_multiply(lab: Lab) -> None:
    defaults = "{transform: {crop: 64}, features: {views: 3, dtype: float32}, subset: 8}"
    plan = lab.plan(f"{{defaults: {defaults}, runs: [{{method: kmeans}}]}}")
    assert plan.caches[0].bytes == 8 * 3 * 4 * 4 * (64 + 192 + 320 + 3) * 4


def test_mirrored_images_are_cached_too(lab: Lab) -> None:
    exact = "resize: {mode: exact, size: [192, 256]}"
    flips = ", ".join(f"{{name: {flip}, view: {{{exact}, flip: {flip}}}}}" for flip in ("features", "scores"))
    plan = lab.plan(f"{{protocols: [whole, {flips}], runs: [{{method: kmeans, eval_subset: 4}}]}}")
    title = "synthetic val (4 images), efficientnet_lite0"
    assert sizes(plan)[1:] == [(title, 4 * IMAGE, 1), (f"{title}, mirrored too", 8 * IMAGE, 1)]


def test_online_features_take_no_disk(lab: Lab) -> None:
    assert lab.plan("{defaults: {features: {mode: online}}, runs: [{method: kmeans}]}").caches == ()


def test_what_depends_on_the_images_has_no_size(lab: Lab) -> None:
    plan = lab.plan("{runs: [{method: kmeans, transform: {resize: {mode: short_side, short_side: 64}}}]}")
    assert plan.caches[0].bytes is None
    window = "{name: w, view: {window: 64, stride: 32}}"
    plan = lab.plan(f"{{protocols: [{window}], runs: [{{method: kmeans}}]}}")
    assert plan.caches[1].bytes is None
    assert plan.cache_bytes == plan.caches[0].bytes


def test_finished_runs_need_no_features_and_fitted_ones_no_training_features(lab: Lab) -> None:
    text = "{runs: [{method: kmeans}]}"
    run = lab.plan(text).runs[0]
    lab.finish(run.spec, ())
    assert [cache.title.split(",")[0] for cache in lab.plan(text).caches] == ["synthetic val"]
    lab.finish(run.spec, run.views)
    assert lab.plan(text).caches == ()


def test_keys_are_those_under_which_features_are_stored(lab: Lab) -> None:
    from spectral_bench.bench.features.cache.meta import cache_request
    from spectral_bench.bench.features.recipes import cached_recipe, view_recipe

    run = lab.plan("{runs: [{method: kmeans, subset: 8, eval_subset: 4}]}").runs[0]
    spec, view = run.spec, run.views[0]
    images = SimpleNamespace(digest=lambda: "d")
    extraction: Any = SimpleNamespace(images=images, ids=("a",))
    sources = [
        ({"dataset": "synthetic", "split": "train", "subset": 8}, cached_recipe(spec.data.transform, spec.features)),
        ({"dataset": "synthetic", "split": "val", "subset": 4}, view_recipe(view)),
    ]
    for index, (source, recipe) in enumerate(sources):
        request = cache_request(extraction, recipe, spec.backbone, spec.features, source=source, limit=0)
        folder = lab.out / "features" / request.key
        folder.mkdir(parents=True)
        (folder / "meta.json").write_text("{}")
        present = [cache.present for cache in planned_caches([run], lab.out)]
        assert present == [True] * (index + 1) + [False] * (1 - index)


def plan_with(plan: Plan, free: int, *caches: PlannedCache) -> Plan:
    return replace(plan, caches=caches, free=free)


def test_caches_beyond_the_limit_or_the_disk_are_refused(lab: Lab) -> None:
    plan = lab.plan()
    big = PlannedCache("a", 30 * 10**9, present=False, runs=1)
    old = PlannedCache("b", 25 * 10**9, present=True, runs=1)
    unknown = PlannedCache("c", None, present=False, runs=1)
    require_space(plan_with(plan, 40 * 10**9, big, unknown), 50 * 10**9)
    with pytest.raises(StoreError, match=r"take 55 GB, more than --cache-limit 50 GB"):
        require_space(plan_with(plan, 40 * 10**9, big, old), 50 * 10**9)
    with pytest.raises(StoreError, match=r"take 30 GB and 29 GB are free on its disk"):
        require_space(plan_with(plan, 29 * 10**9, big), 50 * 10**9)


def test_free_bytes_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "a" / "b") > 0
    assert not (tmp_path / "a").exists()


def test_mirrored_images_take_features_twice_as_long(lab: Lab) -> None:
    from spectral_bench.bench.plan.measured import features_part

    run = lab.plan("{runs: [{method: kmeans}]}").runs[0]
    spec, view = run.spec.model_dump(mode="json"), run.views[0]
    plain, features, scores = (
        features_part(spec, view.model_copy(update={"flip": flip}).model_dump(mode="json"), 4.0)
        for flip in (None, "features", "scores")
    )
    assert features.area == scores.area == 2 * (plain.area or 0)
    assert features.same == scores.same != plain.same
