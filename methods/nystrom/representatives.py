"""A few directions that stand for a sample, so that a patch looks at a part of it to find its most similar patches."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from spectral_bench.common.seeds import SeedStreams
from spectral_bench.methods.graphs.blocks import row_blocks
from spectral_bench.methods.graphs.nearest import largest_entries
from spectral_bench.methods.lloyd import lloyd
from spectral_bench.methods.seeding import seed_centres

_ITERATIONS = 10  # of k-means: representatives need not be at rest


@dataclass(frozen=True)
class Representatives:
    """R directions among m sampled patches, and the sampled patches around each.

    A search in two steps, as in an inverted file (Jegou et al., 2011) whose lists overlap: of a patch first the most
    similar representative, then, by exact similarities, the most similar of that one's candidates.

    Attributes:
        directions: (R, D) float32 unit vectors, means of k-means on the sample scaled to length 1.
        candidates: (R, c) int64, the sampled patches most similar to each, ascending.
    """

    directions: Tensor
    candidates: Tensor

    @classmethod
    def of(cls, sample: Tensor, count: int, candidates: int, seeds: SeedStreams) -> Representatives:
        """Those of (m, D) unit vectors; both numbers are clipped to the sample. Draws from stream ``representatives``.

        The same sample, numbers and seed give the same bits.
        """
        count, candidates = min(count, len(sample)), min(candidates, len(sample))
        start = seed_centres(sample, count, seeds.torch("representatives", device=sample.device))
        directions = functional.normalize(lloyd(sample, start, iterations=_ITERATIONS).centres, dim=1)
        around = largest_entries(directions @ sample.T, candidates, float("-inf")).columns
        return cls(directions, around.view(count, candidates).sort(1).values)

    def to(self, device: torch.device) -> Representatives:
        """The same on another device."""
        return Representatives(self.directions.to(device), self.candidates.to(device))

    def most_similar(self, features: Tensor, sample: Tensor, count: int) -> Tensor:
        """The ``count`` sampled patches found for each of (N, D) unit vectors, (N, min(count, c)) int64.

        Of sampled patches equally similar the first, of representatives as well.
        """
        near = [most_similar(features[rows] @ self.directions.T, 1)[:, 0] for rows in self._blocks(features)]
        groups = torch.cat(near) if near else self.candidates.new_empty(0)
        order = torch.argsort(groups, stable=True)  # the rows of a representative together: one product for them
        sizes = torch.bincount(groups, minlength=len(self.directions)).tolist()
        found = self.candidates.new_empty(len(features), min(count, self.candidates.shape[1]))
        for around, members in zip(self.candidates, torch.split(order, sizes), strict=True):
            if len(members):
                columns = sample[around].T
                for rows in row_blocks(len(members), len(around), features.device):
                    part = members[rows]
                    found[part] = around[most_similar(features[part] @ columns, found.shape[1])]
        return found

    def _blocks(self, features: Tensor) -> list[slice]:
        return list(row_blocks(len(features), len(self.directions), features.device))


def most_similar(block: Tensor, count: int) -> Tensor:
    """The columns of the ``count`` largest entries of each row, the first ones of equals, (rows, count) int64."""
    if count == 1 and block.device.type == "cpu":  # numpy's search is vectorised, and names the first of equals
        return torch.from_numpy(block.numpy().argmax(axis=1))[:, None]
    return largest_entries(block, count, float("-inf")).columns.view(len(block), count)
