"""Perfect labels at patch resolution: what no method can exceed that predicts one set of scores a patch."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor

from spectral_bench.common.errors import ConfigError
from spectral_bench.methods.inputs import require_patches
from spectral_bench.methods.interface import FitContext, LabelSource, PatchBatch, PatchSource
from spectral_bench.methods.labels import require_classes
from spectral_bench.methods.params import OracleParams


class Oracle:
    """Scores are the shares that the classes have of a patch's pixels, read off the labels of the evaluated images.

    It learns nothing. Shares, not the class of the majority, are the ceiling, as they are up-sampled: where two classes
    share a patch, their border goes through it.

    Args:
        params: parameters; K must be the number of classes.
    """

    Params = OracleParams
    uses_labels = True
    fit_from = None
    classes_as_clusters = True
    labels_at_prediction = True

    def __init__(self, params: OracleParams) -> None:
        self.n_clusters = params.k

    def fit(self, patches: PatchSource, *, context: FitContext) -> Self:
        """See that there are labels of K classes.

        Raises:
            ConfigError: there are no labels, K is not the number of classes, or more than the patches.
        """
        require_classes(context.labels, self.n_clusters, "oracle")
        require_patches(patches, self.n_clusters)
        return self

    def predict(self, batch: PatchBatch) -> Tensor:
        """Nothing can be said without labels.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("oracle predicts from the labels of the images themselves: it can only be evaluated")

    def predict_labelled(self, batch: PatchBatch, labels: LabelSource) -> Tensor:
        """(B, K, h, w) shares of the classes.

        Raises:
            ConfigError: the evaluated data set has another number of classes than the one of the fit.
        """
        require_classes(labels, self.n_clusters, "oracle")
        parts = [labels.shares(name, crop, batch.grid) for name, crop in zip(batch.image_ids, batch.crops, strict=True)]
        return torch.stack(parts).to(batch.pixels.device)

    def state_dict(self) -> dict[str, Tensor]:
        """Nothing is learnt."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Nothing is restored."""
