"""Eigenvectors of a sampled graph, and their values at patches outside of the sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from spectral_bench.methods.centres import Centres
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs.blocks import row_blocks
from spectral_bench.methods.graphs.directions import directions, repeated_rows
from spectral_bench.methods.graphs.kernel import inverse_root
from spectral_bench.methods.graphs.nearest import largest_entries
from spectral_bench.methods.nystrom.rbf import rbf_weights
from spectral_bench.methods.nystrom.representatives import Representatives, most_similar

GraphKind = Literal["knn", "mutual"]


@dataclass(frozen=True)
class SampledGraph:
    """m sampled patches that have an edge, and the eigenvectors of their graph.

    Attributes:
        features: (m, D) float32 unit vectors.
        vectors: (m, n) float32 eigenvectors u of D^-1/2 A D^-1/2.
        values: (n,) float32 eigenvalues.
        degrees: (m,) float32.
        reach: (m,) float32, the least similarity at which a patch counts as a neighbour of each; 0 for kernel: rbf.
    """

    features: Tensor
    vectors: Tensor
    values: Tensor
    degrees: Tensor
    reach: Tensor

    def to(self, device: torch.device) -> SampledGraph:
        """The same on another device."""
        return SampledGraph(*(getattr(self, name).to(device) for name in FIELDS))

    def nearest(self, features: Tensor, count: int) -> Tensor:
        """The mean of u over the ``count`` sampled patches most similar to each of (N, D) unit vectors, (N, n).

        Of patches equally similar the first of the sample count.
        """
        parts = []
        for block in self._similarities(features):
            parts.append(self.vectors[most_similar(block, min(count, block.shape[1]))].mean(1))
        return torch.cat(parts)

    def weighted(self, features: Tensor, count: int) -> Tensor:
        """A weighted mean of u over the ``count`` sampled patches most similar to each of (N, D) unit vectors, (N, n).

        Weights exp(-2 d^2 / r^2), of the distances d to them and the largest of these, r: a Gaussian of half that
        reach, so that it is as wide as the sample is sparse there. Where r is 0 they are equal.
        """
        parts = []
        for block in self._similarities(features):
            found = largest_entries(block, min(count, block.shape[1]), float("-inf"))
            apart = (2 - 2 * found.values.view(len(block), -1)).clamp_min(0)
            reach = apart.amax(1, keepdim=True)
            weights = torch.exp(-2 * apart / reach.where(reach > 0, 1))
            weights /= weights.sum(1, keepdim=True)
            columns = found.columns.view(len(block), -1)
            parts.append(embedding_bag(columns, self.vectors, mode="sum", per_sample_weights=weights))
        return torch.cat(parts)

    def rbf_formula(self, features: Tensor, bandwidth: float) -> Tensor:
        """As ``formula``, by the Gaussian weights of all pairs.

        Raises:
            NumericalError: as ``formula``.
        """
        weighted = self._divided()
        parts = []
        for rows in row_blocks(len(features), len(self.features), features.device):
            weights = rbf_weights(features[rows], self.features, bandwidth)
            parts.append(inverse_root(weights.sum(1))[:, None] * (weights @ weighted))
        place = self._places(features)
        return torch.where((place >= 0)[:, None], self.vectors[place], torch.cat(parts))

    def nearest_found(self, features: Tensor, count: int, representatives: Representatives) -> Tensor:
        """As ``nearest``, over the sampled patches that a search by representatives finds."""
        return self.vectors[representatives.most_similar(features, self.features, count)].mean(1)

    def formula(self, features: Tensor, *, neighbours: int, graph: GraphKind) -> Tensor:
        """u_j(x) = (1 / l_j) sum_i w(x, i) (d(x) d(i))^-1/2 u_j(i) of (N, D) unit vectors x, (N, n).

        Nystrom's formula, as Bengio et al. (2004) apply it to spectral clustering. w weighs a patch x as the sample's
        graph weighs its own: half its similarity for each of the two that has the other among its ``neighbours``
        nearest, or the whole if both have, for a mutual graph. A patch without an edge to the sample gets zeros.

        A patch whose features equal those of a sampled patch bit for bit takes its place: it is no neighbour of that
        one, and what the formula then gives is, by the equation of the eigenvectors, u_j of that sampled patch, which
        is read off. Of sampled patches that are equal to each other the first counts.

        Raises:
            NumericalError: an eigenvalue is not positive, so that the formula cannot divide by it.
        """
        weighted = self._divided()
        floor = directions(features[:1]).floor
        parts = []
        for block in self._similarities(features):
            found = largest_entries(block, min(neighbours, block.shape[1]), floor)
            rows = torch.arange(len(block), device=block.device).repeat_interleave(found.counts)
            forward = torch.zeros_like(block)
            forward[rows, found.columns] = 1.0
            backward = ((block >= self.reach) & (block > floor)).to(block.dtype)
            both = forward * backward if graph == "mutual" else (forward + backward) / 2
            weights = block.clamp_min(0) * both
            parts.append(inverse_root(weights.sum(1))[:, None] * (weights @ weighted))
        place = self._places(features)
        return torch.where((place >= 0)[:, None], self.vectors[place], torch.cat(parts))

    def _divided(self) -> Tensor:
        """u_j(i) / (l_j d(i)^1/2), (m, n)."""
        least = float(self.values.min())
        if least <= torch.finfo(self.values.dtype).eps:
            raise NumericalError(f"nystrom: the formula divides by eigenvalues, and the least of them is {least:.3g}")
        return self.vectors * inverse_root(self.degrees)[:, None] / self.values

    def _similarities(self, features: Tensor) -> Iterator[Tensor]:
        """The (rows, m) similarities of a block of patches after another; each overwrites the one before."""
        buffer: Tensor | None = None
        for rows in row_blocks(len(features), len(self.features), features.device):
            count = rows.stop - rows.start
            if buffer is None:
                buffer = features.new_empty(count, len(self.features))
            yield torch.mm(features[rows], self.features.T, out=buffer[:count])

    def _places(self, features: Tensor) -> Tensor:
        """The first sampled patch that each of (N, D) rows equals bit for bit, (N,) int64; -1 where none does."""
        size = len(self.features)
        repeated, earliest = repeated_rows(torch.cat([self.features, features]))
        known = (repeated >= size) & (earliest < size)
        places = torch.full((len(features),), -1, device=features.device)
        places[repeated[known] - size] = earliest[known]
        return places


@dataclass(frozen=True)
class ClusterMeans:
    """What the clusters of a sample look like: every patch goes to the nearest, sampled ones too.

    Attributes:
        means: (U, D) float32 mean features of the sampled patches of each cluster that has any.
        clusters: (U,) int64, their numbers, ascending.
    """

    means: Tensor
    clusters: Tensor

    @classmethod
    def of(cls, features: Tensor, labels: Tensor) -> ClusterMeans:
        """The means of (m, D) features by their (m,) int64 labels, summed in float64."""
        clusters, counts = torch.unique(labels, return_counts=True)
        members = (labels == clusters[:, None]).double()  # a product sums in the same order every time, on CUDA too
        return cls((members @ features.double() / counts[:, None]).float(), clusters)

    def scores(self, features: Tensor, k: int, scoring: Literal["one_hot", "distance"]) -> Tensor:
        """(B, h, w, D) unit vectors to (B, K, h, w) scores, as centres give them.

        A cluster without a mean is never the nearest: its one-hot score is 0, and its squared distance 5: that of
        opposite unit vectors is 4, and rounding adds little to it.
        """
        least = 0.0 if scoring == "one_hot" else -5.0
        scores = features.new_full((len(features), k, *features.shape[1:-1]), least)
        scores[:, self.clusters.to(features.device)] = Centres(self.means, scoring).scores(features)
        return scores


FIELDS = ("features", "vectors", "values", "degrees", "reach")


def reach_of(features: Tensor, neighbours: int) -> Tensor:
    """The similarity of each of (m, D) features to its ``neighbours``-th nearest among the others, (m,)."""
    parts = [
        block.topk(min(neighbours, len(features) - 1), dim=1).values[:, -1]
        for _, block in directions(features).similarity_blocks()
    ]
    return torch.cat(parts)
