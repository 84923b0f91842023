"""NeuralEF's graph and loss with dense N x N tables, as a straightforward implementation builds them.

It stands beside the package's sparse form in the benchmark: the same graph and the same loss, in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize


def dense_kernel(features: Tensor, pixels: Tensor, neighbours: int, alpha: float) -> Tensor:
    """The (N, N) kernel of (N, C) features and (B, h, w, 3) pixels: similarities, top-k, scatter, block diagonal."""
    kernel = _normalised(_feature_affinity(features, neighbours))
    return kernel.add_(_normalised(_pixel_affinity(pixels)), alpha=alpha)


def dense_loss(psi: Tensor, kernel: Tensor, beta: float, t: float) -> Tensor:
    """The loss of (N, K) outputs, with every product written out and differentiated by autograd."""
    functions = psi / psi.norm(dim=0).clamp_min(1.0) * t**0.5
    quotients = functions.T @ kernel @ functions
    half = functions.detach().T @ kernel @ functions
    k = psi.shape[1]
    return -quotients.diagonal().sum() / k + beta * half.triu(1).square().sum() / k


def _feature_affinity(features: Tensor, neighbours: int) -> Tensor:
    unit = normalize(features, dim=1)
    similarity = unit @ unit.T
    similarity.fill_diagonal_(float("-inf"))
    values, index = similarity.topk(min(neighbours, len(features) - 1), dim=1)
    similarity.zero_().scatter_(1, index, values.clamp_min_(0))
    return (similarity + similarity.T).div_(2)


def _pixel_affinity(pixels: Tensor) -> Tensor:
    _, height, width = pixels.shape[:3]
    place = (torch.linspace(0, 1, length, device=pixels.device) for length in (height, width))
    y, x = torch.meshgrid(*place, indexing="ij")
    blocks = []
    for image in pixels:
        joined = torch.zeros(height * width, height * width, device=pixels.device)
        for k, weight in ((10, 2.0), (5, 0.1)):
            points = torch.cat([image, weight * x[..., None], weight * y[..., None]], -1).flatten(0, 1)
            distance = torch.cdist(points, points).fill_diagonal_(float("inf"))
            joined.scatter_(1, distance.topk(k, largest=False).indices, 1.0)
        blocks.append(torch.maximum(joined, joined.T))
    return torch.block_diag(*blocks)


def _normalised(affinity: Tensor) -> Tensor:
    root = affinity.sum(1).clamp_min(1e-12).rsqrt()
    return affinity.mul_(root[:, None]).mul_(root)
