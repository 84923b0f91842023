"""Filtered subspaces against dense float64: spectra without gaps, repeated and far apart, and what ends the filters."""

from __future__ import annotations

import pytest
import torch
from spectra import with_spectrum
from torch import Tensor

from spectral_bench.methods import chebyshev as filters
from spectral_bench.methods.chebyshev import _lower_bound, block_size, chebyshev
from spectral_bench.methods.eigensolvers import largest_eigenpairs, largest_eigenpairs_of_sparse, tolerance
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs import sparse
from spectral_bench.methods.graphs.features import feature_graph
from spectral_bench.methods.graphs.kernel import normalised
from spectral_bench.methods.laplacian import part_vectors


def random_graph(nodes: int) -> tuple[Tensor, Tensor]:
    """The normalised graph of random features, which has no gap, and the vectors of its parts."""
    features = torch.randn(nodes, 48, generator=torch.Generator().manual_seed(3))
    affinity = feature_graph(features, neighbours=16).double()
    return normalised(affinity), part_vectors(affinity)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_graph_without_a_gap(dtype: torch.dtype) -> None:
    matrix, known = random_graph(900)
    exact = torch.linalg.eigvalsh(matrix.to_dense()).flip(0)[known.shape[1] :]
    found = largest_eigenpairs_of_sparse(matrix.to(dtype), 40, known=known.to(dtype), solver="chebyshev")
    assert found.residual <= tolerance(dtype)
    torch.testing.assert_close(found.values.double(), exact[:40], rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-9)
    gram = found.vectors.double().T @ found.vectors.double()
    torch.testing.assert_close(gram, torch.eye(40, dtype=torch.float64), rtol=0, atol=1e-5)
    assert float((known.T @ found.vectors.double()).abs().max()) < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rest", [1e-2, 0.3, 0.9])
def test_few_large_eigenvalues_do_not_drown_the_others(rest: float, dtype: torch.dtype) -> None:
    values = torch.cat([torch.full((6,), 1.0), rest * torch.linspace(1, -1, 394)])
    found = largest_eigenpairs(with_spectrum(values).to(dtype), 20, solver="chebyshev")
    wanted = values.sort(descending=True).values[:20].double()
    torch.testing.assert_close(found.values.double(), wanted, rtol=0, atol=2e-6 if dtype == torch.float32 else 1e-9)


@pytest.mark.parametrize("low", [-0.2, -1.0, -1.9])
def test_the_lower_end_is_bounded_whatever_it_is(low: float) -> None:
    matrix = with_spectrum(torch.cat([torch.linspace(low, 0.2, 480), torch.linspace(0.5, 1, 20)]))
    start = torch.randn(500, 36, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert _lower_bound(matrix.matmul, start[:, 0]) <= low + 1e-9
    found = largest_eigenpairs(matrix, 20, solver="chebyshev")
    torch.testing.assert_close(found.values, torch.linspace(0.5, 1, 20).double().flip(0), rtol=0, atol=1e-6)


def test_a_matrix_of_two_eigenvalues_ends_at_once() -> None:
    values, calls = torch.cat([torch.ones(5), torch.full((295,), -0.1)]), 0
    matrix = with_spectrum(values)

    def product(block: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return matrix @ block

    start = torch.randn(300, block_size(5), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found, vectors = chebyshev(product, start, matrix[:, :0], 5, lambda values, errors: float(errors.max()) < 1e-9)
    torch.testing.assert_close(found, torch.ones(5, dtype=torch.float64))
    assert vectors.isfinite().all()
    assert calls < 60


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 3e-7), (torch.float64, 1e-9)])
@pytest.mark.parametrize("rest", [0.1, 0.03, 1e-3, 1e-5])
def test_small_eigenvalues_beside_a_known_large_one(rest: float, dtype: torch.dtype, limit: float) -> None:
    values = torch.cat([torch.ones(1), rest * torch.linspace(-1, 1, 399)]).double()
    matrix = with_spectrum(values)
    known = torch.linalg.eigh(matrix).eigenvectors[:, -1:]
    full = sparse.from_counts(torch.full((400,), 400), torch.arange(400).repeat(400), matrix.to(dtype).flatten())
    found = largest_eigenpairs_of_sparse(full, 10, known=known.to(dtype), solver="chebyshev")
    wanted = values[1:].sort(descending=True).values[:10]
    torch.testing.assert_close(found.values.double(), wanted, rtol=1e-4, atol=limit)


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-9])
def test_a_spectrum_of_any_size_whose_lower_end_is_the_larger(scale: float) -> None:
    drawn = torch.rand(20, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    values = scale * torch.cat([torch.full((30,), 0.5), torch.full((250,), 0.1), -2 + 1e-6 * drawn])
    found = largest_eigenpairs(with_spectrum(values, 2), 3, solver="chebyshev")
    torch.testing.assert_close(found.values, torch.full((3,), 0.5 * scale, dtype=torch.float64), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-6), (torch.float64, 1e-10)])
@pytest.mark.parametrize("rest", [1e-2, 1e-4])
def test_small_eigenvalues_below_one_that_is_wanted_too(rest: float, dtype: torch.dtype, limit: float) -> None:
    values = torch.cat([torch.ones(1), rest * torch.linspace(-1, 1, 399)]).double()
    found = largest_eigenpairs(with_spectrum(values).to(dtype), 10, solver="chebyshev")
    wanted = values.sort(descending=True).values[:10]
    torch.testing.assert_close(found.values.double(), wanted, rtol=1e-5, atol=limit)


def test_values_out_of_range_are_told() -> None:
    start = torch.randn(300, block_size(5), generator=torch.Generator().manual_seed(0))
    matrix = with_spectrum(torch.linspace(-1, 1, 300)).float() * 1e37
    with pytest.raises(NumericalError, match="beyond their range"):
        chebyshev(matrix.matmul, start, matrix[:, :0], 5, lambda values, errors: False)


def test_a_block_that_ends_within_a_cluster() -> None:
    cluster = 0.5 + 1e-7 * torch.linspace(0, 1, 60, dtype=torch.float64)
    values = torch.cat([torch.linspace(0.6, 1, 5), cluster, torch.linspace(-1, 0.49, 335)])
    found = largest_eigenpairs(with_spectrum(values), 10, solver="chebyshev")
    wanted = values.sort(descending=True).values[:10].double()
    torch.testing.assert_close(found.values, wanted, rtol=0, atol=1e-6)


def test_the_same_seed_gives_the_same_bits_and_too_few_filters_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix, known = random_graph(600)
    first, again = (largest_eigenpairs_of_sparse(matrix, 12, known=known, solver="chebyshev") for _ in range(2))
    assert torch.equal(first.vectors, again.vectors)
    other = largest_eigenpairs_of_sparse(matrix, 12, known=known, solver="chebyshev", seed=1)
    assert not torch.equal(first.vectors, other.vectors)
    monkeypatch.setattr(filters, "_FILTERS", 0)
    with pytest.raises(NumericalError, match="chebyshev did not converge"):
        largest_eigenpairs_of_sparse(matrix, 12, known=known, solver="chebyshev")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_finds_what_the_cpu_finds() -> None:
    matrix, known = random_graph(900)
    here = largest_eigenpairs_of_sparse(matrix, 40, known=known, solver="chebyshev")
    there = largest_eigenpairs_of_sparse(matrix.cuda(), 40, known=known.cuda(), solver="chebyshev")
    assert there.vectors.is_cuda
    torch.testing.assert_close(there.values.cpu(), here.values, rtol=0, atol=1e-9)
    angles = torch.linalg.svdvals(there.vectors.cpu()[:, :30].T @ here.vectors)
    torch.testing.assert_close(angles, torch.ones_like(angles), rtol=0, atol=1e-6)
