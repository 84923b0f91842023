"""Functions that span an eigenspace, turned into single eigenfunctions in the order of their eigenvalues."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from torch import Tensor

from spectral_bench.common.errors import RunInterrupted
from spectral_bench.methods.graphs.kernel import Kernel
from spectral_bench.methods.interface import FitContext, PatchBatch, PatchSource
from spectral_bench.methods.spin.spectrum import second_moment

_ROUNDS = 3  # of fitting the share of noise, which depends on the eigenvectors, and those on it


def batch_moments(
    functions: Callable[[PatchBatch], Tensor],
    kernel: Callable[[PatchBatch], Kernel],
    patches: PatchSource,
    *,
    context: FitContext,
    batch_size: int,
    batches: int,
) -> tuple[Tensor, Tensor]:
    """E[y y^T] and E[y (K y)^T] of each of the first training batches, (B, n, n) float64 each, on the context's device.

    Args:
        functions: y of a batch, (N, n).
        kernel: of a batch, over the same N patches.
        patches: the training patches.
        context: device, and the stop signal.
        batch_size: images a batch.
        batches: how many, clipped to those of an epoch.

    Raises:
        RunInterrupted: the run was asked to stop.
    """
    sigmas, pis = [], []
    for held in islice(patches.batches(0, batch_size), batches):
        if context.should_stop():
            raise RunInterrupted
        batch = held.to(context.device)
        with context.stage("graph"):
            operator = kernel(batch)
        values = functions(batch).detach()
        sigmas.append(second_moment(values, values))
        pis.append(second_moment(values, operator.apply(values)))
    return torch.stack(sigmas), torch.stack(pis)


def separation(sigmas: Tensor, pis: Tensor) -> tuple[Tensor, Tensor]:
    """The rotation of functions that are orthonormal over all training patches, and eigenvalues, descending.

    Columns of the rotation R are the eigenvectors of the average M of Y^T K Y over batches, that is of Y^T L Y with
    L = I - K, so that Y R are the functions. Where eigenvalues are close, M is at the mercy of the draw of patches. A
    part of its noise is known: that of Y^T Y, whose mean is I. A kernel that depends on two patches alone moves Y^T K Y
    by M (Y^T Y - I) + (Y^T Y - I) M up to terms of order 1 / N; one that is normalised by degrees of the batch moves
    it by less. So this, times the share that fits batches best in least squares, is taken off (a control variate, for
    example Owen, *Monte Carlo theory, methods and examples*, chapter 8). Of one batch the share is a half, which gives
    the eigenvectors of the batch's own S^-1/2 (Y^T K Y) S^-1/2, S = Y^T Y, up to terms of second order in S - I.

    Args:
        sigmas: (B, n, n) E[y y^T] of each batch.
        pis: (B, n, n) E[y (K y)^T] of each batch.

    Returns:
        (n, n) rotation and (n,) eigenvalues, float64.
    """
    pis = (pis + pis.mT) / 2
    excess = sigmas - torch.eye(sigmas.shape[-1], dtype=sigmas.dtype, device=sigmas.device)
    mean = pis.mean(0)
    for _ in range(_ROUNDS):
        known = mean @ excess + excess @ mean
        mean = pis.mean(0) - _share(pis, known) * known.mean(0)
    values, vectors = torch.linalg.eigh((mean + mean.T) / 2)
    return vectors.flip(1), values.flip(0)


def _share(found: Tensor, known: Tensor) -> float:
    """Least squares of what batches differ by on what is known of it, in [0, 1], off the diagonal."""
    found, known = (part - part.mean(0) for part in (found, known))
    off = ~torch.eye(found.shape[-1], dtype=torch.bool, device=found.device)
    spread = float(known[:, off].square().sum())
    if len(found) < 2 or spread == 0:
        return 0.5
    return min(max(float((found * known)[:, off].sum()) / spread, 0.0), 1.0)
