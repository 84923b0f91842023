"""Matchings: which class each cluster stands for, decided from counts of pixels.

All take an integer matrix of clusters x classes and give a class index a cluster, or -1 for none: a cluster without
evidence for a class predicts no class, which counts as a miss.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown

NO_CLASS = -1


def match(matrix: NDArray[np.int64], how: str) -> NDArray[np.int64]:
    """The class that each cluster stands for.

    ``majority``: the class that most of the cluster's pixels have. ``iou``: the class c of largest
    n_kc / (n_k + n_c - n_kc), so that several clusters may share a class. ``hungarian`` and ``hungarian_iou``: the
    one-to-one assignment of largest total count or total IoU (Kuhn 1955); where the numbers of clusters and classes
    differ, the surplus on either side stays unmatched. A pair without a common pixel is never matched.

    Args:
        matrix: (..., K, C) non-negative pixel counts.
        how: the name of a matching.

    Returns:
        (..., K) int64 class indices; -1 for no class. ``majority`` and ``iou`` break ties to the lowest class index;
        among equally good assignments the Hungarian ones take that of ``scipy.optimize.linear_sum_assignment``.

    Raises:
        ConfigError: ``how`` is unknown.
    """
    if how not in _WEIGHTS:
        raise ConfigError(unknown("matching", how, _WEIGHTS))
    weights = _WEIGHTS[how](matrix)
    return _one_to_one(weights) if how.startswith("hungarian") else _best(weights)


def iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """(..., K, C) intersection over union of each cluster with each class; 0 where they have no common pixel."""
    clusters, classes = matrix.sum(axis=-1, keepdims=True), matrix.sum(axis=-2, keepdims=True)
    return np.asarray(matrix / np.maximum(clusters + classes - matrix, 1))


def _counts(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    return matrix.astype(np.float64)


_WEIGHTS: dict[str, Callable[[NDArray[np.int64]], NDArray[np.float64]]] = {
    "majority": _counts,
    "iou": iou,
    "hungarian": _counts,
    "hungarian_iou": iou,
}


def _best(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """The column of the largest weight of each row, or -1 where the row is empty."""
    best = weights.argmax(axis=-1)
    found = np.take_along_axis(weights, best[..., None], axis=-1)[..., 0] > 0
    return np.where(found, best, NO_CLASS)


def _one_to_one(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """The columns of a maximum-weight assignment for each matrix of a stack; -1 where no column is left."""
    assigned = np.full(weights.shape[:-1], NO_CLASS, dtype=np.int64)
    for index in np.ndindex(weights.shape[:-2]):
        rows, columns = linear_sum_assignment(weights[index], maximize=True)
        assigned[index][rows] = np.where(weights[index][rows, columns] > 0, columns, NO_CLASS)
    return assigned
