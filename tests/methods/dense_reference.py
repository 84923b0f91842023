"""The equations of the graphs and of NeuralEF's loss, written down literally: dense, float64, slow.

Nothing here shares code with the package. Dot products are correctly rounded sums, so that equal features tie exactly.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Matrix = NDArray[np.float64]


def cosine_similarities(features: Matrix) -> Matrix:
    """(N, N) similarities of (N, C) features; a row of zeros is similar to nothing."""
    lengths = [math.sqrt(math.fsum(row * row)) for row in features]
    unit = np.stack([row / length if length > 0 else row * 0 for row, length in zip(features, lengths, strict=True)])
    return np.array([[math.fsum(first * second) for second in unit] for first in unit])


def nearest(score: Matrix, node: int, k: int) -> list[int]:
    """The k nodes of highest score, not ``node`` itself; of equal scores the lowest index."""
    others = [other for other in range(len(score)) if other != node]
    return sorted(others, key=lambda other: (-score[other], other))[: max(k, 0)]


def feature_affinity(features: Matrix, k: int) -> Matrix:
    """Similarity to the k nearest neighbours, clamped at 0, averaged with the transpose."""
    similarity = cosine_similarities(features)
    directed = np.zeros_like(similarity)
    for node in range(len(features)):
        for other in nearest(similarity[node], node, k):
            directed[node, other] = max(0.0, similarity[node, other])
    return (directed + directed.T) / 2


def mutual_affinity(features: Matrix, k: int) -> Matrix:
    """The plain affinity where each node is a neighbour of the other."""
    similarity = cosine_similarities(features)
    member = np.zeros(similarity.shape, dtype=bool)
    for node in range(len(features)):
        member[node, nearest(similarity[node], node, k)] = True
    return np.where(member & member.T, np.maximum(similarity, 0.0), 0.0)


def threshold_affinity(features: Matrix, epsilon: float) -> Matrix:
    """All similarities of at least ``epsilon`` and above 0, self excluded."""
    similarity = cosine_similarities(features)
    np.fill_diagonal(similarity, 0.0)
    return np.where((similarity >= epsilon) & (similarity > 0), similarity, 0.0)


def pixel_affinity(pixels: Matrix, near: int = 10, far: int = 5, weights: tuple[float, float] = (2.0, 0.1)) -> Matrix:
    """Binary union of nearest neighbours in (rgb, w x, w y) for both weights, symmetrised by OR, block-diagonal.

    Distances are rounded to nine digits, so that offsets of equal length tie.
    """
    count, height, width = pixels.shape[:3]
    nodes = height * width
    affinity = np.zeros((count * nodes, count * nodes))
    for image in range(count):
        block = slice(image * nodes, (image + 1) * nodes)
        for k, weight in zip((near, far), weights, strict=True):
            affinity[block, block] = np.maximum(affinity[block, block], directed_pixel_edges(pixels[image], k, weight))
    return np.maximum(affinity, affinity.T)


def directed_pixel_edges(pixels: Matrix, k: int, weight: float) -> Matrix:
    """1 from each pixel of one image to its k nearest in (rgb, w x, w y), (h w, h w)."""
    height, width = pixels.shape[:2]
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    point = np.concatenate([pixels, weight * x[..., None], weight * y[..., None]], -1).reshape(-1, 5)
    distance = np.round(((point[:, None] - point[None]) ** 2).sum(-1), 9)
    directed = np.zeros_like(distance)
    for node in range(len(point)):
        directed[node, nearest(-distance[node], node, k)] = 1.0
    return directed


def summed(edges: Matrix, width: int, grid: int) -> Matrix:
    """The edges between patches of grid x grid pixels, pair by pair; those inside of a patch are none."""
    across = width // grid
    patches = len(edges) // grid**2
    total = np.zeros((patches, patches))
    for one, other in zip(*np.nonzero(edges), strict=True):
        (r, c), (y, x) = divmod(int(one), width), divmod(int(other), width)
        here, there = r // grid * across + c // grid, y // grid * across + x // grid
        if here != there:
            total[here, there] += edges[one, other] / grid**2
    return total


def normalised(affinity: Matrix) -> Matrix:
    """D^-1/2 A D^-1/2 with an empty row for a node of degree 0."""
    degree = affinity.sum(1)
    result = np.zeros_like(affinity)
    for i, j in np.argwhere(affinity > 0):
        result[i, j] = affinity[i, j] / math.sqrt(degree[i] * degree[j])
    return result


def kernel(features: Matrix, pixels: Matrix, k: int, alpha: float) -> Matrix:
    """D^-1/2 A D^-1/2 + alpha D~^-1/2 A~ D~^-1/2."""
    return normalised(feature_affinity(features, k)) + alpha * normalised(pixel_affinity(pixels))


def loss_and_gradient(
    psi: Matrix, kernel: Matrix, beta: float, *, t: float | None = None, ratio: bool = False
) -> tuple[float, Matrix]:
    """The loss of (N, K) outputs and its gradient; with ``t`` columns are normalised as ``clamped`` says."""
    outputs = torch.from_numpy(psi.copy()).requires_grad_()
    functions = outputs
    if t is not None:
        norms = [torch.sqrt((column**2).sum()) for column in outputs.T]
        scaled = [column / max(norm, torch.ones_like(norm)) for column, norm in zip(outputs.T, norms, strict=True)]
        functions = math.sqrt(t) * torch.stack(scaled, 1)
    loss = _ratio_loss(functions, kernel, beta) if ratio else _fixed_loss(functions, kernel, beta)
    loss.backward()
    assert outputs.grad is not None
    return loss.item(), outputs.grad.numpy()


def _quotients(functions: Tensor, kernel: Matrix) -> tuple[Tensor, Tensor]:
    """R, and R with its first factor detached."""
    matrix = torch.from_numpy(kernel)
    return functions.T @ matrix @ functions, functions.detach().T @ matrix @ functions


def _fixed_loss(functions: Tensor, kernel: Matrix, beta: float) -> Tensor:
    full, half = _quotients(functions, kernel)
    k = len(full)
    trace = sum((full[j, j] for j in range(k)), torch.zeros((), dtype=torch.float64))
    crossed = [half[i, j] ** 2 for j in range(k) for i in range(j)]
    return -trace / k + beta / k * sum(crossed, torch.zeros((), dtype=torch.float64))


def _ratio_loss(functions: Tensor, kernel: Matrix, beta: float) -> Tensor:
    full, half = _quotients(functions, kernel)
    k = len(full)
    size = full.detach().diagonal().abs()
    first = sum((full[j, j] / size[j] for j in range(k)), torch.zeros((), dtype=torch.float64))
    crossed = [half[i, j] ** 2 / (size[i] * size[j]) for j in range(k) for i in range(j)]
    return -first / k + beta / k * sum(crossed, torch.zeros((), dtype=torch.float64))
