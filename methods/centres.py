"""Centres in a feature space: fitting them on training patches, scoring patches by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from common.errors import ConfigError, RunInterrupted
from methods.errors import NumericalError
from methods.interface import FitContext, PatchSource
from methods.lloyd import cluster, squared_distances
from methods.params import LloydParams


@dataclass(frozen=True)
class Centres:
    """K centres and how patches are scored by them.

    Attributes:
        centres: (K, D) float32.
        scoring: ``one_hot`` at the nearest centre, the first of equally near ones, or minus the squared ``distance``.
    """

    centres: Tensor
    scoring: Literal["one_hot", "distance"]

    def scores(self, inputs: Tensor) -> Tensor:
        """(B, h, w, D) inputs to (B, K, h, w) float32 scores."""
        distances = squared_distances(inputs.flatten(0, -2), self.centres.to(inputs.device))
        if self.scoring == "distance":
            scores = -distances
        else:
            scores = torch.zeros_like(distances).scatter_(1, distances.argmin(1, keepdim=True), 1.0)
        return scores.view(*inputs.shape[:-1], -1).permute(0, 3, 1, 2)


def sample_size(patches: PatchSource, params: LloydParams, k: int) -> int:
    """How many training patches are clustered: all of them, or ``params.max_patches``.

    Raises:
        ConfigError: there are fewer than K.
    """
    size = min(patches.n_patches, params.max_patches)
    if k > size:
        raise ConfigError(f"k = {k}: expected at most {size}, the number of patches that are clustered")
    return size


def fit_centres(points: Tensor, *, params: LloydParams, k: int, context: FitContext) -> Centres:
    """k-means of points.

    Args:
        points: (N, D) float32 on the context's device, N >= K.
        params: how k-means is run.
        k: number of centres.
        context: seeds, progress and stop signal.

    Raises:
        NumericalError: a point is not finite.
        RunInterrupted: the run was asked to stop.
    """
    if not bool(torch.isfinite(points).all()):
        raise NumericalError("the features to be clustered hold NaN or infinite values")

    def watch(done: int) -> None:
        context.progress(done, params.iterations * params.restarts)
        if context.should_stop():
            raise RunInterrupted

    found = cluster(
        points,
        k,
        seeds=context.seeds,
        iterations=params.iterations,
        tol=params.tol,
        restarts=params.restarts,
        on_iteration=watch,
    )
    return Centres(found.centres, params.scores)
