"""A whole backbone: the colours of an image at three sizes. It has no weights, and needs no download.

Run it in any grid, without a change to the harness: ``backbone: examples/own_backbone.py:ColourPyramid``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from spectral_bench.bench.features.backbones import Backbone, BackboneOptions

if TYPE_CHECKING:
    from torch import Tensor


class ColourPyramidOptions(BackboneOptions):
    """Options, checked before anything runs; unknown names are refused."""

    reach: int = Field(1, ge=0, le=8, description="patches around each one that the high level averages over")


class ColourPyramid(Backbone):
    """Low level: the mean colour of each patch; middle: also its spread; high: also the mean of its surroundings."""

    Options = ColourPyramidOptions
    stride = 8
    channels = (3, 6, 9)
    mean = (0.5, 0.5, 0.5)  # inputs are (x - mean) / std, for x in [0, 1]
    std = (0.25, 0.25, 0.25)

    def digest(self) -> str:
        """There are no weights. A backbone with a file of them gives ``file_digest(path)``."""
        return "none"

    def load(self) -> nn.Module:
        """The patches' means; a trained network is built and given its weights here."""
        return nn.AvgPool2d(self.stride)

    def levels(self, network: nn.Module, inputs: Tensor) -> tuple[Tensor, ...]:
        """(B, H / 8, W / 8, C) a level."""
        colour = network(inputs)
        spread = (network(inputs.square()) - colour.square()).clamp(min=0).sqrt()
        reach = self.options["reach"]
        wide = functional.avg_pool2d(colour, 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)
        levels = colour, torch.cat([colour, spread], 1), torch.cat([colour, spread, wide], 1)
        return tuple(level.permute(0, 2, 3, 1) for level in levels)
