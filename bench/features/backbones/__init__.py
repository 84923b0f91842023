"""Frozen pre-trained networks that turn an image into dense patch features at three levels.

Importing this package imports no torch: a network is built only by ``load_backbone``.
"""

from __future__ import annotations

from spectral_bench.bench.features.backbones.info import BackboneInfo, backbone_info
from spectral_bench.bench.features.backbones.load import load_backbone
from spectral_bench.bench.features.backbones.names import backbone_names
from spectral_bench.bench.features.backbones.options import complete_options
from spectral_bench.bench.features.backbones.weights import weights_digest

__all__ = [
    "BackboneInfo",
    "backbone_info",
    "backbone_names",
    "complete_options",
    "load_backbone",
    "weights_digest",
]
