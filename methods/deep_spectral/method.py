"""Deep Spectral segmentation (Melas-Kyriazi, Rupprecht, Laina and Vedaldi, CVPR 2022)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.centres import Centres, fit_centres
from spectral_bench.methods.deep_spectral.cuts import Cut, Tally, cut_image, normalised_cut
from spectral_bench.methods.deep_spectral.decompose import Decomposer
from spectral_bench.methods.deep_spectral.functions import principal_functions
from spectral_bench.methods.deep_spectral.params import DeepSpectralParams
from spectral_bench.methods.deep_spectral.segments import by_silhouette, describe, eigengap, segment
from spectral_bench.methods.eigensolvers import Eigenpairs
from spectral_bench.methods.graphs.kernel import DenseKernel, normalised_dense
from spectral_bench.methods.health import Check
from spectral_bench.methods.inputs import Standardiser, feature_input, named, one_by_one, only_features, require_patches
from spectral_bench.methods.interface import FitContext, PatchBatch, PatchSource

_AT_ONCE = 16  # images that are worked on side by side
_TABLE = 2**26  # numbers in the affinities of these


@dataclass(frozen=True)
class _Segmented:
    """The segments of one image: (S, D) descriptors, the segment of every patch (n,), and how they were found.

    ``value`` is their normalised cut, 0 where nobody asked for it.
    """

    descriptors: Tensor
    rows: Tensor
    cut: Cut
    value: float


class DeepSpectral:
    """Images are decomposed one by one, and their segments are clustered over the data set.

    Of each image: eigenvectors of the graph of its patches and segments by k-means of these, or segments by cuts of the
    graph, and the mean feature of each segment. Over the training images: k-means of the segments. An unseen image is
    decomposed and segmented alike, and a segment gets the cluster of the nearest centre.

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
            descriptors, tally = self._training_segments(patches, context)
        at = f"have at tau = {self.params.tau}" if self.params.cut == "recursive" else "have"
        _require_segments(len(descriptors), self.params.k, at)
        self._centres, checks = fit_centres(descriptors, params=self.params, k=self.params.k, context=context)
        self.checks = (*checks, *tally.checks(self.params))
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
        return DenseKernel(normalised_dense(affinity).float())

    def _training_segments(self, patches: PatchSource, context: FitContext) -> tuple[Tensor, Tally]:
        """(S, D) descriptors of the segments of all training images on the context's device, and what is certified."""
        saved = context.checkpoint.load() or {"done": 0, "descriptors": []}
        done = int(saved["done"])
        tally = Tally(**saved.get("tally", {"residual": saved.get("residual")}))  # of before: residuals alone
        parts = [part.to(context.device) for part in saved["descriptors"]]
        if done == len(patches):
            return torch.cat(parts), tally

        def save() -> None:
            context.checkpoint.save({"done": done, "descriptors": parts, "tally": asdict(tally)})

        for images in _chunks(batch for index, batch in enumerate(patches.images()) if index >= done):
            stop = context.should_stop()
            if stop or context.checkpoint.due():
                save()
            if stop:
                raise RunInterrupted
            for one in self._segment([only_features(image.to(context.device)) for image in images], certified=True):
                parts.append(one.descriptors)
                tally.add(one.cut, one.value)
            done += len(images)
            context.progress(done, len(patches))
        save()  # the k-means that follows may be stopped too, and is quick to repeat where this is not
        return torch.cat(parts), tally

    def _segment(self, images: list[PatchBatch], *, certified: bool = False) -> list[_Segmented]:
        def one(image: PatchBatch, affinity: Tensor, pairs: Eigenpairs | None) -> _Segmented:
            with named(image):
                features = feature_input(self.params.descriptor, image.features, self._standardiser)[0].flatten(0, 1)
                cut = self._cut_one(affinity, pairs)
            value = normalised_cut(affinity, cut.labels) if certified else 0.0
            return _Segmented(*describe(features, cut.labels), cut, value)

        return self._decomposer().each(one, images)

    def _decomposer(self) -> Decomposer:
        return Decomposer(self.params, self._standardiser, SeedStreams(self._seed).integer("eigenvectors"))

    def _cut_one(self, affinity: Tensor, pairs: Eigenpairs | None) -> Cut:
        params, seeds = self.params, SeedStreams(self._seed)
        if pairs is None and self._decomposer().needs_vectors:  # all patches are alike: one segment
            return Cut(torch.zeros(len(affinity), dtype=torch.int64), residual=0.0)
        number = params.segments if pairs is None else self._number(pairs, seeds)
        if params.cut != "eigenvectors":
            found = cut_image(affinity, params, number, seeds=seeds, restart_seed=seeds.integer("eigenvectors"))
            return found if pairs is None else replace(found, residual=pairs.residual)
        assert pairs is not None
        labels = segment(pairs.vectors, number, seeds=seeds, **self._lloyd)
        return Cut(labels, pairs.residual)

    def _number(self, pairs: Eigenpairs, seeds: SeedStreams) -> int:
        """How many segments an image is cut into."""
        params = self.params
        if params.segments_by == "eigengap" and len(pairs.values) > 1:
            return min(params.segments, eigengap(pairs.values))
        if params.segments_by == "silhouette":
            return by_silhouette(pairs.vectors, params.segments, seeds=seeds, **self._lloyd)
        return params.segments

    @property
    def _lloyd(self) -> dict[str, Any]:
        params = self.params
        kept = {"iterations": params.iterations, "tol": params.tol, "restarts": params.segment_restarts}
        return {**kept, "discretise": params.discretise}

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
