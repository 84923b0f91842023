"""The largest eigenpairs of symmetric matrices by four solvers, each verified by its residual."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import scipy.linalg
import scipy.sparse.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.arpack import arpack
from spectral_bench.methods.chebyshev import Product, block_size, chebyshev
from spectral_bench.methods.completeness import completed
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs import sparse
from spectral_bench.methods.lobpcg import GUARD, LEAST, lobpcg
from spectral_bench.methods.params import Solver

Array = NDArray[np.floating[Any]]

DEFLATION = 3.0  # moves an eigenvalue of at most 1 below -1, the least that a normalised affinity has
_STALLED = 10  # filters within which the worst residual of a subspace falls by half, or rounding is what is left
_ROUNDING = 8.0  # times eps n^1/2: what rounding leaves of a residual, measured on matrices of norm 1 to 3, is less


@dataclass(frozen=True)
class Eigenpairs:
    """Eigenvalues and eigenvectors of one matrix or of a batch.

    Attributes:
        values: (..., count), descending or ascending as the function says that returns them.
        vectors: (..., n, count), columns in the order of the values. Of a unit vector of the symmetric matrix that a
            solver computed, the entry of largest size is positive, of equal ones the first; once scaled by D^-1/2,
            another entry may be the largest. Vectors that are written down have the sign of their formula.
        residual: the largest of ``residuals`` over all of them, as the solver left them.
    """

    values: Tensor
    vectors: Tensor
    residual: float


def tolerance(dtype: torch.dtype) -> float:
    """The relative residual (see ``residuals``) that a solver must reach: 1e-5 in float64, 1e-4 in float32."""
    return 1e-5 if dtype == torch.float64 else 1e-4


def largest_eigenpairs(
    matrix: Tensor,
    count: int,
    *,
    solver: Solver = "arpack",
    seed: int = 0,
    restart_seed: int = 0,
    deflated: Tensor | None = None,
) -> Eigenpairs:
    """The ``count`` algebraically largest eigenpairs of symmetric matrices of spectral norm about 1, descending.

    ``eigh`` is the dense reference (LAPACK for the wanted part on the CPU, all of the batch in one call on CUDA),
    ``arpack`` restarted Lanczos in the matrix's dtype, ``lobpcg`` locally optimal conjugate gradients in float64; where
    n is at most five times ``count`` and a few more, ``lobpcg`` is the dense LAPACK call too. These two run on the CPU,
    one matrix after another, and are asked again for what they left out of a repeated eigenvalue. ``chebyshev`` filters
    a subspace in the matrix's dtype and on its device, one matrix after another, from a start that both seeds draw, and
    is not asked again; where the block would be a third of the space or more, it is the dense call.

    Args:
        matrix: (n, n) or (B, n, n), float32 or float64.
        count: 1 to n - 1.
        seed: of the starting vectors: the same seeds give the same bits.
        restart_seed: of the vectors drawn later: where a Krylov space is exhausted, and to look for what was left out.
        deflated: (n, p) or (B, n, p) orthonormal eigenvectors moved to the far end, which ``lobpcg`` is kept away from.

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
    values, vectors = _solve(matrix, count, solver, (seed, restart_seed), deflated)
    return _verified(matrix @ vectors, values, vectors, solver)


def largest_eigenpairs_of_sparse(
    matrix: Tensor, count: int, *, known: Tensor, solver: Solver = "arpack", seed: int = 0, restart_seed: int = 0
) -> Eigenpairs:
    """The ``count`` largest eigenpairs of a sparse symmetric matrix besides some that are known, descending.

    Known eigenvectors are moved to the far end of the spectrum, so that an eigenvalue of any multiplicity is found
    whole. ``arpack`` and ``lobpcg`` run on the CPU, ``chebyshev`` on the matrix's device; none of them stores a dense
    matrix of a large graph. ``eigh`` makes the matrix dense.

    Args:
        matrix: (n, n) sparse CSR of spectral norm about 1, float32 or float64.
        count: 1 to n - 1 - p.
        known: (n, p) orthonormal eigenvectors of it, dense and of its dtype.
        solver: as in ``largest_eigenpairs``.
        seed: of the starting vectors.
        restart_seed: as in ``largest_eigenpairs``.

    Raises:
        NumericalError: the matrix is not finite, or the residual stays above ``tolerance``.
    """
    if not bool(matrix.values().isfinite().all()):
        raise NumericalError("the matrix whose eigenvectors are wanted holds NaN or infinite values")
    if solver == "eigh":
        dense = matrix.to_dense()
        return largest_eigenpairs(dense.sub_(DEFLATION * known @ known.T), count, solver=solver, seed=seed)
    if solver == "chebyshev":
        pairs = _by_filters(lambda block: sparse.matmul(matrix, block), known, count, (seed, restart_seed))
        return _verified(sparse.matmul(matrix, pairs[1]), *pairs, solver)
    held = known.cpu().numpy()
    values, vectors = _iterated(_deflated(matrix, known), count, solver, (seed, restart_seed), held)
    found = torch.from_numpy(values).to(matrix), torch.from_numpy(vectors).to(matrix)
    return _verified(sparse.matmul(matrix, found[1]), *found, solver)


def _deflated(matrix: Tensor, known: Tensor) -> Any:
    """``matrix - DEFLATION known known^T`` as an operator on the CPU."""
    held, vectors = sparse.to_scipy(matrix.cpu()), known.cpu().numpy()

    def product(x: Array) -> Array:
        return np.asarray(held @ x - DEFLATION * (vectors @ (vectors.T @ x)))

    return scipy.sparse.linalg.LinearOperator(held.shape, matvec=product, matmat=product, dtype=vectors.dtype)


def _verified(image: Tensor, values: Tensor, vectors: Tensor, solver: str) -> Eigenpairs:
    """Eigenpairs whose residual, from the matrix's products ``image`` with the vectors, is small enough."""
    residual, limit = float(residuals(image, values, vectors).max()), tolerance(vectors.dtype)
    if not residual <= limit:
        raise NumericalError(f"{solver} did not converge: residual {residual:.1e}, expected at most {limit:.0e}")
    return Eigenpairs(values, _with_fixed_signs(vectors), residual)


def residuals(image: Tensor, values: Tensor, vectors: Tensor) -> Tensor:
    """The norms of A v - l v of unit vectors v, each relative to |l|, or to a thousandth of a matrix's largest if more.

    The norm of A says little where the wanted part of the spectrum is small: of a graph whose patches are nearly alike
    all eigenvalues but the trivial one may be 1e-4. What rounding leaves in any case, about eps n^1/2, meets the
    ``tolerance`` however small the values are.

    Args:
        image: A v, (..., n, count).
        values: l, (..., count).
        vectors: v, (..., n, count).

    Returns:
        (..., count).
    """
    floor = _rounding(vectors.shape[-2], vectors.dtype) / tolerance(vectors.dtype)
    absolute: Tensor = (image - vectors * values[..., None, :]).norm(dim=-2)
    return absolute / _sizes(values).clamp_min(floor)


def _rounding(size: int, dtype: torch.dtype) -> float:
    """More than rounding leaves of a residual of n rows."""
    return _ROUNDING * math.sqrt(size) * torch.finfo(dtype).eps


def _sizes(values: Tensor) -> Tensor:
    """What residuals are relative to: |l| of (..., count) values, or a thousandth of the largest if that is more."""
    sizes = values.abs()
    return torch.maximum(sizes, LEAST * sizes.amax(-1, keepdim=True))


def _solve(
    matrix: Tensor, count: int, solver: Solver, seeds: tuple[int, int], deflated: Tensor | None
) -> tuple[Tensor, Tensor]:
    if solver == "eigh" and matrix.device.type != "cpu":
        return _largest_of_all(matrix, count)
    known = matrix[..., :0] if deflated is None else deflated
    if solver == "chebyshev":
        return _each_by_filters(matrix, known, count, seeds)
    flat = (part.cpu().reshape(matrix.shape[:-2].numel(), *part.shape[-2:]).numpy() for part in (matrix, known))
    parts = []
    for one, away in zip(*flat, strict=True):
        found = _eigh(one, count) if solver == "eigh" else _iterated(one, count, solver, seeds, away)
        parts.append(tuple(torch.from_numpy(part) for part in found))
    values, vectors = (torch.stack(column).to(matrix) for column in zip(*parts, strict=True))
    leading = matrix.shape[:-2]
    return values.view(*leading, count), vectors.view(*leading, -1, count)


def _each_by_filters(matrix: Tensor, known: Tensor, count: int, seeds: tuple[int, int]) -> tuple[Tensor, Tensor]:
    size, leading = matrix.shape[-1], matrix.shape[:-2]
    flat = zip(*(part.reshape(leading.numel(), size, part.shape[-1]) for part in (matrix, known)), strict=True)
    found = [_by_filters(one.matmul, away, count, seeds) for one, away in flat]
    values, vectors = (torch.stack(column) for column in zip(*found, strict=True))
    return values.view(*leading, count), vectors.view(*leading, size, count)


def _by_filters(product: Product, known: Tensor, count: int, seeds: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The largest eigenpairs besides (n, p) known ones, on their device and of their dtype, descending."""
    size, block = len(known), block_size(count)
    if 3 * block >= size - known.shape[1]:
        dense = product(torch.eye(size, dtype=known.dtype, device=known.device)) - DEFLATION * known @ known.T
        return _largest_of_all((dense + dense.T) / 2, count)
    accuracy, rounding = tolerance(known.dtype) / 10, _rounding(size, known.dtype)
    lately: list[float] = []

    def enough(values: Tensor, errors: Tensor) -> bool:
        """Each residual is small beside its own eigenvalue, or rounding lets them fall no further."""
        lately.append(float((errors / _sizes(values).clamp_min(torch.finfo(values.dtype).tiny)).max()))
        stalled = len(lately) > _STALLED and min(lately[-_STALLED:]) > min(lately[:-_STALLED]) / 2
        return lately[-1] <= accuracy or (stalled and float(errors.max()) <= rounding)

    drawn = torch.from_numpy(np.random.default_rng(seeds).standard_normal((size, block)))
    return chebyshev(product, drawn.to(known), known, count, enough)


def _largest_of_all(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Of all eigenpairs of (..., n, n) matrices, found on their device, the largest, descending."""
    values, vectors = torch.linalg.eigh(matrix)
    return values[..., -count:].flip(-1), vectors[..., -count:].flip(-1)


def _iterated(matrix: Any, count: int, solver: Solver, seeds: tuple[int, int], known: Array) -> tuple[Array, Array]:
    """The largest eigenpairs of an array or operator by ``arpack`` or ``lobpcg``, descending, none left out."""
    # Streams apart: a second question from the first one's start shows no more than the first did.
    start, later = np.random.default_rng(seeds[0]), SeedStreams(seeds[1]).numpy("restarts")
    function = {"arpack": _arpack, "lobpcg": _lobpcg}[solver]
    values, vectors = function(matrix, count, start, later, known)
    return completed(matrix, values, vectors, generator=later)


def _eigh(matrix: Array, count: int) -> tuple[Array, Array]:
    size = len(matrix)
    values, vectors = scipy.linalg.eigh(matrix, subset_by_index=(size - count, size - 1))
    return values[::-1].copy(), vectors[:, ::-1].copy()


def _arpack(
    matrix: Any, count: int, generator: np.random.Generator, later: np.random.Generator, known: Array
) -> tuple[Array, Array]:
    start = generator.standard_normal(matrix.shape[0]).astype(matrix.dtype)
    return arpack(matrix, count, start=start, generator=later)


def _lobpcg(
    matrix: Any, count: int, generator: np.random.Generator, later: np.random.Generator, known: Array
) -> tuple[Array, Array]:
    """In float64: in float32 the Gram matrices of the block are too inaccurate for the iteration to converge."""
    size, block = matrix.shape[0], count + GUARD
    if 5 * block >= size - known.shape[1]:
        return _eigh(matrix @ np.eye(size, dtype=matrix.dtype), count)
    wide = matrix.astype(np.float64, copy=False) if isinstance(matrix, np.ndarray) else matrix
    start = generator.standard_normal((size, block))
    return lobpcg(wide, count, start=start, known=known.astype(np.float64, copy=False))


def _with_fixed_signs(vectors: Tensor) -> Tensor:
    peak = vectors.gather(-2, vectors.abs().argmax(-2, keepdim=True))
    return torch.where(peak < 0, -vectors, vectors)
