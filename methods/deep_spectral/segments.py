"""From eigenvectors to the segments of one image, and what describes them."""

from __future__ import annotations

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
