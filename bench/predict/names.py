"""Names for the clusters of a user's own images, from a list of words or a file of text vectors. No label is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spectral_bench.bench.evaluation.counting import ScoredImage
from spectral_bench.bench.evaluation.naming import ClusterMeans
from spectral_bench.bench.features.backbones import load_backbone, weights_digest
from spectral_bench.bench.features.text import (
    SUCH_AS,
    language_network,
    language_options,
    parse_words,
    require_open_clip,
    text_vectors,
)
from spectral_bench.bench.features.views import ViewItem
from spectral_bench.bench.predict.pictures import Key, palette
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import how_many
from spectral_bench.common.registry import short_name
from spectral_bench.methods.maskclip.text_vectors import SUFFIX, TextVectors, read_text
from spectral_bench.results.naming import ClusterVectors, nearest_words
from spectral_bench.results.specification import BackboneSpec

NAMES_FILE = f"names{SUFFIX}"
TEMPLATES = "clip80"

# The text network of each of timm's image networks, as open_clip calls model and weights; weights are compared.
TEXT_MODELS = {
    "vit_base_patch32_clip_quickgelu_224.openai": "ViT-B-32-quickgelu:openai",
    "vit_base_patch16_clip_quickgelu_224.openai": "ViT-B-16-quickgelu:openai",
    "vit_large_patch14_clip_quickgelu_224.openai": "ViT-L-14-quickgelu:openai",
    "vit_large_patch14_clip_quickgelu_336.openai": "ViT-L-14-336-quickgelu:openai",
    "vit_base_patch32_clip_224.laion2b": "ViT-B-32:laion2b_s34b_b79k",
    "vit_base_patch16_clip_224.laion2b": "ViT-B-16:laion2b_s34b_b88k",
    "vit_large_patch14_clip_224.laion2b": "ViT-L-14:laion2b_s32b_b82k",
    "vit_base_patch16_siglip_224.webli": "ViT-B-16-SigLIP:webli",
    "vit_base_patch16_siglip_256.webli": "ViT-B-16-SigLIP-256:webli",
}
_OF_OTHER_FACETS = ("facet", "layers", "norm")


@dataclass(frozen=True)
class Naming:
    """What names clusters.

    Attributes:
        text: the words as vectors.
        network: whose features are averaged over each cluster.
        file: of the vectors; None where they were made of words just now.
    """

    text: TextVectors
    network: BackboneSpec
    file: Path | None = None

    def facts(self, key: Key) -> dict[str, Any]:
        """How clusters got their names, as plain values."""
        text = self.text
        return {
            "classes": list(text.classes),
            "text": text.digest,
            "file": None if self.file is None else str(self.file),
            "model": text.model,
            "templates": len(text.templates),
            "backbone": {"name": self.network.name, "options": self.network.options, "weights": self.network.weights},
            "of_clusters": list(key.cluster_names),
        }


def find_naming(
    names: str | Path | Sequence[str],
    *,
    backbone: str,
    options: Mapping[str, Any],
    network: str = "",
    network_options: Mapping[str, Any] | None = None,
    text_model: str = "",
) -> Naming:
    """What names clusters, all of it checked.

    Args:
        names: a file of text vectors, or words: a list, or a text with commas between them.
        backbone: of the fit; it names clusters too where no other network is given, if it can.
        options: of that backbone.
        network: whose features are averaged; empty: that of the file, or of words the backbone.
        network_options: of it; those of the backbone hold where it is the same network.
        text_model: of words, the text network as open_clip calls it, ``MODEL:WEIGHTS``; empty: known by the network.

    Raises:
        ConfigError: a word is empty or stands twice, open_clip is not installed, the network shares no space with
            texts, or the text is of another one.
        DataError: a file is not as it should be, or weights cannot be had.
    """
    file = Path(str(names)) if is_file(names) else None
    text = None if file is None else read_text(file)
    name = network or (backbone if text is None else text.backbone)
    same = {key: value for key, value in options.items() if key not in _OF_OTHER_FACETS} if name == backbone else {}
    given = {**same, **(network_options or {})}
    if text is not None:
        if text_model:
            raise ConfigError(f"--text-model {text_model}: makes vectors of words, and {file} holds vectors already")
        found = language_network(text, name, given, f"text {file}")
        if weights_digest(found.name, found.options) is None:
            load_backbone(found.name, found.options, "cpu")  # fetched now, and not after hours of work
            found = language_network(text, name, given, f"text {file}")
        return Naming(text, found, file)
    words = parse_words(names if not isinstance(names, Path) else str(names))
    try:
        require_open_clip()
    except ConfigError as error:
        raise ConfigError(f"--names: {error}; or bring vectors along: --names FILE{SUFFIX}") from error
    complete = language_options(name, given, "--names")
    model, _, weights = (text_model or TEXT_MODELS.get(name, "")).partition(":")
    if not model or not weights:
        raise ConfigError(
            f"--names: the text network of {name} is not known; give it as open_clip calls it, --text-model "
            f"MODEL:WEIGHTS such as {TEXT_MODELS[SUCH_AS]}, or vectors: --names FILE{SUFFIX}"
            if not text_model
            else f"--text-model {text_model}: expected MODEL:WEIGHTS, such as {TEXT_MODELS[SUCH_AS]}"
        )
    called = {word: [word] for word in words}
    made = text_vectors(model, weights, called, chosen=TEMPLATES, synonyms="max", backbone=name, options=complete)
    return Naming(made, language_network(made, name, complete, "--names"))


def is_file(names: str | Path | Sequence[str]) -> bool:
    """Whether names are a file of text vectors, and no words."""
    return isinstance(names, Path) or (isinstance(names, str) and (names.endswith(SUFFIX) or Path(names).is_file()))


def mean_features(
    scored: Iterable[ScoredImage],
    seen: Iterable[ViewItem],
    n_clusters: int,
    progress: Callable[[int], None] = lambda done: None,
) -> ClusterVectors:
    """The mean feature of each cluster over images, from their scores and what the network of names sees of them."""
    means = ClusterMeans(n_clusters)
    for done, (image, item) in enumerate(zip(scored, seen, strict=True), start=1):
        means.add(image, item)
        progress(done)
    return means.result()


def named_key(naming: Naming, vectors: ClusterVectors | None) -> Key:
    """What masks hold whose clusters are named.

    Args:
        naming: what names them.
        vectors: their mean features; None: cluster j is the text's class j.
    """
    text, network = naming.text, short_name(naming.network.name)
    class_of = np.arange(len(text.classes)) if vectors is None else nearest_words(vectors, text)
    used = len(set(class_of[class_of >= 0].tolist()))
    how = f"clusters by their mean features of {network}" if vectors is not None else f"patches by {network}"
    told = f"named by text, {how}, no label used: {used} of {how_many(len(text.classes), 'word')}"
    if vectors is not None:
        told += f" for {how_many(int(np.count_nonzero(vectors.counts)), 'cluster')}"
    return Key(palette(len(text.classes)), text.classes, class_of, told, f"text {text.digest}, {network}")
