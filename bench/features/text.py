"""Text vectors by the text network of CLIP or SigLIP, through open_clip: words in sentences, averaged, of length 1.

Importing this module imports no torch.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_bench.bench.features.backbones import backbone_info, complete_options, load_backbone, weights_digest
from spectral_bench.bench.features.backbones.interface import file_digest
from spectral_bench.bench.features.backbones.language import LANGUAGE
from spectral_bench.bench.features.backbones.registry import content_name, is_own
from spectral_bench.bench.features.backbones.timm_names import is_clip, is_quick, is_transformer
from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.common.names import few, unknown
from spectral_bench.common.registry import is_path, is_weights_file
from spectral_bench.methods.maskclip.text_vectors import SUFFIX, TextVectors
from spectral_bench.results.specification import BackboneSpec

if TYPE_CHECKING:
    from torch import Tensor

TEMPLATES = ("clip80", "one", "none")
"""Names of lists of templates: the 80 of CLIP (Radford et al., ICML 2021) for ImageNet, one of them, the word alone."""

SUCH_AS = "vit_base_patch16_clip_quickgelu_224.openai"
"""A network that shares a space with texts, for messages."""

_KEPT = Path(__file__).with_name("text_templates.txt")
_BATCH = 256  # sentences at once

# The same weights under the names of open_clip's own towers, of those that are timm's, and of timm.
_TWINS = (
    ("visual.conv1.weight", "visual.trunk.patch_embed.proj.weight", "patch_embed.proj.weight"),
    ("visual.proj", "visual.head.proj.weight", "head.weight"),
    ("", "visual.trunk.attn_pool.proj.weight", "attn_pool.proj.weight"),
)


def templates(name: str) -> tuple[str, ...]:
    """A list of templates by name; ``{}`` stands for the word.

    Raises:
        ConfigError: the name is unknown.
    """
    if name not in TEMPLATES:
        raise ConfigError("--templates: " + unknown("name", name, TEMPLATES))
    known = {"none": ("{}",), "one": ("a photo of a {}.",)}
    return known.get(name) or tuple(_KEPT.read_text(encoding="utf-8").splitlines())


def require_open_clip() -> None:
    """Refuse to go on without the package.

    Raises:
        ConfigError: it is not installed.
    """
    if importlib.util.find_spec("open_clip") is None:
        raise ConfigError("open_clip is not installed, which holds the text networks: pip install open-clip-torch")


def parse_words(names: str | Sequence[str]) -> list[str]:
    """Words of a list, or of a text with commas between them.

    Raises:
        ConfigError: one is empty or stands twice, or there are fewer than two.
    """
    words = [word.strip() for word in (names.split(",") if isinstance(names, str) else names)]
    told = f"--names {', '.join(words)}"
    if not all(words):
        raise ConfigError(f"{told}: an empty word; expected words with a comma between them, such as sky, road, tree")
    if again := [word for word in dict.fromkeys(words) if words.count(word) > 1]:
        raise ConfigError(f"{told}: words that stand twice: {few(again)}")
    if len(words) < 2:
        raise ConfigError(
            f"{told}: one word, which everything would be called; expected two or more, or a file of text vectors "
            f"(FILE{SUFFIX})"
        )
    return words


def text_vectors(
    model: str,
    weights: str,
    words: Mapping[str, Sequence[str]],
    *,
    chosen: str,
    synonyms: str,
    backbone: str,
    options: Mapping[str, Any],
) -> TextVectors:
    """The vectors of classes.

    Args:
        model: a name of open_clip, such as ``ViT-B-16-quickgelu``.
        weights: one of its tags, such as ``openai``, or a file.
        words: class -> what it is called.
        chosen: the name of a list of templates.
        synonyms: ``max``: a vector a word; ``mean``: one a class.
        backbone: the image network whose features they name, which must be that of ``model``.
        options: its options.

    Raises:
        ConfigError: a name is unknown, the activation of the network is not that of the weights, or the backbone is
            another network.
        DataError: weights cannot be had.
    """
    import torch
    from torch.nn import functional

    sentences = templates(chosen)
    _require_activation(model, backbone)
    network, tokenise, digest = _load(model, weights)
    of_backbone = _require_twin(network.state_dict(), backbone, options, f"{model} with weights {weights}")
    each = {word: _of_word(network, tokenise, word, sentences) for own in words.values() for word in own}
    rows: list[Tensor] = []
    prompts: list[tuple[str, ...]] = []
    class_of: list[int] = []
    for index, own in enumerate(words.values()):
        if synonyms == "mean":
            found = [(functional.normalize(torch.stack([each[word] for word in own]).mean(0), dim=0), tuple(own))]
        else:
            found = [(each[word], (word,)) for word in own]
        for vector, prompt in found:
            rows.append(vector)
            prompts.append(prompt)
            class_of.append(index)
    return TextVectors(
        tuple(words),
        torch.stack(rows).float().numpy(),
        np.array(class_of, dtype=np.int64),
        tuple(prompts),
        backbone,
        of_backbone,
        sentences,
        synonyms,
        f"{model}:{Path(weights).name if is_weights_file(weights) else weights}",
        digest,
    )


def _load(model: str, weights: str) -> tuple[Any, Any, str]:
    """Network, tokeniser and the digest of its weights."""
    require_open_clip()
    import open_clip

    if model not in (known := open_clip.list_models()):
        raise ConfigError("--model: " + unknown("model of open_clip", model, known))
    file = Path(weights)
    if not is_weights_file(weights):
        tags = open_clip.list_pretrained_tags_by_model(model)
        if weights not in tags:
            raise ConfigError(f"--weights: {unknown(f'weights of {model}', weights, tags)}, or a file")
        config = open_clip.pretrained.get_pretrained_cfg(model, weights)
        if bool(config.get("quick_gelu")) and not open_clip.get_model_config(model).get("quick_gelu"):
            raise ConfigError(f"--model {model}: weights {weights} were trained with quick-GELU; use {model}-quickgelu")
        try:
            file = Path(open_clip.pretrained.download_pretrained(config))
        except Exception as error:  # of a client of the hub, which may raise anything
            reason = (str(error).strip().splitlines() or ["no details"])[0]
            raise DataError(
                f"{model}: weights {weights} are not on this machine and could not be fetched "
                f"({type(error).__name__}: {reason}); or give a file by --weights FILE"
            ) from error
    digest = file_digest(file)
    if digest is None:
        raise DataError(f"--weights {weights}: no such file")
    try:
        network = open_clip.create_model(model, pretrained=str(file)).eval()
        return network, open_clip.get_tokenizer(model), digest
    except Exception as error:
        reason = (str(error).strip().splitlines() or ["no details"])[0]
        raise DataError(f"{model}: {file} cannot be loaded ({type(error).__name__}: {reason})") from error


def _require_activation(model: str, backbone: str) -> None:
    """Refuse a transformer of timm that computes another function than the model's image network of the same weights.

    Weights do not tell: open_clip and timm have quick-GELU or not by the names of their models.
    """
    require_open_clip()
    import open_clip

    config = open_clip.get_model_config(model)
    if config is None or not is_clip(backbone):  # unknown to open_clip, or not of timm's CLIPs
        return
    theirs, ours = bool(config.get("quick_gelu")), is_quick(backbone)
    if theirs != ours:
        has, has_not = (f"--model {model}", f"--backbone {backbone}")[:: 1 if theirs else -1]
        raise ConfigError(f"{has} has quick-GELU, and {has_not} has not: the same weights give other features")


def _of_word(network: Any, tokenise: Any, word: str, sentences: Sequence[str]) -> Tensor:
    """The mean (D,) of unit vectors of the word in each sentence, of length 1."""
    import torch
    from torch.nn import functional

    texts = [sentence.replace("{}", word) for sentence in sentences]
    with torch.no_grad():
        parts = [network.encode_text(tokenise(texts[at : at + _BATCH])) for at in range(0, len(texts), _BATCH)]
    return functional.normalize(functional.normalize(torch.cat(parts).double(), dim=-1).mean(0), dim=0)


def _require_twin(state: Mapping[str, Tensor], backbone: str, options: Mapping[str, Any], model: str) -> str:
    """The digest of a backbone's weights, after they were compared with those of the model's image network."""
    import torch

    own = load_backbone(backbone, options, "cpu").network.state_dict()
    compared = 0
    for native, wrapped, timm in _TWINS:
        theirs = state.get(native, state.get(wrapped))
        if theirs is None or timm not in own:
            continue
        theirs = theirs.T if native == "visual.proj" and native in state else theirs
        compared += 1
        if theirs.shape != own[timm].shape or not torch.allclose(theirs.float(), own[timm].float(), 1e-2, 1e-4):
            raise ConfigError(
                f"--backbone {backbone}: {timm} is not that of the image network of {model}; its features would lie in "
                "another space"
            )
    if compared < 2:
        raise ConfigError(f"--backbone {backbone}: cannot be compared with {model}; expected its transformer in timm")
    digest = weights_digest(backbone, options)
    if digest is None:
        raise DataError(f"backbone {backbone}: its weights were loaded, but their file cannot be found")
    return digest


def language_options(name: str, options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The complete options of a network whose features are to lie in the space of texts.

    Args:
        name: the network; of one's own it is not known whether they do.
        options: stated ones.
        where: what asks for it, for messages.

    Raises:
        ConfigError: the network is unknown or shares no space with texts, or an option is not valid.
    """
    if is_own(name):
        return complete_options(name, options)
    try:
        complete_options(name, {})
        if not is_transformer(name):
            raise ConfigError(
                f"{name} shares no space with texts; expected a CLIP or SigLIP transformer, such as {SUCH_AS}"
            )
        if (facet := options.get("facet", LANGUAGE)) != LANGUAGE:
            raise ConfigError(f"its space is that of facet {LANGUAGE}, and {name} is to have facet {facet}")
        return complete_options(name, {**options, "facet": LANGUAGE})
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def language_network(text: TextVectors, backbone: str, options: Mapping[str, Any], where: str) -> BackboneSpec:
    """The network in the space of a text, whose features name clusters; its weights are those that the text tells.

    Args:
        text: what they are compared with.
        backbone: the network; empty: the one that the text tells.
        options: of the network, beside ``facet: language``.
        where: the file of the text, for messages.

    Raises:
        ConfigError: the network is unknown or shares no space with texts, has other weights than those of the text, or
            features of another width.
    """
    name = backbone or text.backbone
    complete = language_options(name, options, where)
    here, width = weights_digest(name, complete), backbone_info(name, complete).channels[-1]
    told = f"{where}: it names features of {text.backbone} with weights {text.backbone_weights}"
    # Random weights are drawn for any architecture alike, and none of them comes from a hub.
    random = text.backbone_weights.startswith("random-")
    wrong = here != text.backbone_weights if here is not None else random
    if wrong or (random and name != text.backbone):
        raise ConfigError(f"{told}, and the network here is {name} with weights {here or 'of the hub'}")
    if width != text.width:
        raise ConfigError(f"{where}: its vectors have {text.width} channels, features of {name} {width}")
    known_as = content_name(name) if is_path(name) else ""
    return BackboneSpec(name=name, options=complete, weights=text.backbone_weights, known_as=known_as)
