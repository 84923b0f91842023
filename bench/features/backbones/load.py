"""Build a backbone with its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spectral_bench.bench.features.backbones.info import BackboneInfo, backbone_info
from spectral_bench.bench.features.backbones.names import EFFICIENTNET
from spectral_bench.bench.features.backbones.options import complete_options

if TYPE_CHECKING:
    import torch

    from spectral_bench.bench.features.backbones.base import Backbone


def load_backbone(name: str, options: Mapping[str, Any] | None, device: torch.device | str) -> Backbone:
    """The frozen network in evaluation mode on ``device``. Imports torch and timm.

    Raises:
        ConfigError: unknown backbone or option, or timm has no weights of this name.
        DataError: the weights are not on this machine and could not be fetched.
    """
    import torch

    complete = complete_options(name, options or {})
    info = backbone_info(name, complete)
    if complete["weights"] == "random":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(complete["seed"])
            backbone = _build(info, trained=False)
    else:
        backbone = _build(info, trained=True)
    return backbone.requires_grad_(False).eval().to(device)


def _build(info: BackboneInfo, *, trained: bool) -> Backbone:
    if info.name == EFFICIENTNET:
        from spectral_bench.bench.features.backbones.efficientnet import EfficientNetLite0, build_classifier
        from spectral_bench.bench.features.backbones.weights import package_file

        return EfficientNetLite0(info, build_classifier(package_file() if trained else None, output_stride=16))
    from spectral_bench.bench.features.backbones.vit import VisionTransformer, build_transformer

    network = build_transformer(info.name, pretrained=trained, native=info.native is not None)
    return VisionTransformer(info, network)
