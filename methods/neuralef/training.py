"""A training step of NeuralEF: noise, temperature and normalisation of psi's outputs, and the loss of a batch.

The loop around the steps, with its optimiser, schedule and checkpoints, is ``methods.trainer``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spectral_bench.methods.graphs.kernel import Kernel
from spectral_bench.methods.interface import FitContext
from spectral_bench.methods.neuralef.loss import LossTerms, gradient_norms, neuralef_loss, normalise_columns
from spectral_bench.methods.neuralef.params import NeuralEFParams
from spectral_bench.methods.trainer import Cosine, Step


def training_step(
    logits: Tensor, kernel: Kernel, params: NeuralEFParams, *, number: int, steps: int, context: FitContext
) -> Step:
    """The loss of a batch of N patches, and what a training curve keeps of it.

    Args:
        logits: (N, K) outputs of psi.
        kernel: over the same patches.
        params: of the fit.
        number: of the step, from 0.
        steps: in all.
        context: of the fit; noise is drawn from its streams.

    Raises:
        NumericalError: outputs or kernel are not finite.
    """
    temperature = Cosine(params.temperature_max, params.temperature_min).at(number, steps)
    outputs = soft_assignment(logits, temperature, params, number, context) if params.discrete else logits
    psi = normalise_columns(outputs, params.t, params.normalisation)
    terms = neuralef_loss(psi, kernel, _beta(params), params.penalty)
    return Step(terms.loss, lambda: _measures(terms, psi, temperature))


def soft_assignment(
    logits: Tensor, temperature: float, params: NeuralEFParams, number: int, context: FitContext
) -> Tensor:
    """(N, K) soft samples of the assignment: the softmax of logits, with Gumbel noise where ``params`` say so."""
    if params.noise == "gumbel":
        logits = logits + gumbel_noise(logits, context.seeds.torch("noise", number, device=logits.device))
    return torch.softmax(logits / temperature, dim=-1)


def gumbel_noise(like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise of the shape of ``like``, float32 whatever the precision of ``like``.

    It is -log E of exponential draws E, which are kept from 0; in half precision one in some thousand would be 0.
    """
    draws = torch.empty(like.shape, dtype=torch.float32, device=like.device).exponential_(generator=generator)
    return -draws.clamp_min_(torch.finfo(torch.float32).tiny).log_()


def _beta(params: NeuralEFParams) -> float:
    return 20.48 / params.outputs if params.beta is None else params.beta


def _measures(terms: LossTerms, psi: Tensor, temperature: float) -> dict[str, float]:
    """Both terms, and the norms of their gradients with respect to the normalised outputs."""
    norms = gradient_norms(terms, psi)
    return {
        "alignment": float(terms.alignment.detach()),
        "penalty": float(terms.penalty.detach()),
        "alignment_gradient": norms["alignment"],
        "penalty_gradient": norms["penalty"],
        "temperature": temperature,
    }
