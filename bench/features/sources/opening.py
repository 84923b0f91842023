"""The training patches of a fit: read from a cache, or computed from fresh crops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.bench.features.backbones.network import FrozenNetwork
from spectral_bench.bench.features.backbones.registry import backbone_info
from spectral_bench.bench.features.batches import concatenate
from spectral_bench.bench.features.cache.arrays import CacheWriter, FeatureCache
from spectral_bench.bench.features.cache.opening import open_cache
from spectral_bench.bench.features.identity import (
    cache_request,
    images_of,
    planned_by_first,
    require_unchanged,
    used_weights,
)
from spectral_bench.bench.features.pipeline import Extraction, equal_grids, unequal
from spectral_bench.bench.features.recipes import WholeRecipe, cached_recipe, epoch_recipe
from spectral_bench.bench.features.sources.base import TrainingSource
from spectral_bench.common.errors import ConfigError
from spectral_bench.datasets.interface import ImageLoader
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.results.specification import FitSpec, Transform


class CachedSource(TrainingSource):
    """Epoch e shows view e modulo the number of cached views; ``images()`` passes over view 0.

    Args:
        cache: all views of all images.
        seed: of the run.
        complete: adds what the cache does not hold to a batch of one shot: (batch, image, shot) to a batch.

    Raises:
        DataError: the cached images differ in size.
    """

    def __init__(
        self,
        cache: FeatureCache,
        seed: int,
        complete: Callable[[PatchBatch, int, int], PatchBatch] = lambda batch, image, shot: batch,
    ) -> None:
        images = cache.meta.images
        for image in images:
            if image.grid != images[0].grid:
                raise unequal(images[0].id, images[0].grid, image.id, image.grid)
        self.cache = cache
        self._complete = complete
        self.views = len(images[0].crops)
        ids = tuple(image.id for image in images)
        super().__init__(ids, cache.meta.channels, images[0].grid, seed, reused=cache.reused)

    def images(self) -> Iterator[PatchBatch]:
        """One ordered pass over view 0: the whole images, unless the transform draws crops."""
        return self._one_pass()

    def _load(self, epoch: int, batches: Sequence[list[int]]) -> Iterator[PatchBatch]:
        view = epoch % self.views
        for indices in batches:
            yield concatenate([self._shot(index, view) for index in indices])

    def _gather(self, rows: NDArray[np.int64]) -> list[Tensor]:
        size = self.grid[0] * self.grid[1]
        return self.cache.rows(self.cache.offsets[rows // size] + rows % size)

    def _one_pass(self) -> Iterator[PatchBatch]:
        for index in range(len(self)):
            yield self._shot(index, 0)

    def _shot(self, image: int, shot: int) -> PatchBatch:
        return self._complete(self.cache.batch(image, shot, shot + 1), image, shot)


class OnlineSource(TrainingSource):
    """Each epoch draws a shot an image, which depends on seed, epoch and image alone, not on batches or workers.

    ``images()`` passes over the whole resized images, without any augmentation. ``subsample`` and ``statistics``
    compute the features of epoch 0 for as many images as they need and keep none of them.

    Args:
        extraction: images and backbone.
        transform: what is drawn.
        seed: of the run.

    Raises:
        DataError: the first image cannot be read.
        RunInterrupted: from ``subsample`` and ``statistics``, where the run was asked to stop.
    """

    def __init__(self, extraction: Extraction, transform: Transform, seed: int) -> None:
        self.extraction = extraction
        self.transform = transform
        height, width = extraction.images.image(extraction.ids[0]).shape[:2]
        crop = epoch_recipe(transform, seed, 0).shots(0, height, width)[0].crop
        info = extraction.backbone.info
        super().__init__(extraction.ids, info.channels, info.grid(crop.height, crop.width), seed, reused=False)

    def images(self) -> Iterator[PatchBatch]:
        """One ordered pass over the whole resized images."""
        for _, batch in self.extraction.features(WholeRecipe(self.transform.resize), range(len(self))):
            yield batch.to("cpu")

    def _load(self, epoch: int, batches: Sequence[list[int]]) -> Iterator[PatchBatch]:
        recipe = epoch_recipe(self.transform, self.seeds.seed, epoch)
        stream = equal_grids(self.extraction.features(recipe, chain.from_iterable(batches)))
        for indices in batches:
            yield concatenate([batch.to("cpu") for _, batch in islice(stream, len(indices))])

    def _gather(self, rows: NDArray[np.int64]) -> list[Tensor]:
        size = self.grid[0] * self.grid[1]
        images, starts = np.unique(rows // size, return_index=True)
        parts: list[list[Tensor]] = []
        stops = [*starts[1:], len(rows)]
        for batch, start, stop in zip(self._pass(images.tolist()), starts, stops, strict=True):
            places = torch.from_numpy(rows[start:stop] % size)
            parts.append([level.flatten(0, -2)[places] for level in (*batch.features, batch.pixels)])
        return [torch.cat(tensors) for tensors in zip(*parts, strict=True)]

    def _one_pass(self) -> Iterator[PatchBatch]:
        return self._pass(range(len(self)))

    def _pass(self, indices: Sequence[int]) -> Iterator[PatchBatch]:
        """Shots of epoch 0 in order; ends when the run is asked to stop, since methods cannot ask meanwhile."""
        recipe = epoch_recipe(self.transform, self.seeds.seed, 0)
        for _, batch in equal_grids(self.extraction.stoppable(recipe, indices)):
            yield batch.to("cpu")


def open_training_source(
    spec: FitSpec,
    *,
    images: ImageLoader,
    ids: tuple[str, ...],
    backbone: Callable[[], FrozenNetwork],
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
        for taken, batch in equal_grids(work.with_progress(recipe)):
            writer.add(taken.image_id, taken.original, batch)
        require_unchanged(work, request.data_digest)

    def planned() -> int:
        return planned_by_first(work, recipe, spec.backbone, spec.features.dtype)

    cache = open_cache(folder, request, fill, planned=planned, should_stop=should_stop)
    info = backbone_info(spec.backbone.name, spec.backbone.options)
    return CachedSource(
        cache, spec.seed, lambda batch, index, shot: work.with_antialiased(batch, recipe, index, info, shot)
    )


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
