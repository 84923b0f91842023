"""The names of backbones: ``efficientnet_lite0`` and every vision transformer of timm, without importing timm."""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown

EFFICIENTNET = "efficientnet_lite0"

# The modules of timm whose models keep one token a patch from the first block to the last.
_MODULES = ("vision_transformer", "deit", "eva")

_ENTRY_POINT = re.compile(r"^@register_model\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
# Where an entry of timm's tables of weights begins: architecture, tag, and the star of a default.
_WEIGHTS = re.compile(r"^ +['\"](\w+)(?:\.(\w+)(\*?))?['\"]\s*:", re.MULTILINE)
_COMMENT = re.compile(r"^\s*#.*\n", re.MULTILINE)
_SOURCE = re.compile(r"hf_hub_id=|url=['\"]\w")


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
    if not tag and is_quick(architecture) and "openai" in pretrained_tags(architecture):
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
    twin = other_activation(architecture)
    if tag in pretrained_tags(architecture):
        if _named(f"{twin}.{tag}") and is_clip(architecture) and not is_quick(architecture):
            raise ConfigError(wants_quick_gelu(name, f"{twin}.{tag}"))
    elif tag and is_clip(architecture) and _named(f"{twin}.{tag}"):
        raise ConfigError(f"backbone {name}: timm's weights {tag} go with plain GELU; use {twin}.{tag}")
    elif tag:
        raise ConfigError(f"backbone {name}: " + unknown("pretrained tag", tag, pretrained_tags(architecture)))


def require_right_default(name: str) -> None:
    """Refuse a CLIP transformer without a tag where timm's default weights go with quick-GELU and the name has it not.

    Raises:
        ConfigError: it is so; the message names what is right.
    """
    architecture, tag = split_name(name)
    default = tag or default_tag(architecture)
    right = f"{other_activation(architecture)}.{default}"
    if is_clip(architecture) and not is_quick(architecture) and _named(right):
        others = [other for other in pretrained_tags(architecture) if not _named(f"{right.partition('.')[0]}.{other}")]
        instead = f", or one of its weights for plain GELU: {', '.join(others)}" if others else ""
        raise ConfigError(wants_quick_gelu(f"{name} (timm's default weights: {default})", right) + instead)


def wants_quick_gelu(name: str, right: str) -> str:
    """What is said of a backbone whose weights go with quick-GELU and that would be built with plain GELU."""
    return f"backbone {name}: these weights were trained with quick-GELU; use {right}"


def is_quick(architecture: str) -> bool:
    """Whether a CLIP transformer is built with quick-GELU, x sigmoid(1.702 x)."""
    return "_clip_quickgelu_" in architecture


def other_activation(architecture: str) -> str:
    """The name of the same CLIP transformer with plain GELU in place of quick-GELU, or the other way round."""
    if is_quick(architecture):
        return architecture.replace("_clip_quickgelu_", "_clip_")
    return architecture.replace("_clip_", "_clip_quickgelu_")


def is_dino(name: str) -> bool:
    """Whether a backbone was trained by DINO or one of its successors: its last level is made of keys."""
    return "dino" in name


def is_clip(name: str) -> bool:
    """Whether a backbone is a CLIP transformer, which has a native resolution."""
    return "_clip_" in name.partition(".")[0]


def pretrained_tags(architecture: str) -> tuple[str, ...]:
    """The pretrained tags that timm knows for an architecture.

    Of quick-GELU variants they are those of the plain architecture of which timm says that they were trained with it.
    """
    return tuple(sorted(_weights().get(architecture, ())))


def default_tag(architecture: str) -> str:
    """The tag of the weights that timm takes where a name has none; empty where it has no weights."""
    having = {tag: entry for tag, entry in _weights().get(architecture, {}).items() if entry.available}
    return next((tag for tag, entry in having.items() if entry.starred), next(iter(having), ""))


def _named(full: str) -> bool:
    architecture, _, tag = full.partition(".")
    return architecture in _architectures() and tag in _weights().get(architecture, ())


@dataclass(frozen=True)
class _Entry:
    """What timm's table of weights says of one tag."""

    starred: bool
    available: bool


@functools.cache
def _weights() -> dict[str, dict[str, _Entry]]:
    """Architecture -> tag -> entry, in the order of timm's source."""
    found: dict[str, dict[str, _Entry]] = {}
    quick: dict[str, dict[str, _Entry]] = {}
    for architecture, tag, star, text in _entries():
        entry = _Entry(bool(star), bool(_SOURCE.search(text)))
        found.setdefault(architecture, {})[tag] = entry
        # timm derives the entries of quick-GELU variants from these notes.
        if is_clip(architecture) and "quickgelu" in text:
            quick.setdefault(other_activation(architecture), {})[tag] = entry
    return found | {name: found.get(name, {}) | entries for name, entries in quick.items()}


def _entries() -> Iterator[tuple[str, str, str, str]]:
    """Architecture, tag, star and text of each entry."""
    for source in _sources():
        code = _COMMENT.sub("", source)
        begun = list(_WEIGHTS.finditer(code))
        ends = [match.start() for match in begun[1:]] + [len(code)]
        for match, end in zip(begun, ends, strict=True):
            architecture, tag, star = match.groups()
            if tag:
                yield architecture, tag, star, code[match.end() : end].partition("\n}")[0]


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
