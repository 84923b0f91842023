"""Mean-field inference in a fully connected CRF, by the book: dense kernels of N x N in float64.

Kraehenbuehl and Koltun (NIPS 2011), algorithm 1, with the Potts model and kernels normalised to D^-1/2 K D^-1/2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spectral_bench.results.specification import Crf

Array = NDArray[np.float64]


def beliefs(energies: Array, image: NDArray[np.uint8], crf: Crf) -> Array:
    """(K, N) beliefs from (K, N) unary energies of an (H, W, 3) image of N pixels."""
    height, width = image.shape[:2]
    place = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij"), -1).reshape(-1, 2).astype(float)
    colour = image.reshape(-1, 3).astype(float)
    smooth = _kernel(place / crf.gaussian_sxy)
    alike = _kernel(np.hstack([place / crf.bilateral_sxy, colour / crf.bilateral_srgb]))
    kernel = crf.gaussian_weight * smooth + crf.bilateral_weight * alike
    q = _softmax(-energies)
    for _ in range(crf.iterations):
        q = _softmax(-energies + q @ kernel)
    return q


def _kernel(features: Array) -> Array:
    distance = ((features[:, None] - features[None]) ** 2).sum(-1)
    kernel = np.exp(-distance / 2)
    root = np.sqrt(kernel.sum(1))
    return np.asarray(kernel / root[:, None] / root)


def _softmax(values: Array) -> Array:
    shifted = np.exp(values - values.max(0))
    return np.asarray(shifted / shifted.sum(0))
