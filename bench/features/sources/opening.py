"""Open the training patches of a fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from spectral_bench.bench.features.backbones.base import Backbone
from spectral_bench.bench.features.backbones.info import backbone_info
from spectral_bench.bench.features.cache.material import images_of
from spectral_bench.bench.features.cache.opening import open_cache
from spectral_bench.bench.features.cache.writer import CacheWriter
from spectral_bench.bench.features.identity import cache_request, planned_by_first, require_unchanged, used_weights
from spectral_bench.bench.features.pipeline import Extraction, equal_grids
from spectral_bench.bench.features.recipes import cached_recipe
from spectral_bench.bench.features.sources.base import TrainingSource
from spectral_bench.bench.features.sources.cached import CachedSource
from spectral_bench.bench.features.sources.online import OnlineSource
from spectral_bench.common.errors import ConfigError
from spectral_bench.datasets.interface import ImageLoader
from spectral_bench.results.specification import FitSpec, Transform


def open_training_source(
    spec: FitSpec,
    *,
    images: ImageLoader,
    ids: tuple[str, ...],
    backbone: Callable[[], Backbone],
    folder: Path,
    device: torch.device | str,
    workers: int,
    inference_batch: int,
    cache_limit: int,
    progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
    antialias: bool = False,
) -> TrainingSource:
    """The training patches of ``spec``: from a cache, written unless it is there, or computed as they are read.

    Args:
        spec: the fit.
        images: loader of the training split; labels are out of reach.
        ids: the images of the fit's subset, in order.
        backbone: gives the network; not called where a complete cache is found.
        folder: of all caches.
        device: where the backbone computes.
        workers: threads that decode and cut images.
        inference_batch: shots a forward pass.
        cache_limit: bytes that the cache may take.
        progress: called with (images done, images in all) while the cache is written.
        should_stop: asked after every image.
        antialias: add pixels that are shrunk with antialiasing; beside cached features they are made of the images.

    Raises:
        ConfigError: the transform cannot give images of one size.
        DataError: images differ in size or cannot be read, or the weights are not those of the plan.
        StoreError: the cache is larger than its limit or the disk, or cannot be written.
        RunInterrupted: the run was asked to stop; the unfinished cache is removed.
    """
    transform = spec.data.transform
    require_one_size(transform)
    work = Extraction(images, ids, backbone, device, workers, inference_batch, progress, should_stop, antialias)
    if spec.features.mode == "online":
        used_weights(spec.backbone, work)
        return OnlineSource(work, transform, spec.seed)
    recipe = cached_recipe(transform, spec.features)
    source = images_of(spec.data)
    request = cache_request(work, recipe, spec.backbone, spec.features, source=source, limit=cache_limit)

    def fill(writer: CacheWriter) -> None:
        for look, batch in equal_grids(work.watched(recipe)):
            writer.add(look.image_id, look.original, batch)
        require_unchanged(work, request.data_digest)

    def planned() -> int:
        return planned_by_first(work, recipe, spec.backbone, spec.features.dtype)

    cache = open_cache(folder, request, fill, planned=planned, should_stop=should_stop)
    info = backbone_info(spec.backbone.name, spec.backbone.options)
    return CachedSource(cache, spec.seed, lambda batch, index, shot: work.completed(batch, recipe, index, info, shot))


def require_one_size(transform: Transform) -> None:
    """Refuse a random size without a crop, which gives every image another grid.

    Raises:
        ConfigError: ``scale`` is set and ``crop`` is not.
    """
    if transform.scale is not None and transform.crop is None:
        raise ConfigError(
            f"transform.scale: {list(transform.scale)} gives images of many sizes, and training batches need one; "
            "set transform.crop to the side of a square"
        )
