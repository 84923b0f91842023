"""Nearest neighbours among the pixels of one image by a k-d tree, wherever no tie can decide."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

_ROUNDING = 1e-12  # differences of squared distances below this part of the largest one may be ties


class Neighbours(NamedTuple):
    """What a tree knows for certain.

    Attributes:
        rows: (m,) int64, the points whose neighbours are certain.
        columns: (m, k) int64, their neighbours in no order.
        open: (n - m,) int64, the points left, for which distances that are equal to within rounding decide.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    open: NDArray[np.int64]


def tree_neighbours(points: NDArray[np.float64], k: int) -> Neighbours:
    """The ``k`` nearest other points of every point, unless the k-th and the next are about equally far.

    Args:
        points: (n, D) with n of at least k + 2.
        k: at least 1.
    """
    index = np.arange(len(points))
    distances, found = cKDTree(points, balanced_tree=False).query(points, k + 2)
    itself = found == index[:, None]
    seen = itself.sum(1) == 1  # among many points at the same place the tree may leave out the point itself
    others = ~itself[seen]
    near = distances[seen][others].reshape(-1, k + 1) ** 2
    columns: NDArray[Any] = found[seen][others].reshape(-1, k + 1)
    largest = float(np.square(np.ptp(points, axis=0)).sum())
    clear = near[:, k] - near[:, k - 1] > _ROUNDING * largest
    rows = index[seen][clear]
    return Neighbours(rows, columns[clear, :k].astype(np.int64), np.setdiff1d(index, rows, assume_unique=True))
