"""What of a transformer's blocks becomes a level: tokens, or the keys, queries or values of their attention.

Projections are taken as a block's linear layer gives them, all heads side by side: before any normalisation of queries
and keys, and before any rotation of positions (RoPE), which make other things of them.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

PROJECTIONS = {"queries": 0, "keys": 1, "values": 2}
"""Facet -> its place in a joint projection of timm."""


class _EnoughError(Exception):
    """The last block that is asked for was seen: the rest of the network need not be computed."""


def tokens(network: Any, inputs: Tensor, layers: Sequence[int], norm: str | bool) -> tuple[Tensor, ...]:
    """The outputs of blocks, without class and register tokens.

    Args:
        network: a transformer of timm.
        inputs: (B, 3, H, W) float32.
        layers: numbers of blocks from 0, ascending.
        norm: the network's final norm goes to the last block's output (True), to all (``all``), or to none (False).

    Returns:
        (B, patches, C) a layer.
    """
    final = len(network.blocks) - 1
    wanted = sorted(set(layers))
    outputs = network.forward_intermediates(inputs, wanted, output_fmt="NLC", stop_early=True, intermediates_only=True)
    after = dict(zip(wanted, outputs, strict=True))
    normed = {layer for layer in wanted if norm == "all" or (norm is True and layer == final)}
    return tuple(network.fc_norm(network.norm(after[i])) if i in normed else after[i] for i in layers)


def projections(network: Any, inputs: Tensor, layers: Sequence[int], facet: str) -> tuple[Tensor, ...]:
    """The keys, queries or values of blocks, without class and register tokens.

    Args:
        network: a transformer of timm, each of whose blocks has one attention.
        inputs: (B, 3, H, W) float32.
        layers: numbers of blocks from 0.
        facet: ``queries``, ``keys`` or ``values``.

    Returns:
        (B, patches, C) a layer; C is less than the network's width where heads share keys and values.
    """
    seen: dict[int, Tensor] = {}

    def see(layer: int, found: Tensor) -> None:
        seen[layer] = found[:, network.num_prefix_tokens :]
        if len(seen) == len(set(layers)):
            raise _EnoughError

    # A twin that shares all weights is watched, not the network: images are computed in threads side by side.
    blocks = _twin(network.blocks)
    for layer in set(layers):
        watched = _watched(network.blocks[layer], facet, lambda found, layer=layer: see(layer, found))  # type: ignore[misc]
        blocks._modules[str(layer)] = watched
    twin = _twin(network)
    twin._modules["blocks"] = blocks
    try:
        twin.forward_features(inputs)
    except _EnoughError:
        return tuple(seen[layer] for layer in layers)
    raise RuntimeError(f"blocks {sorted(set(layers) - set(seen))} of {type(network).__name__} were not computed")


def _twin(module: nn.Module) -> Any:
    """The same module, with children and hooks that can be exchanged."""
    twin = copy.copy(module)
    twin._modules = dict(module._modules)
    twin._forward_hooks = OrderedDict()
    twin._forward_pre_hooks = OrderedDict()
    return twin


def _watched(block: Any, facet: str, see: Callable[[Tensor], None]) -> Any:
    """A twin of a block that shows the facet of what it computes."""
    twin = _twin(block)
    joint = getattr(block, "in_proj", None)  # attention and MLP side by side share one linear layer
    if joint is not None:
        shown = _twin(joint)
        shown.register_forward_hook(
            lambda _, __, output: see(output.split(block.in_split, dim=-1)[1 + PROJECTIONS[facet]])
        )
        twin._modules["in_proj"] = shown
        return twin
    shown = _twin(block.attn)
    shown.register_forward_pre_hook(lambda attention, given: see(project(attention, given[0], facet)))
    twin._modules["attn"] = shown
    return twin


def project(attention: Any, tokens: Tensor, facet: str) -> Tensor:
    """The queries, keys or values (B, N, C') that an attention module of timm makes of its input tokens (B, N, C)."""
    joint = getattr(attention, "qkv", None)
    if joint is None:
        alone: Tensor = getattr(attention, f"{facet[0]}_proj")(tokens)
        return alone
    if getattr(attention, "q_bias", None) is None:
        found = joint(tokens)
    else:  # EVA: queries and values have biases of their own, keys have none
        bias = torch.cat((attention.q_bias, attention.k_bias, attention.v_bias))
        separate = attention.qkv_bias_separate
        found = joint(tokens) + bias if separate else functional.linear(tokens, joint.weight, bias)
    part: Tensor = found.chunk(3, dim=-1)[PROJECTIONS[facet]]
    return part
