"""Restarted Lanczos iteration (Lehoucq, Sorensen and Yang, 1998) by scipy's implementation."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse.linalg
from numpy.typing import NDArray

from spectral_bench.methods.errors import NumericalError

Array = NDArray[np.floating[Any]]

_BASIS = 40  # fewer Lanczos vectors restart more often: measured on 900 nodes, 4 to 15 vectors


def stop_at(dtype: np.dtype[Any]) -> float:
    """The residual relative to its eigenvalue at which an eigenpair of a matrix of this dtype counts as converged."""
    return float(np.sqrt(np.finfo(dtype).eps) * 1e-2)


def arpack(
    matrix: Any, count: int, *, start: Array, generator: np.random.Generator, tolerance: float | None = None
) -> tuple[Array, Array]:
    """The ``count`` algebraically largest eigenpairs, (count,) ascending and (n, count), as one start shows them.

    Nothing is factorised, so a singular Laplacian does no harm. A Krylov space holds one vector of each eigenspace,
    whatever its dimension: further copies of a repeated eigenvalue are found only as rounding brings them in, and
    residuals say nothing of those left out (see ``methods.completeness``).

    Args:
        matrix: (n, n) array or scipy operator, symmetric.
        count: 1 to n - 1.
        start: (n,) starting vector, of the matrix's dtype.
        generator: of the vectors with which scipy 1.17 and newer go on where the Krylov space is exhausted, as that of
            a graph of few distinct patches is. Without it these releases take fresh entropy from the system; older ones
            go on with vectors of their own.
        tolerance: the residual, relative to its eigenvalue, at which a pair counts as converged; 0: to rounding; None:
            ``stop_at`` of the matrix's dtype.

    Raises:
        NumericalError: no convergence.
    """
    solve = scipy.sparse.linalg.eigsh
    basis = min(matrix.shape[0], max(2 * count + 1, _BASIS))
    tol = stop_at(start.dtype) if tolerance is None else tolerance
    options = {"rng": generator} if _takes_generator(solve) else {}
    try:
        values, vectors = solve(matrix, k=count, which="LA", v0=start, ncv=basis, tol=tol, **options)
    except scipy.sparse.linalg.ArpackError as error:
        raise NumericalError(f"arpack did not converge: {error}") from error
    return values, vectors


@functools.cache
def _takes_generator(function: Callable[..., Any]) -> bool:
    return "rng" in inspect.signature(function).parameters
