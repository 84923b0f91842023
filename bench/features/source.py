"""The training patches of a fit: read from a cache, or computed from fresh crops.

Both kinds share order, samples and statistics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.bench.features.backbones.network import FrozenNetwork
from spectral_bench.bench.features.backbones.registry import backbone_info
from spectral_bench.bench.features.cache.arrays import CacheWriter, FeatureCache, open_cache
from spectral_bench.bench.features.cache.meta import (
    cache_request,
    images_of,
    planned_by_first,
    require_unchanged,
    used_weights,
)
from spectral_bench.bench.features.from_files import open_files
from spectral_bench.bench.features.pipeline import Extraction, concatenate, equal_grids, unequal
from spectral_bench.bench.features.recipes import Recipe, WholeRecipe, cached_recipe, epoch_recipe
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.datasets.interface import ImageLoader
from spectral_bench.methods.interface import PatchBatch, PatchSample, Statistics
from spectral_bench.methods.params import PLAIN, Colours
from spectral_bench.results.specification import FitSpec, Transform


class Moments:
    """Running mean and sum of squared deviations a channel, in float64.

    Chunks are merged by the pairwise update of Chan, Golub and LeVeque (Updating formulae and a pairwise algorithm for
    computing sample variances, 1979), which loses nothing where the mean is large against the deviation.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Tensor = torch.zeros((), dtype=torch.float64)
        self.squares: Tensor = torch.zeros((), dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """Take in an (n, C) chunk."""
        values = rows.double()
        n, mean = len(values), values.mean(0)
        total = self.count + n
        delta = mean - self.mean
        self.squares = self.squares + (values - mean).square().sum(0) + delta.square() * (self.count * n / total)
        self.mean = self.mean + delta * (n / total)
        self.count = total

    def result(self) -> tuple[Tensor, Tensor]:
        """(C,) float32 mean and standard deviation of the population."""
        return self.mean.float(), (self.squares / self.count).sqrt().float()


def statistics_of(batches: Iterable[PatchBatch]) -> Statistics:
    """Per-channel mean and standard deviation of each level over all patches of ``batches``."""
    moments: list[Moments] = []
    for batch in batches:
        moments = moments or [Moments() for _ in batch.features]
        for moment, level in zip(moments, batch.features, strict=True):
            moment.add(level.flatten(0, -2))
    results = [moment.result() for moment in moments]
    return Statistics(tuple(mean for mean, _ in results), tuple(std for _, std in results))


class TrainingSource(ABC):
    """A ``methods.interface.PatchSource`` over images of one grid.

    ``n_patches``, ``subsample`` and ``statistics`` speak of one pass: the shots of epoch 0.

    Args:
        ids: the images, in order.
        channels: of the levels.
        grid: patches down and across of every training image.
        seed: of the run.
        reused: whether features were read from a cache that was there already.
    """

    def __init__(
        self, ids: tuple[str, ...], channels: tuple[int, ...], grid: tuple[int, int], seed: int, *, reused: bool
    ) -> None:
        self._ids = ids
        self._channels = channels
        self.grid = grid
        self.seeds = SeedStreams(seed)
        self.reused = reused

    @property
    def image_ids(self) -> tuple[str, ...]:
        """The images, in their fixed order."""
        return self._ids

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each level, from low to high."""
        return self._channels

    @property
    def n_patches(self) -> int:
        """Patches of one pass over the images."""
        return len(self._ids) * self.grid[0] * self.grid[1]

    def __len__(self) -> int:
        """The number of images."""
        return len(self._ids)

    def n_batches(self, size: int) -> int:
        """Full batches of ``size`` images an epoch."""
        return len(self._ids) // size

    def batches(self, epoch: int, size: int, start: int = 0) -> Iterator[PatchBatch]:
        """The shuffled batches of an epoch from batch ``start`` on; the order depends on seed and epoch alone."""
        order = torch.randperm(len(self._ids), generator=self.seeds.torch("order", epoch)).tolist()
        last = self.n_batches(size) * size
        return self._load(epoch, [order[first : first + size] for first in range(start * size, last, size)])

    def subsample(self, n: int) -> PatchSample:
        """``n`` patches drawn without replacement from one pass, sorted by image and place; all if there are no more.

        The same seed and n give the same patches.
        """
        total = self.n_patches
        if n >= total:
            rows = np.arange(total, dtype=np.int64)
        else:
            rows = np.sort(self.seeds.numpy("subsample").choice(total, n, replace=False)).astype(np.int64)
        *features, pixels = self._gather(rows)
        size = self.grid[0] * self.grid[1]
        image, place = torch.from_numpy(rows // size), torch.from_numpy(rows % size)
        position = torch.stack([place // self.grid[1], place % self.grid[1]], 1)
        return PatchSample(tuple(features), pixels, image, position)

    def statistics(self) -> Statistics:
        """Mean and standard deviation (of the population) a channel over one pass, accumulated in float64."""
        return self._statistics

    @cached_property
    def _statistics(self) -> Statistics:
        return statistics_of(self._one_pass())

    @abstractmethod
    def images(self) -> Iterator[PatchBatch]:
        """One ordered pass, one image a batch."""

    @abstractmethod
    def _load(self, epoch: int, batches: Sequence[list[int]]) -> Iterator[PatchBatch]:
        """The shots of an epoch of these images, batch by batch, float32 on the CPU."""

    @abstractmethod
    def _gather(self, rows: NDArray[np.int64]) -> list[Tensor]:
        """The patches of one pass at these sorted rows: (n, C_l) a level, then (n, 3) pixels."""

    @abstractmethod
    def _one_pass(self) -> Iterator[PatchBatch]:
        """The shots of epoch 0 in order, one image a batch."""


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
    colours: Colours = PLAIN,
) -> TrainingSource:
    """The training patches of ``spec``: from a cache, written unless it is there, from files, or computed when read.

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
        colours: that batches bring besides their pixels; beside cached features they are made of the images.

    Raises:
        ConfigError: the transform cannot give images of one size.
        DataError: images differ in size or cannot be read, or the weights are not those of the plan.
        StoreError: the cache is larger than its limit or the disk, or cannot be written.
        RunInterrupted: the run was asked to stop; the unfinished cache is removed.
    """
    transform = spec.data.transform
    require_one_size(transform)
    work = Extraction(images, ids, backbone, device, workers, inference_batch, progress, should_stop, colours)
    if spec.features.mode == "online":
        used_weights(spec.backbone, work)
        return OnlineSource(work, transform, spec.seed)
    recipe = cached_recipe(transform, spec.features)
    info = backbone_info(spec.backbone.name, spec.backbone.options)

    def completed(cache: FeatureCache) -> CachedSource:
        return CachedSource(
            cache,
            spec.seed,
            lambda batch, index, shot: work.with_colours(batch, recipe, index, info.of_grid(batch.grid), shot),
        )

    if spec.features.mode == "files":
        return completed(open_files(spec.features, spec.data, work, recipe, info, spec.backbone.weights))
    return completed(_cached(spec, work, recipe, folder, cache_limit))


def _cached(spec: FitSpec, work: Extraction, recipe: Recipe, folder: Path, limit: int) -> FeatureCache:
    """The cache of a fit's training images, written unless it is there."""
    source = images_of(spec.data)
    request = cache_request(work, recipe, spec.backbone, spec.features, source=source, limit=limit)

    def fill(writer: CacheWriter) -> None:
        for taken, batch in equal_grids(work.with_progress(recipe)):
            writer.add(taken.image_id, taken.original, batch)
        require_unchanged(work, request.data_digest)

    def planned() -> int:
        return planned_by_first(work, recipe, spec.backbone, spec.features.dtype)

    return open_cache(folder, request, fill, planned=planned, should_stop=work.should_stop)


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
