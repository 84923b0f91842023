"""The names of backbones: ``efficientnet_lite0`` and every vision transformer of timm, without importing timm."""

from __future__ import annotations

import functools
import importlib.util
import re
from pathlib import Path

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown

EFFICIENTNET = "efficientnet_lite0"

# The modules of timm whose models keep one token a patch from the first block to the last.
_MODULES = ("vision_transformer", "deit", "eva")

_ENTRY_POINT = re.compile(r"^@register_model\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
_WEIGHTS = re.compile(r"^\s*['\"](\w+)\.(\w+)['\"]\s*:", re.MULTILINE)


def backbone_names() -> tuple[str, ...]:
    """All architectures: ``efficientnet_lite0``, then the vision transformers of the installed timm by name.

    A transformer may be followed by a dot and one of timm's pretrained tags, as in ``vit_small_patch16_224.dino``.
    """
    return (EFFICIENTNET, *sorted(_architectures()))


def split_name(name: str) -> tuple[str, str]:
    """Architecture and pretrained tag (empty: timm's default) of a backbone's name.

    CLIP transformers with quick-GELU stand for OpenAI's weights unless a tag says otherwise.
    """
    architecture, _, tag = name.partition(".")
    if not tag and "_clip_quickgelu_" in architecture and "openai" in pretrained_tags(architecture):
        tag = "openai"
    return architecture, tag


def check_name(name: str) -> None:
    """Refuse what is not a backbone.

    Raises:
        ConfigError: the architecture or its tag is unknown (the nearest is suggested), or the tag's weights belong to
            another activation function.
    """
    architecture, tag = split_name(name)
    if architecture not in backbone_names():
        raise ConfigError(unknown("backbone", architecture, backbone_names()))
    if tag and tag not in pretrained_tags(architecture):
        raise ConfigError(f"backbone {name}: " + unknown("pretrained tag", tag, pretrained_tags(architecture)))
    if tag == "openai" and "_clip_" in architecture and "_quickgelu_" not in architecture:
        right = architecture.replace("_clip_", "_clip_quickgelu_")
        raise ConfigError(f"backbone {name}: OpenAI trained these weights with quick-GELU; use {right}.{tag}")


def is_dino(name: str) -> bool:
    """Whether a backbone was trained by DINO or one of its successors: its last level is made of keys."""
    return "dino" in name


def is_clip(name: str) -> bool:
    """Whether a backbone is a CLIP transformer, which has a native resolution."""
    return "_clip_" in name.partition(".")[0]


@functools.cache
def pretrained_tags(architecture: str) -> tuple[str, ...]:
    """The pretrained tags that timm knows for an architecture."""
    # timm derives the entries of quick-GELU variants from those of the plain architecture.
    plain = architecture.replace("_clip_quickgelu_", "_clip_")
    found = {tag for source in _sources() for name, tag in _WEIGHTS.findall(source) if name in (plain, architecture)}
    return tuple(sorted(found))


@functools.cache
def _architectures() -> frozenset[str]:
    """Entry points named in timm's source. Importing timm would import torch and take seconds."""
    return frozenset(name for source in _sources() for name in _ENTRY_POINT.findall(source))


@functools.cache
def _sources() -> tuple[str, ...]:
    spec = importlib.util.find_spec("timm")
    if spec is None or spec.origin is None:
        raise ConfigError("timm is not installed; it provides the vision transformers")
    folder = Path(spec.origin).parent / "models"
    return tuple((folder / f"{module}.py").read_text(encoding="utf-8") for module in _MODULES)
