"""The networks of timm by name: which there are, with which weights, how wide, and with which activation.

Two kinds are known: vision transformers, and networks that give a feature map a stage, such as ConvNeXt.

timm cannot be asked without importing torch, which takes seconds, and a grid is planned in less. So what the registry
of one release of timm says is kept beside this file, in ``timm_models.json``; any other release is asked itself.
``keep()`` writes that file anew for the timm that is installed.
"""

from __future__ import annotations

import functools
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown

KEPT = Path(__file__).with_name("timm_models.json")

# The modules of timm whose models keep one token a patch from the first block to the last.
_MODULES = ("vision_transformer", "deit", "eva", "naflexvit")

# Those whose models give a map a stage, of any input whose sides are multiples of its stride.
_STAGED = (
    *("convnext", "densenet", "efficientnet", "hgnet", "hrnet", "inception_next", "mambaout", "metaformer"),
    *("mobilenetv3", "pvt_v2", "regnet", "resnet", "resnetv2"),
)
_TAKEN = ("efficientnet_lite0",)
"""Names that stand for backbones of ours, not for timm's networks of the same name."""


def transformer_names() -> tuple[str, ...]:
    """The architectures of vision transformers in alphabetical order.

    Each may be followed by a dot and one of timm's pretrained tags, as in ``vit_small_patch16_224.dino``.
    """
    return tuple(name for name, model in _models().items() if "stages" not in model)


def staged_names() -> tuple[str, ...]:
    """The architectures of networks with a feature map a stage in alphabetical order; tags as above."""
    return tuple(name for name, model in _models().items() if "stages" in model)


def is_transformer(name: str) -> bool:
    """Whether a name, without its tag, is one of ``transformer_names``."""
    model = _models().get(name.partition(".")[0])
    return model is not None and "stages" not in model


def is_staged(name: str) -> bool:
    """Whether a name, without its tag, is one of ``staged_names``."""
    return "stages" in _models().get(name.partition(".")[0], {})


def is_naflex(name: str) -> bool:
    """Whether a vision transformer is one of timm's NaFlex, which take every size as it is."""
    return name.startswith("naflexvit_")


def stages(architecture: str) -> tuple[tuple[int, int], ...]:
    """Channels and stride in pixels of each stage's feature map, first to last.

    Raises:
        ConfigError: the installed timm cannot tell its stages.
    """
    known = _kept()["models"].get(architecture, {}).get("stages") or _built_stages(architecture)
    return tuple((channels, stride) for channels, stride in known)


def width_and_patch(architecture: str) -> tuple[int, int]:
    """Channels of a token, and the side of a patch in pixels.

    Raises:
        ConfigError: its patches are not square.
    """
    shape = _shape(architecture)
    width, (down, across) = shape["width"], shape["patch"]
    if down != across:
        raise ConfigError(
            f"backbone {architecture}: its patches are {down} x {across} pixels; only square ones will do"
        )
    return width, down


def depth(architecture: str) -> int:
    """How many blocks an architecture has."""
    return int(_shape(architecture)["depth"])


def facet_widths(architecture: str, facet: str) -> tuple[int, ...]:
    """Channels of the queries, keys or values of each block: less than a token has where heads share keys and values.

    Raises:
        ConfigError: its blocks have several attentions, so that a block has no one set of keys.
    """
    shape = _shape(architecture)
    if shape.get("attentions", 1) != 1:
        raise ConfigError(
            f"backbone {architecture}: its blocks have {shape['attentions']} attentions side by side, so "
            "facet must be tokens"
        )
    widths = shape.get(facet, [shape["width"]] * shape["depth"])
    return tuple(widths)


def joint_width(architecture: str) -> int:
    """Channels of the space that a CLIP or SigLIP transformer shares with its text network.

    Raises:
        ConfigError: there is none, or its last attention is not one that can be read out for each patch.
    """
    if found := int(_shape(architecture).get("joint", 0)):
        return found
    raise ConfigError(
        f"backbone {architecture}: facet language is for CLIP transformers with a class token, and SigLIP's that pool "
        "by attention, such as vit_base_patch16_clip_quickgelu_224 or vit_base_patch16_siglip_224"
    )


def pools_by_attention(architecture: str) -> bool:
    """Whether a transformer with ``joint_width`` reads images out by a pooling attention: SigLIP's."""
    return "_siglip_" in architecture


def _shape(architecture: str) -> Mapping[str, Any]:
    """Width, patch, depth of an architecture, and what is unusual of its attention."""
    # The same in every release, and older ones cannot build a network without memory (timm 1.0.15: RuntimeError).
    known: Mapping[str, Any] | None = _kept()["models"].get(architecture)
    return known or _built(architecture)


def split_name(name: str) -> tuple[str, str]:
    """Architecture and pretrained tag (empty: timm's default) of a backbone's name.

    CLIP transformers with quick-GELU stand for OpenAI's weights unless a tag says otherwise.
    """
    architecture, _, tag = name.partition(".")
    if not tag and is_quick(architecture) and "openai" in pretrained_tags(architecture):
        tag = "openai"
    return architecture, tag


def check_name(name: str) -> None:
    """Refuse a tag that an architecture has not.

    Raises:
        ConfigError: the tag is unknown (the nearest is suggested), or its weights belong to another activation.
    """
    architecture, tag = split_name(name)
    twin = other_activation(architecture)
    if tag in pretrained_tags(architecture):
        if _is_known(f"{twin}.{tag}") and is_clip(architecture) and not is_quick(architecture):
            raise ConfigError(wants_quick_gelu(name, f"{twin}.{tag}"))
    elif tag and is_clip(architecture) and _is_known(f"{twin}.{tag}"):
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
    if is_clip(architecture) and not is_quick(architecture) and _is_known(right):
        others = [
            other for other in pretrained_tags(architecture) if not _is_known(f"{right.partition('.')[0]}.{other}")
        ]
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
    """Whether weights were trained by DINO or one of its successors: their last level is made of keys.

    The pretrained tag decides, timm's default where the name has none; it need not say so where the architecture does
    (``vit_small_patch14_dinov2.lvd142m``). EUPE's networks are built like DINOv3's, and trained otherwise.
    """
    architecture, tag = split_name(name)
    tag = tag or default_tag(architecture)
    return "dino" in tag or ("dino" in architecture and not tag.startswith("eupe"))


def is_clip(name: str) -> bool:
    """Whether a backbone is a CLIP transformer, which has a native resolution."""
    return "_clip_" in name.partition(".")[0]


def pretrained_tags(architecture: str) -> tuple[str, ...]:
    """The pretrained tags that timm knows for an architecture.

    Of quick-GELU variants they are those of the plain architecture of which timm says that they were trained with it.
    """
    return tuple(_models().get(architecture, {}).get("tags", ()))


def default_tag(architecture: str) -> str:
    """The tag of the weights that timm takes where a name has none; empty where it has no weights."""
    return str(_models().get(architecture, {}).get("default", ""))


def _is_known(full: str) -> bool:
    architecture, _, tag = full.partition(".")
    return tag in pretrained_tags(architecture)


@functools.cache
def _models() -> Mapping[str, Mapping[str, Any]]:
    """Architecture -> what is known of it, by the kept table where it is of this timm, else by timm itself."""
    try:
        installed = importlib.metadata.version("timm")
    except importlib.metadata.PackageNotFoundError as error:
        raise ConfigError("timm is not installed; it provides the vision transformers") from error
    models: dict[str, dict[str, Any]] = _kept()["models"] if _kept()["timm"] == installed else ask_timm()
    return models


@functools.cache
def _kept() -> dict[str, Any]:
    kept: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8"))
    return kept


def ask_timm() -> dict[str, dict[str, Any]]:
    """What the registry of the installed timm says: the ``tags`` of each architecture, and its ``default`` tag."""
    import timm
    from timm.models import get_arch_pretrained_cfgs, get_pretrained_cfg

    found = {}
    names = {name: module for module in (*_MODULES, *_STAGED) for name in timm.list_models(module=module)}
    for name, module in sorted(names.items()):
        if name in _TAKEN:
            continue
        tags = sorted({full.partition(".")[2] for full in get_arch_pretrained_cfgs(name)} - {""})
        default = get_pretrained_cfg(name)
        usable = default if default is not None and (default.hf_hub_id or default.url) else None
        found[name] = {"tags": tags, "default": usable.tag or "" if usable is not None else ""}
        if module in _STAGED:
            found[name]["stages"] = []  # known once it is built
    return found


@functools.cache
def _built(architecture: str) -> dict[str, Any]:
    """``_shape`` of a network that is built without memory."""
    import timm
    import torch

    with torch.device("meta"):
        network: Any = timm.create_model(architecture, num_classes=0)
    width, blocks = int(network.embed_dim), list(network.blocks)
    embedding = network.embeds if is_naflex(architecture) else network.patch_embed
    shape: dict[str, Any] = {"width": width, "patch": [int(side) for side in embedding.patch_size]}
    shape["depth"] = len(blocks)
    if joint := _joint(architecture, network):
        shape["joint"] = joint
    if several := max(len(getattr(block, "attns", ())) for block in blocks):
        return shape | {"attentions": several}
    for facet, part in (("queries", 0), ("keys", 1), ("values", 2)):
        widths = [_projected(block, part) for block in blocks]
        if widths != [width] * len(blocks):
            shape[facet] = widths
    return shape


@functools.cache
def _built_stages(architecture: str) -> list[list[int]]:
    """``stages`` of a network that is built without memory."""
    import timm
    import torch

    try:
        with torch.device("meta"):
            network: Any = timm.create_model(architecture, num_classes=0)
    except RuntimeError as error:  # timm 1.0.20: Tensor.item() cannot be called on meta tensors
        raise ConfigError(f"backbone {architecture}: the installed timm cannot tell its stages ({error})") from error
    if not hasattr(network, "forward_intermediates"):  # DenseNet and HRNet in timm 1.0.20
        raise ConfigError(f"backbone {architecture}: the installed timm gives no maps of its stages; a newer one may")
    return [[int(stage["num_chs"]), int(stage["reduction"])] for stage in network.feature_info]


def _joint(architecture: str, network: Any) -> int:
    """``joint_width`` of a network without classifier; 0 where there is none."""
    from timm.models import get_pretrained_cfg

    if not architecture.startswith("vit_") or not ("_clip_" in architecture or pools_by_attention(architecture)):
        return 0
    if pools_by_attention(architecture):
        return int(network.embed_dim) if network.global_pool == "map" else 0
    named = [get_pretrained_cfg(f"{architecture}.{tag}") for tag in pretrained_tags(architecture) if not is_tuned(tag)]
    widths = {int(one.num_classes) for one in named if one is not None and one.num_classes}
    return widths.pop() if network.global_pool == "token" and len(widths) == 1 else 0


def is_tuned(tag: str) -> bool:
    """Whether weights of this tag were fine-tuned to classify, so that they share no space with texts any more."""
    return "_ft_" in f"_{tag}_"


def _projected(block: Any, part: int) -> int:
    """Channels of the queries (part 0), keys (1) or values (2) of a block."""
    if getattr(block, "in_proj", None) is not None:
        return int(block.in_split[1 + part])
    if block.attn.qkv is not None:
        return int(block.attn.qkv.out_features) // 3
    return int((block.attn.q_proj, block.attn.k_proj, block.attn.v_proj)[part].out_features)


def keep() -> None:
    """Write the table of the installed timm, one line an architecture, with the shape of each network."""
    lines = [
        f"    {json.dumps(name)}: "
        + json.dumps({**model, "stages": _built_stages(name)} if "stages" in model else _built(name) | model)
        for name, model in ask_timm().items()
    ]
    version = json.dumps(importlib.metadata.version("timm"))
    KEPT.write_text(f'{{\n  "timm": {version},\n  "models": {{\n' + ",\n".join(lines) + "\n  }\n}\n", encoding="utf-8")
