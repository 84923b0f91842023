"""Contingency: per-image counts of (cluster, raw label id), the one stored form of accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Contingency:
    """Sparse per-image count matrices, clusters x raw label ids.

    Attributes:
        image_ids: M image ids, in the order of the evaluation.
        n_clusters: K.
        n_labels: raw label ids run from 0 to ``n_labels - 1``.
        image, cluster, label: (nnz,) int32 coordinates, sorted by image, then cluster, then label.
        count: (nnz,) int64 pixels, all positive.
    """

    image_ids: tuple[str, ...]
    n_clusters: int
    n_labels: int
    image: NDArray[np.int32]
    cluster: NDArray[np.int32]
    label: NDArray[np.int32]
    count: NDArray[np.int64]
