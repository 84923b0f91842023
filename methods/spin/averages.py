"""Moving averages over batches of the covariance of functions, and of its Jacobian, which SpIN's gradient takes too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

PAIRS = 16  # pairs of functions that one backward pass serves


class CovarianceAverage(nn.Module):
    """Average of Sigma = E[u u^T] over batches, with weights that decay and are normalised from the first batch on.

    So no start value fades out of it. It is a buffer: a checkpoint that holds this module's state holds it.

    Args:
        functions: n.
        decay: of a batch's weight with every further batch, in (0, 1).
        device: where it is held.
    """

    sigma: Tensor
    batches: Tensor

    def __init__(self, functions: int, decay: float, device: torch.device) -> None:
        super().__init__()
        if not 0 < decay < 1:
            raise ValueError(f"decay = {decay}: expected a number between 0 and 1")
        self.decay = decay
        self.register_buffer("sigma", torch.zeros(functions, functions, dtype=torch.float64, device=device))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def take(self, sigma: Tensor) -> float:
        """Take in the (n, n) covariance of a batch; returns the weight of the batch in the average."""
        self.batches += 1
        weight = (1 - self.decay) / (1 - self.decay ** int(self.batches))
        self.sigma.lerp_(sigma, weight)
        return weight

    def next(self, sigma: Tensor) -> Tensor:
        """The average over the batches before, or of the very first batch its own; then takes in ``sigma``, (n, n)."""
        before = sigma if int(self.batches) == 0 else self.sigma.clone()
        self.take(sigma)
        return before


class Averages(CovarianceAverage):
    """The average of Sigma, and with the same weights that of J_ij = E[u_i du_j/dtheta].

    Without them the gradient of a batch is biased, because it multiplies estimates from the same patches (Pfau et al.,
    2019). J is kept for i <= j alone: the masked gradient of Sigma is upper triangular and multiplies no
    other entry.

    Args:
        functions: n.
        parameters: of the network, theta.
        decay: of a batch's weight with every further batch, in (0, 1); 1 minus the rate that the paper states.
    """

    jacobian: Tensor

    def __init__(self, functions: int, parameters: Sequence[Tensor], decay: float) -> None:
        like = parameters[0]
        super().__init__(functions, decay, like.device)
        pairs = torch.triu_indices(functions, functions, device=like.device)
        self._first, self._second = pairs[0], pairs[1]
        sizes = sum(parameter.numel() for parameter in parameters)
        self.register_buffer("jacobian", like.new_zeros(pairs.shape[1], sizes))

    def update(self, values: Tensor, sigma: Tensor, parameters: Sequence[Tensor]) -> None:
        """Take in a batch.

        Args:
            values: u, (N, n), with a graph that leads to the parameters; it is kept.
            sigma: (n, n) E[u u^T] of the batch.
            parameters: as given at the start.
        """
        weight = self.take(sigma)
        for start in range(0, len(self._first), PAIRS):
            rows = slice(start, start + PAIRS)
            grads = jacobian_rows(values, self._first[rows], self._second[rows], parameters)
            offset = 0
            for grad in grads:
                flat = grad.flatten(1)
                self.jacobian[rows, offset : offset + flat.shape[1]].lerp_(flat, weight)
                offset += flat.shape[1]
            del grads, grad, flat  # the next pass must not find them still in memory

    def contract(self, weights: Tensor) -> Tensor:
        """sum_{i <= j} weights_ij J_ij, (P,), of (n, n) weights of which the upper triangle counts."""
        chosen = weights[self._first, self._second].to(self.jacobian.dtype)
        return chosen @ self.jacobian


def jacobian_rows(values: Tensor, first: Tensor, second: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """E[u_i du_j/dtheta] of a batch for some pairs (i, j), one (pairs, ...) tensor a parameter.

    Args:
        values: u, (N, n), with its graph, which is kept.
        first: (pairs,) int64, i.
        second: (pairs,) int64, j.
        parameters: theta.
    """
    count = len(values)
    cotangents = values.new_zeros(len(first), *values.shape)
    picks = torch.arange(len(first), device=values.device)
    cotangents[picks, :, second] = values.detach().T[first] / count
    return torch.autograd.grad(values, parameters, cotangents, is_grads_batched=True, retain_graph=True)


def jacobian_bytes(functions: int, parameters: int, element: int = 4) -> int:
    """Memory of the averaged Jacobian: n (n + 1) / 2 pairs of functions x parameters x bytes of a number."""
    return functions * (functions + 1) // 2 * parameters * element
