"""Look at the images of a view with a fitted method."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch

from spectral_bench.bench.evaluation.counting import ScoredImage
from spectral_bench.bench.evaluation.placement import place
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.labels import predict_scores

if TYPE_CHECKING:
    from spectral_bench.bench.features import ViewItem
    from spectral_bench.methods.interface import LabelSource, Segmenter
    from spectral_bench.results.specification import View


def scored_images(
    method: Segmenter,
    view: View,
    features: Iterable[ViewItem],
    *,
    device: torch.device,
    stage: Callable[[str], AbstractContextManager[None]],
    should_stop: Callable[[], bool],
    labels: LabelSource | None = None,
) -> Iterator[ScoredImage]:
    """The patch scores of each image of a view, in order; ends early once it should stop.

    Args:
        method: a fitted method.
        view: what is looked at.
        features: of the view.
        device: where to predict.
        stage: charges a block to a stage.
        should_stop: asked before every image.
        labels: of the view's images, for a method that declares ``labels_at_prediction``; no other is handed them.

    Raises:
        ConfigError: the method needs labels of the images, and there are none.
        NumericalError: a score is NaN or infinite; the message names the image.
    """
    items = iter(features)
    while not should_stop():
        with stage("features"):  # read from the cache, or computed here
            item = next(items, None)
        if item is None:
            return
        with stage("predict"), torch.inference_mode():
            scores = predict_scores(method, item.patches.to(device), labels).float()
            if not bool(torch.isfinite(scores).all()):
                raise NumericalError(f"image {item.image_id}: the method predicts NaN or infinite scores")
        placement = place(view, item.original, item.patches.crops, item.patches.grid, item.cover)
        yield ScoredImage(item.image_id, item.original, scores, placement)
