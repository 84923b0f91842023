"""From eigenvectors to clusters: k-means of their rows, or an orthogonal rotation towards indicator vectors.

The vectors of K clusters span, up to a rotation, what K indicator vectors span where clusters are well apart. k-means
looks for the clusters among the rows; the other two look for the rotation, and a row goes to its largest coordinate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from spectral_bench.common.errors import RunInterrupted
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.centres import Centres, fit_centres
from spectral_bench.methods.health import Check, collapse_check
from spectral_bench.methods.inputs import require_finite
from spectral_bench.methods.interface import FitContext
from spectral_bench.methods.params import CentreParams, Discretise

Matrix = NDArray[np.float64]

_REST = 1e-12  # growth of the objective, as part of it, from which on rounding decides


@dataclass(frozen=True)
class Rotation:
    """An orthogonal rotation of eigenvectors towards indicator vectors.

    Attributes:
        matrix: (K, K) float64 orthogonal: row i belongs to the cluster of its largest entry in ``rows @ matrix``.
        objectives: sum of the rows' entries at their clusters after each step of the rotation, never falling.
        converged: whether it came to rest before the iterations ran out.
    """

    matrix: Tensor
    objectives: tuple[float, ...]
    converged: bool


def rotation(
    vectors: Tensor,
    *,
    seeds: SeedStreams,
    iterations: int = 100,
    restarts: int = 1,
    on_iteration: Callable[[int], None] = lambda done: None,
) -> Rotation:
    """The discretisation of Yu and Shi (Multiclass spectral clustering, ICCV 2003) of (N, K) vectors, N >= K.

    Rows are scaled to unit length. In turn each row gets the cluster of its largest rotated entry, and the rotation
    becomes the orthogonal one nearest to the clusters' indicators, by a singular value decomposition: both steps raise
    the sum of the entries at the clusters. A start takes one row at random and then, K - 1 times, the row most
    orthogonal to those before. Of several starts that of the largest sum counts, of equal ones the first.

    Args:
        vectors: (N, K) of any floating dtype and device; rows of zeros take no part.
        seeds: start r draws from stream ``rotation`` with key r.
        iterations: most steps a start.
        restarts: number of starts, at least 1.
        on_iteration: called with the steps done over all starts, after each.
    """
    rows = functional.normalize(vectors.detach().double().cpu(), dim=1)
    found: list[Rotation] = []
    for restart in range(restarts):
        before = sum(len(one.objectives) for one in found)
        start = _start(rows.numpy(), seeds.numpy("rotation", restart))
        found.append(_alternate(rows, start, iterations, _offset(on_iteration, before)))
    return max(found, key=lambda one: one.objectives[-1])


def pivoted(vectors: Tensor) -> Tensor:
    """The rotation of Damle, Minden and Ying (Simple, direct and efficient multi-way spectral clustering, 2019).

    A QR factorisation of the transpose with column pivoting picks K rows that stand for the clusters; the rotation is
    the orthogonal factor of the polar decomposition of these. Nothing is drawn, and nothing iterated. They take the
    largest entry of a rotated row in absolute value; here the largest counts, as in ``rotation``.

    Args:
        vectors: (N, K) with orthonormal columns, of any floating dtype and device, N >= K.

    Returns:
        (K, K) float64 orthogonal.
    """
    rows = vectors.detach().double().cpu().numpy()
    pivots = scipy.linalg.qr(rows.T, mode="r", pivoting=True, check_finite=False)[1]
    left, _, right = scipy.linalg.svd(rows[pivots[: rows.shape[1]]].T)
    return torch.from_numpy(left @ right)


def fit_discrete(
    vectors: Tensor, rows: Tensor, how: Discretise, *, params: CentreParams, k: int, context: FitContext
) -> tuple[Centres, tuple[Check, ...]]:
    """Clusters of eigenvectors as centres, and what can be said of their health.

    By a rotation R the centres are its columns: of equal length, so that of any row the nearest is that of its largest
    entry in ``row @ R``. Other patches are told apart by them as by those of k-means.

    Args:
        vectors: (N, n) eigenvectors on the context's device; n = K but for k-means.
        rows: (N, n) what k-means clusters: the vectors, or their rows scaled to unit length.
        how: kmeans, rotation or qr.
        params: iterations and restarts.
        k: number of clusters K.
        context: seeds, progress and stop signal.

    Raises:
        NumericalError: a vector is not finite.
        RunInterrupted: the run was asked to stop.
    """
    if how == "kmeans":
        return fit_centres(rows, params=params, k=k, context=context)
    require_finite((vectors,), "the training images")
    if vectors.shape[1] != k or len(vectors) < k:
        raise ValueError(f"discretise: {how} of {tuple(vectors.shape)} vectors: expected {k} columns, as many rows")

    def watch(done: int) -> None:
        context.progress(done, params.iterations * params.restarts)
        if context.should_stop():
            raise RunInterrupted

    checks: tuple[Check, ...] = ()
    if how == "qr":
        matrix = pivoted(vectors)
    else:
        found = rotation(
            vectors, seeds=context.seeds, iterations=params.iterations, restarts=params.restarts, on_iteration=watch
        )
        matrix = found.matrix
        note = "" if found.converged else "the rotation still moved when the iterations ran out"
        checks = (Check("rotation_iterations", float(len(found.objectives)), None, passed=True, note=note),)
    used = len(torch.unique(rotated_labels(vectors, matrix)))
    return Centres(matrix.T.float().contiguous().to(rows.device), params.scores), (collapse_check(used), *checks)


def rotated_labels(vectors: Tensor, matrix: Tensor) -> Tensor:
    """The largest entry of each row of (N, K) ``vectors @ matrix``, of equal ones the first, (N,) int64 on the CPU."""
    rows = functional.normalize(vectors.detach().double().cpu(), dim=1)
    return torch.from_numpy((rows @ matrix).numpy().argmax(1))


def segments_of(
    vectors: Tensor, number: int, how: Discretise, *, seeds: SeedStreams, iterations: int, restarts: int = 1
) -> Tensor:
    """Segments of one image by a rotation of its smallest eigenvectors, (n,) int64 below ``number``.

    The constant vector is put before the others, with their mean square: a segment for each vector.

    Args:
        vectors: (n, m) eigenvectors of (D - W) v = mu D v without the constant one, m >= number - 1.
        number: of segments; clipped to n and to m + 1.
        how: rotation or qr.
        seeds: as in ``rotation``.
        iterations: as in ``rotation``.
        restarts: as in ``rotation``.
    """
    wide = vectors.detach().double().cpu()
    constant = wide.square().mean().sqrt().expand(len(wide), 1)
    taken = torch.cat([constant, wide], 1)[:, : min(number, len(wide))]
    if how == "qr":
        return rotated_labels(taken, pivoted(taken))
    return rotated_labels(taken, rotation(taken, seeds=seeds, iterations=iterations, restarts=restarts).matrix)


def _offset(report: Callable[[int], None], before: int) -> Callable[[int], None]:
    return lambda done: report(before + done)


def _start(rows: Matrix, generator: np.random.Generator) -> Matrix:
    """(K, K) rows as columns: one at random, then those that have least in common with the ones before."""
    count, width = rows.shape
    alive = np.flatnonzero(rows.any(1))
    picked = np.zeros((width, width))
    if not alive.size:
        return picked
    common = np.full(count, np.inf)
    common[alive] = 0
    picked[:, 0] = rows[alive[generator.integers(alive.size)]]
    for column in range(1, width):
        common[alive] += np.abs(rows[alive] @ picked[:, column - 1])
        picked[:, column] = rows[int(common.argmin())]
    return picked


def _alternate(rows: Tensor, start: Matrix, iterations: int, on_iteration: Callable[[int], None]) -> Rotation:
    matrix = torch.from_numpy(start)
    objectives: list[float] = []
    converged = False
    while len(objectives) < iterations and not converged:
        labels: NDArray[Any] = (rows @ matrix).numpy().argmax(1)
        sums = torch.zeros_like(matrix).index_add_(0, torch.from_numpy(labels), rows)
        left, values, right = torch.linalg.svd(sums)
        matrix = right.mT @ left.mT
        objectives.append(float(values.sum()))
        converged = len(objectives) > 1 and objectives[-1] - objectives[-2] <= _REST * objectives[-1]
        on_iteration(len(objectives))
    return Rotation(matrix, tuple(objectives), converged)
