"""Memory that a fit of SpIN, or of another method that learns functions, takes, counted before it starts."""

from __future__ import annotations

import logging

import torch

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.memory import free_bytes
from spectral_bench.methods.params import TRAINED_BYTES, FunctionParams, SpinParams
from spectral_bench.methods.spin.averages import PAIRS

logger = logging.getLogger(__name__)

_ALGEBRA = 16 * 8  # bytes an entry of n x n: the float64 matrices that a step holds at once, LAPACK's copies included
_VALUE = 40  # bytes a function and patch of a step: values, gradient and image in float32, and float64 copies of them
_SAMPLED = 20  # the same of the patches that are clustered
KEPT = 2**24  # bytes that allocators and libraries hold beside what is asked for


def require_memory(params: FunctionParams, parameters: int, batch: int, sampled: int, device: torch.device) -> None:
    """Say what a fit will take, and refuse what does not fit.

    Features and the graph of a batch are not counted: they are the same for every method.

    Args:
        params: of the method.
        parameters: P, of the network.
        batch: patches of a training batch.
        sampled: patches that are clustered.
        device: where the fit computes.

    Raises:
        ConfigError: it takes more than is free.
    """
    averaged = 4 * params.jacobian_pairs * parameters
    network = TRAINED_BYTES * parameters
    functions = function_bytes(params.functions, batch, sampled)
    gradients = gradient_bytes(params, parameters, batch) if isinstance(params, SpinParams) and averaged else 0
    needed = network + functions + averaged + gradients + KEPT
    what = f"the network and its optimiser take {_megabytes(network)}, its functions {_megabytes(functions)}"
    if averaged:
        what += (
            f", the averaged Jacobian takes {params.functions} ({params.functions} + 1) / 2 pairs of functions"
            f" x {parameters} parameters x 4 bytes = {_megabytes(averaged)}, that of a batch {_megabytes(gradients)}"
        )
    what += f", in all {_megabytes(needed)} with {_megabytes(KEPT)} that allocators keep"
    logger.info("%s", what)
    free = free_bytes(device)
    if needed > free:
        way_out = ", or set decay: 0, which needs no Jacobian" if averaged else ""
        raise ConfigError(
            f"functions = {params.functions}, width = {params.width}, depth = {params.depth}: {what}, and"
            f" {_megabytes(free)} are free on {device}; lower one of them{way_out}"
        )


def function_bytes(functions: int, batch: int, sampled: int) -> int:
    """Memory of n functions' values, and of the n x n algebra on them, in a step or in the clustering that follows."""
    return max(_VALUE * batch * functions + _ALGEBRA * functions**2, _SAMPLED * sampled * functions)


def gradient_bytes(params: SpinParams, parameters: int, batch: int) -> int:
    """Memory of a backward pass of the Jacobian: gradients of ``PAIRS`` pairs, rearranged too, and their way there."""
    rows = min(PAIRS, params.functions * (params.functions + 1) // 2)
    drawn = min(batch, params.jacobian_patches or batch)
    width = params.width if params.depth else 0
    return 4 * rows * (2 * parameters + drawn * (params.functions + 2 * width))


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
