from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh, subspace_angles
from torch import Tensor

from spectral_bench.methods.eigensolvers import Solver, tolerance
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.laplacian import smallest_eigenpairs

SOLVERS = list(get_args(Solver))


def patch_affinity(seed: int, nodes: int = 150, parts: int = 1) -> Tensor:
    """Similarities of noisy unit features around a few directions; parts that no edge joins where asked for."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(6, 24, generator=generator, dtype=torch.float64)
    rows = centres[torch.arange(nodes) % 6] + 0.7 * torch.randn(nodes, 24, generator=generator, dtype=torch.float64)
    unit = torch.nn.functional.normalize(rows, dim=1)
    affinity = (unit @ unit.T).clamp_min(0)
    group = torch.arange(nodes) * parts // nodes
    return affinity * (group[:, None] == group)


def residuals(affinity: Tensor, values: Tensor, vectors: Tensor) -> Tensor:
    """Norm of (D - W) v - mu D v over that of D v, in float64, for each pair."""
    weights = affinity.double()
    degree = torch.diag(weights.sum(1))
    wide = vectors.double()
    error = (degree - weights) @ wide - degree @ wide * values.double()
    return error.norm(dim=0) / (degree @ wide).norm(dim=0)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_the_dense_generalised_problem(solver: Solver, dtype: torch.dtype) -> None:
    affinity = patch_affinity(0)
    found = smallest_eigenpairs(affinity.to(dtype), 5, solver=solver)
    degree = torch.diag(affinity.sum(1))
    values, vectors = eigh((degree - affinity).numpy(), degree.numpy())
    limit = tolerance(dtype)
    assert float(residuals(affinity, found.values, found.vectors).max()) <= limit
    assert found.residual <= limit
    np.testing.assert_allclose(found.values.double().numpy(), values[1:6], rtol=0, atol=10 * limit)
    assert subspace_angles(found.vectors.double().numpy(), vectors[:, 1:6]).max() < 100 * limit


@pytest.mark.parametrize("solver", SOLVERS)
def test_vectors_are_orthonormal_in_d_and_orthogonal_to_the_constant(solver: Solver) -> None:
    affinity = patch_affinity(1)
    vectors = smallest_eigenpairs(affinity, 4, solver=solver).vectors
    weighted = vectors * affinity.sum(1)[:, None]
    torch.testing.assert_close(vectors.T @ weighted, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-5)
    torch.testing.assert_close(weighted.sum(0), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-3)


@given(st.integers(2, 4), st.sampled_from(SOLVERS), st.integers(1, 6), st.integers(0, 2**31))
@settings(deadline=None, max_examples=30)
def test_parts_that_no_edge_joins_come_first_whatever_the_solver(
    parts: int, solver: Solver, count: int, seed: int
) -> None:
    affinity = patch_affinity(seed, nodes=60, parts=parts)
    found = smallest_eigenpairs(affinity, count, solver=solver)
    zeros = min(parts - 1, count)
    assert found.values[:zeros].tolist() == [0.0] * zeros
    assert bool((found.values[zeros:] > 1e-3).all())
    group = torch.arange(60) * parts // 60
    for part in range(parts):
        inside = found.vectors[group == part][:, :zeros]
        torch.testing.assert_close(inside, inside[:1].expand_as(inside))
    assert float(residuals(affinity, found.values, found.vectors).max()) < 1e-5
    reference = smallest_eigenpairs(affinity, count, solver="eigh")
    torch.testing.assert_close(found.vectors[:, :zeros], reference.vectors[:, :zeros])


def test_the_heaviest_parts_are_told_apart_first() -> None:
    affinity = torch.zeros(9, 9, dtype=torch.float64)
    for part, weight in ((slice(0, 2), 1.0), (slice(2, 6), 1.0), (slice(6, 9), 5.0)):
        affinity[part, part] = weight
    affinity.fill_diagonal_(0)
    vector = smallest_eigenpairs(affinity, 1).vectors[:, 0]
    assert (vector[6:] * vector[2:5]).max() < 0


@pytest.mark.parametrize("solver", SOLVERS)
def test_nodes_without_edges_have_no_entry_and_change_nothing_else(solver: Solver) -> None:
    affinity = patch_affinity(2, nodes=80)
    padded = torch.zeros(83, 83, dtype=torch.float64)
    kept = [node for node in range(83) if node not in (0, 40, 82)]
    padded[np.ix_(kept, kept)] = affinity
    found, expected = (smallest_eigenpairs(matrix, 4, solver=solver) for matrix in (padded, affinity))
    assert bool(found.vectors.isfinite().all())
    assert not bool(found.vectors[[0, 40, 82]].any())
    torch.testing.assert_close(found.values, expected.values, rtol=0, atol=1e-8)
    torch.testing.assert_close(found.vectors[kept].abs(), expected.vectors.abs(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("solver", SOLVERS)
def test_constant_features_have_one_eigenvalue_many_times(solver: Solver) -> None:
    """A complete graph of n nodes has the eigenvalue n / (n - 1) n - 1 times."""
    found = smallest_eigenpairs(torch.ones(50, 50, dtype=torch.float64).fill_diagonal_(0), 6, solver=solver)
    torch.testing.assert_close(found.values, torch.full((6,), 50 / 49, dtype=torch.float64))
    torch.testing.assert_close(
        found.vectors.T @ found.vectors * 49, torch.eye(6, dtype=torch.float64), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_batch_may_mix_connected_and_disconnected_graphs(solver: Solver) -> None:
    batch = torch.stack([patch_affinity(3, 90, parts) for parts in (1, 3, 2)])
    before = batch.clone()
    together = smallest_eigenpairs(batch, 4, solver=solver)
    for index, weights in enumerate(batch):
        alone = smallest_eigenpairs(weights, 4, solver=solver)
        torch.testing.assert_close(together.values[index], alone.values, rtol=0, atol=1e-9)
        torch.testing.assert_close(together.vectors[index], alone.vectors, rtol=0, atol=1e-4)
    assert torch.equal(batch, before)


def test_renumbering_nodes_renumbers_the_vectors() -> None:
    affinity = patch_affinity(4, 70)
    order = torch.randperm(70, generator=torch.Generator().manual_seed(0))
    found = smallest_eigenpairs(affinity, 3, solver="eigh").vectors
    renumbered = smallest_eigenpairs(affinity[order][:, order], 3, solver="eigh").vectors
    torch.testing.assert_close(renumbered, found[order], rtol=0, atol=1e-8)


def test_too_few_nodes_with_edges_are_refused() -> None:
    affinity = torch.zeros(10, 10)
    affinity[0, 1] = affinity[1, 0] = 1.0
    assert smallest_eigenpairs(affinity, 1).values.tolist() == pytest.approx([2.0])
    with pytest.raises(NumericalError, match=r"2 nodes have an edge, which gives 1 eigenvectors .* 2 are wanted"):
        smallest_eigenpairs(affinity, 2)
    with pytest.raises(NumericalError, match="0 nodes have an edge, which gives 0 eigenvectors"):
        smallest_eigenpairs(torch.zeros(4, 4), 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.1])
def test_weights_that_are_no_affinity_are_refused(value: float) -> None:
    affinity = torch.ones(4, 4)
    affinity[1, 2] = value
    with pytest.raises(NumericalError, match="expected weights that are finite and not negative"):
        smallest_eigenpairs(affinity, 1)
