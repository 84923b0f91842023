"""From eigenvectors to the segments of one image, and what describes them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.discretise import segments_of
from spectral_bench.methods.lloyd import assign, cluster
from spectral_bench.methods.params import Discretise

_ROUNDING = 16.0  # units of machine precision that the error of an eigenvalue may reach


def eigengap(values: Tensor) -> int:
    """How many segments the largest gap between neighbouring eigenvalues speaks for, 2 to m, or m + 1 without a gap.

    j well separated segments have j eigenvalues near 0, that of the constant vector included, and then a gap. Of equal
    gaps the first counts. Where no gap is more than rounding, as among the zeros of a graph of more than m parts, the
    gap lies behind what was computed.

    Args:
        values: (m,) eigenvalues without that of the constant vector, ascending; m of 2 or more.
    """
    gaps = values.diff()
    if float(gaps.max()) <= _ROUNDING * torch.finfo(values.dtype).eps:
        return len(values) + 1
    return int(gaps.argmax()) + 2


def by_silhouette(vectors: Tensor, most: int, *, seeds: SeedStreams, **options: Any) -> int:
    """How many segments, 2 to ``most``, ``segment`` separates best in the eigenvectors' rows; of equal ones the fewest.

    That is the largest mean silhouette (Rousseeuw, 1987) of ``segment``, which takes the same ``options``. At most
    n - 1 segments are compared, since a patch alone has no silhouette; of fewer than four patches 2 are the answer.
    """
    rows = vectors.float()
    candidates = range(2, min(most, len(rows) - 1) + 1)
    if len(candidates) < 2:
        return min(most, 2)
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")  # exactly 0 between equal rows
    found = [silhouette(distances, segment(vectors, number, seeds=seeds, **options)) for number in candidates]
    return candidates[max(range(len(found)), key=found.__getitem__)]


def silhouette(distances: Tensor, labels: Tensor) -> float:
    """The mean over points of (b - a) / max(a, b); -1 for a single cluster.

    a is the mean distance to the others of a point's cluster, b that to the nearest other cluster; of a point that is
    alone in its cluster, or with max(a, b) = 0, it is 0.

    Args:
        distances: (n, n).
        labels: (n,) int64.
    """
    _, own = torch.unique(labels, return_inverse=True)
    members = torch.nn.functional.one_hot(own).to(distances.dtype)
    counts = members.sum(0)
    if len(counts) < 2:
        return -1.0
    sums = distances @ members
    inside = sums.gather(1, own[:, None])[:, 0] / (counts[own] - 1).clamp_min(1)
    outside = (sums / counts).masked_fill_(members.bool(), torch.inf).amin(1)
    larger = torch.maximum(inside, outside)
    values = torch.where((counts[own] > 1) & (larger > 0), (outside - inside) / larger, 0.0)
    return float(values.mean(dtype=torch.float64))


def segment(
    vectors: Tensor,
    number: int,
    *,
    seeds: SeedStreams,
    iterations: int,
    tol: float,
    restarts: int,
    discretise: Discretise = "kmeans",
) -> Tensor:
    """The segment of every patch, (n,) int64 below ``number``: k-means of the rows of the eigenvectors.

    Args:
        vectors: (n, m) eigenvectors of one image.
        number: of segments; clipped to n.
        seeds: of the starting centres.
        iterations: most Lloyd iterations a start.
        tol: as in ``methods.lloyd.lloyd``.
        restarts: number of starts.
        discretise: kmeans; by the others see ``methods.discretise.segments_of``.
    """
    if discretise != "kmeans":
        return segments_of(vectors, number, discretise, seeds=seeds, iterations=iterations, restarts=restarts)
    rows = vectors.float().contiguous()  # one precision, so that the same starts are drawn
    found = cluster(rows, min(number, len(rows)), seeds=seeds, iterations=iterations, tol=tol, restarts=restarts)
    return assign(rows, found.centres)


def describe(features: Tensor, segments: Tensor) -> tuple[Tensor, Tensor]:
    """The mean feature of every segment that has patches, and the row of its segment for every patch.

    Args:
        features: (n, D).
        segments: (n,) int64 on any device.

    Returns:
        (S, D) means summed in float64, of the features' dtype, and (n,) int64 below S.
    """
    used, rows = torch.unique(segments.to(features.device), return_inverse=True)
    onehot = torch.nn.functional.one_hot(rows, len(used)).double()
    means = (onehot.T @ features.double()) / onehot.sum(0)[:, None]
    return means.to(features.dtype), rows
