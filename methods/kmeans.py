"""k-means on patch features."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from methods.centres import Centres, fit_centres, sample_size
from methods.health import Check
from methods.inputs import by_chunks, standardisation
from methods.interface import FitContext, PatchBatch, PatchSource
from methods.params import KMeansParams


class KMeans:
    """k-means with K centres on the patches of the training images.

    Args:
        params: parameters; ``input`` says which features are clustered.
    """

    Params = KMeansParams
    uses_labels = False
    fit_from = None

    def __init__(self, params: KMeansParams) -> None:
        self.params = params
        self.n_clusters = params.k
        self.checks: tuple[Check, ...] = ()
        self._centres: Centres | None = None
        self._mean = torch.empty(0)
        self._scale = torch.empty(0)

    def fit(self, patches: PatchSource, *, context: FitContext) -> Self:
        """Cluster all training patches, or ``max_patches`` of them drawn uniformly.

        Raises:
            ConfigError: more clusters than patches.
            NumericalError: features are not finite.
            RunInterrupted: the run was asked to stop; it starts anew.
        """
        size = sample_size(patches, self.params, self.params.k)
        if self.params.input == "all_standardised_l2":
            self._mean, self._scale = (part.to(context.device) for part in standardisation(patches.statistics()))
        points = by_chunks(self._input, patches.subsample(size).features, context.device)
        self._centres, self.checks = fit_centres(points, params=self.params, k=self.params.k, context=context)
        return self

    def predict(self, batch: PatchBatch) -> Tensor:
        """(B, K, h, w) scores: one-hot at the nearest centre, or minus the squared distances.

        Raises:
            NumericalError: features are not finite.
        """
        return self._fitted().scores(self._input(batch.features))

    def state_dict(self) -> dict[str, Tensor]:
        """Centres (K, D), and mean and scale (D,) of the input (empty where it is not standardised)."""
        return {"centres": self._fitted().centres, "mean": self._mean, "scale": self._scale}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave."""
        self._centres = Centres(state["centres"], self.params.scores)
        self._mean, self._scale = state["mean"], state["scale"]

    def _input(self, levels: tuple[Tensor, ...]) -> Tensor:
        """What is clustered, of levels (..., C_l): (..., D)."""
        if self.params.input == "all_standardised_l2":
            mean, scale = self._mean.to(levels[0].device), self._scale.to(levels[0].device)
            return functional.normalize((torch.cat(levels, -1) - mean) * scale, dim=-1)
        return levels[-1] if self.params.input == "last" else functional.normalize(levels[-1], dim=-1)

    def _fitted(self) -> Centres:
        if self._centres is None:
            raise RuntimeError("KMeans: fit or load a state before predicting")
        return self._centres
