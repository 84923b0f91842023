"""Matrices whose eigenvalues are known."""

from __future__ import annotations

import torch
from torch import Tensor


def with_spectrum(values: Tensor, seed: int = 0) -> Tensor:
    """A symmetric float64 matrix of the given eigenvalues."""
    size = len(values)
    basis = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(seed)).double()).Q
    matrix = basis @ torch.diag(values.double()) @ basis.T
    return (matrix + matrix.T) / 2
