"""Nearest neighbours among the pixels of one image by a k-d tree, wherever it holds all that a tie can decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Squared = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float64]]

_FURTHER = (24, 96)  # more neighbours that are looked at where distances tie: pixels of one colour lie on a lattice
_ROUNDING = 1e-12  # differences of squared distances below this part of the largest one may be ties


class Neighbours(NamedTuple):
    """What a tree knows for certain.

    Attributes:
        rows: (m,) int64, the points whose neighbours are certain.
        columns: (m, k) int64, their neighbours in no order.
        open: (n - m,) int64, the points left, for which more distances are about equal than were looked at.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    open: NDArray[np.int64]


def tree_neighbours(points: NDArray[np.float64], k: int, squared: Squared | None = None) -> Neighbours:
    """The ``k`` nearest other points of every point, unless the k-th and the next are about equally far.

    Args:
        points: (n, D) with n of at least k + 2.
        k: at least 1.
        squared: gives the exact squared distances of points (m,) to others (m, c). By these the nearest are told apart
            where they are about equally far, equal ones by the lowest index; None: such points are left open.
    """
    index = np.arange(len(points))
    tree = cKDTree(points, balanced_tree=False)
    distances, found = tree.query(points, k + 2)
    itself = found == index[:, None]
    seen = itself.sum(1) == 1  # among many points at the same place the tree may leave out the point itself
    others = ~itself[seen]
    near = distances[seen][others].reshape(-1, k + 1) ** 2
    columns: NDArray[Any] = found[seen][others].reshape(-1, k + 1)
    largest = float(np.square(np.ptp(points, axis=0)).sum())
    clear = near[:, k] - near[:, k - 1] > _ROUNDING * largest
    rows = index[seen][clear]
    known = Neighbours(rows, columns[clear, :k].astype(np.int64), np.setdiff1d(index, rows, assume_unique=True))
    if squared is None:
        return known
    for further in _FURTHER:
        if known.open.size and k + 1 + further < len(points):
            known = _decided(known, tree, points, k, further, squared, _ROUNDING * largest)
    return known


def _decided(
    known: Neighbours,
    tree: Any,
    points: NDArray[np.float64],
    k: int,
    further: int,
    squared: Squared,
    rounding: float,
) -> Neighbours:
    """What is known when ``further`` more neighbours of the open points are looked at."""
    open_ = known.open
    distances, found = tree.query(points[open_], k + 1 + further)
    # No point beyond those found is nearer than the last of them, so these hold all that are about as far as the k-th.
    itself = found == open_[:, None]
    held = (itself.sum(1) == 1) & (distances[:, -1] ** 2 - distances[:, k] ** 2 > 2 * rounding)
    rows, others = open_[held], found[held].astype(np.int64)
    exact = squared(rows, others)
    exact[itself[held]] = np.inf
    nearest = np.lexsort((others, exact), axis=1)[:, :k]
    columns = np.take_along_axis(others, nearest, 1)
    return Neighbours(np.concatenate([known.rows, rows]), np.concatenate([known.columns, columns]), open_[~held])
