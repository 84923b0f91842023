"""What cached and online training sources have in common: order, samples and statistics."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.interface import PatchBatch, PatchSample, Statistics


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
