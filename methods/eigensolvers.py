"""The largest eigenpairs of symmetric matrices by three solvers, each verified by its residual."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.errors import ConfigError
from common.names import unknown
from methods.errors import NumericalError
from methods.graphs import sparse

Solver = Literal["eigh", "arpack", "lobpcg"]

Array = NDArray[np.floating[Any]]

DEFLATION = 3.0  # moves an eigenvalue of at most 1 below -1, the least that a normalised affinity has
_ARPACK_BASIS = 40  # fewer Lanczos vectors restart more often: measured on 900 nodes, 4 to 15 vectors
_LOBPCG_GUARD = 5  # vectors beyond those wanted, which make the wanted ones converge sooner
_LOBPCG_STEPS = 300


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues and eigenvectors of one matrix or of a batch.

    Attributes:
        values: (..., count), descending or ascending as the function says that returns them.
        vectors: (..., n, count), columns in the order of the values; the entry of largest size of each is positive.
        residual: the largest norm of A v - l v of unit vectors v over all of them, relative to the norm of A, which is
            taken as 1: the matrices here are normalised.
    """

    values: Tensor
    vectors: Tensor
    residual: float


def tolerance(dtype: torch.dtype) -> float:
    """The residual that a solver must reach: 1e-5 in float64, 1e-4 in float32."""
    return 1e-5 if dtype == torch.float64 else 1e-4


def largest_eigenpairs(matrix: Tensor, count: int, *, solver: Solver = "arpack", seed: int = 0) -> Eigenpairs:
    """The ``count`` algebraically largest eigenpairs of symmetric matrices of spectral norm about 1, descending.

    ``eigh`` is the dense reference (LAPACK for the wanted part on the CPU, all of the batch in one call on CUDA),
    ``arpack`` restarted Lanczos, ``lobpcg`` locally optimal preconditioned conjugate gradients without preconditioner.
    The iterative two run on the CPU, one matrix after another, in the matrix's dtype.

    Args:
        matrix: (n, n) or (B, n, n), float32 or float64.
        count: 1 to n - 1.
        seed: of the starting vectors: the same seed gives the same bits.

    Raises:
        NumericalError: the matrix is not finite, or the residual stays above ``tolerance``.
        ConfigError: there is no such solver.
        ValueError: ``count`` is out of range.
    """
    if solver not in get_args(Solver):
        raise ConfigError(unknown("eigensolver", str(solver), get_args(Solver)))
    size = matrix.shape[-1]
    if not 1 <= count < size:
        raise ValueError(f"{count} eigenpairs of a matrix of {size} rows: expected 1 to {size - 1}")
    if not all(math.isfinite(float(end)) for end in torch.aminmax(matrix)):
        raise NumericalError("the matrix whose eigenvectors are wanted holds NaN or infinite values")
    values, vectors = _solve(matrix, count, solver, seed)
    return _verified(matrix @ vectors, values, vectors, solver)


def largest_eigenpairs_of_sparse(
    matrix: Tensor, count: int, *, known: Tensor, solver: Solver = "arpack", seed: int = 0
) -> Eigenpairs:
    """The ``count`` largest eigenpairs of a sparse symmetric matrix besides some that are known, descending.

    Known eigenvectors are moved to the far end of the spectrum, so that an eigenvalue of any multiplicity is found
    whole. ``arpack`` and ``lobpcg`` run on the CPU and store no dense matrix; ``eigh`` makes the matrix dense.

    Args:
        matrix: (n, n) sparse CSR of spectral norm about 1, float32 or float64.
        count: 1 to n - 1 - p.
        known: (n, p) orthonormal eigenvectors of it, dense and of its dtype.
        solver: as in ``largest_eigenpairs``.
        seed: of the starting vectors.

    Raises:
        NumericalError: the matrix is not finite, or the residual stays above ``tolerance``.
    """
    if not bool(matrix.values().isfinite().all()):
        raise NumericalError("the matrix whose eigenvectors are wanted holds NaN or infinite values")
    if solver == "eigh":
        dense = matrix.to_dense()
        return largest_eigenpairs(dense.sub_(DEFLATION * known @ known.T), count, solver=solver, seed=seed)
    function = {"arpack": _arpack, "lobpcg": _lobpcg}[solver]
    values, vectors = function(_deflated(matrix, known), count, np.random.default_rng(seed))
    order = np.argsort(-values, kind="stable")
    found = torch.from_numpy(values[order]).to(matrix), torch.from_numpy(vectors[:, order]).to(matrix)
    return _verified(sparse.matmul(matrix, found[1]), *found, solver)


def _deflated(matrix: Tensor, known: Tensor) -> Any:
    """``matrix - DEFLATION known known^T`` as an operator on the CPU."""
    held, vectors = sparse.to_scipy(matrix.cpu()), known.cpu().numpy()

    def product(x: Array) -> Array:
        return np.asarray(held @ x - DEFLATION * (vectors @ (vectors.T @ x)))

    return scipy.sparse.linalg.LinearOperator(held.shape, matvec=product, matmat=product, dtype=vectors.dtype)


def _verified(image: Tensor, values: Tensor, vectors: Tensor, solver: str) -> Eigenpairs:
    """Eigenpairs whose residual, from the matrix's products ``image`` with the vectors, is small enough."""
    residual, limit = _residual(image, values, vectors), tolerance(vectors.dtype)
    if not residual <= limit:
        raise NumericalError(f"{solver} did not converge: residual {residual:.1e}, expected at most {limit:.0e}")
    return Eigenpairs(values, _with_fixed_signs(vectors), residual)


def largest_residual(matrix: Tensor, values: Tensor, vectors: Tensor) -> float:
    """The largest norm of A v - l v over (..., n, count) unit vectors v and (..., count) values l."""
    return _residual(matrix @ vectors, values, vectors)


def _residual(image: Tensor, values: Tensor, vectors: Tensor) -> float:
    return float((image - vectors * values[..., None, :]).norm(dim=-2).max())


def _solve(matrix: Tensor, count: int, solver: Solver, seed: int) -> tuple[Tensor, Tensor]:
    if solver == "eigh" and matrix.device.type != "cpu":
        values, vectors = torch.linalg.eigh(matrix)
        return values[..., -count:].flip(-1), vectors[..., -count:].flip(-1)
    function = {"eigh": _eigh, "arpack": _arpack, "lobpcg": _lobpcg}[solver]
    parts = []
    for one in matrix.cpu().reshape(-1, *matrix.shape[-2:]).numpy():
        values, vectors = function(one, count, np.random.default_rng(seed))
        order = np.argsort(-values, kind="stable")
        parts.append((torch.from_numpy(values[order]), torch.from_numpy(vectors[:, order])))
    values, vectors = (torch.stack(column).to(matrix) for column in zip(*parts, strict=True))
    leading = matrix.shape[:-2]
    return values.view(*leading, count), vectors.view(*leading, -1, count)


def _eigh(matrix: Array, count: int, generator: np.random.Generator) -> tuple[Array, Array]:
    size = len(matrix)
    values, vectors = scipy.linalg.eigh(matrix, subset_by_index=(size - count, size - 1))
    return values, vectors


def _arpack(matrix: Any, count: int, generator: np.random.Generator) -> tuple[Array, Array]:
    """Largest algebraic values of the matrix itself: nothing is factorised, so a singular Laplacian does no harm."""
    size = matrix.shape[0]
    start = generator.standard_normal(size).astype(matrix.dtype)
    basis = min(size, max(2 * count + 1, _ARPACK_BASIS))
    accuracy = np.sqrt(np.finfo(matrix.dtype).eps) * 1e-2
    try:
        values, vectors = scipy.sparse.linalg.eigsh(matrix, k=count, which="LA", v0=start, ncv=basis, tol=accuracy)
    except scipy.sparse.linalg.ArpackError as error:
        raise NumericalError(f"arpack did not converge: {error}") from error
    return values, vectors


def _lobpcg(matrix: Any, count: int, generator: np.random.Generator) -> tuple[Array, Array]:
    block, size = count + _LOBPCG_GUARD, matrix.shape[0]
    if 5 * block >= size:  # a block that spans much of the space is ill-conditioned, and dense is faster
        return _eigh(matrix @ np.eye(size, dtype=matrix.dtype), count, generator)
    start = generator.standard_normal((size, block)).astype(matrix.dtype)
    accuracy = 0.1 * (1e-5 if matrix.dtype == np.float64 else 1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # guard vectors need not converge; the caller checks the rest
        values, vectors = scipy.sparse.linalg.lobpcg(matrix, start, largest=True, tol=accuracy, maxiter=_LOBPCG_STEPS)
    order = np.argsort(-values)[:count]
    return values[order], np.real(vectors[:, order])


def _with_fixed_signs(vectors: Tensor) -> Tensor:
    peak = vectors.gather(-2, vectors.abs().argmax(-2, keepdim=True))
    return torch.where(peak < 0, -vectors, vectors)
