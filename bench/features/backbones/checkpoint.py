"""Weights of a network of timm from a file of one's own: safetensors, or what ``torch.save`` writes, without code."""

from __future__ import annotations

import argparse
import importlib
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from spectral_bench.common.errors import DataError
from spectral_bench.common.names import few

# What is around a network's weights in files of training codes; of several the first is taken: averages before what
# was stepped, teachers before students.
_AROUND = ("state_dict_ema", "model_ema", "teacher", "target_encoder", "state_dict", "model", "student")
# Parts that are trained along with a network and are none of it.
_BESIDE = ("head", "head_dist", "fc", "classifier", "decoder", "mask_token", "pre_logits")
_FIRST = ("patch_embed.proj.weight", "embeds.proj.weight")  # of which every transformer of timm has one


def load_checkpoint(network: nn.Module, path: Path, name: str) -> None:
    """Fill a network of timm with the weights of a file.

    What is around the weights is opened (``teacher``, ``state_dict``, ...), prefixes are removed, the names of other
    codes are translated and position embeddings resampled as timm does for its own files. Heads, decoders and mask
    tokens beside the network are left.

    Args:
        network: without classifier.
        path: the file.
        name: of the backbone, for errors.

    Raises:
        DataError: it cannot be read, or holds code; weights are missing, or of another shape; it holds others besides.
    """
    told = f"backbone {name}: weights {path}"
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    first = next((key for key in _FIRST if key in shapes), next(iter(shapes)))  # it tells what stands before all names
    state = _translated(network, _without_prefix(_opened(read_weights(path, told), told), first, told))
    missing = sorted(set(shapes) - set(state))
    beside = sorted(key for key in set(state) - set(shapes) if not _is_beside(key))
    other = sorted(key for key in set(state) & set(shapes) if tuple(state[key].shape) != shapes[key])
    if other:
        has, wanted = tuple(state[other[0]].shape), shapes[other[0]]
        raise DataError(
            f"{told}: {other[0]} is of shape {has}, and of {wanted} in this architecture ({len(other)} such)"
        )
    if missing or beside:
        words = [f"lacks {few(missing)}"] * bool(missing) + [f"has besides {few(beside)}"] * bool(beside)
        raise DataError(f"{told}: {', and '.join(words)}; is it of this architecture?")
    network.load_state_dict({key: value for key, value in state.items() if key in shapes})


_NO_PICKLE = (LookupError, ValueError, TypeError, AttributeError, AssertionError, struct.error)
"""What torch's unpickler (2.14) raises besides its own error at bytes that are no pickle."""


def read_weights(path: Path, told: str) -> Any:
    """What a file holds; no code in it is carried out.

    Raises:
        DataError: there is none, it is damaged, or it holds code.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([argparse.Namespace]):  # how the codes of DINO and iBOT keep options
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"{told}: no such file") from error
    except (pickle.UnpicklingError, *_NO_PICKLE) as error:
        raise DataError(
            f"{told}: it is damaged, or holds Python objects other than tensors, which are not loaded; save its "
            "state_dict alone, best as safetensors"
        ) from error
    except (OSError, RuntimeError, EOFError, SafetensorError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{told}: cannot be read ({reason})") from error


def _opened(found: Any, told: str) -> dict[str, Tensor]:
    """The names and weights of what a file holds."""
    while isinstance(found, Mapping) and not any(isinstance(value, Tensor) for value in found.values()):
        around = next((key for key in _AROUND if isinstance(found.get(key), Mapping)), None)
        if around is None:
            break
        found = found[around]
    weights = {str(key): value for key, value in found.items()} if isinstance(found, Mapping) else {}
    weights = {key: value for key, value in weights.items() if isinstance(value, Tensor)}
    if not weights:
        keys = f"; it has {few(sorted(map(str, found)))}" if isinstance(found, Mapping) and found else ""
        raise DataError(f"{told}: holds no weights by name{keys}; expected them at the top, or under {few(_AROUND)}")
    return weights


def _without_prefix(state: dict[str, Tensor], first: str, told: str) -> dict[str, Tensor]:
    """The weights of the network alone, without what stands before all of their names, as ``module.backbone.``."""
    prefixes = sorted(key.removesuffix(first) for key in state if key.endswith(f".{first}") or key == first)
    if len(prefixes) > 1:
        raise DataError(f"{told}: holds several networks, under {few(prefixes)}; save the one that is meant alone")
    if prefixes in ([], [""]):
        return state
    return {key.removeprefix(prefixes[0]): value for key, value in state.items() if key.startswith(prefixes[0])}


def _translated(network: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """With the names and sizes of timm, where its own files need that too."""
    translate = getattr(importlib.import_module(type(network).__module__), "checkpoint_filter_fn", None)
    if translate is None:
        return state
    try:
        return dict(translate(state, network))
    except (LookupError, ValueError, RuntimeError, AttributeError, TypeError):
        return state  # of another architecture, which the names as they are tell


def _is_beside(key: str) -> bool:
    first = key.partition(".")[0]
    return first in _BESIDE or first.startswith("decoder_")
