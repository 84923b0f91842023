"""Every vision transformer of timm as a backbone, under timm's own names.

Torch and timm are imported where a network is built, so that planning need not wait for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectral_bench.bench.features.backbones import language
from spectral_bench.bench.features.backbones.interface import Backbone, Colour, complete_weights
from spectral_bench.bench.features.backbones.timm_hub import digest_of, loaded
from spectral_bench.bench.features.backbones.timm_names import (
    check_name,
    depth,
    facet_widths,
    is_clip,
    is_dino,
    is_naflex,
    joint_width,
    require_right_default,
    split_name,
    width_and_patch,
)
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown
from spectral_bench.common.registry import is_weights_file

if TYPE_CHECKING:
    from torch import Tensor, nn


class TimmTransformer(Backbone):
    """Patch tokens of a timm transformer, or what its attention projects them to; class and register tokens go.

    Unless options say otherwise, the low level is the output of block 0, the middle that of block depth // 2, and the
    high that of the last block after the final norm; for the DINO family the high level is made of the keys of the last
    attention, all heads side by side, before any normalisation or rotation (Deng and Luo, ICCV 2023, section 4).
    Networks that pool before their norm get that norm on each token.
    """

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        architecture, _ = split_name(name)
        width, self.stride = width_and_patch(architecture)
        self.facet = str(options.get("facet", _named_facet(name)))
        self.norm: str | bool = options.get("norm", True)
        self.layers = tuple(options.get("layers", _thirds(architecture)))
        self.channels = (width,) * len(self.layers)
        if self.facet == language.LANGUAGE:
            self.channels = width, joint_width(architecture)
        elif self.facet == "last_keys":
            self.channels = (*self.channels[:-1], facet_widths(architecture, "keys")[self.layers[-1]])
        elif self.facet != "tokens":
            widths = facet_widths(architecture, self.facet)
            self.channels = tuple(widths[layer] for layer in self.layers)
        self.family = (
            "dino" if self.facet == "last_keys" or is_dino(name) else "clip" if is_clip(architecture) else "vit"
        )
        if options.get("clip_resize") == "native":
            side = int(architecture.rsplit("_", 1)[1])
            self.native = side, side

    @classmethod
    def complete(cls, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a transformer.

        * ``weights``: ``hub`` (timm's pretrained weights), a file (``.safetensors``, ``.pth``, ``.pt``, ``.bin``), or
          ``random``, which has to be asked for. Inputs are normalised as for the weights that the name stands for.
        * ``seed``: of random weights, a whole number from 0, default 0.
        * ``clip_resize`` (CLIP transformers): ``native`` resizes each input bicubically to the resolution that the
          network was trained at, so every input gives the same grid; ``interpolate`` keeps the input and interpolates
          the position embeddings. Default ``native``.
        * ``facet``: ``tokens``, ``keys``, ``queries`` or ``values`` at every level, or ``last_keys``: tokens, and keys
          at the highest. Default: ``last_keys`` of DINO's weights, ``tokens`` of all others.
          ``language`` (CLIP, SigLIP): two levels, the keys of the last attention and its features in the space of
          images and texts. With it ``attention``: ``values`` (default) or, of CLIP, ``neighbour``, and ``deviation``
          of that in patches, default 5.
        * ``layers``: numbers of blocks, ascending; negative ones count from the end. Default ``thirds``: the first, the
          middle and the last.
        * ``norm``: whether tokens of the last block go through the network's final norm, or (``all``) those of every
          level. Default true.

        All but the first three are left out where they are at their defaults, as in records of before there were any.
        """
        check_name(name)
        choices: dict[str, tuple[str, ...]] = {"weights": ("hub", "random")}
        if is_clip(name):
            choices["clip_resize"] = ("native", "interpolate")
        given = {key: value for key, value in options.items() if key not in _FACET_OPTIONS}
        file = given.get("weights")
        if is_weights_file(file):
            choices["weights"] = (str(Path(str(file)).absolute()),)
            given["weights"] = choices["weights"][0]
        complete = complete_weights(name, given, choices, others=_FACET_OPTIONS)
        if complete["weights"] == "hub":
            require_right_default(name)
        return complete | _complete_facets(name, options, trained=complete["weights"] != "random")

    def digest(self) -> str | None:
        """Of the file, the hub's or one's own; None where the hub's was not fetched; ``random-<seed>`` if random."""
        return digest_of(self.name, self.options)

    def load(self) -> nn.Module:
        """timm's network without its classifier; of a language network with its projection to the joint space."""
        if is_naflex(self.name):  # takes every size as it is
            return loaded(self.name, self.options)
        joint = self.channels[-1] if self.facet == language.LANGUAGE else 0
        return loaded(self.name, self.options, joint=joint, dynamic_img_size=self.native is None)

    def refused(self, height: int, width: int) -> str:
        """RADIO's trained networks take inputs of 512 x 512 alone; their NaFlex twins take any."""
        side = _RADIO_SIDE
        if "_radio_" not in self.name or is_naflex(self.name) or self.options.get("weights") == "random":
            return ""
        if (height, width) == (side, side):
            return ""
        return (
            f"timm has its position embeddings for inputs of {side} x {side} pixels, and resamples them otherwise than "
            f"RADIO does for these, of {height} x {width}; use naflex{self.name}, which is exact at every size"
        )

    def normalisation(self, network: Any) -> tuple[Colour, Colour]:
        """As timm says of the weights."""
        config = network.pretrained_cfg
        return config["mean"], config["std"]

    def levels(self, network: nn.Module, inputs: Tensor) -> tuple[Tensor, ...]:
        """Tokens of blocks, or what their attention makes of them, on the grid of patches."""
        rows, columns = inputs.shape[-2] // self.stride, inputs.shape[-1] // self.stride
        return tuple(level.reshape(len(level), rows, columns, -1) for level in self._sequences(network, inputs))

    def _sequences(self, network: nn.Module, inputs: Tensor) -> tuple[Tensor, ...]:
        from spectral_bench.bench.features.backbones import facets

        if self.facet == language.LANGUAGE:
            return language.sequences(network, inputs, self.options)
        usual = self.layers == _thirds(split_name(self.name)[0]) and self.norm is True
        if usual and self.facet in ("last_keys", "tokens"):
            return _keys(network, inputs) if self.facet == "last_keys" else _tokens(network, inputs)
        if self.facet == "tokens":
            return facets.tokens(network, inputs, self.layers, self.norm)
        if self.facet == "last_keys":
            *low, last = self.layers
            below = facets.tokens(network, inputs, low, norm=False) if low else ()
            return (*below, *facets.projections(network, inputs, (last,), "keys"))
        return facets.projections(network, inputs, self.layers, self.facet)


_RADIO_SIDE = 512
_FACETS = ("tokens", "keys", "queries", "values", "last_keys", language.LANGUAGE)
_FACET_OPTIONS = ("facet", "layers", "norm", *language.OPTIONS)


def _thirds(architecture: str) -> tuple[int, ...]:
    blocks = depth(architecture)
    return 0, blocks // 2, blocks - 1


def _named_facet(name: str) -> str:
    """The facet of options that name none: what it was before there was a choice, by the letters of the name."""
    architecture, tag = split_name(name)
    return "last_keys" if "dino" in f"{architecture}.{tag}" else "tokens"


def _complete_facets(name: str, options: Mapping[str, Any], *, trained: bool) -> dict[str, Any]:
    """The options of facet, layers and norm that are not as they would be without."""
    architecture = split_name(name)[0]
    width_and_patch(architecture)  # refuses what has no square patches, before anything else is asked of it
    usual = "last_keys" if is_dino(name) else "tokens"
    facet = options.get("facet", usual if trained else _named_facet(name))
    if facet not in _FACETS:
        raise ConfigError(f"backbone {name}: option facet: " + unknown("value", str(facet), _FACETS))
    if facet == language.LANGUAGE:
        return {"facet": facet, **language.complete(name, options)}
    if strange := [key for key in language.OPTIONS if key in options]:
        raise ConfigError(f"backbone {name}: option {strange[0]} is for facet language, and the facet here is {facet}")
    if facet != "tokens":
        facet_widths(architecture, "keys" if facet == "last_keys" else facet)
    layers, norm = _chosen_layers(name, options.get("layers", "thirds")), options.get("norm", True)
    if not (norm == "all" or isinstance(norm, bool)):
        raise ConfigError(f"backbone {name}: option norm: expected true, false or all, got {norm!r}")
    if facet != "tokens" and norm is not True:
        raise ConfigError(
            f"backbone {name}: option norm is for tokens, and the facet here is {facet}; leave norm out, or add "
            "facet: tokens"
        )
    complete: dict[str, Any] = {}
    if facet != _named_facet(name):
        complete["facet"] = facet
    if layers != _thirds(architecture):
        complete["layers"] = list(layers)
    if norm is not True:
        complete["norm"] = norm
    return complete


def _chosen_layers(name: str, given: Any) -> tuple[int, ...]:
    """The numbers of blocks from 0."""
    architecture = split_name(name)[0]
    blocks = depth(architecture)
    if given == "thirds":
        return _thirds(architecture)
    told = (
        f"backbone {name}: option layers: expected thirds, or ascending numbers of its {blocks} blocks, -{blocks} to "
    )
    numbers = given if isinstance(given, list | tuple) else [given]
    if not numbers or not all(type(one) is int and -blocks <= one < blocks for one in numbers):
        raise ConfigError(f"{told}{blocks - 1}; got {given!r}")
    counted = tuple(one % blocks for one in numbers)
    if list(counted) != sorted(set(counted)):
        raise ConfigError(f"{told}{blocks - 1}, from low to high and each once; got {given!r}")
    return counted


def _tokens(network: Any, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    last, (low, mid) = network.forward_intermediates(inputs, [0, len(network.blocks) // 2], output_fmt="NLC")
    return low, mid, network.fc_norm(last[:, network.num_prefix_tokens :])


def _keys(network: Any, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """As ``_tokens``; the last block is left out, for its keys depend on each token of its input alone."""
    depth = len(network.blocks)
    wanted = sorted({0, depth // 2, depth - 2})
    outputs = network.forward_intermediates(inputs, wanted, output_fmt="NLC", stop_early=True, intermediates_only=True)
    after = dict(zip(wanted, outputs, strict=True))
    block = network.blocks[-1]
    return after[0], after[depth // 2], last_keys(block.attn, block.norm1(after[depth - 2]))


def last_keys(attention: Any, tokens: Tensor) -> Tensor:
    """The keys (B, N, C) that an attention module of timm makes of its input tokens (B, N, C), and nothing else."""
    from torch.nn import functional

    if getattr(attention, "qkv", None) is None:
        keys: Tensor = attention.k_proj(tokens)
        return keys
    bias = attention.qkv.bias
    return functional.linear(tokens, attention.qkv.weight.chunk(3)[1], bias if bias is None else bias.chunk(3)[1])
