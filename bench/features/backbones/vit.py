"""Vision transformers of timm as dense feature extractors."""

from __future__ import annotations

from typing import Any

import timm
from torch import Tensor, nn
from torch.nn import functional

from spectral_bench.bench.features.backbones.base import Backbone
from spectral_bench.bench.features.backbones.info import BackboneInfo
from spectral_bench.bench.features.backbones.names import split_name
from spectral_bench.bench.features.backbones.weights import pretrained_config
from spectral_bench.common.errors import ConfigError, DataError


class VisionTransformer(Backbone):
    """Patch tokens of a timm transformer; class and register tokens are dropped.

    Low level: the output of block 0; middle: of block depth // 2; high: of the last block after the final norm. For the
    DINO family the high level is made of the keys of the last attention, all heads side by side, before any
    normalisation or rotation. Networks that pool before their norm get that norm on each token.
    """

    def __init__(self, info: BackboneInfo, network: Any) -> None:
        config = network.pretrained_cfg
        super().__init__(info, config["mean"], config["std"])
        self.network = network
        self.depth = len(network.blocks)

    def _levels(self, inputs: Tensor) -> tuple[Tensor, ...]:
        rows, columns = inputs.shape[-2] // self.info.stride, inputs.shape[-1] // self.info.stride
        levels = self._keys(inputs) if self.info.family == "dino" else self._tokens(inputs)
        return tuple(level.reshape(len(level), rows, columns, -1) for level in levels)

    def _tokens(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        last, (low, mid) = self.network.forward_intermediates(inputs, [0, self.depth // 2], output_fmt="NLC")
        return low, mid, self.network.fc_norm(last[:, self.network.num_prefix_tokens :])

    def _keys(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As ``_tokens``; the last block is left out, for its keys depend on each token of its input alone."""
        wanted = sorted({0, self.depth // 2, self.depth - 2})
        outputs = self.network.forward_intermediates(
            inputs, wanted, output_fmt="NLC", stop_early=True, intermediates_only=True
        )
        after = dict(zip(wanted, outputs, strict=True))
        block = self.network.blocks[-1]
        keys = project_keys(block.attn, block.norm1(after[self.depth - 2]))
        return after[0], after[self.depth // 2], keys


def project_keys(attention: Any, tokens: Tensor) -> Tensor:
    """The keys (B, N, C) that an attention module of timm makes of its input tokens (B, N, C)."""
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
    architecture, tag = split_name(name)
    full = f"{architecture}.{tag}" if tag else architecture
    if pretrained:
        pretrained_config(name)  # timm would go on with random weights where it has none
    try:
        network = timm.create_model(full, pretrained=pretrained, num_classes=0, dynamic_img_size=not native)
    except Exception as error:
        if not pretrained:
            raise ConfigError(f"backbone {name}: timm cannot build it ({type(error).__name__}: {error})") from error
        raise DataError(_no_weights(name, full, error)) from error
    return network.eval()


def _no_weights(name: str, full: str, error: Exception) -> str:
    reason = str(error).strip().splitlines()
    return (
        f"backbone {name}: its weights are not on this machine and could not be fetched "
        f"({type(error).__name__}: {reason[0] if reason else 'no details'}). On a machine with access to the hub run "
        f"python -c \"import timm; timm.create_model('{full}', pretrained=True)\" and copy its folder $HF_HOME "
        "(default ~/.cache/huggingface) here, or choose efficientnet_lite0, whose weights need no hub"
    )
