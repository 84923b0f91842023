"""Which features measured rows use, in the words of published ones: facet, layer, and the mirrored image."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from spectral_bench.results.specification import BackboneSpec, FitSpec

_TRANSFORMERS = ("vit_", "naflexvit_", "flexivit_", "test_vit", "deit", "beit", "eva", "aimv2_")
"""How the names of timm's networks begin that keep one token a patch; others with these letters have feature maps."""
_LAST_BLOCK = {"tiny": 11, "small": 11, "base": 11, "large": 23}
_UNUSUAL_DEPTH = re.compile(r"_\d+x\d|_xsmall_|_pe_lang_")
_LEVELS = {
    "input": {"last": True, "last_l2": True, "all_standardised_l2": False},
    "level": {"-1": True, "0": False, "1": False, "2": False, "all_standardised": False},
    "features": {"last": True, "all": False},
}
"""Parameters that choose levels -> whether a value is the last level alone; other values choose none."""


def facet(spec: FitSpec) -> str | None:
    """What is taken of the last layer that is used; None for a backbone of the user's own, or features from files.

    Options of a record tell a facet only where it is not that of before there was a choice: keys of the last layer for
    a network with DINO in its name, else tokens.
    """
    name = spec.backbone.name
    if not _ships(spec):
        return None
    if not name.lower().startswith(_TRANSFORMERS):
        return "feature maps"
    stated = str(spec.backbone.options.get("facet", "last_keys" if "dino" in name.lower() else "tokens"))
    return "keys" if stated == "last_keys" else stated


def layer(spec: FitSpec) -> str | None:
    """``last`` for a method that looks at the last layer alone, ``all`` for one that sees the usual levels.

    Other blocks are told by their numbers. None as for ``facet``.
    """
    if not _ships(spec):
        return None
    blocks = spec.backbone.options.get("layers")
    only_last = _looks_at_last(spec.params)
    if blocks is None:
        return "last" if only_last else "all"
    used = list(blocks)[-1:] if only_last else list(blocks)
    if used == [_last_block(spec.backbone)]:
        return "last"
    return f"block {used[0]}" if len(used) == 1 else f"blocks {', '.join(map(str, used))}"


def _ships(spec: FitSpec) -> bool:
    return ":" not in spec.backbone.name and str(spec.features.mode) in ("cache", "online")


def _looks_at_last(params: Mapping[str, Any]) -> bool:
    """Whether all parameters that choose levels choose the last one; a method without any sees the usual levels."""
    stated = {key: str(params.get(key)) for key in _LEVELS}
    chosen = [values[stated[key]] for key, values in _LEVELS.items() if stated[key] in values]
    return bool(chosen) and all(chosen)


def _last_block(backbone: BackboneSpec) -> int | None:
    """The number of the last block of a transformer whose size is one of the usual ones; None where it is not."""
    size = re.search("|".join(_LAST_BLOCK), backbone.name)
    return None if size is None or _UNUSUAL_DEPTH.search(backbone.name) else _LAST_BLOCK[size[0]]
