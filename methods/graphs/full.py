"""The full graph of features, applied a block of rows at a time and never stored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from spectral_bench.methods.graphs.directions import Directions, directions
from spectral_bench.methods.graphs.kernel import SparseKernel, inverse_root


@dataclass(frozen=True)
class FullKernel:
    """D^-1/2 A D^-1/2 of the affinity A between all pairs of nodes, plus an optional sparse kernel.

    A holds the cosine similarities, negatives counted as 0, self excluded. Each product computes them anew: it costs
    2 N^2 (C + K) operations and one block of rows of memory.

    Attributes:
        vectors: the nodes' features as unit vectors.
        root: (N,), d^-1/2 of the degrees, 0 where a node has no edge.
        extra: what is added, such as the pixels' part.
    """

    vectors: Directions
    root: Tensor
    extra: SparseKernel | None = None

    @classmethod
    def of(cls, features: Tensor, extra: SparseKernel | None = None) -> FullKernel:
        """The kernel of (N, C) features. Raises ``NumericalError`` if they are not finite."""
        vectors = directions(features)
        root = vectors.unit.new_zeros(len(vectors.unit))
        for rows, block in vectors.similarity_blocks():
            root[rows] = inverse_root(_weights(block, vectors.floor).sum(1))
        return cls(vectors, root, extra)

    @property
    def size(self) -> int:
        """The number N of nodes."""
        return int(self.root.numel())

    def apply(self, x: Tensor) -> Tensor:
        """The product with (N, K) ``x`` of the features' dtype, (N, K), without gradient."""
        with torch.no_grad():
            scaled = x * self.root[:, None]
            result = torch.empty_like(scaled)
            for rows, block in self.vectors.similarity_blocks():
                torch.mm(_weights(block, self.vectors.floor), scaled, out=result[rows])
            result *= self.root[:, None]
            return result if self.extra is None else result + self.extra.apply(x)

    def dense(self) -> Tensor:
        """The (N, N) matrix."""
        return self.apply(torch.eye(self.size, dtype=self.root.dtype, device=self.root.device))


def _weights(block: Tensor, floor: float) -> Tensor:
    """Edge weights, in place of the block's similarities: all up to the floor become 0."""
    return block.masked_fill_(block <= floor, 0.0)
