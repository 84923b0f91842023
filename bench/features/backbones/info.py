"""Facts about a backbone that planning needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from spectral_bench.bench.features.backbones.names import EFFICIENTNET, is_clip, is_dino, split_name
from spectral_bench.bench.features.backbones.options import complete_options
from spectral_bench.common.errors import ConfigError

_WIDTHS = {"tiny": 192, "small": 384, "base": 768, "large": 1024}
_READABLE = re.compile(r"(?:vit|deit|deit3)_(tiny|small|base|large)_(?:distilled_)?patch(\d+)_(?!.*plus)")


@dataclass(frozen=True)
class BackboneInfo:
    """What a backbone makes of an image.

    Attributes:
        name: the name used in grids.
        stride: pixels of the input a patch, down and across.
        channels: channels of the low, middle and high level.
        family: ``efficientnet``, ``vit``, ``dino`` (the high level is made of keys) or ``clip``.
        native: (height, width) in pixels to which every input is resized; None: inputs keep their size and are padded.
    """

    name: str
    stride: int
    channels: tuple[int, int, int]
    family: str
    native: tuple[int, int] | None = None

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Patches down and across for an input of ``height`` x ``width`` pixels."""
        rows, columns = self.native or (height, width)
        return -(-rows // self.stride), -(-columns // self.stride)

    def cover(self, height: int, width: int) -> tuple[int, int]:
        """Height and width in pixels of the input that the grid spans.

        With padding this is the input's size rounded up to multiples of the stride: what lies beyond the input has to
        be cropped from up-sampled scores. At a native resolution the grid spans exactly the input.
        """
        if self.native is not None:
            return height, width
        rows, columns = self.grid(height, width)
        return rows * self.stride, columns * self.stride


def backbone_info(name: str, options: Mapping[str, Any] | None = None) -> BackboneInfo:
    """Stride, channels and family of a backbone; imports timm only where the name does not tell them.

    Raises:
        ConfigError: unknown backbone or option, or a network whose patches are not square.
    """
    complete = complete_options(name, options or {})
    if name == EFFICIENTNET:
        return BackboneInfo(name, 16, (64, 192, 320), "efficientnet")
    architecture, tag = split_name(name)
    width, patch = _width_and_patch(architecture)
    family = "dino" if is_dino(f"{architecture}.{tag}") else "clip" if is_clip(architecture) else "vit"
    native = _native_size(architecture) if complete.get("clip_resize") == "native" else None
    return BackboneInfo(name, patch, (width, width, width), family, native)


def _width_and_patch(architecture: str) -> tuple[int, int]:
    """Embedding width and patch side: read off the name, or else from the network built without memory."""
    found = _READABLE.match(architecture)
    return (_WIDTHS[found[1]], int(found[2])) if found else _built_width_and_patch(architecture)


@cache
def _built_width_and_patch(architecture: str) -> tuple[int, int]:
    import timm
    import torch

    with torch.device("meta"):
        network: Any = timm.create_model(architecture, num_classes=0)
    down, across = network.patch_embed.patch_size
    if down != across:
        raise ConfigError(
            f"backbone {architecture}: its patches are {down} x {across} pixels; only square ones will do"
        )
    return int(network.embed_dim), int(down)


def _native_size(architecture: str) -> tuple[int, int]:
    side = int(architecture.rsplit("_", 1)[1])
    return side, side
