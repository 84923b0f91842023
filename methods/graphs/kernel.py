"""Kernels whose eigenfunctions are wanted: normalised affinities, applied to functions of the nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from spectral_bench.methods.graphs import sparse


class Kernel(Protocol):
    """A symmetric operator on functions of N nodes; it may have negative eigenvalues."""

    @property
    def size(self) -> int:
        """The number N of nodes."""
        ...

    def apply(self, x: Tensor) -> Tensor:
        """The product with (N, K) ``x`` of the kernel's dtype, (N, K), without gradient."""
        ...

    def dense(self) -> Tensor:
        """The (N, N) matrix, for graphs that are small enough."""
        ...


@dataclass(frozen=True)
class SparseKernel:
    """A kernel held as a sparse matrix.

    Attributes:
        matrix: (N, N) symmetric sparse CSR, float32 or float64.
    """

    matrix: Tensor

    @property
    def size(self) -> int:
        """The number N of nodes."""
        return int(self.matrix.shape[0])

    def apply(self, x: Tensor) -> Tensor:
        """The product with (N, K) ``x``, (N, K)."""
        return sparse.matmul(self.matrix, x)

    def dense(self) -> Tensor:
        """The (N, N) matrix."""
        return self.matrix.to_dense()


@dataclass(frozen=True)
class DenseKernel:
    """A kernel held as a dense matrix, such as one given by a formula.

    Attributes:
        matrix: (N, N) symmetric, float32 or float64.
    """

    matrix: Tensor

    @property
    def size(self) -> int:
        """The number N of nodes."""
        return int(self.matrix.shape[0])

    def apply(self, x: Tensor) -> Tensor:
        """The product with (N, K) ``x``, (N, K)."""
        with torch.no_grad():
            return self.matrix @ x

    def dense(self) -> Tensor:
        """The (N, N) matrix itself."""
        return self.matrix


def inverse_root(degrees: Tensor) -> Tensor:
    """d^-1/2 of non-negative degrees of any shape; 0 for a node without edges, where 1/0 would end in NaN."""
    positive = degrees > 0
    return torch.where(positive, degrees.where(positive, torch.ones_like(degrees)).rsqrt(), 0.0)


def normalised_dense(affinity: Tensor) -> Tensor:
    """D^-1/2 A D^-1/2 of an (N, N) affinity with degrees D = row sums."""
    root = inverse_root(affinity.sum(1))
    return affinity * root[:, None] * root


def normalised(affinity: Tensor) -> Tensor:
    """D^-1/2 A D^-1/2 of a sparse CSR affinity of non-negative weights; D holds its row sums.

    The row and column of a node without edges stay empty.
    """
    return sparse.scale(affinity, inverse_root(sparse.row_sums(affinity)))


def combined(features: Tensor, pixels: Tensor | None = None, alpha: float = 0.0) -> SparseKernel:
    """D^-1/2 A D^-1/2 + alpha D~^-1/2 A~ D~^-1/2 (Deng and Luo, 2023, eq. 4).

    Args:
        features: A, the affinity of features, (N, N) sparse CSR.
        pixels: A~, the affinity of pixels, of the same size and dtype, or None for none.
        alpha: weight of the pixels' part.
    """
    return weighted(normalised(features), None if pixels is None else normalised(pixels), alpha)


def weighted(features: Tensor, pixels: Tensor | None, alpha: float) -> SparseKernel:
    """As ``combined``, of affinities that are normalised already."""
    return SparseKernel(features if pixels is None else sparse.add(features, sparse.multiply(pixels, alpha)))
