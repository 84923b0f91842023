from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spectral_bench.methods.graphs import sparse


def random_matrix(size: int, density: float, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(size, size, generator=generator, dtype=dtype) + 0.1
    return values * (torch.rand(size, size, generator=generator) < density)


def to_csr(dense: Tensor) -> Tensor:
    rows, columns = dense.nonzero(as_tuple=True)
    return sparse.from_counts(torch.bincount(rows, minlength=len(dense)), columns, dense[rows, columns])


matrices = st.builds(random_matrix, st.integers(1, 12), st.floats(0, 1), st.integers(0, 2**31))


def test_a_matrix_is_made_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        matrix = to_csr(torch.eye(3))
    assert matrix.col_indices().dtype == matrix.crow_indices().dtype == torch.int32
    assert torch.equal(matrix.to_dense(), torch.eye(3))


@given(matrices)
@settings(deadline=None)
def test_unary_operations_equal_dense_ones(dense: Tensor) -> None:
    matrix = to_csr(dense)
    assert torch.equal(matrix.to_dense(), dense)
    assert torch.equal(sparse.transpose(matrix).to_dense(), dense.T)
    torch.testing.assert_close(sparse.row_sums(matrix), dense.sum(1))
    torch.testing.assert_close(sparse.multiply(matrix, 0.3).to_dense(), dense * 0.3)
    factor = torch.arange(len(dense), dtype=dense.dtype)
    torch.testing.assert_close(sparse.scale(matrix, factor).to_dense(), factor[:, None] * dense * factor)
    rows, columns = dense.nonzero(as_tuple=True)
    assert torch.equal(sparse.row_index(matrix), rows)
    assert torch.equal(sparse.keys_of(matrix), rows * len(dense) + columns)


@given(matrices, st.integers(0, 2**31))
@settings(deadline=None)
def test_binary_operations_equal_dense_ones(first: Tensor, seed: int) -> None:
    second = random_matrix(len(first), 0.4, seed)
    a, b = to_csr(first), to_csr(second)
    total = sparse.add(a, b)
    assert torch.equal(total.to_dense(), first + second)
    assert bool((sparse.keys_of(total).diff() > 0).all())
    assert torch.equal(sparse.intersect(a, b).to_dense(), first * (second > 0))


@given(matrices, st.integers(0, 2**31))
@settings(deadline=None)
def test_sorting_gives_the_same_sum_as_the_library_used_on_the_cpu(first: Tensor, seed: int) -> None:
    a, b = to_csr(first), to_csr(random_matrix(len(first), 0.4, seed))
    by_library, by_sorting = sparse.add(a, b), sparse._add_by_sorting(a, b)
    for part in (Tensor.crow_indices, Tensor.col_indices, Tensor.values):
        assert torch.equal(part(by_library), part(by_sorting))
    turned, by_keys = sparse.transpose(a), sparse._transpose_by_sorting(a)
    for part in (Tensor.crow_indices, Tensor.col_indices, Tensor.values):
        assert torch.equal(part(turned), part(by_keys))


def with_zeros(device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Two matrices whose sum is 0 where both hold an entry, where one holds a 0, and nowhere else."""
    first = sparse.csr(torch.tensor([0, 2, 3, 4]), torch.tensor([0, 2, 1, 0]), torch.tensor([1.5, -2.0, 0.0, 3.0]))
    second = sparse.csr(torch.tensor([0, 2, 3, 4]), torch.tensor([0, 1, 2, 0]), torch.tensor([-1.5, 4.0, -0.0, 0.0]))
    return first.to(device), second.to(device)


@pytest.mark.parametrize("add", [sparse.add, sparse._add_by_sorting], ids=["CPU", "by sorting, as on CUDA"])
def test_entries_whose_sum_is_0_are_dropped(add: Callable[[Tensor, Tensor], Tensor]) -> None:
    total = add(*with_zeros())
    assert total.crow_indices().tolist() == [0, 2, 2, 3]
    assert total.col_indices().tolist() == [1, 2, 0]
    assert total.values().tolist() == [4.0, -2.0, 3.0]
    # A weight of 0 in a kernel's sum leaves no entries behind, and an infinite or undefined one spoils no other.
    first, second = with_zeros()
    assert add(sparse.multiply(first, 0.0), sparse.multiply(second, 0.0)).values().numel() == 0
    second.values()[1] = float("inf")
    total = add(first, second)
    assert total.values().tolist() == [float("inf"), -2.0, 3.0]
    second.values()[1] = float("nan")
    assert add(first, second).values().isnan().tolist() == [True, False, False]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_sums_hold_the_same_entries_on_a_cuda_device() -> None:
    total, other = sparse.add(*with_zeros()), sparse.add(*with_zeros("cuda"))
    for part in (Tensor.crow_indices, Tensor.col_indices, Tensor.values):
        assert torch.equal(part(total), part(other).cpu())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1, 3, 64, 256])
def test_products_equal_dense_ones_whatever_the_layout(dtype: torch.dtype, width: int) -> None:
    dense = random_matrix(50, 0.2, 1, dtype)
    x = torch.randn(width, 50, dtype=dtype).T  # not contiguous
    torch.testing.assert_close(sparse.matmul(to_csr(dense), x), dense @ x)


def test_products_of_an_empty_matrix_are_zero_and_carry_no_gradient() -> None:
    x = torch.ones(4, 3, requires_grad=True)
    product = sparse.matmul(to_csr(torch.zeros(4, 4)), x)
    assert torch.equal(product, torch.zeros(4, 3))
    assert not product.requires_grad


def test_empty_rows_sum_to_zero_between_full_ones() -> None:
    dense = torch.zeros(5, 5)
    dense[1, 2], dense[3] = 2.0, 1.0
    assert sparse.row_sums(to_csr(dense)).tolist() == [0, 2, 0, 5, 0]
