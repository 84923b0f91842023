"""Locally optimal conjugate gradients (Knyazev, 2001) in rounds, by scipy's implementation, always in float64."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
from numpy.typing import NDArray

from spectral_bench.methods.errors import NumericalError

Array = NDArray[np.float64]

ACCURACY = 1e-6  # residual relative to the size of its eigenvalue at which the iteration stops
LEAST = 1e-3  # part of the largest wanted eigenvalue that the size of any counts for at least
GUARD = 5  # vectors beyond those wanted, which make the wanted ones converge sooner
_STEPS = 20  # of a round
_ROUNDS = 50


def lobpcg(matrix: Any, count: int, *, start: Array, known: Array) -> tuple[Array, Array]:
    """The ``count`` largest eigenpairs, (count,) and (n, count), as near as the rounds get.

    The iteration runs on the matrix divided by its largest wanted eigenvalue: that of a graph whose patches are nearly
    alike may be 1e-5, and steps and stops of a fixed size would pass such a spectrum by. For the same reason vectors
    far off are kept out exactly rather than left to the iteration. A round starts from the vectors of the one before,
    which ends what a badly conditioned step has spoilt. In float32 the Gram matrices of the block are too inaccurate.

    Args:
        matrix: (n, n) array or scipy operator, symmetric.
        count: number of eigenpairs.
        start: (n, count + GUARD) starting vectors; n - p is more than five times their number, because the Gram
            matrices of a block that spans much of the space are ill-conditioned.
        known: (n, p) orthonormal eigenvectors that are not wanted.

    Raises:
        NumericalError: the block degenerated. Whether the rounds were enough is for the caller to see.
    """
    size = matrix.shape[0]
    away = known if known.shape[1] else None
    rounding = np.sqrt(size) * np.finfo(np.float64).eps  # of a product with a matrix of norm 1 to 3
    values, vectors, errors = _ritz(matrix, start, away)
    for _ in range(_ROUNDS):
        sizes = np.abs(values[:count])
        top = max(float(sizes.max()), rounding)
        limits = np.maximum(ACCURACY * np.maximum(sizes, LEAST * top), rounding)
        if (np.linalg.norm(errors, axis=0)[:count] <= limits).all():
            break
        product = _divided(matrix, top)
        scaled = scipy.sparse.linalg.LinearOperator((size, size), matvec=product, matmat=product, dtype=np.float64)
        accuracy = float(limits.min() / top) / 2
        try:
            with _quiet():  # guard vectors need not converge, and the wanted ones are looked at here
                _, vectors = scipy.sparse.linalg.lobpcg(
                    scaled, vectors, Y=away, largest=True, tol=accuracy, maxiter=_STEPS
                )
            # Of a matrix of low rank residuals come to depend on each other, which scipy's step does not survive.
            values, vectors, errors = _ritz(matrix, np.concatenate([np.real(vectors), errors / top], 1), away)
            values, vectors, errors = (part[..., : count + GUARD] for part in (values, vectors, errors))
        except (np.linalg.LinAlgError, ValueError) as error:  # a block that degenerated, or went to infinity
            raise NumericalError(f"lobpcg did not converge: {error}") from error
    return values[:count], vectors[:, :count]


def _divided(matrix: Any, by: float) -> Callable[[Array], Array]:
    return lambda x: np.asarray((matrix @ x) / by)


def _ritz(matrix: Any, vectors: Array, away: Array | None) -> tuple[Array, Array, Array]:
    """Rayleigh-Ritz pairs of the span of the vectors without ``away``, descending, and A v - l v of each."""
    if away is not None:
        vectors = vectors - away @ (away.T @ vectors)
    basis = np.linalg.qr(vectors).Q
    image = matrix @ basis
    values, mixed = scipy.linalg.eigh(basis.T @ image)
    values, mixed = values[::-1], mixed[:, ::-1]
    found = basis @ mixed
    return values, found, image @ mixed - found * values


_lock = threading.Lock()
_inside = 0
_filters: Any = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Scipy's warnings are ignored while any thread is in here.

    The filters belong to the process: a context of its own for each thread would restore them in any order.
    """
    global _inside, _filters
    with _lock:
        if _inside == 0:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            for category in (UserWarning, scipy.linalg.LinAlgWarning):
                warnings.simplefilter("ignore", category)
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _filters.__exit__(None, None, None)
