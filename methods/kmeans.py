"""k-means on patch features."""

from __future__ import annotations

from typing import Self

from torch import Tensor

from spectral_bench.methods.centres import Centres, fit_centres, sample_size
from spectral_bench.methods.health import Check
from spectral_bench.methods.inputs import Standardiser, by_chunks, feature_input
from spectral_bench.methods.interface import FitContext, PatchBatch, PatchSource
from spectral_bench.methods.params import KMeansParams


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
        self._standardiser = Standardiser.nothing()

    def fit(self, patches: PatchSource, *, context: FitContext) -> Self:
        """Cluster all training patches, or ``max_patches`` of them drawn uniformly.

        Raises:
            ConfigError: more clusters than patches.
            NumericalError: features are not finite.
            RunInterrupted: the run was asked to stop; it starts anew.
        """
        size = sample_size(patches, self.params, self.params.k)
        if self.params.input == "all_standardised_l2":
            self._standardiser = Standardiser.of(patches, context.device)
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
        mean, scale = self._standardiser.mean, self._standardiser.scale
        return {"centres": self._fitted().centres, "mean": mean, "scale": scale}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave."""
        self._centres = Centres(state["centres"].clone(), self.params.scores)
        self._standardiser = Standardiser(state["mean"], state["scale"])

    def _input(self, levels: tuple[Tensor, ...]) -> Tensor:
        """What is clustered, of levels (..., C_l): (..., D)."""
        return feature_input(self.params.input, levels, self._standardiser)

    def _fitted(self) -> Centres:
        if self._centres is None:
            raise RuntimeError("KMeans: fit or load a state before predicting")
        return self._centres
