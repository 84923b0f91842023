"""Affinity of patch features: a sparse graph of cosine similarities within a mini-batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs import sparse
from spectral_bench.methods.graphs.directions import Directions, directions
from spectral_bench.methods.graphs.nearest import Entries, entries_above, joined, largest_entries, largest_of_blocks
from spectral_bench.methods.graphs.options import GraphOptions

MAX_EDGES = 2**27  # about 1 GB of columns and weights

Recall = Callable[[int, Callable[[], Tensor]], Tensor]
"""Gives the edges to the k nearest, (N, N) sparse CSR, given k and what finds them."""


def feature_graph(
    features: Tensor,
    *,
    neighbours: int,
    options: GraphOptions | None = None,
    recall: Recall = lambda k, find: find(),
) -> Tensor:
    """The affinity of (N, C) features: cosine similarities, none negative, self excluded, symmetric.

    Deng and Luo (2023), eq. 2 and 3, for kind ``knn``: a node is joined to its ``neighbours`` nearest by cosine
    similarity, negatives count as 0 and give no edge, and the matrix is averaged with its transpose. Ties go to the
    lowest index, exact ones among repeated features included. Similarities are computed a block of rows at a time:
    memory grows with the number of edges, not with N x N.

    Args:
        features: (N, C) of any floating dtype.
        neighbours: k of the nearest neighbours, at least 1; clipped to N - 1. Not used by kind ``epsilon``.
        options: which pairs are joined; by default plain nearest neighbours. Kind ``full`` has no sparse form, see
            ``methods.graphs.full``.
        recall: may know the edges to the nearest of these very features: see ``strongest_edges``.

    Returns:
        (N, N) sparse CSR, float32 (float64 for float64 features).

    Raises:
        NumericalError: features are not finite, or a graph of kind ``epsilon`` has more edges than fit.
        ValueError: ``neighbours`` is below 1, features are not (N, C) with N >= 1, or the kind is ``full``.
    """
    options = options or GraphOptions()
    if neighbours < 1:
        raise ValueError(f"neighbours = {neighbours}: expected 1 or more")
    vectors = directions(features)
    if options.kind == "epsilon":
        return _symmetric_sum(_epsilon_edges(vectors, options.epsilon))
    if options.kind == "full":
        raise ValueError("a full graph has no sparse form; use methods.graphs.full.FullKernel")
    k = min(neighbours, len(features) - 1)
    nearest = recall(k, lambda: _nearest_edges(vectors, k))
    if options.kind == "mutual":
        backward = sparse.transpose(nearest)
        return _average(sparse.intersect(nearest, backward), sparse.intersect(backward, nearest))
    return _average(nearest, sparse.transpose(nearest))


def _nearest_edges(vectors: Directions, k: int) -> Tensor:
    blocks = (block for _, block in vectors.similarity_blocks())
    return sparse.from_counts(*largest_of_blocks(blocks, k, vectors.floor))


def strongest_edges(edges: Tensor, k: int) -> Tensor:
    """Of edges to more than k nearest those to the k nearest, bit for bit as if they alone had been looked for.

    What is among the k nearest is among more of them, and ties go to the lowest index either way.

    Args:
        edges: (N, N) sparse CSR of positive weights.
        k: edges that a node keeps at most, at least 1.
    """
    counts, columns = edges.crow_indices().diff().long(), edges.col_indices()
    width = int(counts.max()) if counts.numel() else 0
    if width <= k:
        return edges
    real = torch.arange(width, device=counts.device) < counts[:, None]
    table = edges.values().new_full(real.shape, float("-inf"))
    table[real] = edges.values()
    places = torch.zeros_like(real, dtype=columns.dtype)
    places[real] = columns
    kept = largest_entries(table, k, float("-inf"))
    rows = torch.arange(len(table), device=counts.device).repeat_interleave(kept.counts)
    return sparse.from_counts(kept.counts, places[rows, kept.columns], kept.values)


def _epsilon_edges(vectors: Directions, epsilon: float) -> Tensor:
    """Edges to nodes of a higher index only: rounding differs between (i, j) and (j, i), and both must agree."""
    parts: list[Entries] = []
    edges = 0
    floor = torch.nextafter(torch.tensor(epsilon, dtype=vectors.unit.dtype), torch.tensor(0.0)).item()
    for rows, block in vectors.similarity_blocks():
        parts.append(entries_above(block.triu_(rows.start + 1), max(floor, vectors.floor)))
        edges += parts[-1].values.numel()
        if edges > MAX_EDGES:
            raise NumericalError(
                f"epsilon graph of {len(vectors.unit)} patches: more than {MAX_EDGES} edges at epsilon = {epsilon};"
                " raise epsilon, or use the full graph, which is never stored"
            )
    return sparse.from_counts(*joined(parts))


def _symmetric_sum(upper: Tensor) -> Tensor:
    return sparse.add(upper, sparse.transpose(upper))


def _average(forward: Tensor, backward: Tensor) -> Tensor:
    return sparse.multiply(sparse.add(forward, backward), 0.5)
