"""How far the eigenvectors of a sample can be from the exact ones: gap, bound, and angle where the sample is small."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse.linalg
import torch

from spectral_bench.methods.arpack import arpack
from spectral_bench.methods.eigensolvers import Eigenpairs
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.exact import ExactSpaces
from spectral_bench.methods.graphs import sparse
from spectral_bench.methods.graphs.kernel import Kernel, SparseKernel
from spectral_bench.methods.health import Check
from spectral_bench.methods.spectral_health import nearest_eigenspace, principal_angles

MOST_NODES = 1024
"""Samples of no more patches are decomposed exactly besides, for the angle."""

_ACCURACY = 1e-4  # residual of the next eigenvector: the error of its value is about the square of that


def certificate(kernel: Kernel, pairs: Eigenpairs, seed: int, least: float = -1.0) -> tuple[Check, ...]:
    """What is certain of the space of computed eigenvectors, for information.

    ``eigengap``: from the last computed eigenvalue to the next one. ``angle_bound``: no angle to the exact space is
    larger, in degrees, sin = |K V - V L| / gap (Davis and Kahan, 1970, in the Frobenius norm; 90 where that says
    nothing). ``angle_to_exact``: the largest angle itself, of at most 1024 nodes.

    Args:
        kernel: of N nodes.
        pairs: the n < N largest eigenpairs that were found, descending; vectors (N, n) orthonormal.
        seed: of the start of a search for the next one.
        least: no eigenvalue of the kernel is lower.
    """
    try:
        following = _following(kernel, pairs, np.random.default_rng(seed), least)
    except NumericalError:
        return (Check("eigengap", None, None, passed=True, note="the next eigenvalue was not found"),)
    gap = float(pairs.values[-1]) - following
    rounding = 4 * torch.finfo(pairs.values.dtype).eps
    note = "" if gap > rounding else "the last eigenvalue equals the next: the space is not unique"
    image = kernel.apply(pairs.vectors) - pairs.vectors * pairs.values
    sine = float(image.double().norm()) / gap if gap > rounding else 1.0
    bound = math.degrees(math.asin(min(1.0, sine)))
    checks = [Check("eigengap", gap, None, passed=True, note=note), Check("angle_bound", bound, None, passed=True)]
    if kernel.size <= MOST_NODES:
        checks.append(_angle(kernel, pairs))
    return tuple(checks)


def _angle(kernel: Kernel, pairs: Eigenpairs) -> Check:
    space = ExactSpaces().of(kernel, len(pairs.values))
    wide = pairs.vectors.double().cpu()
    exact = space.vectors if space.tied is None else nearest_eigenspace(wide, *space.tied)
    found = Check("angle_to_exact", float(principal_angles(wide, exact)[-1]), None, passed=True)
    return found if space.tied is None else replace(found, note="to the nearest of several exact spaces")


def _following(kernel: Kernel, pairs: Eigenpairs, generator: np.random.Generator, least: float) -> float:
    """The largest eigenvalue besides those found, which are moved to the least that the kernel has."""
    held: Any = (
        sparse.to_scipy(kernel.matrix.cpu()) if isinstance(kernel, SparseKernel) else kernel.dense().cpu().numpy()
    )
    vectors, values = pairs.vectors.cpu().numpy(), pairs.values.cpu().numpy()
    moved = vectors * (values - least)

    def product(x: Any) -> Any:
        return held @ x - moved @ (vectors.T @ x)

    rest = scipy.sparse.linalg.LinearOperator(held.shape, matvec=product, matmat=product, dtype=vectors.dtype)
    start = generator.standard_normal(len(vectors)).astype(vectors.dtype)
    return float(arpack(rest, 1, start=start, generator=generator, tolerance=_ACCURACY)[0][0])
