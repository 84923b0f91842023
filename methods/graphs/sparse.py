"""Sparse matrices in compressed row form: the few operations that graphs need, on CPU and CUDA.

Matrices are square ``torch.sparse_csr`` tensors with int32 indices, columns ascending within a row and no entry twice.
Every operation gives the same bits each time it is repeated, on CUDA too, where cuSPARSE's products do not.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag


def csr(crow: Tensor, col: Tensor, values: Tensor) -> Tensor:
    """The (N, N) sparse matrix of row offsets ``crow`` (N + 1,), columns (nnz,) and values (nnz,)."""
    size = crow.numel() - 1
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(crow.int(), col.int(), values, (size, size), check_invariants=False)


def from_counts(counts: Tensor, col: Tensor, values: Tensor) -> Tensor:
    """The matrix whose row i holds the next ``counts[i]`` of the (nnz,) columns and values."""
    crow = torch.zeros(counts.numel() + 1, dtype=torch.int64, device=counts.device)
    torch.cumsum(counts, 0, out=crow[1:])
    return csr(crow, col, values)


def from_keys(keys: Tensor, values: Tensor, size: int) -> Tensor:
    """The (size, size) matrix of entries at ``keys`` = row * size + column, ascending, none twice."""
    counts = torch.bincount(keys // size, minlength=size)
    return from_counts(counts, keys % size, values)


def row_index(matrix: Tensor) -> Tensor:
    """The row of each entry, (nnz,) int64."""
    return _of_rows(matrix, torch.arange(matrix.shape[0], device=matrix.device))


def keys_of(matrix: Tensor) -> Tensor:
    """row * N + column of each entry, (nnz,) int64, ascending."""
    return row_index(matrix) * matrix.shape[0] + matrix.col_indices()


def row_sums(matrix: Tensor) -> Tensor:
    """The sum of each row, (N,)."""
    return torch.segment_reduce(matrix.values(), "sum", offsets=matrix.crow_indices().long(), initial=0)


def matmul(matrix: Tensor, dense: Tensor) -> Tensor:
    """``matrix @ dense`` for a dense (N, K) tensor of the same dtype, without gradient.

    A row of the product is a weighted sum of rows of ``dense``, which is what an embedding bag computes; its kernels
    prefetch rows and add in a fixed order. (Measured in float32 with 300 to 500 entries a row and K = 256: 0.6 times
    the time of MKL's sparse product. Float64, which only checks use, is slower than that product.)
    """
    with torch.no_grad():
        return embedding_bag(
            matrix.col_indices(),
            dense.contiguous(),
            matrix.crow_indices(),
            mode="sum",
            per_sample_weights=matrix.values(),
            include_last_offset=True,
        )


def scale(matrix: Tensor, factor: Tensor) -> Tensor:
    """``diag(factor) @ matrix @ diag(factor)`` for a factor of shape (N,), without gradient."""
    factor = factor.detach()
    values = matrix.values().detach() * _of_rows(matrix, factor)
    values *= factor.index_select(0, matrix.col_indices())  # a sixth of the time of factor[...], which wants int64
    return csr(matrix.crow_indices(), matrix.col_indices(), values)


def _of_rows(matrix: Tensor, numbers: Tensor) -> Tensor:
    """Of (N,) numbers that of the row of each entry, (nnz,)."""
    counts = matrix.crow_indices().diff()
    if numbers.device.type == "cpu":  # numpy copies a row's number, torch looks it up for each entry
        return torch.from_numpy(np.repeat(numbers.numpy(), counts.numpy()))
    return numbers.repeat_interleave(counts, output_size=matrix.values().numel())


def multiply(matrix: Tensor, factor: float) -> Tensor:
    """``factor * matrix``."""
    return csr(matrix.crow_indices(), matrix.col_indices(), matrix.values() * factor)


def transpose(matrix: Tensor) -> Tensor:
    """The transpose."""
    if matrix.device.type == "cpu":
        return _from_scipy(to_scipy(matrix).T.tocsr())
    return _transpose_by_sorting(matrix)


def add(first: Tensor, second: Tensor) -> Tensor:
    """The sum of two matrices; an entry that either holds is held, unless it sums to exactly 0, on any device."""
    if first.device.type == "cpu":
        return _from_scipy(to_scipy(first) + to_scipy(second))
    return _add_by_sorting(first, second)


def intersect(matrix: Tensor, other: Tensor) -> Tensor:
    """``matrix`` without the entries that ``other`` does not hold."""
    keys = keys_of(matrix)
    held = torch.isin(keys, keys_of(other), assume_unique=True)
    return from_keys(keys[held], matrix.values()[held], matrix.shape[0])


def _transpose_by_sorting(matrix: Tensor) -> Tensor:
    size = matrix.shape[0]
    keys, order = torch.sort(matrix.col_indices().long() * size + row_index(matrix))
    return from_keys(keys, matrix.values()[order], size)


def _add_by_sorting(first: Tensor, second: Tensor) -> Tensor:
    keys, order = torch.sort(torch.cat([keys_of(first), keys_of(second)]), stable=True)
    values = torch.cat([first.values(), second.values()])[order]
    again = torch.zeros_like(keys, dtype=torch.bool)
    again[1:] = keys[1:] == keys[:-1]
    values[:-1] += torch.where(again[1:], values[1:], 0)  # a key occurs at most twice
    held = ~again & (values != 0)  # scipy's sums drop what is 0 too
    return from_keys(keys[held], values[held], first.shape[0])


def to_scipy(matrix: Tensor) -> Any:
    """The same matrix on the CPU as a scipy CSR array that shares its memory."""
    parts = matrix.values().numpy(), matrix.col_indices().numpy(), matrix.crow_indices().numpy()
    held = scipy.sparse.csr_array(parts, shape=(len(matrix), len(matrix)), copy=False)
    held.has_canonical_format = True
    return held


def _from_scipy(matrix: Any) -> Tensor:
    return csr(*(torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data)))
