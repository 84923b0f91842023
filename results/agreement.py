"""How well two partitions of the same pixels agree, from their contingency matrix alone. No matching is involved."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def adjusted_rand_index(matrix: NDArray[np.int64]) -> float:
    """The Rand index adjusted for chance (Hubert and Arabie 1985), from pair counts in exact integers.

    With a = sum n_ij^2, r and c the sums of the squared row and column totals, and n the number of pixels, the ordered
    pairs are tp = a - n together in both, fp = r - a together in rows only, fn = c - a together in columns only, and
    tn = n^2 - r - c + a; the index is 2 (tp tn - fn fp) / ((tp + fn)(fn + tn) + (tp + fp)(fp + tn)).

    Args:
        matrix: (K, C) pixel counts.

    Returns:
        At most 1; 1 where no pair is judged differently; nan without pixels.
    """
    n = int(matrix.sum())
    if n == 0:
        return math.nan
    together, rows, columns = (_sum_of_squares(part) for part in (matrix, matrix.sum(axis=1), matrix.sum(axis=0)))
    tp, fp, fn, tn = together - n, rows - together, columns - together, n * n - rows - columns + together
    if fp == fn == 0:
        return 1.0
    return 2 * (tp * tn - fn * fp) / ((tp + fn) * (fn + tn) + (tp + fp) * (fp + tn))


def normalised_mutual_information(matrix: NDArray[np.int64]) -> float:
    """Mutual information over the arithmetic mean of both entropies (Strehl and Ghosh 2002 discuss the normalisations).

    Args:
        matrix: (K, C) pixel counts.

    Returns:
        From 0 to 1; 1 where both partitions have one part only; nan without pixels.
    """
    n = int(matrix.sum())
    if n == 0:
        return math.nan
    rows, columns = matrix.sum(axis=1), matrix.sum(axis=0)
    i, j = np.nonzero(matrix)
    joint = matrix[i, j]
    information = float(np.sum(joint / n * (np.log(joint) + math.log(n) - np.log(rows[i]) - np.log(columns[j]))))
    mean_entropy = (_entropy(rows) + _entropy(columns)) / 2
    return min(max(information / mean_entropy, 0.0), 1.0) if mean_entropy > 0 else 1.0


def _sum_of_squares(counts: NDArray[np.int64]) -> int:
    # Python's integers: the square of a data set's pixels does not fit into 64 bits.
    return sum(int(value) ** 2 for value in counts[counts > 0])


def _entropy(totals: NDArray[np.int64]) -> float:
    shares = totals[totals > 0] / totals.sum()
    return float(-np.sum(shares * np.log(shares)))
