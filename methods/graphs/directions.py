"""Features as unit vectors, and rows of cosine similarities between them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.graphs.blocks import row_blocks

_HASH_ROWS = 4096
_ROUNDING = 8.0  # units of machine precision within which a cosine similarity cannot be told from 0


@dataclass(frozen=True)
class Directions:
    """Unit vectors of N nodes, and which of them are the same.

    Attributes:
        unit: (N, C) float32 or float64 rows of length 1; a row of zeros stays one.
        repeated: (R,) int64, nodes whose row equals the row of an earlier node bit for bit.
        earliest: (R,) int64, the first node with that row.
    """

    unit: Tensor
    repeated: Tensor
    earliest: Tensor

    @property
    def floor(self) -> float:
        """Similarities up to this are 0 to within rounding: an edge of such a weight would be an edge of noise."""
        return _ROUNDING * torch.finfo(self.unit.dtype).eps

    def similarity_blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Rows of the (N, N) cosine similarities, a slice of nodes at a time, with -inf on the diagonal.

        A blocked matrix product rounds equal columns differently, depending on where they lie; the columns of repeated
        nodes are copied from their first occurrence, so that ties between them are exact. The block that is handed
        out is overwritten by the next.
        """
        size = self.unit.shape[0]
        buffer: Tensor | None = None
        for rows in row_blocks(size, size, self.unit.device):
            if buffer is None:
                buffer = self.unit.new_empty(rows.stop - rows.start, size)
            block = torch.mm(self.unit[rows], self.unit.T, out=buffer[: rows.stop - rows.start])
            if self.repeated.numel():
                block[:, self.repeated] = block[:, self.earliest]
            block.diagonal(rows.start).fill_(float("-inf"))
            yield rows, block


def directions(features: Tensor) -> Directions:
    """The unit vectors of (N, C) features. Half-precision features are widened to float32.

    Raises:
        NumericalError: a row holds NaN or is infinite, or its length overflows.
        ValueError: there is no row.
    """
    if features.ndim != 2 or len(features) == 0:
        raise ValueError(f"expected (N, C) features of one node or more, got {tuple(features.shape)}")
    values = features.detach()
    if values.dtype not in (torch.float32, torch.float64):
        values = values.float()
    norms = torch.linalg.vector_norm(values, dim=1, keepdim=True)
    bad = ~norms.isfinite().flatten()
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        raise NumericalError(
            f"features of the graph: {int(bad.sum())} of {len(values)} patches hold NaN, infinite or overflowing"
            f" values (first: patch {first})"
        )
    tiny = torch.finfo(values.dtype).tiny
    unit = (values / norms.clamp_min(tiny)).masked_fill_(norms <= tiny, 0.0)
    return Directions(unit, *repeated_rows(unit))


def repeated_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows that equal an earlier row, and the earliest such row of each, two (R,) int64 tensors."""
    hashes = torch.cat([_hash(rows[start : start + _HASH_ROWS]) for start in range(0, len(rows), _HASH_ROWS)])
    distinct, inverse = torch.unique(hashes, return_inverse=True)
    index = torch.arange(len(rows), device=rows.device)
    if len(distinct) == len(rows):
        return index[:0], index[:0]
    first = index.new_full((len(distinct),), len(rows)).scatter_reduce_(0, inverse, index, "amin")[inverse]
    repeated = (first != index).nonzero().flatten()
    same = (rows[repeated] == rows[first[repeated]]).all(1)  # rows of equal hash are all but surely the same
    return repeated[same], first[repeated[same]]


def _hash(rows: Tensor) -> Tensor:
    """A (N,) int64 hash of the bits of each row; the arithmetic wraps."""
    values = rows + 0.0  # -0 becomes 0
    wide = rows.dtype == torch.float64 or values.shape[1] % 2 == 0
    bits = values.view(torch.int64) if wide else values.view(torch.int32).long()
    factors = _factors(bits.shape[1]).to(rows.device)
    return torch.mv(bits, factors) if rows.device.type == "cpu" else (bits * factors).sum(1)  # mv of integers: CPU only


@functools.cache
def _factors(count: int) -> Tensor:
    """Odd factors, (count,) int64."""
    return torch.randint(-(2**62), 2**62, (count,), generator=torch.Generator().manual_seed(0)) | 1
