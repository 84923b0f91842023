"""Starting centres for k-means."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from spectral_bench.methods.threads import one_thread

_SEEDING_POINTS = 64  # points a cluster that seeding looks at
_SEEDING_WIDTH = 64  # dimensions that seeding looks at


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
    with one_thread():
        return _seed(points, k, generator)


def _seed(points: Tensor, k: int, generator: torch.Generator) -> Tensor:
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
