"""Deep Spectral segmentation (Melas-Kyriazi, Rupprecht, Laina and Vedaldi, CVPR 2022)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.centres import Centres, fit_centres
from spectral_bench.methods.deep_spectral.decompose import Decomposer
from spectral_bench.methods.deep_spectral.functions import normalised_affinity, principal_functions
from spectral_bench.methods.deep_spectral.params import DeepSpectralParams
from spectral_bench.methods.deep_spectral.segments import describe, eigengap, segment
from spectral_bench.methods.eigensolvers import Eigenpairs, tolerance
from spectral_bench.methods.graphs.kernel import DenseKernel
from spectral_bench.methods.health import Check
from spectral_bench.methods.inputs import Standardiser, feature_input, named, one_by_one, only_features, require_patches
from spectral_bench.methods.interface import FitContext, PatchBatch, PatchSource
from spectral_bench.methods.threads import each_on_one_thread

_AT_ONCE = 16  # images that are worked on side by side
_TABLE = 2**26  # numbers in the affinities of these


@dataclass(frozen=True)
class _Segmented:
    """The segments of one image: (S, D) descriptors, the segment of every patch (n,), the residual of its vectors."""

    descriptors: Tensor
    rows: Tensor
    residual: float


class DeepSpectral:
    """Images are decomposed one by one, and their segments are clustered over the data set.

    Of each image: eigenvectors of the graph of its patches, segments by k-means of these, and the mean feature of each
    segment. Over the training images: k-means of the segments. An unseen image is decomposed and segmented alike, and
    a segment gets the cluster of the nearest centre.

    Args:
        params: parameters.
    """

    Params = DeepSpectralParams
    uses_labels = False
    fit_from = None
    per_image = True
    # Not of angles: where an eigenvalue is repeated at the last place, exact vectors may lie at any angle.
    health_limits: ClassVar[dict[str, float]] = {"residual_largest": 1e-3}

    def __init__(self, params: DeepSpectralParams) -> None:
        self.params = params
        self.n_clusters = params.k
        self.checks: tuple[Check, ...] = ()
        self._centres: Centres | None = None
        self._standardiser = Standardiser.nothing()
        self._seed = 0  # of the starting centres of segments, and of what a solver draws beyond its start

    def fit(self, patches: PatchSource, *, context: FitContext) -> Self:
        """Segment every training image and cluster the segments; goes on from a checkpoint where there is one.

        Raises:
            ConfigError: more clusters than patches or segments, or no such level.
            NumericalError: an image is not finite, or a solver did not converge.
            RunInterrupted: the run was asked to stop.
        """
        require_patches(patches, self.params.k)
        _require_segments(len(patches) * self.params.segments, self.params.k, "can have at most")
        if "all_standardised" in (self.params.level, self.params.descriptor.removesuffix("_l2")):
            self._standardiser = Standardiser.of(patches, context.device)
        self._seed = context.seeds.integer("segments")
        with context.stage("decomposition"):
            descriptors, residual = self._training_segments(patches, context)
        _require_segments(len(descriptors), self.params.k, "have")
        self._centres, checks = fit_centres(descriptors, params=self.params, k=self.params.k, context=context)
        limit = tolerance(getattr(torch, self.params.dtype))
        self.checks = (*checks, Check("decomposition_residual", residual, limit, passed=residual <= limit))
        return self

    def predict(self, batch: PatchBatch) -> Tensor:
        """(B, K, h, w) scores, equal within a segment: one-hot, or minus the squared distances of its descriptor.

        Raises:
            NumericalError: an image is not finite, or a solver did not converge.
        """
        centres = self._fitted()
        scores = []
        for images in _chunks(one_by_one(only_features(batch))):
            for found in self._segment(images):
                of_segments = centres.scores(found.descriptors[None, None])[0, :, 0]
                scores.append(of_segments[:, found.rows].view(-1, *batch.grid))
        return torch.stack(scores)

    def state_dict(self) -> dict[str, Tensor]:
        """Centres (K, D), mean and scale of all levels (empty where not standardised), and the seed of segments."""
        mean, scale = self._standardiser.mean, self._standardiser.scale
        return {"centres": self._fitted().centres, "mean": mean, "scale": scale, "seed": torch.tensor(self._seed)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave."""
        self._centres = Centres(state["centres"], self.params.scores)
        self._standardiser = Standardiser(state["mean"], state["scale"])
        self._seed = int(state["seed"])

    def eigenfunctions(self, batch: PatchBatch) -> Tensor:
        """(B, m + 1, h, w) float32: unit eigenvectors of each image's own kernel, by descending eigenvalue.

        The first is the constant function of the Laplacian times the root of the degrees, which segments do not use.

        Raises:
            NumericalError: as ``predict``.
        """
        decomposer = self._decomposer()
        return torch.stack([principal_functions(image, decomposer) for image in one_by_one(only_features(batch))])

    def kernel(self, batch: PatchBatch) -> DenseKernel:
        """D^-1/2 W D^-1/2 of the patches of one image, float32.

        Raises:
            ValueError: the batch holds more than one image.
            NumericalError: the image is not finite.
        """
        if len(batch) != 1:
            raise ValueError(f"deep_spectral has a kernel for every image by itself, and was given {len(batch)} images")
        affinity = self._decomposer().affinity(only_features(batch))
        return DenseKernel(normalised_affinity(affinity).float())

    def _training_segments(self, patches: PatchSource, context: FitContext) -> tuple[Tensor, float]:
        """(S, D) descriptors of the segments of all training images on the context's device, the largest residual."""
        saved = context.checkpoint.load() or {"done": 0, "descriptors": [], "residual": 0.0}
        done, residual = int(saved["done"]), float(saved["residual"])
        parts = [part.to(context.device) for part in saved["descriptors"]]
        if done == len(patches):
            return torch.cat(parts), residual
        for images in _chunks(batch for index, batch in enumerate(patches.images()) if index >= done):
            stop = context.should_stop()
            if stop or context.checkpoint.due():
                context.checkpoint.save({"done": done, "descriptors": parts, "residual": residual})
            if stop:
                raise RunInterrupted
            found = self._segment([only_features(image.to(context.device)) for image in images])
            parts += [one.descriptors for one in found]
            residual = max(residual, *(one.residual for one in found))
            done += len(images)
            context.progress(done, len(patches))
        # The k-means that follows may be stopped too, and is quick to repeat where this is not.
        context.checkpoint.save({"done": done, "descriptors": parts, "residual": residual})
        return torch.cat(parts), residual

    def _segment(self, images: list[PatchBatch]) -> list[_Segmented]:
        pairs = self._decomposer().eigenpairs(images)
        return each_on_one_thread(lambda pair: self._segment_one(*pair), list(zip(images, pairs, strict=True)))

    def _decomposer(self) -> Decomposer:
        return Decomposer(self.params, self._standardiser, SeedStreams(self._seed).integer("eigenvectors"))

    def _segment_one(self, image: PatchBatch, pairs: Eigenpairs | None) -> _Segmented:
        params = self.params
        with named(image):
            features = feature_input(params.descriptor, image.features, self._standardiser)[0].flatten(0, 1)
        if pairs is None:  # all patches are alike: one segment
            return _Segmented(*describe(features, torch.zeros(len(features), dtype=torch.int64)), 0.0)
        number = params.segments
        if params.segments_by == "eigengap" and len(pairs.values) > 1:
            number = min(number, eigengap(pairs.values))
        labels = segment(
            pairs.vectors,
            number,
            seeds=SeedStreams(self._seed),
            iterations=params.iterations,
            tol=params.tol,
            restarts=params.segment_restarts,
            discretise=params.discretise,
        )
        return _Segmented(*describe(features, labels), pairs.residual)

    def _fitted(self) -> Centres:
        if self._centres is None:
            raise RuntimeError("DeepSpectral: fit or load a state before predicting")
        return self._centres


def _require_segments(count: int, k: int, verb: str) -> None:
    if k > count:
        raise ConfigError(f"k = {k}: expected at most {count}, the segments that the training images {verb}")


def _chunks(images: Iterable[PatchBatch]) -> Iterator[list[PatchBatch]]:
    """Images of one grid, a bounded number of affinities at a time."""
    chunk: list[PatchBatch] = []
    for image in images:
        nodes = image.grid[0] * image.grid[1]
        if chunk and (image.grid != chunk[0].grid or len(chunk) >= min(_AT_ONCE, max(1, _TABLE // nodes**2))):
            yield chunk
            chunk = []
        chunk.append(image)
    if chunk:
        yield chunk
