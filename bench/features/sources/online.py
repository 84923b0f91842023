"""Training patches computed from fresh crops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.bench.features.batches import concatenate
from spectral_bench.bench.features.pipeline import Extraction, equal_grids
from spectral_bench.bench.features.recipes import WholeRecipe, epoch_recipe
from spectral_bench.bench.features.sources.base import TrainingSource
from spectral_bench.methods.interface import PatchBatch
from spectral_bench.results.specification import Transform


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
