"""One step of SpIN: a scalar whose value is the sum of eigenvalues and whose gradient is masked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spectral_bench.methods.spin.averages import Averages
from spectral_bench.methods.spin.operators import Functions, Operator
from spectral_bench.methods.spin.spectrum import Spectrum, require_finite_moments, second_moment


@dataclass(frozen=True)
class SpinTerms:
    """What one batch gives.

    Attributes:
        loss: scalar in the functions' dtype to be minimised: the sum of eigenvalues, negative where they are
            maximised. Its gradient is the masked one, which is not the gradient of that sum.
        spectrum: eigenvalues of the batch.
    """

    loss: Tensor
    spectrum: Spectrum


def spin_terms(
    u: Functions,
    x: Tensor,
    operator: Operator,
    parameters: Sequence[Tensor],
    averages: Averages | None = None,
    drawn: Tensor | None = None,
) -> SpinTerms:
    """The loss of a batch (Pfau et al., 2019).

    With Sigma and Pi of the batch, masked gradients dPi and dSigma, and G_i = sum_j dPi_ji (K u)_j, the gradient is
    twice E[sum_i G_i du_i] + sum_{j <= i} dSigma_ji J_ji. Without averages J is the batch's own and takes one backward
    pass; the gradient is then exactly 0 wherever K u = u diag(l), whatever points the batch holds, so it settles fast,
    but it is biased elsewhere. With averages it is unbiased up to the age of what is averaged, but its two parts come
    from different batches and their noise no longer cancels: the learning rate must be low.

    Args:
        u: points to n functions.
        x: (N, d) points.
        operator: its eigenfunctions are wanted.
        parameters: of u.
        averages: updated by this batch; None: averaging is off.
        drawn: (m,) int64, points that the batch's Jacobian is estimated on; None: all.

    Raises:
        NumericalError: functions or their image are not finite, or Sigma is singular.
    """
    values, image = operator.apply(u, x)
    sigma, pi = second_moment(values, values), second_moment(values, image)
    if averages is not None:
        require_finite_moments(sigma, pi)  # a batch that is not sound must not enter the averages
        averages.update(values if drawn is None else u(x[drawn]), sigma, parameters)
        sigma = averages.sigma
    spectrum = Spectrum.of(sigma, pi)
    masked = spectrum.masked_gradients()
    signal = image.double() @ masked.pi
    if averages is None:
        signal += values.detach().double() @ masked.sigma
    score = (values * signal.to(values.dtype)).sum() / len(values)
    if averages is not None:
        score = score + _linear(parameters, averages.contract(masked.sigma))
    total = spectrum.eigenvalues.sum().to(values.dtype) + 2 * (score - score.detach())
    return SpinTerms(-total if operator.maximise else total, spectrum)


def _linear(parameters: Sequence[Tensor], gradient: Tensor) -> Tensor:
    """A scalar whose gradient by the parameters is the given (P,) vector."""
    parts = torch.split(gradient, [parameter.numel() for parameter in parameters])
    products = [(parameter * part.view_as(parameter)).sum() for parameter, part in zip(parameters, parts, strict=True)]
    return torch.stack(products).sum()
