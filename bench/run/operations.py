"""The floating-point operations that one image of a view takes, counted once and outside of every stage."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spectral_bench.bench.flops import backbone_flops, count_flops
from spectral_bench.methods.labels import predict_scores

if TYPE_CHECKING:
    import torch

    from spectral_bench.bench.features import ViewFeatures
    from spectral_bench.methods.interface import LabelSource, Segmenter
    from spectral_bench.results.specification import BackboneSpec

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageFlops:
    """Operations of the backbone and of the method on one image; None where they could not be counted, with the reason.

    Attributes:
        features: of the backbone, all windows.
        predict: of the method's prediction.
        warnings: why a number is missing.
    """

    features: int | None
    predict: int | None
    warnings: list[str]


def image_flops(
    spec: BackboneSpec, method: Segmenter, features: ViewFeatures, device: torch.device, labels: LabelSource | None
) -> ImageFlops:
    """Count what the first image of a view takes. It never fails an evaluation: what cannot be counted is None.

    Args:
        spec: the backbone.
        method: a fitted method.
        features: of the view.
        device: where to predict.
        labels: as for ``bench.run.looking.scored_images``.
    """
    item = next(iter(features))
    crops, patches = item.patches.crops, item.patches.to(device)
    warnings: list[str] = []

    def counted(what: str, count: Callable[[], int]) -> int | None:
        try:
            return count()
        except Exception as error:
            warnings.append(f"operations of {what} not counted ({type(error).__name__}: {error})")
            logger.warning("%s", warnings[-1])
            return None

    return ImageFlops(
        counted("the backbone", lambda: backbone_flops(spec, len(crops), crops[0].height, crops[0].width)),
        counted("the prediction", lambda: count_flops(lambda: predict_scores(method, patches, labels))),
        warnings,
    )
