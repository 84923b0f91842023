"""k-means on the CPU or on CUDA: assignment in chunks, exact repair of empty clusters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.seeding import seed_centres
from spectral_bench.methods.threads import side_by_side

_CHUNK = 2**19  # numbers in a chunk of points or distances
_DEVICE_CHUNK = 2**26  # the same on CUDA
_BLOCK = 4096  # points that are summed in float32 before the sums are added up in float64
_SHARED = 2**24  # multiplications an iteration from which on the CPU's threads share it

_Run = Callable[[Callable[[int], None]], None]


@dataclass(frozen=True)
class Clustering:
    """What k-means found.

    Attributes:
        centres: (K, D) in the points' dtype.
        counts: (K,) int64 points of each cluster.
        inertia: sum over the points of the squared distance to the nearest centre.
        iterations: Lloyd iterations run.
        converged: whether the centres came to rest before the iterations ran out.
    """

    centres: Tensor
    counts: Tensor
    inertia: float
    iterations: int
    converged: bool


def assign(points: Tensor, centres: Tensor) -> Tensor:
    """The nearest centre of each point, (N,) int64; of centres equally near the first.

    Args:
        points: (N, D).
        centres: (K, D) of the same dtype and device.
    """
    with _prepared(points, len(centres)) as held:
        return _assign(held, centres).labels


def squared_distances(points: Tensor, centres: Tensor) -> Tensor:
    """(N, K) squared distances of (N, D) points to (K, D) centres, never below 0."""
    origin = centres.mean(0)
    x, c = points - origin, centres - origin
    return torch.addmm(c.square().sum(1), x, c.T, alpha=-2).add_(x.square().sum(1, keepdim=True)).clamp_min_(0)


def lloyd(
    points: Tensor,
    centres: Tensor,
    *,
    iterations: int,
    tol: float = 1e-4,
    on_iteration: Callable[[int], None] | None = None,
) -> Clustering:
    """Lloyd's algorithm (1982) from the given centres.

    A cluster without points takes over the point farthest from its own centre, the next empty one the second farthest,
    and so on; where no point is off its centre, it keeps the centre that it has. No centre is ever NaN.

    Args:
        points: (N, D) float32 or float64.
        centres: (K, D) of the same dtype and device; not changed.
        iterations: most iterations.
        tol: stop once the sum of the centres' squared shifts is at most ``tol`` times the points' mean channel
            variance, or once no centre moves.
        on_iteration: called with the number of iterations done, after each.
    """
    done, converged = 0, False
    with _prepared(points, len(centres)) as held:
        limit = tol * float(held.spread.mean(dtype=torch.float64)) / points.shape[1]
        while done < iterations and not converged:
            moved = _move(held, centres)
            converged = float((moved - centres).square().sum(dtype=torch.float64)) <= limit
            centres, done = moved, done + 1
            if on_iteration is not None:
                on_iteration(done)
        last = _assign(held, centres)
    counts = torch.bincount(last.labels, minlength=len(centres))
    return Clustering(centres, counts, float(last.distances.sum(dtype=torch.float64)), done, converged)


def cluster(
    points: Tensor,
    k: int,
    *,
    seeds: SeedStreams,
    iterations: int = 100,
    tol: float = 1e-4,
    restarts: int = 1,
    on_iteration: Callable[[int], None] | None = None,
) -> Clustering:
    """k-means from seeded starts: the clustering of the lowest inertia, of equal ones the first.

    Args:
        points: (N, D) with N >= K.
        k: number of clusters.
        seeds: start r draws from stream ``kmeans`` with key r.
        iterations: most Lloyd iterations a start.
        tol: as in ``lloyd``.
        restarts: number of starts, at least 1.
        on_iteration: called with the number of iterations done over all starts, after each.
    """
    found: list[Clustering] = []
    for restart in range(restarts):
        before = sum(one.iterations for one in found)
        start = seed_centres(points, k, seeds.torch("kmeans", restart, device=points.device))
        report = None if on_iteration is None else _offset(on_iteration, before)
        found.append(lloyd(points, start, iterations=iterations, tol=tol, on_iteration=report))
    return min(found, key=lambda one: one.inertia)


def _offset(report: Callable[[int], None], before: int) -> Callable[[int], None]:
    return lambda done: report(before + done)


@dataclass(frozen=True)
class _Points:
    """Points with what every iteration needs of them.

    Distances are taken relative to ``origin``, the mean: |x - c|^2 = |x - o|^2 + |c'|^2 + 2 o.c' - 2 x.c' with
    c' = c - o. Written so, an offset common to all points cancels no digits and no centred copy is kept.
    """

    values: Tensor  # (N, D)
    origin: Tensor  # (D,)
    spread: Tensor  # (N,) squared distances to the origin
    scale: float  # mean squared norm
    parts: tuple[range, ...]  # of the points, one a thread
    run: _Run  # runs a task for each part

    def relative(self, centres: Tensor) -> tuple[Tensor, Tensor]:
        """The transposed relative centres (D, K) and their bias (K,)."""
        relative = centres - self.origin
        bias = relative.square().sum(1) + 2 * (relative @ self.origin)
        return relative.T.contiguous(), bias


@dataclass(frozen=True)
class _Assignment:
    labels: Tensor  # (N,) int64
    distances: Tensor  # (N,) squared, to the nearest centre
    sums: Tensor  # (K, D) float64, of each cluster's points


@contextmanager
def _prepared(values: Tensor, k: int) -> Iterator[_Points]:
    """Points ready to be assigned to K centres, by the threads of the CPU or by the device they are on."""
    count, width = values.shape
    origin = values.mean(0)
    spread = torch.empty_like(values[:, 0])
    for rows in _chunks(range(count), width, values.device):
        spread[rows] = torch.linalg.vector_norm(values[rows] - origin, dim=1).square_()
    scale = float(spread.mean() + origin.square().sum())
    if values.device.type != "cpu" or count * width * k < _SHARED:
        yield _Points(values, origin, spread, scale, (range(count),), lambda task: task(0))
    else:
        with side_by_side() as (threads, run):
            bounds = [count * part // threads for part in range(threads + 1)]
            parts = tuple(range(bounds[part], bounds[part + 1]) for part in range(threads))
            yield _Points(values, origin, spread, scale, parts, run)


def _chunks(points: range, width: int, device: torch.device) -> Iterator[slice]:
    on_cpu = device.type == "cpu"
    rows = max(256, (_CHUNK if on_cpu else _DEVICE_CHUNK) // max(width, 1))
    rows = min(rows, _BLOCK) if on_cpu else rows
    for start in range(points.start, points.stop, rows):
        yield slice(start, min(start + rows, points.stop))


def _assign(points: _Points, centres: Tensor) -> _Assignment:
    """Nearest centres and distances to them; the points are summed on the way, while they are in the cache."""
    relative, bias = points.relative(centres)
    labels = torch.empty(len(points.values), dtype=torch.int64, device=centres.device)
    distances = torch.empty_like(points.spread)
    sums = [_Sums(centres) for _ in points.parts]

    def task(part: int) -> None:
        chunks = list(_chunks(points.parts[part], max(centres.shape), centres.device))
        room = centres.new_empty(max((rows.stop - rows.start for rows in chunks), default=0), len(centres))
        for rows in chunks:
            values = points.values[rows]
            scores = torch.addmm(bias, values, relative, alpha=-2, out=room[: len(values)])
            _row_minima(scores, distances[rows], labels[rows])
            sums[part].add(values, labels[rows])

    points.run(task)
    total = torch.stack([one.total() for one in sums]).sum(0)
    return _Assignment(labels, distances.add_(points.spread).clamp_min_(0), total)


def _row_minima(scores: Tensor, least: Tensor, where: Tensor) -> None:
    """The least of each row of (n, K) scores and its index, of equal ones the first, into (n,) tensors."""
    if scores.device.type == "cpu":  # numpy's argmin is vectorised and takes an eighth of the time of torch's
        np.argmin(scores.numpy(), axis=1, out=where.numpy())
        torch.gather(scores, 1, where[:, None], out=least[:, None])
    else:
        torch.min(scores, 1, out=(least, where))


class _Sums:
    """Sums of the points of each cluster, the same bits at every call.

    float32 sums of a few thousand points at a time are added up in float64, so that large clusters lose no digits. On
    CUDA the sums are products with one-hot labels, because ``index_add_`` there adds in no fixed order.
    """

    def __init__(self, like: Tensor) -> None:
        self._total = torch.zeros_like(like, dtype=torch.float64)
        self._part = torch.zeros_like(like)
        self._held = 0

    def add(self, values: Tensor, labels: Tensor) -> None:
        """Add points (n, D) to the sums of their clusters (n,)."""
        if values.device.type == "cpu":
            self._part.index_add_(0, labels, values)
        else:
            self._part += torch.nn.functional.one_hot(labels, len(self._part)).to(values.dtype).T @ values
        self._held += len(values)
        if self._held >= _BLOCK:
            self._flush()

    def total(self) -> Tensor:
        """The sums, (K, D) float64."""
        self._flush()
        return self._total

    def _flush(self) -> None:
        self._total += self._part
        self._part.zero_()
        self._held = 0


def _move(points: _Points, centres: Tensor) -> Tensor:
    """One iteration: the means of the points that are nearest to each centre, empty clusters repaired."""
    found = _assign(points, centres)
    sums, counts = found.sums, torch.bincount(found.labels, minlength=len(centres))
    empty = (counts == 0).nonzero()[:, 0]
    if len(empty):
        far = _farthest(found.distances, len(empty), 1e-10 * points.scale)
        hosts, guests, values = found.labels[far], empty[: len(far)], points.values[far].double()
        sums[guests] += values
        counts[guests] += 1
        for host, value in zip(hosts.tolist(), values, strict=True):
            sums[host] -= value
            counts[host] -= 1
    means = sums / counts.clamp_min(1)[:, None]
    return means.to(centres.dtype).where(counts[:, None] > 0, centres)


def _farthest(distances: Tensor, count: int, negligible: float) -> Tensor:
    """Indices of the largest distances, at most ``count``, of equal ones the first; none that is negligible."""
    far = torch.argsort(distances, descending=True, stable=True)[:count]
    return far[distances[far] > negligible]
