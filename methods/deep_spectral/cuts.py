"""The segments of one image by a cut of its graph, and what is certified of the segments of all images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.deep_spectral.kway import kway_cut
from spectral_bench.methods.deep_spectral.params import DeepSpectralParams
from spectral_bench.methods.deep_spectral.recursive import recursive_cut
from spectral_bench.methods.eigensolvers import tolerance
from spectral_bench.methods.health import Check


@dataclass(frozen=True)
class Cut:
    """The segments of one image, and what can be said of how they were found.

    Attributes:
        labels: (n,) int64 on the CPU.
        residual: the largest of the eigenvectors used; None where none was.
        largest: the largest normalised cut of a bipartition that was carried out; None where none was.
        finished: False where the steps ran out.
    """

    labels: Tensor
    residual: float | None = None
    largest: float | None = None
    finished: bool = True


def cut_image(
    affinity: Tensor, params: DeepSpectralParams, number: int, *, seeds: SeedStreams, restart_seed: int
) -> Cut:
    """The segments of one image by ``params.cut``, on the CPU, where graphs of one image are as quick as on CUDA.

    Args:
        affinity: W, (n, n) symmetric, float32 or float64, no weight negative.
        params: of the method; ``cut`` is ``recursive`` or ``kway``.
        number: of segments; for ``recursive`` the most.
        seeds: of the starts of ``kway``.
        restart_seed: as for ``recursive_cut``.

    Raises:
        NumericalError: a solver did not converge.
    """
    least, most = torch.aminmax(affinity)
    if float(most - least) <= 16 * torch.finfo(affinity.dtype).eps * float(most):  # loops included
        return Cut(torch.zeros(len(affinity), dtype=torch.int64))
    weights: Any = affinity.cpu().contiguous().numpy()
    if params.cut == "recursive":
        halves = recursive_cut(weights, tau=params.tau, limit=number, solver=params.solver, restart_seed=restart_seed)
        return Cut(torch.from_numpy(halves.labels), halves.residual, max(halves.values, default=None))
    found = kway_cut(weights, number, seeds=seeds, steps=params.iterations, restarts=params.segment_restarts)
    return Cut(torch.from_numpy(found.labels), finished=found.finished)


def normalised_cut(affinity: Tensor, labels: Tensor) -> float:
    """The sum over segments of cut(A, rest) / vol(A), 0 to their number (Shi and Malik, 2000; Yu and Shi, 2003).

    A segment of patches without an edge adds 0.

    Args:
        affinity: W, (n, n) symmetric, no weight negative. Loops count in volumes.
        labels: (n,) int64 on any device.
    """
    _, own = torch.unique(labels.to(affinity.device), return_inverse=True)
    members = torch.nn.functional.one_hot(own).to(affinity.dtype)
    reach = (affinity @ members).double()
    members = members.double()
    within, volumes = (reach * members).sum(0), members.T @ reach.sum(1)
    used = volumes > 0
    return float((1 - within[used] / volumes[used]).clamp_min(0).sum())


@dataclass
class Tally:
    """What is certified of the segments of the training images, image by image; plain values, for checkpoints.

    Attributes:
        images, segments, cut: numbers of images and of their segments, and the sum of their normalised cuts.
        residual: the largest of the eigenvectors used; None while none was.
        largest: the largest normalised cut of a bipartition that was carried out; None while none was.
        unfinished: images whose steps ran out.
    """

    images: int = 0
    segments: int = 0
    cut: float = 0.0
    residual: float | None = None
    largest: float | None = None
    unfinished: int = 0

    def add(self, found: Cut, value: float) -> None:
        """Count one image whose segments have a normalised cut of ``value``."""
        self.images += 1
        self.segments += len(torch.bincount(found.labels).nonzero())
        self.cut += value
        self.residual = _larger(self.residual, found.residual)
        self.largest = _larger(self.largest, found.largest)
        self.unfinished += not found.finished

    def checks(self, params: DeepSpectralParams) -> tuple[Check, ...]:
        """The figures as a record keeps them; means are over images."""
        checks = []
        if self.residual is not None:
            limit = tolerance(getattr(torch, params.dtype))
            passed = self.residual <= limit
            checks.append(Check("decomposition_residual", self.residual, limit, passed=passed))
        if self.images:
            checks.append(Check("segments_mean", self.segments / self.images, None, passed=True))
            checks.append(Check("normalised_cut_mean", self.cut / self.images, None, passed=True))
        if self.largest is not None:
            checks.append(Check("bipartition_cut_largest", self.largest, params.tau, passed=self.largest < params.tau))
        if params.cut == "kway":
            note = "patches of these images still changed their segments when the steps ran out" * (self.unfinished > 0)
            checks.append(Check("unfinished_images", float(self.unfinished), None, passed=True, note=note))
        return tuple(checks)


def _larger(one: float | None, other: float | None) -> float | None:
    return max((value for value in (one, other) if value is not None), default=None)
