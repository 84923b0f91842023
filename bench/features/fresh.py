"""Features of a few images that are computed now and kept nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from spectral_bench.bench.features.backbones import load_backbone
from spectral_bench.bench.features.views import ViewFeatures, open_view_features
from spectral_bench.results.specification import Features

if TYPE_CHECKING:
    import torch

    from spectral_bench.datasets.interface import ImageLoader
    from spectral_bench.results.specification import BackboneSpec, View


def fresh_features(
    view: View,
    backbone: BackboneSpec,
    *,
    images: ImageLoader,
    ids: Sequence[str],
    folder: Path,
    device: torch.device,
    workers: int,
    antialias: bool = False,
) -> ViewFeatures:
    """What a backbone makes of images under a view, without a cache, a limit or a stop signal.

    Args:
        view: how images are looked at.
        backbone: the network; it is loaded when the first image is asked for.
        images: loader of the images.
        ids: the images, in the order in which they come.
        folder: of the store's feature caches, none of which is written.
        device: where to compute.
        workers: threads that decode.
        antialias: add pixels that are shrunk with antialiasing.
    """
    return open_view_features(
        view,
        backbone_spec=backbone,
        features=Features(mode="online"),
        images=images,
        ids=tuple(ids),
        backbone=lambda: load_backbone(backbone.name, backbone.options, device),
        folder=folder,
        device=device,
        workers=workers,
        inference_batch=8,
        cache_limit=0,
        progress=lambda done, total: None,
        should_stop=lambda: False,
        antialias=antialias,
    )
