"""The objective of NeuralSVD: a low-rank approximation whose every leading part is the best of its rank.

Ryu, Xu, Erol, Bu, Zheng and Wornell, *Operator SVD with Neural Networks via Nested Low-Rank Approximation*, ICML 2024.
Of functions f = (f_1, ..., f_n) and a self-adjoint operator K

    L(f) = -2 sum_i <f_i, K f_i> + sum_ij <f_i, f_j>^2 = |K - sum_i f_i f_i^T|^2 - |K|^2    (Hilbert-Schmidt norms)

is least where the f_i span the n leading eigenfunctions, of positive eigenvalues, with sum_i f_i f_i^T the best
approximation of rank n. Nesting makes each f_i = l_i^1/2 phi_i of its own eigenvalue l_i and eigenfunction phi_i.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spectral_bench.methods.neuralsvd.params import Nesting, Overlaps, Steps
from spectral_bench.methods.spin.spectrum import require_finite_moments, scalar_with_gradient, second_moment

_LEAST = 1e-6  # part of the largest mean square that the gradient of a function is divided by at the least


@dataclass(frozen=True)
class NestedTerms:
    """What one batch gives.

    Attributes:
        loss: scalar in the functions' dtype; its value is the objective, its gradient that of ``nested_terms``.
        eigenvalues: (n,) float64 mean squares of the functions, which estimate the eigenvalues.
    """

    loss: Tensor
    eigenvalues: Tensor


def masks(functions: int, nesting: Nesting) -> tuple[Tensor, Tensor]:
    """Weights of <f_i, K f_i>, (n,), and of <f_i, f_j> in the gradient of f_j, (n, n), float64.

    Joint: the objective is sum_r L(f_1, ..., f_r) / n. <f_i, K f_i> is in the parts of r >= i, which are
    m_i = (n - i + 1) / n of all, and <f_i, f_j>^2 in those of r >= max(i, j): M_ij = min(m_i, m_j). Sequential: f_j
    minimises L(f_1, ..., f_j) with the functions before it held fixed, so M_ij is 1 for i <= j and else 0.
    """
    if nesting == "sequential":
        ones = torch.ones(functions, functions, dtype=torch.float64)
        return ones[0].clone(), ones.triu()
    parts = torch.arange(functions, 0, -1, dtype=torch.float64) / functions
    return parts, torch.minimum(parts[:, None], parts)


def nested_terms(
    values: Tensor,
    image: Tensor,
    *,
    nesting: Nesting = "sequential",
    overlaps: Overlaps = "batch",
    steps_of: Steps = "plain",
) -> NestedTerms:
    """The nested objective of a batch and its gradient.

    The gradient by f_j at a point is 4 / N (sum_i M_ij S_ij f_i - m_j K f_j), with <a, b> the mean of a b over N points
    and S_ij = <f_i, f_j>. Joint nesting: it is that of the objective, which is the loss. Sequential nesting: it is that
    of L(f_1, ..., f_j) by f_j alone, and the loss is L of all.

    Estimates: <f_i, K f_i> on the batch. ``batch``: S on the batch, too, so that the gradient of functions that are
    exact for the batch's own kernel is 0; <f_i, f_j>^2 has then a bias of order 1 / N. ``halves``: with A and B from
    the first and second half of the batch, A_ij B_ij stands for <f_i, f_j>^2 and each half is multiplied with what the
    other gives, without bias, as the paper's code does.

    Args:
        values: f, (N, n) with its graph.
        image: K f, (N, n); its gradient, if any, is not used.
        nesting: which order.
        overlaps: how S is estimated.
        steps_of: ``equal``: the gradient by f_j is divided by the mean square of f_j. A positive factor a function
            moves no point where all gradients are 0; of joint nesting it is no gradient of an objective then.

    Raises:
        NumericalError: functions or their image are not finite.
    """
    functions, wide = values.detach().double(), image.detach().double()
    count = len(functions)
    sigma, pi = second_moment(functions, functions), second_moment(functions, wide)
    require_finite_moments(sigma, pi, "NeuralSVD")
    own, pairs = (mask.to(values.device) for mask in masks(values.shape[1], nesting))
    whole = torch.ones_like(pairs) if nesting == "sequential" else pairs
    if overlaps == "batch":
        square = (whole * sigma.square()).sum()
        pull = functions @ (pairs * sigma)
    else:
        first, second = functions.tensor_split(2)
        one, other = second_moment(first, first), second_moment(second, second)
        square = (whole * one * other).sum()
        halves = first @ (pairs * other) / len(first), second @ (pairs * one) / len(second)
        pull = torch.cat(halves) * (count / 2)
    signal = (pull - wide * own) * (4 / count)
    if steps_of == "equal":
        size = sigma.diagonal()
        signal /= size.clamp_min(_LEAST * float(size.max())).clamp_min(torch.finfo(torch.float64).tiny)
    objective = square - 2 * (own * pi.diagonal()).sum()
    return NestedTerms(scalar_with_gradient(objective, values, signal), sigma.diagonal())
