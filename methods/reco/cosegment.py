"""What images of one concept have in common: the patch of each that all of them support, and the mean of these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from spectral_bench.methods.inputs import unit_rows

_ENTRIES = 2**24  # of the adjacency of two images that are held at once


class Prototype(NamedTuple):
    """A concept.

    Attributes:
        direction: (D,) of length 1, the mean of the seeds.
        seeds: (A,) int64, the patch of each image.
    """

    direction: Tensor
    seeds: Tensor


def cosegment(images: Sequence[Tensor], weights: Sequence[Tensor]) -> Prototype:
    """The prototype of the concept that images share (Shin et al., NeurIPS 2022, section 3).

    The seed of an image is the patch of largest support, of equal ones the first; the prototype is the mean of the
    seeds' features, scaled to length 1.

    Args:
        images: A images, (n_a, D) features of the patches of each.
        weights: (n_a,) of 0 to 1, how far each patch counts.
    """
    units = [unit_rows(features) for features in images]
    seeds = [int(support(unit, units, weights).argmax()) for unit in units]
    chosen = torch.stack([features[seed] for features, seed in zip(images, seeds, strict=True)])
    return Prototype(unit_rows(chosen.mean(0)), torch.tensor(seeds, device=chosen.device))


def support(points: Tensor, images: Sequence[Tensor], weights: Sequence[Tensor]) -> Tensor:
    """(n,) mean over images of the most that any patch of an image speaks for a point: its weight times the cosine.

    Args:
        points: (n, D) unit features.
        images: (n_a, D) unit features of the patches of each image.
        weights: (n_a,) of each.
    """
    total = points.new_zeros(len(points))
    for unit, weight in zip(images, weights, strict=True):
        rows = max(1, _ENTRIES // len(unit))
        total += torch.cat([(part @ unit.T * weight).amax(1) for part in torch.split(points, rows)])
    return total / len(images)


def unlike(features: Tensor, prototypes: Sequence[Tensor]) -> Tensor:
    """(n,) how little features (n, D) are like any of some prototypes (D,): the product of 1 - sigmoid(cosine)."""
    kept = features.new_ones(len(features))
    unit = unit_rows(features)
    for direction in prototypes:
        kept = kept * (1 - (unit @ direction).sigmoid())
    return kept
