"""The Gaussian kernel of all pairs of sampled patches: its bandwidth, affinity and eigenvectors."""

from __future__ import annotations

import math
from typing import Literal

import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from spectral_bench.methods.eigensolvers import Eigenpairs, largest_eigenpairs
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs.kernel import DenseKernel, inverse_root
from spectral_bench.methods.params import Solver

_MEDIAN_OF = 1024  # samples whose distances are looked at


def bandwidth_of(features: Tensor, wanted: Literal["auto"] | float) -> float:
    """b of exp(-|x - y|^2 / (2 b^2)): a number as it is, or the median distance of two of (m, D) samples.

    The median heuristic (Gretton et al., A kernel two-sample test, JMLR 2012), of at most 1024 samples that are evenly
    spaced in their order.

    Raises:
        NumericalError: half of the samples or more are equal, so that the median is 0.
    """
    if wanted != "auto":
        return float(wanted)
    places = torch.linspace(0, len(features) - 1, min(_MEDIAN_OF, len(features))).round().long()
    distances = torch.pdist(features[places.to(features.device)].double().cpu())
    found = float(distances.median()) if len(distances) else 0.0
    if not (found > 0 and math.isfinite(found)):
        raise NumericalError("bandwidth: auto is the median distance of the sampled patches, which is 0: give a number")
    return found


def rbf_weights(first: Tensor, second: Tensor, bandwidth: float) -> Tensor:
    """(n, m) weights exp(-|x - y|^2 / (2 b^2)) of (n, D) and (m, D) rows, in their dtype."""
    table = first @ second.T
    table.mul_(-2).add_(first.square().sum(1)[:, None]).add_(second.square().sum(1))
    return table.clamp_min_(0).mul_(-0.5 / bandwidth**2).exp_()


def rbf_affinity(features: Tensor, bandwidth: float) -> Tensor:
    """(m, m) float32 affinity of (m, D) samples, symmetric, with a diagonal of 0 (Ng, Jordan and Weiss, 2001)."""
    table = rbf_weights(features, features, bandwidth)
    for start in range(0, len(table), _MEDIAN_OF):  # rounding differs between (i, j) and (j, i), and both must agree
        stop = start + _MEDIAN_OF
        table[stop:, start:stop] = table[start:stop, stop:].T
        inner = table[start:stop, start:stop]
        inner.copy_((inner + inner.T) / 2)
    table.fill_diagonal_(0)
    return table


def decompose(affinity: Tensor, count: int, solver: Solver, seed: int) -> tuple[Eigenpairs, DenseKernel]:
    """The ``count`` largest eigenpairs of D^-1/2 A D^-1/2, descending, and that kernel, which takes A's place.

    Args:
        affinity: A, (m, m) float32, every patch with an edge; overwritten.
        count: below m.
        solver: see ``largest_eigenpairs``; it runs in float32, and its relative residual is at most 1e-4.
        seed: of what a solver draws beyond its start.

    Raises:
        NumericalError: no convergence.
    """
    root = inverse_root(affinity.sum(1, dtype=torch.float64)).float()
    affinity.mul_(root[:, None]).mul_(root)
    return largest_eigenpairs(affinity, count, solver=solver, restart_seed=seed), DenseKernel(affinity)


def parts_of(affinity: Tensor) -> int:
    """Parts of the graph, 1 unless weights have become 0."""
    zeros = affinity.numel() - int(torch.count_nonzero(affinity)) - len(affinity)
    return 1 if not zeros else int(connected_components(csr_array(affinity.cpu().numpy()), directed=False)[0])
