"""A linear classifier on frozen features: how much of the classes a linear map can read off them."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import torch
from torch import Tensor, nn

from spectral_bench.methods.few_labels import FewLabelled
from spectral_bench.methods.health import HEALTH_STAGE, Check, clusters_in_use, training_scores
from spectral_bench.methods.inputs import images_of, require_finite, require_patches, standardisation
from spectral_bench.methods.interface import FitContext, LabelSource, PatchBatch, PatchSource
from spectral_bench.methods.labels import batch_labels, classifier, cross_entropy, require_classes
from spectral_bench.methods.params import LinearProbeParams
from spectral_bench.methods.trainer import Budget, Cosine, Step, train


class _Probe(nn.Module):
    """A linear map of all levels side by side, standardised."""

    mean: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.linear = linear
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, levels: tuple[Tensor, ...]) -> Tensor:
        """(..., C_l) features of each level to (..., K) logits."""
        logits: Tensor = self.linear((torch.cat(levels, -1) - self.mean) * self.scale)
        return logits


class LinearProbe:
    """Multinomial logistic regression of patches, trained with labels: a ceiling. Cluster j is class j.

    Args:
        params: parameters; K must be the number of classes.
    """

    Params = LinearProbeParams
    uses_labels = True
    fit_from = None
    classes_as_clusters = True

    def __init__(self, params: LinearProbeParams) -> None:
        self.params = params
        self.n_clusters = params.k
        self.checks: tuple[Check, ...] = ()
        self._probe: _Probe | None = None

    def fit(self, patches: PatchSource, *, context: FitContext) -> Self:
        """Train on batches of whole images, by cross-entropy with the class of most of a patch's pixels.

        With a label budget, batches hold the images whose labels it takes and no others; features are standardised by
        all training images, which takes no label.

        Raises:
            ConfigError: no labels, K is not the number of classes, more clusters than patches, or fewer images than a
                batch holds.
            NumericalError: features or the loss are not finite.
            RunInterrupted: the run was asked to stop; it goes on from its checkpoint.
        """
        labels = require_classes(context.labels, self.params.k, "linear_probe")
        require_patches(patches, self.params.k)
        self._probe = _Probe(
            classifier(sum(patches.channels), self.params.k, context),
            *(part.to(context.device) for part in standardisation(patches.statistics())),
        )
        params, few = self.params, None
        budget = Budget(params.batch_size, params.epochs, params.steps)
        if params.label_budget is not None:
            few = FewLabelled.of(patches, labels, params.label_budget, context)
            budget = replace(budget, steps=budget.total(patches))
        train(
            self._probe,
            lambda number, steps, batch: self._step(batch, None if few else labels, context),
            few or patches,
            context=context,
            budget=budget,
            rate=Cosine(params.lr, 0.0),
        )
        with context.stage(HEALTH_STAGE):
            scores = training_scores(self.predict, patches, self.params.batch_size, context.device)
            self.checks = (clusters_in_use(scores),)
        return self

    def predict(self, batch: PatchBatch) -> Tensor:
        """(B, K, h, w) logits of the classes.

        Raises:
            NumericalError: features are not finite.
        """
        require_finite(batch.features, images_of(batch))
        probe = self._fitted().to(batch.pixels.device)
        with torch.no_grad():
            logits: Tensor = probe(batch.features)
        return logits.permute(0, 3, 1, 2)

    def state_dict(self) -> dict[str, Tensor]:
        """Weight (K, D) and bias (K,), and mean and scale (D,) of the features."""
        return dict(self._fitted().state_dict())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` gave, on the device of the given tensors."""
        own = {name: tensor.clone() for name, tensor in state.items()}
        linear = nn.Linear(own["mean"].numel(), self.params.k, device="meta")
        self._probe = _Probe(linear, own["mean"], own["scale"])
        self._probe.load_state_dict(own, assign=True)

    def _step(self, batch: PatchBatch, labels: LabelSource | None, context: FitContext) -> Step:
        """The loss of a batch; without ``labels`` its last level is the classes (``FewLabelled``)."""
        batch.shared("finite", lambda: require_finite(batch.features, images_of(batch)))
        levels = batch.features
        with context.stage("labels"):
            if labels is None:
                *parts, last = batch.features
                levels, classes = tuple(parts), last.flatten().long()
            else:
                classes = batch_labels(labels, batch).flatten()
        return Step(cross_entropy(self._fitted()(levels).flatten(0, 2), classes), dict)

    def _fitted(self) -> _Probe:
        if self._probe is None:
            raise RuntimeError("LinearProbe: fit or load a state before predicting")
        return self._probe
