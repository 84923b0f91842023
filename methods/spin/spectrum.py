"""Eigenvalues of functions that are not yet eigenfunctions, and the masked gradients that make them so.

Pfau, Petersen, Agarwal, Barrett and Stachenfeld, *Spectral Inference Networks*, ICLR 2019. All n x n algebra
is in float64: it costs nothing beside the network, and the functions of a network that starts to learn are nearly
dependent.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spectral_bench.methods.errors import NumericalError

_LEAST_PIVOT = 1e-10  # part of a function's mean square that the functions before it must leave unexplained


@dataclass(frozen=True)
class MaskedGradients:
    """Gradients of the eigenvalues, in which function i feels the i-th eigenvalue only.

    Attributes:
        pi: (n, n) float64, upper triangular: column i is the derivative of the i-th eigenvalue by column i of Pi.
        sigma: (n, n) float64, upper triangular: the same by Sigma.
    """

    pi: Tensor
    sigma: Tensor


@dataclass(frozen=True)
class Spectrum:
    """Sigma = L L^T of n functions, and Lambda = L^-1 Pi L^-T, which is diagonal once they are eigenfunctions.

    Attributes:
        factor: L, (n, n) float64, lower triangular.
        matrix: Lambda, (n, n) float64; its diagonal holds the eigenvalues in the functions' order.
    """

    factor: Tensor
    matrix: Tensor

    @classmethod
    def of(cls, sigma: Tensor, pi: Tensor) -> Spectrum:
        """The spectrum of Sigma = E[u u^T] and Pi = E[u (K u)^T], (n, n) of any floating dtype.

        Raises:
            NumericalError: as ``cholesky``, or Pi is not finite.
        """
        require_finite_moments(sigma, pi)
        factor = cholesky(sigma)
        left = torch.linalg.solve_triangular(factor, pi.double(), upper=False)
        return cls(factor, torch.linalg.solve_triangular(factor, left.T, upper=False).T)

    @property
    def eigenvalues(self) -> Tensor:
        """(n,) float64 diagonal of Lambda."""
        return self.matrix.diagonal()

    @property
    def off_diagonal(self) -> float:
        """The largest entry of Lambda off its diagonal, in absolute value: 0 for eigenfunctions."""
        return float((self.matrix - torch.diag(self.eigenvalues)).abs().max())

    def masked_gradients(self) -> MaskedGradients:
        """dPi = L^-T diag(L)^-1 and dSigma = -L^-T triu(Lambda diag(L)^-1) (Pfau et al., 2019).

        Both are one-sided: Sigma and Pi are symmetric, so the derivative along u_i is twice the product of column i
        with E[(K u) du_i] and E[u du_i].
        """
        scale = self.factor.diagonal().reciprocal()
        right = torch.cat([torch.diag(scale), -(self.matrix * scale).triu()], 1)
        pi, sigma = torch.linalg.solve_triangular(self.factor.T, right, upper=True).chunk(2, 1)
        return MaskedGradients(pi, sigma)


def second_moment(first: Tensor, second: Tensor) -> Tensor:
    """E[a b^T] over N rows of (N, n) values, (n, n) float64, without gradient."""
    return first.detach().double().T @ second.detach().double() / len(first)


def scalar_with_gradient(value: Tensor, values: Tensor, gradient: Tensor) -> Tensor:
    """A scalar of the given value, in the dtype of ``values``, whose gradient by them is the given one, (N, n)."""
    score = (values * gradient.to(values.dtype)).sum()
    return value.to(values.dtype) + score - score.detach()


def require_finite_moments(sigma: Tensor, pi: Tensor, title: str = "SpIN") -> None:
    """Refuse moments that hold NaN or infinite values, and say whether functions or their image are to blame.

    Args:
        sigma: (n, n) E[u u^T].
        pi: (n, n) E[u (K u)^T].
        title: of the method, for messages.

    Raises:
        NumericalError: one is not finite.
    """
    if not bool(sigma.isfinite().all()):
        raise NumericalError(f"the functions of {title} hold NaN or infinite values: its training diverged")
    if not bool(pi.isfinite().all()):
        raise NumericalError(f"the operator's image of the functions of {title} holds NaN or infinite values")


def cholesky(sigma: Tensor, title: str = "SpIN") -> Tensor:
    """L of Sigma = L L^T, (n, n) float64 lower triangular with a positive diagonal.

    Nothing is added to Sigma: functions that depend on each other have no eigenvalues of their own, and regularisation
    would only hide it.

    Args:
        sigma: (n, n) E[u u^T].
        title: of the method, for messages.

    Raises:
        NumericalError: Sigma is not finite, or a function is a combination of those before it up to rounding, as all
            are on features that are constant.
    """
    require_finite_moments(sigma, sigma, title)
    wide = sigma.double()
    factors: tuple[Tensor, Tensor] = torch.linalg.cholesky_ex(wide)
    factor, failed = factors
    left = factor.diagonal().square() / wide.diagonal()
    dependent = int(failed) if int(failed) else int((left < _LEAST_PIVOT).long().argmax()) + 1
    if int(failed) or bool((left < _LEAST_PIVOT).any()):
        raise NumericalError(
            f"function {dependent} of the {len(wide)} functions of {title} is 0 or a combination of those before it, so"
            " that their covariance is singular: the features are constant or too few for so many functions"
        )
    return factor


def whitening(sigma: Tensor, title: str = "SpIN") -> Tensor:
    """L^-1, (n, n) float64, of a covariance Sigma = L L^T: L^-1 u has covariance I.

    Args:
        sigma: (n, n) E[u u^T].
        title: of the method, for messages.

    Raises:
        NumericalError: as ``cholesky``.
    """
    factor = cholesky(sigma, title)
    eye = torch.eye(len(factor), dtype=factor.dtype, device=factor.device)
    inverse: Tensor = torch.linalg.solve_triangular(factor, eye, upper=False)
    return inverse
