"""Eigenvectors that an iterative solver left out: found by asking again without those that it gave."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from numpy.typing import NDArray

from spectral_bench.methods.arpack import arpack, stop_at
from spectral_bench.methods.errors import NumericalError

Array = NDArray[np.floating[Any]]


def completed(matrix: Any, values: Array, vectors: Array, *, generator: np.random.Generator) -> tuple[Array, Array]:
    """The largest eigenpairs with those put in that were left out, as many as are given, descending.

    Small residuals show that each vector is an eigenvector, and not that none is missing: Krylov spaces hold one vector
    of an eigenspace of any dimension. That no eigenvalue besides those found lies above the least of them is shown by
    a Cholesky factor of the least one's multiple of the identity minus the rest of a dense matrix (Sylvester's law of
    inertia), or else by the largest eigenvalue of the rest, from a start of its own. Where nothing is missing, values
    and vectors come back as they are, but for their order.

    Args:
        matrix: (n, n) array or scipy operator, symmetric, of spectral norm about 1.
        values: (count,) eigenvalues, count of 1 to n - 1.
        vectors: (n, count) orthonormal eigenvectors.
        generator: of the further starts.

    Raises:
        NumericalError: a further start did not converge, or each shows still more.
    """
    count, size = len(values), len(vectors)
    order = np.argsort(-values, kind="stable")
    values, vectors = values[order], vectors[:, order]
    for further in (1, *[count] * count):
        if len(values) == size or _nothing_above(matrix, values, vectors, count):
            return values[:count], vectors[:, :count]
        above, extra = _rest(matrix, values, vectors, min(further, size - len(values)), generator)
        missing = above > _bound(values[:count], matrix.dtype)
        if not missing.any():
            return values[:count], vectors[:, :count]
        values, vectors = _ritz(matrix, np.concatenate([vectors, extra[:, missing]], 1))
    raise NumericalError(f"eigenvectors were left out {count + 1} times: expected {count} to be found by then")


def _bound(values: Array, dtype: np.dtype[Any]) -> float:
    """What an eigenvalue has to exceed to be larger than the last of (count,) that were computed, descending."""
    rounding = 2 * float(np.finfo(dtype).eps) * max(1.0, float(np.abs(values).max()))
    return float(values[-1]) + max(stop_at(dtype) * abs(float(values[-1])), rounding)


def _nothing_above(matrix: Any, values: Array, vectors: Array, count: int) -> bool:
    """Whether a factor shows that no other eigenvalue of a dense matrix exceeds the last wanted one.

    It costs n^3 / 3 operations, less than a start; where other eigenvalues come close, rounding may spoil it.
    """
    if not isinstance(matrix, np.ndarray):
        return False
    bound = _bound(values[:count], matrix.dtype)
    lifted = vectors * ((values - bound).clip(min=0) + 1)
    rest = lifted.astype(matrix.dtype, copy=False) @ vectors.T.astype(matrix.dtype, copy=False)
    rest -= matrix
    rest.flat[:: len(rest) + 1] += matrix.dtype.type(bound)
    (factorise,) = scipy.linalg.get_lapack_funcs(("potrf",), (rest,))
    return int(factorise(rest.T, lower=True, clean=False, overwrite_a=True)[1]) == 0


def _rest(
    matrix: Any, values: Array, vectors: Array, count: int, generator: np.random.Generator
) -> tuple[Array, Array]:
    """The largest eigenpairs of the matrix when the given ones are moved to -1, the least of a normalised affinity."""
    moved = vectors * (values + 1)

    def product(x: Array) -> Array:
        return np.asarray(matrix @ x - moved @ (vectors.T @ x))

    rest = scipy.sparse.linalg.LinearOperator(matrix.shape, matvec=product, matmat=product, dtype=matrix.dtype)
    start = generator.standard_normal(len(vectors)).astype(matrix.dtype)
    return arpack(rest, count, start=start, generator=generator)


def _ritz(matrix: Any, vectors: Array) -> tuple[Array, Array]:
    """Rayleigh-Ritz pairs of the span of the vectors, descending."""
    basis = np.linalg.qr(vectors).Q
    values, mixed = scipy.linalg.eigh(basis.T @ (matrix @ basis))
    return values[::-1].copy(), basis @ mixed[:, ::-1]
