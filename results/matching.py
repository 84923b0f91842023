"""Matchings: which class each cluster stands for, decided from counts of pixels.

All take an integer matrix of clusters x classes and give a class index a cluster, or -1 for none: a cluster without a
class predicts none, which counts as a miss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown

NO_CLASS = -1

TEXT = "text"
"""The matching by text, which looks at no label: the names that clusters have, or get (``results.naming``)."""


def match(matrix: NDArray[np.int64], how: str) -> NDArray[np.int64]:
    """The class that each cluster stands for.

    ``majority``: the class that most of the cluster's pixels have. ``iou``: the class c of largest
    n_kc / (n_k + n_c - n_kc), so that several clusters may share a class. ``hungarian`` and ``hungarian_iou``: the
    one-to-one assignment of largest total count or total IoU (Kuhn 1955), all min(K, C) pairs of it. A cluster that is
    left with a class that does not occur predicts it, so that its IoU is 0 and not undefined: the arithmetic of the
    released codes (STEGO, ``src/utils.py``; NeuralEF). ``hungarian_present`` and ``hungarian_iou_present``: the same
    without pairs that have no common pixel, so that a class that does not occur is never predicted. Where the numbers
    of clusters and classes differ, the surplus on either side stays unmatched. ``text``: cluster j is class j, whatever
    the counts; only for methods whose clusters have names.

    Args:
        matrix: (..., K, C) non-negative pixel counts.
        how: the name of a matching.

    Returns:
        (..., K) int64 class indices; -1 for no class. ``majority`` and ``iou`` break ties to the lowest class index;
        among equally good assignments the Hungarian ones take that of ``scipy.optimize.linear_sum_assignment``.

    Raises:
        ConfigError: ``how`` is unknown, or ``text`` where the numbers of clusters and classes differ.
    """
    if how == TEXT:
        clusters, classes = matrix.shape[-2:]
        if clusters != classes:
            raise ConfigError(f"matching text: {clusters} clusters are named by text, and there are {classes} classes")
        return np.broadcast_to(np.arange(clusters, dtype=np.int64), matrix.shape[:-1])
    if how not in _MATCHINGS:
        raise ConfigError(unknown("matching", how, [*_MATCHINGS, TEXT]))
    chosen = _MATCHINGS[how]
    weights = chosen.weights(matrix)
    if not chosen.one_to_one:
        return _best(weights)
    return _one_to_one(weights, evidence=chosen.evidence)


def is_one_to_one(how: str) -> bool:
    """Whether a matching of this name gives a class to one cluster at most."""
    return how == TEXT or _MATCHINGS[how].one_to_one


def iou(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    """(..., K, C) intersection over union of each cluster with each class; 0 where they have no common pixel."""
    clusters, classes = matrix.sum(axis=-1, keepdims=True), matrix.sum(axis=-2, keepdims=True)
    return np.asarray(matrix / np.maximum(clusters + classes - matrix, 1))


def _counts(matrix: NDArray[np.int64]) -> NDArray[np.float64]:
    return matrix.astype(np.float64)


class _Matching(NamedTuple):
    """What a pair of cluster and class is worth, whether a class has one cluster at most, and needs a common pixel."""

    weights: Callable[[NDArray[np.int64]], NDArray[np.float64]]
    one_to_one: bool
    evidence: bool


_MATCHINGS = {
    "majority": _Matching(_counts, one_to_one=False, evidence=True),
    "iou": _Matching(iou, one_to_one=False, evidence=True),
    "hungarian": _Matching(_counts, one_to_one=True, evidence=False),
    "hungarian_iou": _Matching(iou, one_to_one=True, evidence=False),
    "hungarian_present": _Matching(_counts, one_to_one=True, evidence=True),
    "hungarian_iou_present": _Matching(iou, one_to_one=True, evidence=True),
}


def _best(weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """The column of the largest weight of each row, or -1 where the row is empty."""
    best = weights.argmax(axis=-1)
    found = np.take_along_axis(weights, best[..., None], axis=-1)[..., 0] > 0
    return np.where(found, best, NO_CLASS)


def _one_to_one(weights: NDArray[np.float64], *, evidence: bool) -> NDArray[np.int64]:
    """The columns of a maximum-weight assignment for each matrix of a stack; -1 where no column is left.

    With ``evidence`` a pair of weight 0 is no pair. Among equally good assignments scipy's is taken, of clusters x
    classes: which left-over cluster gets which absent class can decide whether that class counts.
    """
    from scipy.optimize import linear_sum_assignment  # a third of a second to import, and most reports need none of it

    assigned = np.full(weights.shape[:-1], NO_CLASS, dtype=np.int64)
    for index in np.ndindex(weights.shape[:-2]):
        rows, columns = linear_sum_assignment(weights[index], maximize=True)
        paired = weights[index][rows, columns] > 0 if evidence else True
        assigned[index][rows] = np.where(paired, columns, NO_CLASS)
    return assigned
