"""How methods that declare it come by labels; nothing else in this package reads any."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from spectral_bench.common.errors import ConfigError

if TYPE_CHECKING:
    from spectral_bench.methods.interface import FitContext, LabelReader, LabelSource, PatchBatch, Segmenter

VOID = -1


def predict_scores(method: Segmenter, batch: PatchBatch, labels: LabelSource | None = None) -> Tensor:
    """(B, K, h, w) scores of a method, which sees labels only if its class declares ``labels_at_prediction``.

    Args:
        method: a fitted method.
        batch: what it looks at.
        labels: of the batch's images; handed to no method that does not declare it.

    Raises:
        ConfigError: the method needs labels of these images, and there are none.
    """
    if not getattr(type(method), "labels_at_prediction", False):
        return method.predict(batch)
    if labels is None:
        raise ConfigError(
            f"{type(method).__name__} predicts from the labels of the images themselves, and these have none"
        )
    return cast("LabelReader", method).predict_labelled(batch, labels)


def require_labels(labels: LabelSource | None, method: str) -> LabelSource:
    """The labels that a fit was handed.

    Raises:
        ConfigError: it was handed none.
    """
    if labels is None:
        raise ConfigError(f"{method} is fitted with labels, and was handed none")
    return labels


def require_classes(labels: LabelSource | None, k: int, method: str) -> LabelSource:
    """The labels that a fit was handed, of K classes.

    Raises:
        ConfigError: it was handed none, or their classes are not K.
    """
    found = require_labels(labels, method)
    if found.n_classes != k:
        raise ConfigError(f"k = {k}: expected {found.n_classes}, as the clusters of {method} are the classes")
    return found


def classifier(channels: int, classes: int, context: FitContext) -> nn.Linear:
    """A fresh linear map of (..., ``channels``) features to (..., ``classes``) logits on the context's device.

    The same at the same seed on every device; the global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(context.seeds.integer("classifier"))
        linear = nn.Linear(channels, classes)
    return linear.to(context.device)


def batch_labels(labels: LabelSource, batch: PatchBatch) -> Tensor:
    """(B, h, w) int64 class indices of a batch on its device, -1 where void."""
    parts = [labels.labels(name, crop, batch.grid) for name, crop in zip(batch.image_ids, batch.crops, strict=True)]
    return torch.stack(parts).to(batch.pixels.device)


def cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """Mean cross-entropy of (N, C) float32 logits over the patches whose class, (N,) int64, is not void; 0 without any.

    Half-precision logits are widened to float32.
    """
    with torch.autocast(logits.device.type, enabled=False):
        total = functional.cross_entropy(logits.float(), classes, ignore_index=VOID, reduction="sum")
        return total / (classes != VOID).sum().clamp_min(1)
