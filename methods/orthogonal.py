"""Matrices to start from whose rows are orthonormal."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spectral_bench.methods.threads import one_thread

_GRID = 2.0**30  # steps in 1: finer than float32 is, and much coarser than the rounding of float64


def orthogonal_start(outputs: int, channels: int) -> Tensor:
    """A random (K, C) float32 matrix with orthonormal rows, or columns where K > C, from the global generator.

    How a decomposition rounds depends on threads and on the processor, and training would amplify it. One thread
    computes it, whatever their number; float64, rounded to a fixed grid, gives other processors the same bits but for
    rare draws.
    """
    shape_only = torch.empty(outputs, channels)
    if shape_only.is_meta:  # rounding no numbers at all would load torch's compiler, which takes a second
        return shape_only
    with one_thread():
        exact = nn.init.orthogonal_(torch.empty(outputs, channels, dtype=torch.float64))
    return (exact * _GRID).round().div(_GRID).float()
