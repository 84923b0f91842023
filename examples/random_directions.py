"""The smallest method: each patch goes to the random direction that its last-level feature agrees with most.

Run it in any grid, without a change to the harness: ``method: examples/random_directions.py:RandomDirections``.
"""

from __future__ import annotations

from itertools import islice
from typing import Self

import torch
from pydantic import Field
from torch import Tensor

from spectral_bench.methods.health import clusters_in_use
from spectral_bench.methods.inputs import require_finite, require_patches
from spectral_bench.methods.interface import FitContext, Params, PatchBatch, PatchSource


class RandomDirectionsParams(Params):
    """Parameters, checked before anything runs; unknown names are refused."""

    k: int = Field(16, ge=2, description="clusters")


class RandomDirections:
    """Clusters by the nearest of K random directions: what any method must beat."""

    Params = RandomDirectionsParams
    uses_labels = False
    fit_from = None

    def __init__(self, params: RandomDirectionsParams) -> None:
        self.n_clusters = params.k
        self.directions = torch.empty(0)

    def fit(self, patches: PatchSource, *, context: FitContext) -> Self:
        """Draw the directions, (C, K), and look at 16 images whether more than one cluster is used."""
        require_patches(patches, self.n_clusters)
        generator = context.seeds.torch("initialisation")
        self.directions = torch.randn(patches.channels[-1], self.n_clusters, generator=generator)
        self.checks = (clusters_in_use(self.predict(batch) for batch in islice(patches.images(), 16)),)
        return self

    def predict(self, batch: PatchBatch) -> Tensor:
        """(B, K, h, w) inner products."""
        require_finite(batch.features, "the images")
        scores = batch.features[-1] @ self.directions.to(batch.pixels.device)
        return scores.permute(0, 3, 1, 2)

    def state_dict(self) -> dict[str, Tensor]:
        """The directions."""
        return {"directions": self.directions}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the directions."""
        self.directions = state["directions"]
