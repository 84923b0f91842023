"""SpectralNet on patches: a network's orthonormalised outputs of least Rayleigh quotient, clusters by k-means on them.

Shaham, Stanton, Li, Nadler, Basri and Kluger, *SpectralNet: Spectral Clustering using Deep Neural Networks*, ICLR 2018.
"""

from __future__ import annotations

from torch import Tensor

from spectral_bench.methods.interface import FitContext, PatchSource
from spectral_bench.methods.separation import separated
from spectral_bench.methods.spectralnet.objective import TITLE, RayleighTerms, rayleigh_terms
from spectral_bench.methods.spectralnet.params import SpectralNetParams
from spectral_bench.methods.spin.averages import CovarianceAverage
from spectral_bench.methods.spin.method import LearntFunctions, Moment
from spectral_bench.methods.spin.network import FunctionNetwork
from spectral_bench.methods.spin.operators import Functions, KernelOperator
from spectral_bench.methods.spin.spectrum import second_moment, whitening
from spectral_bench.methods.trainer import Step


class SpectralNet(LearntFunctions):
    """n functions that span the leading eigenspace of the patch kernel, and K centres among their values.

    The Laplacian is (1 + alpha) I - K with the kernel K of all methods, of eigenvalues 0 and more. The functions are
    Y = L^-1 u, orthonormal over the training patches that are clustered; with ``separate`` they are rotated.

    Args:
        params: parameters; ``decay`` says what outputs are orthonormalised by.
    """

    Params = SpectralNetParams
    params: SpectralNetParams
    title = TITLE

    def _beside(self, network: FunctionNetwork) -> CovarianceAverage | None:
        params = self.params
        device = next(network.parameters()).device
        return CovarianceAverage(params.functions, params.decay, device) if params.decay else None

    def _loss(self, u: Functions, x: Tensor, operator: KernelOperator, step: Moment) -> Step:
        average = step.trained.averages
        assert average is None or isinstance(average, CovarianceAverage)
        values, image = operator.apply(u, x)
        terms = rayleigh_terms(values, (1 + self.params.alpha) * values.detach() - image, average)
        return Step(terms.loss, lambda: _measures(terms))

    def _scaling(self, values: Tensor, patches: PatchSource, context: FitContext) -> Tensor:
        white = whitening(second_moment(values, values), self.title)
        if not self.params.separate:
            return white
        del values
        return separated(
            self._outputs,
            white,
            self.kernel,
            patches,
            context=context,
            batch_size=self.params.batch_size,
            batches=self.params.separate_batches,
        )


def _measures(terms: RayleighTerms) -> dict[str, float]:
    """Quotients of the Laplacian: the least and the largest of the batch's own eigenfunctions in the span."""
    return {"quotient_first": float(terms.quotients[0]), "quotient_last": float(terms.quotients[-1])}
