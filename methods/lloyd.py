"""k-means on the CPU or on CUDA: assignment in chunks, exact repair of empty clusters, seeding on a subsample."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from common.seeds import SeedStreams

_CHUNK = 2**18  # numbers in a chunk of points or distances: a CPU's second-level cache holds them
_DEVICE_CHUNK = 2**26  # the same on CUDA
_BLOCK = 4096  # points that are summed in float32 before the sums are added up in float64
_SEEDING_POINTS = 64  # points a cluster that seeding looks at
_SEEDING_WIDTH = 64  # dimensions that seeding looks at


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

    @classmethod
    def of(cls, values: Tensor) -> _Points:
        origin = values.mean(0)
        spread = torch.empty_like(values[:, 0])
        for rows in _chunks(values, values.shape[1]):
            spread[rows] = torch.linalg.vector_norm(values[rows] - origin, dim=1).square_()
        return cls(values, origin, spread, float(spread.mean() + origin.square().sum()))

    def relative(self, centres: Tensor) -> tuple[Tensor, Tensor]:
        """The transposed relative centres (D, K) and their bias (K,)."""
        relative = centres - self.origin
        bias = relative.square().sum(1) + 2 * (relative @ self.origin)
        return relative.T.contiguous(), bias


def assign(points: Tensor, centres: Tensor) -> Tensor:
    """The nearest centre of each point, (N,) int64; of centres equally near the first.

    Args:
        points: (N, D).
        centres: (K, D) of the same dtype and device.
    """
    return _assign(_Points.of(points), centres)[0]


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
    held = _Points.of(points)
    limit = tol * float(held.spread.mean(dtype=torch.float64)) / points.shape[1]
    done, converged = 0, False
    while done < iterations and not converged:
        moved = _move(held, centres)
        converged = float((moved - centres).square().sum(dtype=torch.float64)) <= limit
        centres, done = moved, done + 1
        if on_iteration is not None:
            on_iteration(done)
    labels, distances = _assign(held, centres)
    counts = torch.bincount(labels, minlength=len(centres))
    return Clustering(centres, counts, float(distances.sum(dtype=torch.float64)), done, converged)


def seed_centres(points: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """K of the points as starting centres, (K, D): greedy k-means++ (Arthur and Vassilvitskii, 2007) on a sketch.

    The sketch is a uniform subsample of at most 64 K points, projected to at most 64 random directions, which keeps
    distances well enough to draw by and fits a cache. Of 2 + ln K candidates a step, drawn without replacement with
    probability in proportion to the squared distance, the one that lowers the inertia most becomes a centre.

    Args:
        points: (N, D) with N >= K.
        k: number of centres.
        generator: on the points' device.
    """
    if len(points) < k:
        raise ValueError(f"{k} centres wanted of {len(points)} points")
    chosen = torch.randperm(len(points), generator=generator, device=points.device)[: _SEEDING_POINTS * k]
    sketch = _sketch(points[chosen], generator)
    norms = sketch.square().sum(1)
    picks = [0]  # the subsample is in random order
    nearest = _distances_to(sketch, norms, torch.tensor(picks, device=points.device))[:, 0]
    candidates = min(2 + int(math.log(k)), len(sketch))
    while len(picks) < k:
        drawn = _draw(nearest, candidates, generator)
        offered = torch.minimum(_distances_to(sketch, norms, drawn), nearest[:, None])
        best = int(offered.sum(0).argmin())
        picks.append(int(drawn[best]))
        nearest = offered[:, best].contiguous()
    return points[chosen[picks]]


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
        restarts: number of starts.
        on_iteration: called with the number of iterations done over all starts, after each.
    """
    best, before = None, 0
    for restart in range(restarts):
        start = seed_centres(points, k, seeds.torch("kmeans", restart, device=points.device))
        report = None if on_iteration is None else _offset(on_iteration, before)
        found = lloyd(points, start, iterations=iterations, tol=tol, on_iteration=report)
        before += found.iterations
        if best is None or found.inertia < best.inertia:
            best = found
    assert best is not None, "restarts is at least 1"
    return best


def _offset(report: Callable[[int], None], before: int) -> Callable[[int], None]:
    return lambda done: report(before + done)


def _chunks(values: Tensor, width: int) -> Iterator[slice]:
    on_cpu = values.device.type == "cpu"
    rows = max(256, (_CHUNK if on_cpu else _DEVICE_CHUNK) // max(width, 1))
    rows = min(rows, _BLOCK) if on_cpu else rows
    for start in range(0, len(values), rows):
        yield slice(start, min(start + rows, len(values)))


def _assign(points: _Points, centres: Tensor, sums: _Sums | None = None) -> tuple[Tensor, Tensor]:
    """Nearest centres (N,) int64 and squared distances to them (N,); the points are added to ``sums`` on the way."""
    relative, bias = points.relative(centres)
    labels = torch.empty(len(points.values), dtype=torch.int64, device=centres.device)
    distances = torch.empty_like(points.spread)
    for rows in _chunks(points.values, max(centres.shape)):
        values = points.values[rows]
        least = torch.addmm(bias, values, relative, alpha=-2).min(1)
        labels[rows], distances[rows] = least.indices, least.values
        if sums is not None:
            sums.add(values, least.indices)
    return labels, distances.add_(points.spread).clamp_min_(0)


class _Sums:
    """Sums and counts of the points of each cluster, the same bits at every call.

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
    gathered = _Sums(centres)
    labels, distances = _assign(points, centres, gathered)
    sums, counts = gathered.total(), torch.bincount(labels, minlength=len(centres))
    empty = (counts == 0).nonzero()[:, 0]
    if len(empty):
        far = _farthest(distances, len(empty), 1e-10 * points.scale)
        hosts, guests, values = labels[far], empty[: len(far)], points.values[far].double()
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


def _sketch(sample: Tensor, generator: torch.Generator) -> Tensor:
    """(n, D) points about their mean, by a Gaussian projection (n, 64) where D is more."""
    centred = sample - sample.mean(0)
    size = (sample.shape[1], _SEEDING_WIDTH)
    if size[0] <= size[1]:
        return centred
    return centred @ torch.randn(size, generator=generator, device=sample.device, dtype=sample.dtype)


def _distances_to(sample: Tensor, norms: Tensor, indices: Tensor) -> Tensor:
    """(N, L) squared distances of a centred sample to L of its own points; exactly 0 to each itself."""
    distances = torch.addmm(norms[indices], sample, sample[indices].T, alpha=-2).add_(norms[:, None]).clamp_min_(0)
    distances[indices, torch.arange(len(indices), device=indices.device)] = 0
    return distances


def _draw(weights: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` indices without replacement, with probability in proportion to the weights (N,).

    An exponential race: the least of E_i / w_i. Points of weight 0 come last.
    """
    race = torch.rand(len(weights), generator=generator, device=weights.device, dtype=weights.dtype)
    times = race.clamp_min_(torch.finfo(weights.dtype).tiny).log_().neg_().div_(weights)
    return torch.topk(times, count, largest=False).indices
