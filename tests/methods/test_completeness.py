"""No copy of a repeated eigenvalue is left out: graphs with symmetries, by every solver, against dense float64."""

from __future__ import annotations

import inspect
from typing import Any, get_args

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh
from torch import Tensor

from spectral_bench.methods.completeness import completed
from spectral_bench.methods.eigensolvers import Solver, largest_eigenpairs
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.laplacian import leading_eigenpairs, smallest_eigenpairs

SOLVERS = list(get_args(Solver))
Array = np.ndarray[Any, Any]


def path(nodes: int) -> Array:
    return np.eye(nodes, k=1) + np.eye(nodes, k=-1)


def ring(nodes: int) -> Array:
    closed = path(nodes)
    closed[0, -1] = closed[-1, 0] = 1
    return closed


def product(first: Array, second: Array) -> Array:
    """The Cartesian product of two graphs: of two paths the 4-neighbour grid, of two rings the torus."""
    return np.kron(first, np.eye(len(second))) + np.kron(np.eye(len(first)), second)


def equal_blocks(number: int, nodes: int, between: float) -> Array:
    """Blocks of one random graph, joined to each other by equal weights: each eigenvalue but one in all copies."""
    inside = np.random.default_rng(0).random((nodes, nodes))
    others = np.ones((number, number)) - np.eye(number)
    return np.kron(np.eye(number), inside + inside.T) + between * np.kron(others, np.ones((nodes, nodes)))


GRAPHS = {
    "grid 30 x 30": product(path(30), path(30)),
    "grid 12 x 16": product(path(12), path(16)),
    "ring of 100": ring(100),
    "ring of 301": ring(301),
    "torus 20 x 20": product(ring(20), ring(20)),
    "torus 12 x 18": product(ring(12), ring(18)),
    "cube of side 6": product(product(path(6), path(6)), path(6)),
    "10 equal blocks": equal_blocks(10, 25, 0.002),
    "4 equal parts": np.kron(np.eye(4), product(path(8), path(8))),
    "9 equal parts": np.kron(np.eye(9), product(ring(7), path(6))),
    "3 equal rings and a grid": np.block(
        [
            [np.kron(np.eye(3), ring(20)), np.zeros((60, 49))],
            [np.zeros((49, 60)), product(path(7), path(7))],
        ]
    ),
}


def spectrum(weights: Array) -> Array:
    """Eigenvalues of D^-1/2 W D^-1/2, descending."""
    root = 1 / np.sqrt(weights.sum(1))
    return np.asarray(eigh(weights * root[:, None] * root, eigvals_only=True)[::-1])


def weighted_gram(vectors: Tensor, weights: Array) -> Array:
    wide = vectors.double().numpy()
    return np.asarray(wide.T @ (weights.sum(1)[:, None] * wide))


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("graph", GRAPHS)
def test_no_copy_of_a_repeated_eigenvalue_is_left_out(graph: str, dtype: torch.dtype, solver: Solver) -> None:
    weights = GRAPHS[graph]
    exact = 1 - spectrum(weights)
    for count in (2, 5, 14):
        found = smallest_eigenpairs(torch.from_numpy(weights).to(dtype), count, solver=solver)
        limit = 2e-5 if dtype == torch.float32 else 1e-9
        np.testing.assert_allclose(found.values.double().numpy(), exact[1 : count + 1], rtol=0, atol=limit)
        # With the values right, vectors that are orthonormal and have small residuals span the right spaces.
        np.testing.assert_allclose(weighted_gram(found.vectors, weights), np.eye(count), rtol=0, atol=20 * limit)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("graph", GRAPHS)
def test_nor_of_a_sparse_graph(graph: str, solver: Solver) -> None:
    weights = GRAPHS[graph]
    affinity = torch.from_numpy(weights).to_sparse_csr()
    for count in (5, 14):
        found = leading_eigenpairs(affinity, count, solver=solver)
        np.testing.assert_allclose(found.values.numpy(), spectrum(weights)[:count], rtol=0, atol=1e-9)
        gram = found.vectors.T @ found.vectors
        torch.testing.assert_close(gram, torch.eye(count, dtype=torch.float64), rtol=0, atol=1e-8)


@given(st.integers(0, 2**31), st.sampled_from(["arpack", "lobpcg"]), st.sampled_from([torch.float32, torch.float64]))
@settings(deadline=None, max_examples=60)
def test_nor_of_a_matrix_of_any_repeated_spectrum(seed: int, solver: Solver, dtype: torch.dtype) -> None:
    random = np.random.default_rng(seed)
    distinct = random.uniform(-1, 1, int(random.integers(2, 20)))
    values = np.sort(np.repeat(distinct, random.integers(1, 9, len(distinct))))[::-1]
    size = len(values) + int(random.integers(1, 100))
    values = np.append(values, random.uniform(-1, values[-1], size - len(values)))
    basis = np.linalg.qr(random.standard_normal((size, size))).Q
    matrix = (basis * values) @ basis.T
    count = int(random.integers(1, min(size, 20)))
    found = largest_eigenpairs(torch.from_numpy((matrix + matrix.T) / 2).to(dtype), count, solver=solver)
    limit = 3e-5 if dtype == torch.float32 else 1e-8
    np.testing.assert_allclose(found.values.double().numpy(), np.sort(values)[::-1][:count], rtol=0, atol=limit)


@pytest.mark.parametrize("lost", [1, 3])
@pytest.mark.parametrize("operator", [False, True])
def test_what_was_left_out_is_put_in(operator: bool, lost: int) -> None:
    """Whatever the reason: eigenvectors in the middle are taken away from those that a solver gave."""
    exact = np.append([0.9, 0.8, 0.7, 0.6, 0.5, 0.4], np.linspace(0.3, -1, 94))
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((100, 100))).Q
    matrix: Any = (basis * exact) @ basis.T
    if operator:
        matrix = scipy.sparse.linalg.aslinearoperator(matrix)
    kept = [0, *range(1 + lost, 6)]
    values, vectors = completed(matrix, exact[kept], basis[:, kept], generator=np.random.default_rng(1))
    np.testing.assert_allclose(values, exact[: len(kept)], rtol=0, atol=1e-9)
    overlap = np.linalg.norm(basis[:, : len(kept)].T @ vectors, 2)
    assert overlap == pytest.approx(1, abs=1e-8)


@pytest.mark.parametrize("operator", [False, True])
def test_what_is_complete_keeps_its_bits(operator: bool) -> None:
    exact = np.append([0.9, 0.8, 0.8], np.linspace(0.7, -1, 57))
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((60, 60))).Q
    matrix: Any = (basis * exact) @ basis.T
    if operator:
        matrix = scipy.sparse.linalg.aslinearoperator(matrix)
    for count in (1, 2, 3, 5):  # two: the next one equals the last
        values, vectors = completed(matrix, exact[:count], basis[:, :count], generator=np.random.default_rng(1))
        assert np.array_equal(values, exact[:count])
        assert np.array_equal(vectors, basis[:, :count])


def test_a_solver_that_never_shows_all_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def always_more(matrix: Any, count: int, **_: Any) -> tuple[Array, Array]:
        return np.full(count, 2.0), np.random.default_rng(0).standard_normal((len(basis), count))

    basis = np.eye(30)
    operator = scipy.sparse.linalg.aslinearoperator(np.diag(np.linspace(0.9, -1, 30)))
    monkeypatch.setattr("spectral_bench.methods.completeness.arpack", always_more)
    with pytest.raises(NumericalError, match="eigenvectors were left out"):
        completed(operator, np.array([-0.5]), basis[:, 20:21], generator=np.random.default_rng(0))


def few_distinct(dtype: torch.dtype) -> Tensor:
    """The affinity of 200 patches of five kinds: from any start, Lanczos vectors are exhausted after a few."""
    generator = torch.Generator().manual_seed(3)
    kinds = torch.nn.functional.normalize(torch.rand(5, 12, generator=generator, dtype=torch.float64), dim=1)
    rows = kinds[torch.randint(5, (200,), generator=generator)]
    return (rows @ rows.T).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_few_distinct_patches_give_the_same_bits_every_time(dtype: torch.dtype) -> None:
    affinity = few_distinct(dtype)
    first, again = (smallest_eigenpairs(affinity, 9, restart_seed=4) for _ in range(2))
    assert torch.equal(first.vectors, again.vectors)
    sparse = affinity.double().to_sparse_csr()
    first, again = (leading_eigenpairs(sparse, 9, restart_seed=4) for _ in range(2))
    assert torch.equal(first.vectors, again.vectors)


@pytest.mark.skipif("rng" not in inspect.signature(scipy.sparse.linalg.eigsh).parameters, reason="scipy before 1.17")
def test_the_draws_of_an_exhausted_krylov_space_are_of_the_restart_seed() -> None:
    affinity = few_distinct(torch.float64)
    first, other = (smallest_eigenpairs(affinity, 9, restart_seed=seed).vectors for seed in (1, 2))
    assert not torch.equal(first, other)
    plain = torch.diag(torch.linspace(0.9, -0.9, 80, dtype=torch.float64))
    first, other = (largest_eigenpairs(plain, 3, restart_seed=seed).vectors for seed in (1, 2))
    assert torch.equal(first, other)


def test_a_scipy_without_generators_is_asked_without(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = scipy.sparse.linalg.eigsh

    def older(A: Any, k: int, which: str, v0: Any, ncv: int, tol: float) -> Any:
        return inner(A, k=k, which=which, v0=v0, ncv=ncv, tol=tol)

    monkeypatch.setattr(scipy.sparse.linalg, "eigsh", older)
    found = largest_eigenpairs(torch.diag(torch.linspace(0.9, -0.9, 80, dtype=torch.float64)), 2)
    assert found.values[0] == pytest.approx(0.9)
