"""Training patches from a feature cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.bench.features.batches import concatenate
from spectral_bench.bench.features.cache.reader import FeatureCache
from spectral_bench.bench.features.pipeline import unequal
from spectral_bench.bench.features.sources.base import TrainingSource
from spectral_bench.methods.interface import PatchBatch


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
