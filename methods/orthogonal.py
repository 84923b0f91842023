"""Matrices to start from whose rows are orthonormal."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_GRID = 2.0**30  # steps in 1: finer than float32 is, and much coarser than the rounding of float64


def orthogonal_start(outputs: int, channels: int) -> Tensor:
    """A random (K, C) float32 matrix with orthonormal rows, or columns where K > C, from the global generator.

    How a decomposition rounds depends on the number of threads, and training would amplify it. It is computed in
    float64 and rounded to a fixed grid, so that the same draw gives the same bits with any number.
    """
    exact = nn.init.orthogonal_(torch.empty(outputs, channels, dtype=torch.float64))
    return (exact * _GRID).round().div(_GRID).float()
