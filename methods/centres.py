"""Centres in a feature space: fitting them on training patches, scoring patches by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.methods.health import Check, collapse_check
from spectral_bench.methods.inputs import require_finite, require_patches
from spectral_bench.methods.interface import FitContext, PatchSource
from spectral_bench.methods.lloyd import Clustering, cluster, squared_distances
from spectral_bench.methods.params import CentreParams, LloydParams


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
        """(B, h, w, D) inputs to (B, K, h, w) float32 scores, image by image.

        Raises:
            NumericalError: an input is not finite.
        """
        require_finite((inputs,), "the images to be predicted")
        centres = self.centres.to(inputs.device)
        return torch.stack([self._image_scores(image, centres) for image in inputs])

    def _image_scores(self, image: Tensor, centres: Tensor) -> Tensor:
        distances = squared_distances(image.flatten(0, 1), centres)
        if self.scoring == "distance":
            scores = -distances
        else:
            scores = torch.zeros_like(distances).scatter_(1, distances.argmin(1, keepdim=True), 1.0)
        return scores.T.reshape(-1, *image.shape[:2])


def sample_size(patches: PatchSource, params: LloydParams, k: int) -> int:
    """How many training patches are clustered: all of them, or ``params.max_patches``.

    Raises:
        ConfigError: there are fewer than K.
    """
    require_patches(patches, k)
    if k > params.max_patches:
        raise ConfigError(f"k = {k}: expected at most max_patches = {params.max_patches}")
    return min(patches.n_patches, params.max_patches)


def fit_centres(
    points: Tensor, *, params: CentreParams, k: int, context: FitContext
) -> tuple[Centres, tuple[Check, ...]]:
    """k-means of points, and what can be said of its health.

    Args:
        points: (N, D) float32 on the context's device, N >= K.
        params: how k-means is run.
        k: number of centres.
        context: seeds, progress and stop signal.

    Raises:
        NumericalError: a point is not finite.
        RunInterrupted: the run was asked to stop.
    """
    require_finite((points,), "the training images")

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
    return Centres(found.centres, params.scores), _checks(found)


def _checks(found: Clustering) -> tuple[Check, ...]:
    note = "" if found.converged else "the centres still moved when the iterations ran out"
    rest = Check("kmeans_iterations", float(found.iterations), None, passed=True, note=note)
    return collapse_check(int((found.counts > 0).sum())), rest
