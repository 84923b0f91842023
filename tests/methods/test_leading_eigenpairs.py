"""The leading eigenpairs of a sparse graph, against the dense matrix and scikit-learn's embedding."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import pytest
import torch
from scipy.linalg import eigh, subspace_angles
from sklearn.manifold import spectral_embedding
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from spectral_bench.methods.eigensolvers import Solver, largest_eigenpairs_of_sparse, tolerance
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs.features import feature_graph
from spectral_bench.methods.graphs.kernel import normalised
from spectral_bench.methods.laplacian import leading_eigenpairs

SOLVERS = get_args(Solver)
DTYPES = [torch.float32, torch.float64]


def graph(nodes: int = 200, parts: int = 1, isolated: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Neighbours among patches of parts that share no channel, and patches of zeros."""
    generator = torch.Generator().manual_seed(parts)
    features = torch.zeros(nodes, 6 * parts, dtype=dtype)
    for part in range(parts):
        mine = range(part, nodes - isolated, parts)
        features[mine, 6 * part : 6 * part + 6] = torch.rand(len(mine), 6, generator=generator).to(dtype)
    return feature_graph(features, neighbours=8)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("parts", "isolated"), [(1, 0), (3, 0), (4, 25)])
def test_agrees_with_the_dense_matrix(solver: Solver, dtype: torch.dtype, parts: int, isolated: int) -> None:
    affinity = graph(parts=parts, isolated=isolated, dtype=dtype)
    pairs = leading_eigenpairs(affinity, 6, solver=solver)
    matrix = normalised(affinity).to_dense().double()
    values = eigh(matrix.numpy(), eigvals_only=True)[::-1][:6]
    limit = tolerance(dtype)
    vectors, found = pairs.vectors.double(), pairs.values.double()
    assert float((matrix @ vectors - vectors * found).norm(dim=0).max()) <= limit
    assert pairs.residual <= limit
    torch.testing.assert_close(found, torch.from_numpy(values.copy()), rtol=0, atol=limit)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(6).double(), rtol=0, atol=10 * limit)
    assert bool((vectors[200 - isolated :] == 0).all()) or not isolated


@pytest.mark.parametrize("solver", SOLVERS)
def test_nodes_without_edges_take_no_vector_even_where_eigenvalues_are_negative(solver: Solver) -> None:
    """A complete graph of 5 has the eigenvalues 1 and -1/4: those of nodes without edges, 0, would come before."""
    affinity = torch.zeros(9, 9, dtype=torch.float64)
    affinity[:5, :5] = 1 - torch.eye(5)
    pairs = leading_eigenpairs(affinity.to_sparse_csr(), 3, solver=solver)
    assert pairs.values.tolist() == pytest.approx([1, -0.25, -0.25])
    assert float(pairs.vectors[5:].abs().max()) < 1e-12


def test_of_more_parts_than_vectors_the_heaviest_are_kept() -> None:
    affinity = torch.block_diag(*[weight * (torch.ones(3, 3) - torch.eye(3)) for weight in (1.0, 3.0, 2.0)]).double()
    pairs = leading_eigenpairs(affinity.to_sparse_csr(), 2)
    assert pairs.values.tolist() == [1, 1]
    assert (pairs.vectors != 0).nonzero()[:, 0].tolist() == [3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("solver", SOLVERS)
def test_too_few_nodes_with_edges_are_refused(solver: Solver) -> None:
    affinity = torch.zeros(9, 9, dtype=torch.float64)
    affinity[:5, :5] = 1 - torch.eye(5)
    assert len(leading_eigenpairs(affinity.to_sparse_csr(), 4, solver=solver).values) == 4
    with pytest.raises(NumericalError, match="affinity: 5 nodes have an edge, too few for 5 eigenvectors"):
        leading_eigenpairs(affinity.to_sparse_csr(), 5, solver=solver)


@pytest.mark.parametrize("solver", SOLVERS)
def test_spans_what_scikit_learn_embeds(solver: Solver) -> None:
    affinity = graph()
    degrees = affinity.to_dense().sum(1).sqrt().numpy()
    expected = spectral_embedding(
        affinity.to_dense().numpy(), n_components=5, drop_first=False, eigen_solver="arpack", random_state=0
    )
    found = leading_eigenpairs(affinity, 5, solver=solver).vectors.numpy()
    assert np.degrees(subspace_angles(found, expected * degrees[:, None])).max() < 1e-3


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_same_seed_gives_the_same_bits(solver: Solver) -> None:
    first, second = (leading_eigenpairs(graph(), 4, solver=solver, seed=3) for _ in range(2))
    assert torch.equal(first.vectors, second.vectors)


class Largest(TorchDispatchMode):
    """Notes the largest number of entries of a result."""

    entries = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and result.layout == torch.strided:
            self.entries = max(self.entries, result.numel())
        return result


@pytest.mark.parametrize("isolated", [0, 30])
@pytest.mark.parametrize("solver", ["arpack", "lobpcg"])
def test_no_matrix_is_made_dense(solver: Solver, isolated: int) -> None:
    affinity = graph(1000, isolated=isolated)
    with Largest() as largest:
        leading_eigenpairs(affinity, 4, solver=solver)
    assert largest.entries < 1000 * 40


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(value: float) -> None:
    matrix = graph()
    matrix.values()[3] = value
    with pytest.raises(NumericalError, match="NaN or infinite"):
        largest_eigenpairs_of_sparse(matrix, 2, known=torch.zeros(200, 1, dtype=torch.float64))
