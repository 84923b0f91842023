"""The objective of NeuralEF: eigenfunctions of a kernel by stochastic optimisation of ordered Rayleigh quotients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs.kernel import Kernel

Penalty = Literal["fixed", "ratio"]
Normalisation = Literal["clamped", "full", "none"]

_LEAST = 1e-12  # of a Rayleigh quotient that is divided by


@dataclass(frozen=True)
class LossTerms:
    """The loss of one batch and what it consists of.

    Attributes:
        loss: scalar, ``alignment + penalty``; carries the gradient.
        alignment: scalar, -(1/K) sum_j R_jj for the fixed penalty; carries its own gradient.
        penalty: scalar, the weighted off-diagonal part; carries its own gradient.
        rayleigh: (K,) diagonal of R = Psi^T kernel Psi, without gradient.
    """

    loss: Tensor
    alignment: Tensor
    penalty: Tensor
    rayleigh: Tensor


def normalise_columns(psi: Tensor, t: float, normalisation: Normalisation = "clamped") -> Tensor:
    """Outputs scaled to a common length: each column of (N, K) ``psi`` over its L2 norm over the batch, times sqrt(t).

    ``clamped`` never amplifies: norms below 1 stay, so the loss of columns that light depends on N and K. ``full``
    divides by any norm above 1e-12. ``none`` divides by nothing. Half-precision outputs are widened to float32. The
    gradient passes through the norm.
    """
    with torch.autocast(psi.device.type, enabled=False):
        wide = psi if psi.dtype == torch.float64 else psi.float()
        if normalisation == "none":
            return wide * math.sqrt(t)
        least = 1.0 if normalisation == "clamped" else 1e-12
        norms: Tensor = torch.linalg.vector_norm(wide, dim=0).clamp_min(least)
        return wide * norms.reciprocal() * math.sqrt(t)


def neuralef_loss(psi: Tensor, kernel: Kernel, beta: float, penalty: Penalty = "fixed") -> LossTerms:
    """-(1/K) sum_j R_jj + beta (1/K) sum_{i<j} R^_ij^2 with R = Psi^T kernel Psi (Deng and Luo, 2023, eq. 5-7).

    In R^ the first Psi is detached, so that a function is pushed away from those before it and never the reverse.
    As the kernel is symmetric, Y = kernel Psi serves both terms and both passes: R^ = Y^T Psi has the gradient of
    the penalty, and twice its diagonal that of R_jj. Arguments are not changed.

    Penalty ``ratio`` is the form of Deng et al. (2022), free of the kernel's scale: R_jj divided by its own detached
    value, and R^_ij^2 / (R_ii R_jj) with a detached denominator; its eigenfunctions are exact at beta = 1. Quotients
    are divided by in absolute value, and by no less than 1e-12: those of an indefinite kernel can be negative.

    Args:
        psi: (N, K) outputs; half precision is widened to float32.
        kernel: over N nodes, of the dtype of ``psi``.
        beta: weight of the penalty. The fixed penalty recovers eigenfunctions of unit L2 norm only if beta is at least
            (1 - l_j / l_i) / l_i for all eigenvalues l_i > l_j wanted.
        penalty: its form.

    Raises:
        NumericalError: R is not finite.
        ValueError: ``psi`` is not (N, K) for the kernel's N.
    """
    if psi.ndim != 2 or psi.shape[0] != kernel.size:
        raise ValueError(f"expected ({kernel.size}, K) outputs, got {tuple(psi.shape)}")
    with torch.autocast(psi.device.type, enabled=False):
        wide = psi if psi.dtype == torch.float64 else psi.float()
        ordered = kernel.apply(wide.detach()).T @ wide  # R^: row i belongs to the detached function
        rayleigh = ordered.detach().diagonal().clone()
        if not bool(ordered.detach().isfinite().all()):
            raise NumericalError("the loss of NeuralEF is not finite: psi or the kernel holds NaN or infinite values")
        diagonal = 2 * ordered.diagonal() - rayleigh  # the value of R_jj with its whole gradient
        upper = ordered.triu(1)
        if penalty == "ratio":
            size = rayleigh.abs().clamp_min(_LEAST)
            diagonal = diagonal / size
            upper = upper / (size[:, None] * size).sqrt()
        alignment = -diagonal.mean()
        weighted = upper.square().sum() * (beta / psi.shape[1])
        return LossTerms(alignment + weighted, alignment, weighted, rayleigh)


def gradient_norms(terms: LossTerms, inputs: Tensor | Sequence[Tensor]) -> dict[str, float]:
    """L2 norms of the gradients of both terms with respect to ``inputs`` (psi, or the network's weights).

    Costs a backward pass a term and leaves the graph and all ``.grad`` as they were, so it is for every so many steps.
    """
    wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    norms = {}
    for name, term in (("alignment", terms.alignment), ("penalty", terms.penalty)):
        grads = torch.autograd.grad(term, wanted, retain_graph=True, allow_unused=True)
        squares = [grad.double().square().sum() for grad in grads if grad is not None]
        norms[name] = float(torch.stack(squares).sum().sqrt()) if squares else 0.0
    return norms
