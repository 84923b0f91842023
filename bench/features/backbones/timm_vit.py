"""Every vision transformer of timm as a backbone, under timm's own names.

Torch and timm are imported where a network is built, so that planning need not wait for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from spectral_bench.bench.features.backbones.interface import Backbone, Colour, complete_weights, file_digest
from spectral_bench.bench.features.backbones.timm_names import (
    check_name,
    is_clip,
    is_dino,
    is_quick,
    other_activation,
    require_right_default,
    split_name,
    wants_quick_gelu,
    width_and_patch,
)
from spectral_bench.common.errors import ConfigError, DataError

if TYPE_CHECKING:
    from torch import Tensor, nn

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


class TimmTransformer(Backbone):
    """Patch tokens of a timm transformer; class and register tokens are dropped.

    Low level: the output of block 0; middle: of block depth // 2; high: of the last block after the final norm. For the
    DINO family the high level is made of the keys of the last attention, all heads side by side, before any
    normalisation or rotation. Networks that pool before their norm get that norm on each token.
    """

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        architecture, tag = split_name(name)
        width, self.stride = width_and_patch(architecture)
        self.channels = (width, width, width)
        self.family = "dino" if is_dino(f"{architecture}.{tag}") else "clip" if is_clip(architecture) else "vit"
        if options.get("clip_resize") == "native":
            side = int(architecture.rsplit("_", 1)[1])
            self.native = side, side

    @classmethod
    def complete(cls, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options of a transformer.

        * ``weights``: ``hub`` (timm's pretrained weights), or ``random``, which has to be asked for.
        * ``seed``: of random weights, a whole number from 0, default 0.
        * ``clip_resize`` (CLIP transformers): ``native`` resizes each input bicubically to the resolution that the
          network was trained at, so every input gives the same grid; ``interpolate`` keeps the input and interpolates
          the position embeddings. Default ``native``.
        """
        check_name(name)
        choices: dict[str, tuple[str, ...]] = {"weights": ("hub", "random")}
        if is_clip(name):
            choices["clip_resize"] = ("native", "interpolate")
        complete = complete_weights(name, options, choices)
        if complete["weights"] == "hub":
            require_right_default(name)
        return complete

    def digest(self) -> str | None:
        """Of the hub's file, None where it was not fetched yet; ``random-<seed>`` for random weights."""
        if self.options["weights"] == "random":
            return f"random-{self.options['seed']}"
        path = hub_file(self.name)
        return None if path is None else file_digest(path)

    def load(self) -> nn.Module:
        """timm's network without its classifier."""
        trained = self.options["weights"] != "random"
        return build_transformer(self.name, pretrained=trained, native=self.native is not None)

    def normalisation(self, network: Any) -> tuple[Colour, Colour]:
        """As timm says of the weights."""
        config = network.pretrained_cfg
        return config["mean"], config["std"]

    def levels(self, network: nn.Module, inputs: Tensor) -> tuple[Tensor, ...]:
        """Tokens of three blocks, or keys, on the grid of patches."""
        rows, columns = inputs.shape[-2] // self.stride, inputs.shape[-1] // self.stride
        found = _keys(network, inputs) if self.family == "dino" else _tokens(network, inputs)
        return tuple(level.reshape(len(level), rows, columns, -1) for level in found)


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
    return after[0], after[depth // 2], project_keys(block.attn, block.norm1(after[depth - 2]))


def project_keys(attention: Any, tokens: Tensor) -> Tensor:
    """The keys (B, N, C) that an attention module of timm makes of its input tokens (B, N, C)."""
    from torch.nn import functional

    if getattr(attention, "qkv", None) is None:
        keys: Tensor = attention.k_proj(tokens)
        return keys
    bias = attention.qkv.bias
    return functional.linear(tokens, attention.qkv.weight.chunk(3)[1], bias if bias is None else bias.chunk(3)[1])


def build_transformer(name: str, *, pretrained: bool, native: bool) -> nn.Module:
    """A timm transformer without classifier, in evaluation mode.

    Args:
        name: architecture, or architecture and tag.
        pretrained: load timm's weights (from the hub's cache, else over the network).
        native: keep the input size of the pretrained network; else position embeddings follow the input.

    Raises:
        ConfigError: timm has no weights of this name, or the network cannot give intermediate tokens.
        DataError: the weights could not be had.
    """
    import timm

    architecture, tag = split_name(name)
    full = f"{architecture}.{tag}" if tag else architecture
    if pretrained:
        _require_hub(name, full, pretrained_config(name))  # timm would go on with random weights where it has none
    try:
        network: nn.Module = timm.create_model(full, pretrained=pretrained, num_classes=0, dynamic_img_size=not native)
    except Exception as error:
        if not pretrained:
            raise ConfigError(f"backbone {name}: timm cannot build it ({type(error).__name__}: {error})") from error
        raise DataError(_no_weights(name, full, error)) from error
    return network.eval()


def _require_hub(name: str, full: str, config: Any) -> None:
    """Ask the hub once for weights that are not here: its own client tries each file six times, for minutes.

    Raises:
        DataError: it does not answer, or not with such a file.
    """
    if not config.hf_hub_id or hub_file(name) is not None:
        return
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import EntryNotFoundError

    repository, _, revision = config.hf_hub_id.partition("@")
    for file in (config.hf_hub_filename,) if config.hf_hub_filename else _HUB_FILES:
        try:
            get_hf_file_metadata(hf_hub_url(repository, file, revision=revision or None))
        except EntryNotFoundError:
            continue
        except Exception as error:
            raise DataError(_no_weights(name, full, error)) from error
        return


def hub_file(name: str) -> Path | None:
    """Where the weights of a transformer lie on this machine, or None; never asks the network. Imports timm.

    Raises:
        ConfigError: timm has no pretrained weights of this name.
    """
    config = pretrained_config(name)
    if config.hf_hub_id:
        return _cached_hub_file(config.hf_hub_id, config.hf_hub_filename)
    import torch

    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(config.url).path).name
    return file if file.is_file() else None


def pretrained_config(name: str) -> Any:
    """timm's description of the pretrained weights of a transformer.

    Raises:
        ConfigError: timm has no pretrained weights of this name, or they were trained with quick-GELU and the name
            stands for plain GELU.
    """
    architecture, tag = split_name(name)
    config = _registered(f"{architecture}.{tag}" if tag else architecture)
    if config is None or not (config.hf_hub_id or config.url):
        raise ConfigError(
            f"backbone {name}: timm has no pretrained weights of this name; choose another name or tag, "
            "or ask for untrained ones by the option weights: random"
        )
    _require_activation(name, architecture, config)
    return config


def _require_activation(name: str, architecture: str, config: Any) -> None:
    """Names were checked by a table; here timm's registry has the last word, and its notes."""
    if not is_clip(architecture) or is_quick(architecture):
        return
    right = f"{other_activation(architecture)}.{config.tag}"
    noted = any("quickgelu" in str(note).lower() for note in config.notes or ())
    if noted or _registered(right) is not None:
        raise ConfigError(wants_quick_gelu(name, right))


def _registered(full: str) -> Any:
    """timm's description of an architecture, or of an architecture and tag; None where it has none."""
    from timm.models import get_pretrained_cfg

    try:
        return get_pretrained_cfg(full)
    except RuntimeError:  # the architecture is known, and the tag is not
        return None


def _cached_hub_file(hub_id: str, filename: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = hub_id.partition("@")
    for candidate in (filename,) if filename else _HUB_FILES:
        found = try_to_load_from_cache(repository, candidate, revision=revision or None)
        if isinstance(found, str):
            return Path(found)
    return None


def _no_weights(name: str, full: str, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or ["no details"])[0]
    fetch = f"import timm; timm.create_model('{full}', pretrained=True)"
    return (
        f"backbone {name}: its weights are not on this machine (looked for in {_weights_folder(name)}) and could not "
        f'be fetched ({type(error).__name__}: {reason}). On a machine with access to the hub run python -c "{fetch}", '
        "copy that folder from there to here ($HF_HOME and $HF_HUB_CACHE move it), and set HF_HUB_OFFLINE=1, so that "
        "nobody asks the hub again; or choose efficientnet_lite0, whose weights need no hub"
    )


def _weights_folder(name: str) -> Path:
    """Where the weights of a transformer are looked for."""
    config = pretrained_config(name)
    if not config.hf_hub_id:
        import torch

        return Path(torch.hub.get_dir()) / "checkpoints"
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"models--{config.hf_hub_id.partition('@')[0].replace('/', '--')}"
