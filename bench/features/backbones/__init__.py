"""Frozen pre-trained networks that turn an image into dense patch features at several levels.

Importing this package imports no torch: a network is built only by ``load_backbone``.
"""

from __future__ import annotations

from spectral_bench.bench.features.backbones.interface import Backbone, BackboneInfo, BackboneOptions, file_digest
from spectral_bench.bench.features.backbones.registry import (
    backbone_info,
    backbone_names,
    complete_options,
    load_backbone,
    weights_digest,
)

__all__ = [
    "Backbone",
    "BackboneInfo",
    "BackboneOptions",
    "backbone_info",
    "backbone_names",
    "complete_options",
    "file_digest",
    "load_backbone",
    "weights_digest",
]
