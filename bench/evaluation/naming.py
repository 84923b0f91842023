"""The mean feature of each cluster in the space of texts, over patches of images. No label is looked at."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.bench.evaluation.counting import ScoredImage
from spectral_bench.bench.evaluation.layout import first_largest
from spectral_bench.bench.features.views import ViewItem
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.inputs import unit_rows
from spectral_bench.results.naming import ClusterVectors


class ClusterMeans:
    """Adds up features, each of length 1, a cluster, in float64.

    A patch of the method belongs to the cluster of its largest score, of equal ones the first. Its feature is that of
    the patch of the network in which its centre lies, in the same window. Patches whose centre lies in the padding of
    a window are left out.

    Args:
        n_clusters: K.
    """

    def __init__(self, n_clusters: int) -> None:
        self._counts = torch.zeros(n_clusters, dtype=torch.int64)
        self._sums: Tensor | None = None

    def add(self, image: ScoredImage, seen: ViewItem) -> None:
        """Take in an image.

        Args:
            image: its patch scores.
            seen: the same windows of the same image, through the network whose last level is averaged.

        Raises:
            ValueError: these are other images or windows.
            NumericalError: a feature is not finite; the message names the image.
        """
        layout, crops = image.layout, seen.patches.crops
        if image.image_id != seen.image_id or layout.crops != crops:
            raise ValueError(f"image {image.image_id}: scores and features are of other windows ({seen.image_id})")
        features = seen.patches.features[-1].float()
        if not bool(torch.isfinite(features).all()):
            raise NumericalError(f"image {image.image_id}: features in the space of texts are NaN or infinite")
        clusters = first_largest(image.scores.permute(0, 2, 3, 1))
        for window, crop in enumerate(crops):
            rows = _places(layout.grid[0], layout.cover[0], seen.patches.grid[0], seen.cover[0], crop.height)
            columns = _places(layout.grid[1], layout.cover[1], seen.patches.grid[1], seen.cover[1], crop.width)
            own = clusters[window][: len(rows), : len(columns)].flatten().cpu()
            there = features[window][torch.from_numpy(rows).to(features.device)]
            self._add(own, there[:, torch.from_numpy(columns).to(features.device)].flatten(0, 1))

    def _add(self, clusters: Tensor, features: Tensor) -> None:
        # On the CPU, where equal input gives equal bits: CUDA adds rows of one cluster in any order.
        rows = unit_rows(features).cpu().double()
        if self._sums is None:
            self._sums = rows.new_zeros(len(self._counts), rows.shape[1])
        self._sums.index_add_(0, clusters, rows)
        self._counts += torch.bincount(clusters, minlength=len(self._counts))

    def result(self) -> ClusterVectors:
        """The means so far.

        Raises:
            ValueError: nothing was added.
        """
        if self._sums is None:
            raise ValueError("no image was added")
        means = self._sums / self._counts.clamp_min(1)[:, None]
        return ClusterVectors(self._counts.numpy().copy(), means.float().numpy())


def _places(patches: int, cover: int, others: int, other_cover: int, length: int) -> NDArray[np.int64]:
    """For each patch of one grid along an axis the patch of another grid in which its centre lies.

    Args:
        patches: of the one grid.
        cover: pixels that they span.
        others: patches of the other.
        other_cover: pixels that these span.
        length: pixels of the window; patches whose centre lies beyond are left out.
    """
    doubled = (2 * np.arange(patches, dtype=np.int64) + 1) * cover  # of the centre, times 2 x patches
    inside = doubled[doubled < 2 * patches * length]
    return np.minimum(inside * others // (2 * patches * other_cover), others - 1)
