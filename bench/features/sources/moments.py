"""Mean and standard deviation over chunks of patches."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from spectral_bench.methods.interface import PatchBatch, Statistics


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
