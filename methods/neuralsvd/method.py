"""NeuralSVD on patches: ordered eigenfunctions of their kernel without a Cholesky factor, clusters by k-means on them.

Ryu, Xu, Erol, Bu, Zheng and Wornell, *Operator SVD with Neural Networks via Nested Low-Rank Approximation*, ICML 2024.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from spectral_bench.methods.interface import FitContext, PatchSource
from spectral_bench.methods.neuralsvd.objective import NestedTerms, nested_terms
from spectral_bench.methods.neuralsvd.params import NeuralSVDParams
from spectral_bench.methods.separation import separated
from spectral_bench.methods.spin.method import LearntFunctions, Moment
from spectral_bench.methods.spin.operators import Functions, KernelOperator
from spectral_bench.methods.spin.spectrum import require_finite_moments, second_moment, whitening
from spectral_bench.methods.trainer import Step

_VANISHING = 1e-8  # mean square, as part of the largest, of a function that its eigenvalue of 0 or less makes 0


class NeuralSVD(LearntFunctions):
    """n eigenfunctions of the patch kernel, learnt in the order of their eigenvalues, and K centres among their values.

    The network's outputs become l_i^1/2 phi_i; the functions are these over their root mean square at the training
    patches that are clustered; with ``separate`` they are orthonormalised there and rotated instead. A function without
    a positive eigenvalue left to it becomes 0 and stays so.

    Args:
        params: parameters; ``nesting`` says how functions are ordered.
    """

    Params = NeuralSVDParams
    params: NeuralSVDParams
    title = "NeuralSVD"

    def _loss(self, u: Functions, x: Tensor, operator: KernelOperator, step: Moment) -> Step:
        params = self.params
        terms = nested_terms(
            *operator.apply(u, x), nesting=params.nesting, overlaps=params.overlaps, steps_of=params.steps_of
        )
        return Step(terms.loss, lambda: _measures(terms))

    def _scaling(self, values: Tensor, patches: PatchSource, context: FitContext) -> Tensor:
        sigma = second_moment(values, values)
        require_finite_moments(sigma, sigma, self.title)
        size = sigma.diagonal()
        alive = size > _VANISHING * size.max()
        if self.params.separate and bool(alive.any()):
            del values
            return self._separated(sigma, alive, patches, context)
        return torch.diag(torch.where(alive, size.where(alive, 1.0).rsqrt(), 0.0))

    def _separated(self, sigma: Tensor, alive: Tensor, patches: PatchSource, context: FitContext) -> Tensor:
        """(n, n): outputs orthonormalised over the clustered patches and rotated; vanished ones are 0, and the last."""
        params = self.params
        assert params.separate_batches is not None
        white = sigma.new_zeros(int(alive.sum()), len(sigma))
        white[:, alive] = whitening(sigma[alive][:, alive], self.title)
        turned = separated(
            self._outputs,
            white,
            self.kernel,
            patches,
            context=context,
            batch_size=params.batch_size,
            batches=params.separate_batches,
            orders=2,
        )
        return functional.pad(turned, (0, 0, 0, len(sigma) - len(turned)))


def _measures(terms: NestedTerms) -> dict[str, float]:
    return {"eigenvalue_first": float(terms.eigenvalues[0]), "eigenvalue_last": float(terms.eigenvalues[-1])}
