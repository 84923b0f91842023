"""Training on the labels of a few images: batches of their patches alone."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.common.geometry import Crop
from spectral_bench.common.seeds import SeedStreams, labelled_images
from spectral_bench.methods.interface import FitContext, LabelSource, PatchBatch, PatchSource
from spectral_bench.methods.labels import VOID, batch_labels


class FewLabelled:
    """The patches of a few labelled images, whole, held in memory; what ``methods.trainer.train`` takes batches of.

    A batch is one strip of the patches of several images, so that images may differ in size. Behind the levels of
    features comes one more, (1, n, 1, 1) float32: the class of each patch, exact, -1 where void.

    Args:
        strips: for each image (1, n, 1, C) features a level and (1, n, 1, 1) classes.
        seeds: of the order of images.
    """

    def __init__(self, strips: list[tuple[Tensor, ...]], seeds: SeedStreams) -> None:
        self._strips = strips
        self._seeds = seeds

    @classmethod
    def of(cls, patches: PatchSource, labels: LabelSource, budget: int, context: FitContext) -> FewLabelled:
        """Look once through the images, up to the last one whose labels the budget takes, and keep those.

        Raises:
            ConfigError: the budget exceeds the images, or no patch of the images drawn has a class.
            RunInterrupted: the run was asked to stop.
        """
        if budget > len(patches):
            raise ConfigError(f"label_budget = {budget}: expected at most the {len(patches)} training images")
        wanted = set(labelled_images(len(patches), budget, context.seeds))
        strips: list[tuple[Tensor, ...]] = []
        names: list[str] = []
        for index, image in enumerate(patches.images()):
            if context.should_stop():
                raise RunInterrupted
            if index in wanted:
                classes = batch_labels(labels, image).float().unsqueeze(-1)
                strips.append(tuple(part.reshape(1, -1, 1, part.shape[-1]) for part in (*image.features, classes)))
                names += image.image_ids
            if len(strips) == budget:
                break
        if all(bool((strip[-1] == VOID).all()) for strip in strips):
            raise ConfigError(f"label_budget = {budget}: no patch of the images drawn has a class: {', '.join(names)}")
        return cls(strips, context.seeds)

    def __len__(self) -> int:
        """The number of labelled images."""
        return len(self._strips)

    def n_batches(self, size: int) -> int:
        """Batches an epoch: images do not fall away, so that the last one may be smaller."""
        return -(-len(self._strips) // size)

    def batches(self, epoch: int, size: int, start: int = 0) -> Iterator[PatchBatch]:
        """The shuffled batches of an epoch from batch ``start`` on."""
        order = torch.randperm(len(self._strips), generator=self._seeds.torch("label_order", epoch)).tolist()
        for number in range(start, self.n_batches(size)):
            chosen = [self._strips[index] for index in order[number * size : (number + 1) * size]]
            parts = tuple(torch.cat(parts, 1) for parts in zip(*chosen, strict=True))
            length = parts[0].shape[1]
            yield PatchBatch(parts, torch.zeros(1, length, 1, 3), ("labelled",), (Crop.whole(length, 1),))
