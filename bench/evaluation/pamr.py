"""Pixel-adaptive mask refinement of the scores of images (PAMR; Araslanov and Roth, CVPR 2020, section 3.2).

At each pixel of the label the scores of all clusters become a mean over neighbours in eight directions, again and
again; neighbours of a similar colour weigh more. It is linear in the scores and looks at no cluster beside another, so
no softmax is taken, as in training-free methods that refine their scores by it, and clusters are refined in parts.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spectral_bench.bench.evaluation.counting import ScoredImage, view_image
from spectral_bench.bench.evaluation.guided import (
    Guide,
    at_once,
    guided_bytes,
    largest_by_parts,
    means,
    neighbour_indices,
)
from spectral_bench.bench.evaluation.layout import WindowLayout, full_scores
from spectral_bench.datasets.interface import ImageLoader
from spectral_bench.methods.memory import free_bytes
from spectral_bench.results.specification import Guided, Pamr

_EPSILON = 1e-8  # beside the deviation, where a neighbourhood has one colour


def pamr_clusters(
    image: ScoredImage,
    *,
    images: ImageLoader,
    pamr: Pamr,
    guided: Guided | None = None,
    stage: Callable[[str], AbstractContextManager[None]],
) -> Tensor:
    """(H, W) int64 clusters of an image's label pixels after PAMR, on the device of the scores.

    Args:
        image: the scored image.
        images: where the image itself comes from.
        pamr: iterations, dilations and contrast.
        guided: how scores are up-sampled; None: bilinearly.
        stage: charges the work to the stage ``pamr``.

    Raises:
        FloatingPointError: a score is nan or infinite.
        MemoryError: it needs more memory than the device has free.
    """
    height, width = image.layout.target
    device, wanted = image.scores.device, pamr_bytes(image.scores.shape[1], (height, width), pamr)
    if guided is not None:
        wanted += guided_bytes(image.scores.shape[1], (height, width), guided)
    if wanted > (free := free_bytes(device)):
        raise MemoryError(
            f"image {image.image_id}: PAMR at {height} x {width} pixels takes about {wanted / 1e9:.1f} GB, and "
            f"{free / 1e9:.1f} GB are free"
        )
    with stage("pamr"):
        return refine(image.scores, image.layout, view_image(images, image.image_id, image.layout), pamr, guided)


def pamr_bytes(n_clusters: int, target: tuple[int, int], pamr: Pamr) -> int:
    """Bytes that PAMR over ``n_clusters`` at (height, width) pixels takes at its peak, about."""
    pixels = target[0] * target[1]
    # Weights, neighbours and what they are made of; scores before and after an iteration, and as they are resampled.
    return 4 * pixels * (5 * 8 * len(pamr.dilations) + 3 * min(n_clusters, at_once(pixels)))


@torch.no_grad()
def refine(
    scores: Tensor, layout: WindowLayout, image: NDArray[np.uint8], pamr: Pamr, guided: Guided | None = None
) -> Tensor:
    """The cluster of each label pixel after PAMR.

    Args:
        scores: (W, K, h, w) float32 patch scores of the windows.
        layout: where windows and label lie.
        image: (H, W, 3) uint8 RGB at the label's pixels.
        pamr: iterations, dilations and contrast.
        guided: how scores are up-sampled; None: bilinearly.

    Returns:
        (H, W) int64 on the scores' device; ties go to the lowest cluster index.

    Raises:
        FloatingPointError: a score is nan or infinite.
    """
    seen = torch.from_numpy(np.array(image)).to(scores.device)
    neighbours = neighbour_indices(layout.target, pamr.dilations, scores.device)
    weights = neighbour_weights(seen.float() / 255, neighbours, pamr)
    guide = None if guided is None else Guide.of(layout, image, guided, scores.device)

    def up(part: Tensor) -> Tensor:
        values = full_scores(part, layout) if guide is None else guide.scores(part)
        return refined(values.flatten(0, 1), neighbours, weights, pamr.iterations).view(values.shape)

    return largest_by_parts(scores if guide is None else guide.of_patches(scores), layout.target, up)


def refined(values: Tensor, neighbours: Tensor, weights: Tensor, iterations: int) -> Tensor:
    """(N, K) scores of N pixels, each a weighted mean of its neighbours' as many times as ``iterations`` says."""
    for _ in range(iterations):
        values = means(values, neighbours, weights)
    return values


def neighbour_weights(image: Tensor, neighbours: Tensor, pamr: Pamr) -> Tensor:
    """(H W, P) weights of each pixel's neighbours, of sum 1: the softmax of -mean_c |x - x'| / (contrast s + 1e-8).

    s is the standard deviation of a channel over the neighbourhood, the pixel itself in it once a dilation, as in the
    released code (visinf/1-stage-wseg, ``models/mods/pamr.py``).

    Args:
        image: (H, W, 3) colours in [0, 1].
        neighbours: (H W, P) of ``neighbour_indices``.
        pamr: the contrast.
    """
    times = neighbours.shape[1] // 8
    total = 9 * times
    distances = torch.zeros(neighbours.shape, dtype=image.dtype, device=image.device)
    for channel in image.flatten(0, 1).T:
        own = channel[:, None]
        others = channel[neighbours.long()]
        mean = (others.sum(1, keepdim=True) + times * own) / total
        squares = (others - mean).square().sum(1, keepdim=True) + times * (own - mean).square()
        deviation = (squares / (total - 1)).sqrt()
        distances += others.sub_(own).abs_().div_(pamr.contrast * deviation + _EPSILON)
    return torch.softmax(distances.div_(-image.shape[-1]), 1)
