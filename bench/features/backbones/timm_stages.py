"""Networks of timm that give a feature map a stage, such as ConvNeXt and ResNet, under timm's own names.

Torch and timm are imported where a network is built, so that planning need not wait for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectral_bench.bench.features.backbones.interface import Backbone, Colour, complete_weights
from spectral_bench.bench.features.backbones.timm_hub import digest_of, loaded
from spectral_bench.bench.features.backbones.timm_names import check_name, split_name, stages
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.registry import is_weights_file

if TYPE_CHECKING:
    from torch import Tensor, nn

_OF_TRANSFORMERS = ("facet", "layers", "norm", "clip_resize")
_FIRST_STRIDE = 4  # stems at stride 2, which some networks count as a stage, are none
_USUAL_GRID = 16


class TimmStages(Backbone):
    """The maps of three stages of a timm network, brought to one grid of patches.

    Of the n stages with a stride of 4 pixels or more, the low level is the first, the middle number n // 2 (from 0),
    and the high the last, as they come out, before any final norm: strides 4, 16 and 32 of ConvNeXt and ResNet. A finer
    map is averaged over each patch of the grid, a coarser one up-sampled bilinearly. Inputs are padded with zeros to
    the coarsest of these strides, which some stages would cut off otherwise, and the grid is cropped again.
    """

    family = "cnn"

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        found = _levels(name)
        self.stride = int(options.get("grid", _usual_grid(found)))
        self.indices = tuple(index for index, _, _ in found)
        self.channels = tuple(channels for _, channels, _ in found)
        self.coarsest = max(stride for _, _, stride in found)

    @classmethod
    def complete(cls, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a network with stages.

        * ``weights``: ``hub`` (timm's pretrained weights), a file (``.safetensors``, ``.pth``, ``.pt``, ``.bin``), or
          ``random``, which has to be asked for. Inputs are normalised as for the weights that the name stands for.
        * ``seed``: of random weights, a whole number from 0, default 0.
        * ``grid``: pixels a patch, one of the strides of the stages; default 16, or the coarsest where there is none.
        """
        check_name(name)
        for key in _OF_TRANSFORMERS:
            if key in options:
                raise ConfigError(
                    f"backbone {name}: option {key} is for vision transformers, and this network has stages with "
                    "feature maps; its options: weights, seed, grid"
                )
        found = _levels(name)
        choices: dict[str, tuple[str, ...]] = {"weights": ("hub", "random")}
        given = {key: value for key, value in options.items() if key != "grid"}
        if is_weights_file(given.get("weights")):
            given["weights"] = str(Path(str(given["weights"])).absolute())
            choices["weights"] = (given["weights"],)
        complete = complete_weights(name, given, choices, others=("grid",))
        grid, valid = options.get("grid", _usual_grid(found)), _grids(found)
        if type(grid) is not int or grid not in valid:
            raise ConfigError(
                f"backbone {name}: option grid: expected {', '.join(map(str, valid))} (pixels a patch), got {grid!r}"
            )
        return complete | {"grid": grid}

    def digest(self) -> str | None:
        """Of the file, the hub's or one's own; None where the hub's was not fetched; ``random-<seed>`` if random."""
        return digest_of(self.name, self.options)

    def load(self) -> nn.Module:
        """timm's network without its classifier."""
        network = loaded(self.name, self.options)
        if not hasattr(network, "forward_intermediates"):  # DenseNet and HRNet in timm 1.0.20
            raise ConfigError(f"backbone {self.name}: the installed timm gives no maps of its stages; a newer one may")
        return network

    def normalisation(self, network: Any) -> tuple[Colour, Colour]:
        """As timm says of the weights."""
        config = network.pretrained_cfg
        return config["mean"], config["std"]

    def levels(self, network: Any, inputs: Tensor) -> tuple[Tensor, ...]:
        """The maps of the stages on the grid of patches."""
        from torch.nn import functional

        height, width = inputs.shape[-2:]
        padded = functional.pad(inputs, (0, -width % self.coarsest, 0, -height % self.coarsest))
        grid = padded.shape[-2] // self.stride, padded.shape[-1] // self.stride
        maps = network.forward_intermediates(
            padded, list(self.indices), output_fmt="NCHW", stop_early=True, intermediates_only=True
        )
        rows, columns = height // self.stride, width // self.stride
        return tuple(on_grid(one, grid)[:, :, :rows, :columns].permute(0, 2, 3, 1) for one in maps)


def on_grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Feature maps (B, C, h, w) on a grid that spans the same pixels, whose sides are parts or multiples of theirs.

    Averaged over each patch where it is coarser, up-sampled bilinearly (align_corners False) where it is finer.
    """
    from torch.nn import functional

    if grid[0] <= maps.shape[-2]:
        return functional.adaptive_avg_pool2d(maps, grid)
    return functional.interpolate(maps, grid, mode="bilinear", align_corners=False)


def _levels(name: str) -> list[tuple[int, int, int]]:
    """Number, channels and stride of the stages that are levels, from low to high.

    Raises:
        ConfigError: the network has no such stages.
    """
    every = [(index, *one) for index, one in enumerate(stages(split_name(name)[0])) if one[1] >= _FIRST_STRIDE]
    if not every:
        raise ConfigError(f"backbone {name}: none of its stages has a stride of {_FIRST_STRIDE} pixels or more")
    return [every[at] for at in sorted({0, len(every) // 2, len(every) - 1})]


def _grids(found: list[tuple[int, int, int]]) -> list[int]:
    """The strides that all levels can be brought to: those of which each one's is a part or a multiple."""
    strides = sorted({stride for _, _, stride in found} | {_USUAL_GRID, 8})
    fits = [grid for grid in strides if all(grid % stride == 0 or stride % grid == 0 for _, _, stride in found)]
    return [grid for grid in fits if grid <= max(stride for _, _, stride in found)]


def _usual_grid(found: list[tuple[int, int, int]]) -> int:
    grids = _grids(found)
    return _USUAL_GRID if _USUAL_GRID in grids else grids[-1]
