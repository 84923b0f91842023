"""Spectral clustering of sampled patches, extended to all others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self, cast

import torch
from torch import Tensor
from torch.nn import functional

from spectral_bench.common.errors import ConfigError, RunInterrupted
from spectral_bench.methods.centres import Centres
from spectral_bench.methods.discretise import fit_discrete
from spectral_bench.methods.eigensolvers import Eigenpairs, largest_eigenpairs_of_sparse, tolerance
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs import sparse
from spectral_bench.methods.graphs.batch import image_graph
from spectral_bench.methods.graphs.features import feature_graph
from spectral_bench.methods.graphs.kernel import DenseKernel, Kernel, normalised, normalised_dense, weighted
from spectral_bench.methods.graphs.options import GraphOptions
from spectral_bench.methods.health import HEALTH_STAGE, Check, collapse_check
from spectral_bench.methods.inputs import (
    Standardiser,
    by_chunks,
    feature_input,
    images_of,
    named,
    one_by_one,
    require_finite,
    require_patches,
)
from spectral_bench.methods.interface import FitContext, PatchBatch, PatchSource
from spectral_bench.methods.laplacian import indicators, leading_eigenpairs, part_vectors
from spectral_bench.methods.nystrom.certificate import certificate
from spectral_bench.methods.nystrom.extension import FIELDS, ClusterMeans, SampledGraph, reach_of
from spectral_bench.methods.nystrom.params import NystromParams
from spectral_bench.methods.nystrom.rbf import bandwidth_of, decompose, parts_of, rbf_affinity
from spectral_bench.methods.nystrom.representatives import Representatives
from spectral_bench.methods.nystrom.sampling import Rows, farthest_points

_NOT_OF_THE_KERNEL = {"k", "samples", "eigenvectors", "solver", "row_normalise", "scores", "restarts"} | {
    "extension",
    "extension_neighbours",
    "representatives",
    "candidates",
    "sampling",
    "discretise",
}  # whatever else is added counts, until it is known not to


class Nystrom:
    """Spectral clustering of a sample of the data set's patches (Ng, Jordan and Weiss, 2001).

    The sample is drawn uniformly, or each patch of it is the farthest from those before, or it is made of whole images,
    whose pixel graph may be added with a weight. The leading eigenvectors of the normalised affinity of its graph, a
    row of values for each patch scaled to unit length, and k-means of the rows or a rotation of the vectors. Other
    patches get the values of their nearest sampled patches (of all, or of those that a search by representatives looks
    at), or those that Nystrom's formula gives them, and the nearest centre; or every patch, sampled ones too, gets the
    cluster of the nearest mean feature.

    Args:
        params: parameters.
    """

    Params = NystromParams
    uses_labels = False
    fit_from = None

    def __init__(self, params: NystromParams) -> None:
        self.params = params
        self.n_clusters = params.k
        self.checks: tuple[Check, ...] = ()
        self._centres: Centres | None = None
        self._graph: SampledGraph | None = None
        self._means: ClusterMeans | None = None
        self._representatives: Representatives | None = None
        self._standardiser = Standardiser.nothing()
        self._bandwidth = 0.0  # of kernel: rbf

    def fit(self, patches: PatchSource, *, context: FitContext) -> Self:
        """Cluster ``samples`` of the training patches.

        Raises:
            ConfigError: more clusters or eigenvectors than patches.
            NumericalError: features are not finite, too few patches have an edge, or the solver did not converge.
            RunInterrupted: the run was asked to stop; it starts anew.
        """
        require_patches(patches, self.params.k)
        size, count = self.params.sampled(len(patches), patches.n_patches), self._count
        if not size:
            whole = patches.n_patches // len(patches)
            raise ConfigError(
                f"samples = {self.params.samples}: expected at least {whole}, the patches of one image, for sampling: "
                "images"
            )
        if count >= size:
            raise ConfigError(f"eigenvectors = {count}: expected fewer than the {size} patches in the graph")
        if self.params.input == "all_standardised_l2":
            self._standardiser = Standardiser.of(patches, context.device)
        features, pixels = self._sample(patches, size, context)
        with context.stage("eigenvectors"):
            found = self._decompose(features, pixels, count, context.seeds.integer("eigenvectors"))
        self._graph = found.graph
        rows = self._rows(found.graph.vectors)
        self._centres, checks = fit_discrete(
            found.graph.vectors, rows, self.params.discretise, params=self.params, k=self.params.k, context=context
        )
        if self.params.extension == "cluster_means":
            labels = self._centres.scores(rows[None, None]).argmax(1).flatten()
            self._means = ClusterMeans.of(self._graph.features, labels)
        if self.params.extension == "representatives":
            numbers = cast(int, self.params.representatives), cast(int, self.params.candidates)
            self._representatives = Representatives.of(self._graph.features, *numbers, context.seeds)
        with context.stage(HEALTH_STAGE):
            used = torch.unique(self._scores(features[None, None]).argmax(1))
            least = -1.0 - self.params.alpha
            certain = certificate(found.kernel, found.pairs, context.seeds.integer("certificate"), least)
        self.checks = (collapse_check(len(used)), *checks[1:], *found.checks, *certain)
        return self

    def predict(self, batch: PatchBatch) -> Tensor:
        """(B, K, h, w) scores: one-hot at the nearest centre, or minus the squared distances.

        Centres and patches are compared by extended values, or by features for extension: cluster_means.

        Raises:
            NumericalError: features are not finite, or the formula cannot be applied.
        """
        return torch.cat([self._scores(self._input_of(image)) for image in one_by_one(batch)])

    def eigenfunctions(self, batch: PatchBatch) -> Tensor:
        """(B, n, h, w) float32 extended values of the sample's leading eigenvectors, by descending eigenvalue.

        The first is the trivial one. They are the values that are clustered, before rows are scaled.

        Raises:
            NumericalError: as ``predict``.
        """
        values = []
        for image in one_by_one(batch):
            found = self._extended(self._input_of(image)[0].flatten(0, 1))
            values.append(found.T.reshape(-1, *batch.grid))
        return torch.stack(values)

    def predict_with_functions(self, batch: PatchBatch) -> tuple[Tensor, Tensor]:
        """What ``predict`` and ``eigenfunctions`` give, and raise, by one search for the nearest sampled patches."""
        if self._means is not None:
            return self.predict(batch), self.eigenfunctions(batch)
        centres, scores, functions = self._fitted()[0], [], []
        for image in one_by_one(batch):
            found = self._extended(self._input_of(image)[0].flatten(0, 1))
            functions.append(found.T.reshape(-1, *batch.grid))
            scores.append(centres.scores(self._rows(found).view(1, *batch.grid, -1)))
        return torch.cat(scores), torch.stack(functions)

    @property
    def kernel_settings(self) -> tuple[object, ...]:
        """All that ``kernel`` depends on besides the batch."""
        standardised = [part.tolist() for part in (self._standardiser.mean, self._standardiser.scale)]
        # The bandwidth itself: what auto makes of it depends on the sample.
        return "sampled graph", self.params.model_dump(exclude=_NOT_OF_THE_KERNEL), self._bandwidth, *standardised

    def kernel(self, batch: PatchBatch) -> Kernel:
        """D^-1/2 A D^-1/2, and alpha times that of pixels, of the batch's own patches, built as those of the sample.

        Raises:
            NumericalError: features are not finite.
        """
        if self.params.kernel == "rbf":
            affinity = rbf_affinity(self._input_of(batch).flatten(0, -2), self._bandwidth)
            return DenseKernel(normalised_dense(affinity))
        features = normalised(self._affinity(self._input_of(batch).flatten(0, -2)))
        return weighted(features, self._pixels(batch, features.dtype), self.params.alpha)

    def state_dict(self) -> dict[str, Tensor]:
        """Centres (K, n), the sampled graph, and mean and scale of all levels (empty where not standardised).

        For extension: cluster_means the means (U, D) and their clusters (U,), too; for extension: representatives
        those (R, D) and their candidates (R, c); for kernel: rbf the bandwidth.
        """
        centres, graph = self._fitted()
        held = {name: getattr(graph, name) for name in FIELDS}
        if self._means is not None:
            held |= {"means": self._means.means, "clusters": self._means.clusters}
        if self._representatives is not None:
            found = self._representatives
            held |= {"representatives": found.directions, "candidates": found.candidates}
        if self.params.kernel == "rbf":
            held["bandwidth"] = torch.tensor(self._bandwidth, dtype=torch.float64)
        return {"centres": centres.centres, **held, "mean": self._standardiser.mean, "scale": self._standardiser.scale}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave."""
        self._centres = Centres(state["centres"], self.params.scores)
        self._graph = SampledGraph(*(state[name] for name in FIELDS))
        if self.params.extension == "cluster_means":
            self._means = ClusterMeans(state["means"], state["clusters"])
        if self.params.extension == "representatives":
            self._representatives = Representatives(state["representatives"], state["candidates"])
        if self.params.kernel == "rbf":
            self._bandwidth = float(state["bandwidth"])
        self._standardiser = Standardiser(state["mean"], state["scale"])

    @property
    def _count(self) -> int:
        return cast(int, self.params.eigenvectors)

    def _affinity(self, features: Tensor) -> Tensor:
        options = GraphOptions(kind=self.params.graph)
        return feature_graph(features, neighbours=self.params.neighbours, options=options)

    def _pixels(self, batch: PatchBatch, dtype: torch.dtype) -> Tensor | None:
        """D~^-1/2 A~ D~^-1/2 of the pixel graph of a batch, sparse; None where it has no weight."""
        if self.params.alpha == 0:
            return None
        with named(batch):
            return normalised(image_graph(batch, GraphOptions(pixels=self.params.pixel_variant), dtype))

    def _sample(self, patches: PatchSource, size: int, context: FitContext) -> tuple[Tensor, Tensor | None]:
        """(size, D) features of the patches of the graph, on the context's device, and what their pixels add to it."""
        pixels = None
        if self.params.sampling == "images":
            with context.stage("sampling"):  # in the order of training batches, which the seed draws
                batch = next(iter(patches.batches(0, size * len(patches) // patches.n_patches))).to(context.device)
                features, pixels = self._input_of(batch).flatten(0, -2), self._pixels(batch, torch.float64)
        elif self.params.sampling == "farthest":
            with context.stage("sampling"):
                features = self._farthest(patches, size, context).to(context.device)
        else:
            features = by_chunks(self._input, patches.subsample(size).features, context.device)
        require_finite((features,), "the training images")
        return features, pixels

    def _farthest(self, patches: PatchSource, size: int, context: FitContext) -> Tensor:
        """(size, D) features of farthest patches of all whole images, in the images' order."""

        def read() -> Iterator[Tensor]:
            for image in patches.images():
                if context.should_stop():
                    raise RunInterrupted
                yield self._input_of(image).flatten(0, -2)

        rows = Rows.of(read)
        if size > rows.count:
            raise ConfigError(f"samples: expected at most {rows.count}, the patches of the whole training images")
        generator = context.seeds.numpy("farthest")
        indices, features = farthest_points(rows, size, generator, lambda done: context.progress(done, size))
        return features[torch.from_numpy(indices.argsort())]

    def _decompose(self, features: Tensor, pixels: Tensor | None, count: int, restart_seed: int) -> _Decomposed:
        """The eigenvectors of the sample's graph; patches without an edge are left out of it."""
        if self.params.kernel == "rbf":
            return self._decompose_rbf(features, count, restart_seed)
        affinity = self._affinity(features).double()
        degrees = sparse.row_sums(affinity)
        kernel = weighted(normalised(affinity), pixels, self.params.alpha)
        joined = degrees > 0 if pixels is None else sparse.row_sums(kernel.matrix) > 0
        _require_edges(int(joined.sum()), len(features), count, self.params.k)
        solving: dict[str, Any] = {"solver": self.params.solver, "restart_seed": restart_seed}
        if pixels is None:
            pairs = leading_eigenpairs(affinity, count, **solving)
        else:  # no vector of it is known beforehand, but those of patches without an edge
            alone = indicators((~joined).nonzero()[:, 0], degrees[:, None])
            pairs = largest_eigenpairs_of_sparse(kernel.matrix, count, known=alone, **solving)
        graph = SampledGraph(
            features[joined],
            pairs.vectors[joined].float(),
            pairs.values.float(),
            degrees[joined].float(),
            reach_of(features, self.params.neighbours)[joined],
        )
        parts = part_vectors(affinity if pixels is None else kernel.matrix).shape[1]
        checks = _checks(pairs, int(parts), int((~joined).sum()), "the lightest" if pixels is None else "some")
        return _Decomposed(graph, pairs, kernel, checks)

    def _decompose_rbf(self, features: Tensor, count: int, restart_seed: int) -> _Decomposed:
        """The same of the Gaussian kernel of all pairs, in float32."""
        self._bandwidth = bandwidth_of(features, cast(float, self.params.bandwidth))
        affinity = rbf_affinity(features, self._bandwidth)
        joined = affinity.sum(1) > 0
        _require_edges(int(joined.sum()), len(features), count, self.params.k)
        if not bool(joined.all()):
            affinity = affinity[joined][:, joined]
        degrees, parts = affinity.sum(1, dtype=torch.float64), parts_of(affinity)
        pairs, kernel = decompose(affinity, count, self.params.solver, restart_seed)
        degrees = degrees.float()
        graph = SampledGraph(features[joined], pairs.vectors, pairs.values, degrees, torch.zeros_like(degrees))
        width = Check("bandwidth", self._bandwidth, None, passed=True)
        return _Decomposed(graph, pairs, kernel, (*_checks(pairs, parts, int((~joined).sum())), width))

    def _scores(self, features: Tensor) -> Tensor:
        """(B, h, w, D) features to (B, K, h, w) scores."""
        centres = self._fitted()[0]
        if self._means is not None:
            return self._means.scores(features, self.n_clusters, self.params.scores)
        embedded = self._rows(self._extended(features.flatten(0, -2)))
        return centres.scores(embedded.view(*features.shape[:-1], -1))

    def _extended(self, features: Tensor) -> Tensor:
        """Values of the eigenvectors, (N, n), at (N, D) features."""
        graph = self._fitted()[1].to(features.device)
        if self.params.extension == "nystrom" and self.params.kernel == "rbf":
            return graph.rbf_formula(features, self._bandwidth)
        if self.params.extension == "nystrom":
            return graph.formula(features, neighbours=self.params.neighbours, graph=self.params.graph)
        if self._representatives is not None:
            found = self._representatives.to(features.device)
            return graph.nearest_found(features, self.params.extension_neighbours, found)
        mean = graph.weighted if self.params.extension == "weighted_nearest" else graph.nearest
        return mean(features, self.params.extension_neighbours)

    def _rows(self, values: Tensor) -> Tensor:
        return functional.normalize(values, dim=-1) if self.params.row_normalise else values

    def _input_of(self, batch: PatchBatch) -> Tensor:
        """``_input`` of images, (B, h, w, D); errors name them."""
        require_finite(batch.features, images_of(batch))
        with named(batch):
            return self._input(batch.features)

    def _input(self, levels: tuple[Tensor, ...]) -> Tensor:
        """The float32 unit vectors that the graph compares, of levels (..., C_l): (..., D).

        A patch has the same bits in the sample and in its image: rows are contiguous in both, so that their lengths are
        summed in the same order.
        """
        rows = tuple(level.detach().float().contiguous() for level in levels)
        return feature_input(self.params.input, rows, self._standardiser)

    def _fitted(self) -> tuple[Centres, SampledGraph]:
        if self._centres is None or self._graph is None:
            raise RuntimeError("Nystrom: fit or load a state before predicting")
        return self._centres, self._graph


@dataclass(frozen=True)
class _Decomposed:
    """The graph of a sample with its eigenvectors, as the solver found them, and what can be said of these."""

    graph: SampledGraph
    pairs: Eigenpairs
    kernel: Kernel
    checks: tuple[Check, ...]


def _checks(pairs: Eigenpairs, parts: int, alone: int, without: str = "the lightest") -> tuple[Check, ...]:
    note = f"more parts than eigenvectors: {without} parts have no vector of their own"
    limit = tolerance(pairs.vectors.dtype)
    return (
        Check("decomposition_residual", pairs.residual, limit, passed=pairs.residual <= limit),
        Check("graph_parts", float(parts), None, passed=True, note="" if parts <= len(pairs.values) else note),
        Check("patches_without_edges", float(alone), None, passed=True),
    )


def _require_edges(joined: int, sampled: int, count: int, k: int) -> None:
    """Refuse a graph in which too few patches have an edge to give the eigenvectors or the clusters."""
    least = max(count + 1, k)
    if joined < least:
        raise NumericalError(
            f"{joined} of {sampled} sampled patches have an edge: too few for {count} eigenvectors and {k} clusters,"
            f" which need {least}"
        )
