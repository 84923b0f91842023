"""Graphs whose cuts are known, and a cut counted weight by weight."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.floating[Any]]


def graph(size: int, seed: int, power: float = 3.0, loops: bool = True) -> NDArray[np.float64]:
    weights = np.random.default_rng(seed).random((size, size)) ** power
    weights = (weights + weights.T) / 2
    np.fill_diagonal(weights, 1.0 if loops else 0.0)
    return weights


def planted(sizes: list[int], between: float = 0.01, dtype: type = np.float64, seed: int = 0) -> Matrix:
    """Blocks whose patches are joined by about 1, and to others by about ``between``, in a random order."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    weights = np.where(truth[:, None] == truth, 1.0, between) * rng.uniform(0.8, 1, (len(truth), len(truth)))
    return np.maximum(weights, weights.T).astype(dtype)


def naive_cut(weights: Matrix, side: NDArray[np.bool_]) -> float:
    """cut / vol + cut / vol, one weight after the other."""
    cut, volumes = 0.0, [0.0, 0.0]
    for i in range(len(weights)):
        for j in range(len(weights)):
            volumes[int(side[i])] += float(weights[i, j])
            cut += float(weights[i, j]) if side[i] and not side[j] else 0.0
    return cut / volumes[0] + cut / volumes[1]


def same_groups(labels: NDArray[np.int64], truth: NDArray[np.int64]) -> bool:
    pairs = {(int(a), int(b)) for a, b in zip(labels, truth, strict=True)}
    return len(pairs) == len(np.unique(labels)) == len(np.unique(truth))
