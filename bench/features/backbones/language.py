"""Dense features in the space of images and texts: what the last attention of CLIP or SigLIP says of each patch.

Of CLIP, with a class token (L the last block, x its input)::

    values:    proj(ln_post(out(v)))                     v the values of ln_1(x)
    neighbour: proj(ln_post(out(softmax(k k' / sqrt(d) + w) v)))
               w_ij = exp(-|i - j|^2 / (2 s^2)) of the places of patches; 0 from and to the class token

so without the block's residual and MLP (MaskCLIP: Zhou et al., ECCV 2022, section 3.2; NACLIP: Hajimiri et al., WACV
2025, equations 5 to 8). Of SigLIP, whose class token is a pooling attention over all patches after the final norm, it
is what this attention would give if it saw the one patch alone: y + mlp(norm(y)), y = out(v).

Importing this module imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from spectral_bench.bench.features.backbones.timm_names import (
    default_tag,
    is_tuned,
    joint_width,
    pools_by_attention,
    pretrained_tags,
    split_name,
)
from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.common.names import unknown

if TYPE_CHECKING:
    from torch import Tensor

LANGUAGE = "language"
"""The facet."""

OPTIONS = ("attention", "deviation")
"""Options that only this facet has."""

DEVIATION = 5.0
"""In patches, of the Gaussian, as published."""

_ATTENTIONS = ("values", "neighbour")


def complete(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those options of the facet that are not at their defaults.

    Raises:
        ConfigError: the network has no such space, or an option is not valid.
    """
    architecture, tag = split_name(name)
    joint_width(architecture)
    usual = tag or default_tag(architecture)
    if is_tuned(usual) and (tag or options.get("weights", "hub") == "hub"):
        others = [other for other in pretrained_tags(architecture) if not is_tuned(other)]
        raise ConfigError(
            f"backbone {name}: its weights {usual} were fine-tuned to classify, and share no space with texts; "
            f"choose one of {', '.join(others)}"
        )
    for key in ("layers", "norm"):
        if options.get(key, "thirds" if key == "layers" else True) not in ("thirds", True):
            raise ConfigError(f"backbone {name}: option {key} is not for facet language, which is of the last block")
    attention = options.get("attention", "values")
    if attention not in _ATTENTIONS:
        raise ConfigError(f"backbone {name}: option attention: " + unknown("value", str(attention), _ATTENTIONS))
    if attention == "values":
        if "deviation" in options:
            raise ConfigError(f"backbone {name}: option deviation is for attention neighbour only")
        return {}
    if pools_by_attention(architecture):
        raise ConfigError(f"backbone {name}: attention neighbour is for CLIP; SigLIP has values only")
    deviation = options.get("deviation", DEVIATION)
    if isinstance(deviation, bool) or not isinstance(deviation, int | float) or not 0 < deviation < 1e6:
        raise ConfigError(
            f"backbone {name}: option deviation: expected a positive number of patches, got {deviation!r}"
        )
    return {"attention": attention} | ({} if deviation == DEVIATION else {"deviation": float(deviation)})


def sequences(network: Any, inputs: Tensor, options: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """The keys of the last attention, and the features in the joint space.

    Args:
        network: a transformer of timm, with its projection as the classifier where it has a class token.
        inputs: (B, 3, H, W) float32.
        options: complete ones of the backbone.

    Returns:
        (B, patches, C) keys, all heads side by side, and (B, patches, J) features.
    """
    if network.attn_pool is not None:
        return _pooled(network, inputs)
    last = len(network.blocks) - 1
    if not last:
        raise DataError("facet language needs a transformer of two blocks or more")
    seen = network.forward_intermediates(
        inputs, [last - 1], return_prefix_tokens=True, output_fmt="NLC", stop_early=True, intermediates_only=True
    )
    patches, prefix = seen[0]
    block = network.blocks[last]
    queries, keys, values = _qkv(block, patches, prefix)
    del queries
    tokens = prefix.shape[1]
    if options.get("attention", "values") == "neighbour":
        grid = (
            inputs.shape[-2] // network.patch_embed.patch_size[0],
            inputs.shape[-1] // network.patch_embed.patch_size[1],
        )
        deviation = float(options.get("deviation", DEVIATION))
        values = _near(keys, values, block.attn.num_heads, grid, tokens, deviation)
    told = network.head(network.norm(block.attn.proj(values[:, tokens:])))
    return keys[:, tokens:], told


def _qkv(block: Any, patches: Tensor, prefix: Tensor) -> tuple[Tensor, ...]:
    """Queries, keys and values (B, N, C) of a block's input, class token first."""
    import torch

    found: tuple[Tensor, ...] = block.attn.qkv(block.norm1(torch.cat((prefix, patches), 1))).chunk(3, dim=-1)
    return found


def _near(keys: Tensor, values: Tensor, heads: int, grid: tuple[int, int], prefix: int, deviation: float) -> Tensor:
    """Values (B, N, C) after an attention of keys to keys that is drawn to neighbours; prefix tokens come first."""
    import torch
    from torch.nn import functional

    rows, columns = torch.meshgrid(*(torch.arange(side, device=keys.device) for side in grid), indexing="ij")
    places = torch.stack((rows.flatten(), columns.flatten()), 1).float()
    apart = (places[:, None] - places[None]).square().sum(-1)
    drawn = functional.pad(torch.exp(-apart / (2 * deviation**2)), (prefix, 0, prefix, 0))
    k, v = (part.reshape(*part.shape[:2], heads, -1).transpose(1, 2) for part in (keys, values))
    weights = (k @ k.transpose(-2, -1) * k.shape[-1] ** -0.5 + drawn).softmax(-1)
    attended: Tensor = (weights @ v).transpose(1, 2).flatten(2)
    return attended


def _pooled(network: Any, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Of a network that pools by attention: its keys, and what it would read out of each patch alone."""
    pool = network.attn_pool
    tokens = network.forward_features(inputs)
    if pool.pos_embed is not None:
        tokens = tokens + pool.pos_embed.unsqueeze(0)
    keys, values = pool.kv(tokens[:, network.num_prefix_tokens :]).chunk(2, dim=-1)
    told = pool.proj(values)
    return keys, told if pool.mlp is None else told + pool.mlp(pool.norm(told))
