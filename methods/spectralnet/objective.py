"""The objective of SpectralNet: the Rayleigh quotient of a Laplacian over outputs that are orthonormalised.

Shaham, Stanton, Li, Nadler, Basri and Kluger, *SpectralNet: Spectral Clustering using Deep Neural Networks*, ICLR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spectral_bench.methods.spin.averages import CovarianceAverage
from spectral_bench.methods.spin.spectrum import cholesky, require_finite_moments, scalar_with_gradient, second_moment

TITLE = "SpectralNet"


@dataclass(frozen=True)
class RayleighTerms:
    """What one batch gives.

    Attributes:
        loss: scalar in the functions' dtype, tr(Y^T L Y) / N.
        quotients: (n,) float64, ascending: eigenvalues of Y^T L Y / N.
    """

    loss: Tensor
    quotients: Tensor


def rayleigh_terms(values: Tensor, image: Tensor, average: CovarianceAverage | None = None) -> RayleighTerms:
    """tr(Y^T L Y) / N with Y = u C^-T, C C^T the covariance of u, for a self-adjoint L of least eigenvalues wanted.

    With D^-1/2 A D^-1/2 = I - L it is sum_ij A_ij |y_i / d_i^1/2 - y_j / d_j^1/2|^2 / (2 N), the paper's loss of a
    normalised Laplacian. The gradient by u is 2 / N (L u - u S^-1 P) (C C^T)^-1, with S = u^T u / N and P = u^T L u / N
    of the batch: 0 where the span of u is an eigenspace of the batch's own Laplacian.

    Without an average C C^T = S, the loss depends on that span alone, and this is its gradient through the factor. With
    one, C is a constant of the batches before, as the paper's second batch makes it; then L u alone would be the
    gradient. Its part within the span, the second term, is left out all the same: it shrinks and mixes outputs, which
    the next C takes back, and shrinks most those that are small already, until a dimension is lost.

    Args:
        values: u, (N, n) with its graph.
        image: L u, (N, n); its gradient, if any, is not used.
        average: updated by this batch; None: the batch's own covariance.

    Raises:
        NumericalError: functions or their image are not finite, or a covariance is singular.
    """
    functions, wide = values.detach().double(), image.detach().double()
    sigma, pi = second_moment(functions, functions), second_moment(functions, wide)
    require_finite_moments(sigma, pi, TITLE)
    factor = cholesky(sigma if average is None else average.next(sigma), TITLE)
    inner = torch.linalg.solve_triangular(factor, (pi + pi.T) / 2, upper=False)
    inner = torch.linalg.solve_triangular(factor, inner.T, upper=False)  # Y^T L Y / N
    own = factor if average is None else cholesky(sigma, TITLE)
    signal = wide - functions @ torch.cholesky_solve(pi, own)
    signal = torch.cholesky_solve(signal.T, factor).T * (2 / len(functions))
    return RayleighTerms(scalar_with_gradient(inner.trace(), values, signal), torch.linalg.eigvalsh(inner))
