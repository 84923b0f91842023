"""NeuralEF as its code was first released: labels reach psi through a supervised head.

Until October 2024 the released code of Deng and Luo (ICCV 2023) trained a linear head on psi's hidden features by
cross-entropy with the ground truth, in one backward pass with the objective and without detaching the features. There
the head's logits were compared with labels at the pixels; here the class of most of a patch's pixels is its target.
"""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from spectral_bench.methods.interface import FitContext, PatchBatch, PatchSource
from spectral_bench.methods.labels import batch_labels, classifier, cross_entropy, require_labels
from spectral_bench.methods.neuralef.method import NeuralEF
from spectral_bench.methods.neuralef.params import NeuralEFLabelLeakParams
from spectral_bench.methods.trainer import Step

_HEAD = "label_head."


class NeuralEFLabelLeak(NeuralEF):
    """NeuralEF whose psi is trained to tell classes apart, too: it measures what labels add to the published method.

    Everything else is that of ``neuralef``. The head is a linear map with bias on the output of psi's last block; at
    prediction it is not used.

    Args:
        params: parameters; with ``detach_head`` psi learns nothing from labels and is, bit for bit, that of
            ``neuralef``.
    """

    Params = NeuralEFLabelLeakParams
    uses_labels = True

    def __init__(self, params: NeuralEFLabelLeakParams) -> None:
        super().__init__(params)
        self.label_params = params
        self.label_head: nn.Linear | None = None

    def fit(self, patches: PatchSource, *, context: FitContext) -> Self:
        """Train psi and the head together on batches of whole images.

        Raises:
            ConfigError: no labels, more clusters than patches, or fewer images than a batch holds.
            NumericalError: features or the loss are not finite.
            RunInterrupted: the run was asked to stop; it goes on from its checkpoint.
        """
        labels = require_labels(context.labels, "neuralef_label_leak")
        self.label_head = classifier(sum(patches.channels), labels.n_classes, context)
        return super().fit(patches, context=context)

    def state_dict(self) -> dict[str, Tensor]:
        """The state of NeuralEF, and the head's weight (C, D) and bias (C,)."""
        head = self._fitted_head().state_dict()
        return {**super().state_dict(), **{_HEAD + name: tensor for name, tensor in head.items()}}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore psi and head on the device of the given tensors."""
        super().load_state_dict({name: tensor for name, tensor in state.items() if not name.startswith(_HEAD)})
        weight, bias = (state[f"{_HEAD}{name}"].clone() for name in ("weight", "bias"))
        self.label_head = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
        self.label_head.load_state_dict({"weight": weight, "bias": bias}, assign=True)

    def _network(self) -> nn.Module:
        return nn.ModuleDict({"psi": super()._network(), "label_head": self._fitted_head()})

    def _completed(self, step: Step, hidden: Tensor, batch: PatchBatch, context: FitContext) -> Step:
        labels = require_labels(context.labels, "neuralef_label_leak")
        with context.stage("labels"):
            classes = batch_labels(labels, batch).flatten()
        seen = (hidden.detach() if self.label_params.detach_head else hidden).flatten(0, 1)
        with torch.autocast(seen.device.type, enabled=False):
            logits = self._fitted_head()(seen.float())
        entropy = cross_entropy(logits, classes)
        return Step(
            step.loss + self.label_params.head_weight * entropy,
            lambda: {**step.measures(), "cross_entropy": float(entropy.detach())},
        )

    def _fitted_head(self) -> nn.Linear:
        if self.label_head is None:
            raise RuntimeError("NeuralEFLabelLeak: fit or load a state before its head is asked for")
        return self.label_head
