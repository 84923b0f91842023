"""Functions that span an eigenspace, turned into single eigenfunctions in the order of their eigenvalues."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Literal

import torch
from torch import Tensor

from spectral_bench.common.errors import RunInterrupted
from spectral_bench.methods.graphs.kernel import Kernel
from spectral_bench.methods.interface import FitContext, PatchBatch, PatchSource
from spectral_bench.methods.spin.spectrum import second_moment

Orders = Literal[1, 2]

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


def separated(
    outputs: Callable[[PatchBatch], Tensor],
    white: Tensor,
    kernel: Callable[[PatchBatch], Kernel],
    patches: PatchSource,
    *,
    context: FitContext,
    batch_size: int,
    batches: int,
    orders: Orders = 1,
) -> Tensor:
    """(m, n) float64 T such that T u are single eigenfunctions of what the outputs u span, by descending eigenvalue.

    Args:
        outputs: u of a batch, (N, n).
        white: (m, n) matrix such that ``white`` u are orthonormal over all training patches.
        kernel, patches, context, batch_size, batches: as for ``batch_moments``.
        orders: as for ``separation``.

    Raises:
        RunInterrupted: the run was asked to stop.
    """

    def functions(batch: PatchBatch) -> Tensor:
        return outputs(batch) @ white.to(batch.pixels.dtype).T

    moments = batch_moments(functions, kernel, patches, context=context, batch_size=batch_size, batches=batches)
    rotation, _ = separation(*moments, orders=orders)
    return rotation.T @ white


def separation(sigmas: Tensor, pis: Tensor, *, orders: Orders = 1) -> tuple[Tensor, Tensor]:
    """The rotation of functions that are orthonormal over all training patches, and eigenvalues, descending.

    Columns of the rotation R are the eigenvectors of the average M of Y^T K Y over batches, that is of Y^T L Y with
    L = I - K, so that Y R are the functions. Where eigenvalues are close, M is at the mercy of the draw of patches. A
    part of its noise is known: that of Y^T Y, whose mean is I. A kernel that depends on two patches alone moves Y^T K Y
    by M (Y^T Y - I) + (Y^T Y - I) M up to terms of order 1 / N; one that is normalised by degrees of the batch moves
    it by less. So this, times the share that fits batches best in least squares, is taken off (a control variate, for
    example Owen, *Monte Carlo theory, methods and examples*, chapter 8). Of one batch the share is a half, which gives
    the eigenvectors of the batch's own S^-1/2 (Y^T K Y) S^-1/2, S = Y^T Y, up to terms of second order in S - I.

    The first order leaves the noise of pairs of patches. With K(x, x') = sum_m l_m y_m(x) y_m(x') + rest it is
    (Y^T Y - I) M (Y^T Y - I), plus what the rest, of eigenvalues beyond the n first, adds in the same way.
    ``orders=2`` takes this off too, times a share of its own.

    Args:
        sigmas: (B, n, n) E[y y^T] of each batch.
        pis: (B, n, n) E[y (K y)^T] of each batch.
        orders: up to which power of Y^T Y - I noise is taken off.

    Returns:
        (n, n) rotation and (n,) eigenvalues, float64.
    """
    pis = (pis + pis.mT) / 2
    excess = sigmas - torch.eye(sigmas.shape[-1], dtype=sigmas.dtype, device=sigmas.device)
    mean = pis.mean(0)
    for _ in range(_ROUNDS):
        first = mean @ excess + excess @ mean
        share = _share(pis, first, alone=0.5)
        second = excess @ mean @ excess
        mean = pis.mean(0) - share * first.mean(0)
        if orders == 2:
            mean = mean - _share(pis - share * first, second, alone=0.0) * second.mean(0)
    values, vectors = torch.linalg.eigh((mean + mean.T) / 2)
    return vectors.flip(1), values.flip(0)


def _share(found: Tensor, known: Tensor, *, alone: float) -> float:
    """Least squares of what batches differ by on what is known of it, in [0, 1], off the diagonal; of one ``alone``."""
    found, known = (part - part.mean(0) for part in (found, known))
    off = ~torch.eye(found.shape[-1], dtype=torch.bool, device=found.device)
    spread = float(known[:, off].square().sum())
    if len(found) < 2 or spread == 0:
        return alone
    return min(max(float((found * known)[:, off].sum()) / spread, 0.0), 1.0)
