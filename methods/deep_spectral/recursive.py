"""Segments of one image by recursive bipartition of its graph, while the normalised cut stays below a threshold.

Shi and Malik (PAMI 2000, section 3) cut a graph by the second eigenvector of (D - W) y = mu D y, at the value of y
where the normalised cut is least, and each part again. DiffCut (Couairon et al., NeurIPS 2024) stops where that least
value reaches tau and raises similarities to a power. Its released code looks at 100 values of y at equal distances, and
at parts depth first; here all values are looked at, and the part that cuts best is cut first, so that a limit on
segments keeps the best cuts.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.arpack import arpack
from spectral_bench.methods.eigensolvers import DEFLATION, residuals, tolerance
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.laplacian import part_vectors, smallest_eigenpairs
from spectral_bench.methods.params import Solver

Array = NDArray[np.floating[Any]]

_DENSE = 200  # patches up to which a dense decomposition is quicker than Lanczos
_ALIKE = 1000.0  # units of machine precision below 1 at which an eigenvalue is 1 but for rounding
_CLEARLY = 1e-3  # by which an eigenvalue has to exceed tau, relative to it, so that rounding does not decide
_UNJOINED = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-8}  # eigenvalues below this may be 0


@dataclass(frozen=True)
class Bipartition:
    """The best cut of a graph in two that its second eigenvector shows.

    Attributes:
        value: cut(A, B) / vol(A) + cut(A, B) / vol(B), W_ii counting in the volumes.
        side: (n,) whether a patch is in B. The first patch is in A.
        residual: of the eigenvector, as ``eigensolvers.residuals`` defines it; 0 where none was needed.
    """

    value: float
    side: NDArray[np.bool_]
    residual: float


@dataclass(frozen=True)
class RecursiveCut:
    """The segments of one image.

    Attributes:
        labels: (n,) int64 segments, numbered from 0 in the order in which they were cut off.
        values: the normalised cut of each bipartition that was carried out, in their order.
        residual: the largest of all eigenvectors that were looked at.
    """

    labels: NDArray[np.int64]
    values: tuple[float, ...]
    residual: float


def recursive_cut(
    affinity: Array, *, tau: float, limit: int, solver: Solver = "arpack", restart_seed: int = 0
) -> RecursiveCut:
    """Cut a graph in two, and its parts again, while a part's normalised cut is below ``tau``.

    Of all parts the one of the least normalised cut is cut next, of equal ones the one that came first. The cut of a
    part is that of its own graph, in which edges to other parts count nowhere.

    Args:
        affinity: W, (n, n) symmetric, float32 or float64, no weight negative.
        tau: a part is cut if its normalised cut is less.
        limit: most segments.
        solver: of the second eigenvectors: Lanczos, or the verified solvers of ``laplacian.smallest_eigenpairs``.
        restart_seed: of what a solver draws beyond its starting vector, which is the same for every graph.

    Raises:
        NumericalError: a solver did not converge.
    """
    labels = np.zeros(len(affinity), np.int64)
    waiting: list[tuple[float, int, NDArray[np.int64], NDArray[np.bool_]]] = []
    values: list[float] = []
    residual, offered = 0.0, 0

    def offer(part: NDArray[np.int64]) -> None:
        nonlocal residual, offered
        inner = affinity if len(part) == len(affinity) else affinity[part].take(part, axis=1)
        found = bipartition(inner, below=tau, solver=solver, restart_seed=restart_seed)
        if not isinstance(found, Bipartition):
            residual = max(residual, found)
            return
        residual, offered = max(residual, found.residual), offered + 1
        if found.value < tau:
            heapq.heappush(waiting, (found.value, offered, part, found.side))

    if limit > 1:
        offer(np.arange(len(affinity)))
    while waiting and len(values) + 1 < limit:
        value, _, part, side = heapq.heappop(waiting)
        values.append(value)
        labels[part[side]] = len(values)
        if len(values) + 1 < limit:
            offer(part[~side])
            offer(part[side])
    return RecursiveCut(labels, tuple(values), residual)


def bipartition(
    affinity: Array, *, below: float = 1.0, solver: Solver = "arpack", restart_seed: int = 0
) -> Bipartition | float:
    """The best cut of a graph in two, or the residual of the eigenvector that shows that none is below a value.

    No normalised cut is less than the second eigenvalue. Of patches that are all alike it is 1, and so it is of a
    single one, which has none. Patches without an edge are cut off together, and of a graph that falls into parts the
    heaviest is kept and the rest cut off, both at a normalised cut of 0.

    Args:
        affinity, solver, restart_seed: as for ``recursive_cut``.
        below: a cut of at least this much is not looked for, nor one of 1 up to rounding.

    Raises:
        NumericalError: the solver did not converge.
    """
    degrees = affinity.sum(1)
    alone = degrees == 0
    if len(affinity) == 1 or alone.all():
        return 0.0
    if alone.any():
        return _with_first_kept(0.0, alone, 0.0)
    mu, vector, residual = _second(affinity, degrees, solver, restart_seed)
    if mu >= min(below * (1 + _CLEARLY), 1 - _ALIKE * float(np.finfo(affinity.dtype).eps)):
        return residual
    if mu < _UNJOINED[affinity.dtype]:
        parts = part_vectors(torch.from_numpy(affinity))
        if parts.shape[1] > 1:
            return _with_first_kept(0.0, (parts[:, 0] == 0).numpy(), residual)
    return _with_first_kept(*best_threshold(affinity, degrees, vector), residual)


def best_threshold(affinity: Array, degrees: Array, vector: Array) -> tuple[float, NDArray[np.bool_]]:
    """The least normalised cut among all that divide the values of a vector into smaller and larger ones.

    All n - 1 cuts of the sorted values are compared, in O(n^2): a patch that passes from the larger to the smaller ones
    changes the cut by its degree without its loop, less twice its weights to those that are smaller. Equal values are
    not divided.

    Args:
        affinity: W, (n, n) symmetric.
        degrees: (n,) its sums of rows, all positive.
        vector: (n,), not all equal.

    Returns:
        The normalised cut, of equal ones that of the smallest value, and (n,) which values are the larger ones.
    """
    order = np.argsort(vector, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    smaller = np.where(rank[None, :] < rank[:, None], affinity, 0).sum(1, dtype=np.float64)
    away = degrees.astype(np.float64) - affinity.diagonal() - 2 * smaller
    cut = away[order].cumsum()[:-1].clip(min=0)
    volume = degrees[order].cumsum(dtype=np.float64)
    values = cut / volume[:-1] + cut / (volume[-1] - volume[:-1])
    ordered = vector[order]
    values[ordered[1:] == ordered[:-1]] = np.inf
    best = int(values.argmin())
    return float(values[best]), rank > best


def _second(affinity: Array, degrees: Array, solver: Solver, restart_seed: int) -> tuple[float, Array, float]:
    """The second smallest eigenvalue of (D - W) y = mu D y, its vector, and the residual.

    Unlike ``smallest_eigenpairs`` it does not look for what Lanczos leaves out of a repeated eigenvalue, which costs as
    much again: any vector of the eigenspace cuts as well.
    """
    if solver != "arpack":
        pairs = smallest_eigenpairs(torch.from_numpy(affinity), 1, solver=solver, restart_seed=restart_seed)
        return float(pairs.values[0]), pairs.vectors[:, 0].numpy(), pairs.residual
    size, root = len(affinity), degrees**-0.5
    trivial = np.sqrt(degrees / degrees.sum())
    matrix = affinity * root[:, None]
    matrix *= root
    (outer,) = scipy.linalg.get_blas_funcs(("ger",), (matrix,))  # in place, where an array of n^2 would be made first
    matrix = outer(-DEFLATION, trivial, trivial, a=matrix.T, overwrite_a=True)
    if size <= _DENSE:
        value, vector = scipy.linalg.eigh(matrix, subset_by_index=(size - 1, size - 1))
    else:
        start = np.random.default_rng(0).standard_normal(size).astype(matrix.dtype)
        value, vector = arpack(matrix, 1, start=start, generator=SeedStreams(restart_seed).numpy("restarts"))
    image, values, vectors = (torch.from_numpy(part) for part in (matrix @ vector, value, vector))
    residual, limit = float(residuals(image, values, vectors).max()), tolerance(vectors.dtype)
    if not residual <= limit:
        raise NumericalError(f"arpack did not converge: residual {residual:.1e}, expected at most {limit:.0e}")
    return 1 - float(value[0]), vector[:, 0] * root, residual


def _with_first_kept(value: float, side: NDArray[np.bool_], residual: float) -> Bipartition:
    return Bipartition(value, ~side if side[0] else side, residual)
