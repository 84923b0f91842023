"""What planning refuses of methods that are given the names of the classes as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spectral_bench.bench.features.backbones import backbone_info
from spectral_bench.bench.features.backbones.language import LANGUAGE
from spectral_bench.bench.features.backbones.registry import is_own
from spectral_bench.bench.features.text import language_network
from spectral_bench.bench.grid.protocol import name_view
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import few
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.methods.maskclip.text_vectors import read_text
from spectral_bench.results.manifest import Manifest
from spectral_bench.results.matching import TEXT
from spectral_bench.results.specification import BackboneSpec, Protocol, named_by_text
from spectral_bench.results.store import Store


def check_text(params: Mapping[str, Any], backbone: BackboneSpec, evaluated: DataInfo, problems: Problems) -> None:
    """Note text vectors that are not of the classes or of the backbone of a run.

    Args:
        params: complete parameters of its method; nothing is noted where they name no text.
        backbone: its backbone.
        evaluated: the data set that it is evaluated on.
        problems: where to note, by the keys of the run.
    """
    if isinstance(start := params.get("start_params"), Mapping):
        check_text(start, backbone, evaluated, problems)
    if not params.get("text_digest"):
        return
    text = read_text(Path(params["text"]))
    where = f"text {params['text']}"
    sets = {name: tuple(found.classes) for name, found in evaluated.class_sets.items()}
    if sets and text.classes not in sets.values():
        problems.add(("params", "text"), f"{where}: {_other_classes(text.classes, evaluated.name, sets)}")
    told = f"{where}: it names features of {text.backbone} with weights {text.backbone_weights}"
    random = backbone.weights.startswith("random-")  # drawn for any architecture alike
    if backbone.weights not in ("", text.backbone_weights) or (random and backbone.name != text.backbone):
        problems.add("backbone", f"{told}, and the backbone here is {backbone.name} with weights {backbone.weights}")
        return
    if not is_own(backbone.name) and backbone.options.get("facet") != LANGUAGE:
        problems.add(
            "backbone_options" if backbone.options.get("facet") else "backbone",
            f"{where}: its space is that of facet {LANGUAGE}; set backbone_options: {{facet: {LANGUAGE}}}",
        )
        return
    channels = backbone_info(backbone.name, backbone.options).channels
    if channels[-1] != text.width:
        problems.add(
            ("params", "text"),
            f"{where}: its vectors have {text.width} channels, features of the backbone {channels[-1]}",
        )
    if not -len(channels) <= (level := params.get("level", -1)) < len(channels):
        expected = f"{-len(channels)} to {len(channels) - 1}, a level of {backbone.name}"
        problems.add(("params", "level"), f"level = {level}: expected {expected}")


def check_names(params: Mapping[str, Any], protocols: Sequence[Protocol], info: DataInfo, problems: Problems) -> None:
    """Note protocols with matching ``text`` whose classes the clusters are not named after.

    Args:
        params: complete parameters of the method.
        protocols: of the row.
        info: the data set that it is evaluated on.
        problems: where to note, by the keys of the run.
    """
    for protocol in protocols:
        if protocol.scoring.matching != TEXT:
            continue
        classes = info.class_sets[protocol.scoring.classes or info.default_classes]
        if not named_by_text(params):
            if protocol.scoring.names is None:
                problems.add(
                    "method",
                    f"protocol {protocol.name} matches by text, and the clusters here have no names; a file of text "
                    "vectors names them: scoring: {matching: text, names: FILE}",
                )
        elif path := params.get("text"):
            named = read_text(Path(path)).classes
            known = {tuple(one.classes) for one in info.class_sets.values()}
            if named in known - {tuple(classes.classes)}:  # of classes of no set at all it was told already
                told = _other_classes(named, info.name, {classes.name: tuple(classes.classes)})
                problems.add(("params", "text"), f"text {path}: {told} (protocol {protocol.name})")


def with_names(protocol: Protocol, info: DataInfo) -> Protocol:
    """A resolved protocol with the view that its clusters are named by; as it is where it names none.

    Args:
        protocol: resolved.
        info: the data set that is evaluated.

    Raises:
        ConfigError: the text is of other classes, of another width, or of another network than the one that is named.
        DataError: its file is not as such a file has to be.
    """
    names = protocol.scoring.names
    if names is None:
        return protocol
    text, where = read_text(Path(names.text)), f"text {names.text}"
    if names.text_digest not in ("", text.digest):
        raise ConfigError(f"{where}: holds another text ({text.digest}) than text_digest says ({names.text_digest})")
    classes = info.class_sets[protocol.scoring.classes or info.default_classes]
    if text.classes != (own := tuple(classes.classes)):
        raise ConfigError(f"{where}: {_other_classes(text.classes, info.name, {classes.name: own})}")
    network = language_network(text, names.backbone, names.options, where)
    known = {"text_digest": text.digest, "backbone": network.name, "options": network.options}
    scoring = protocol.scoring.model_copy(update={"names": names.model_copy(update=known)})
    protocol = protocol.model_copy(update={"scoring": scoring})
    return protocol.model_copy(update={"name_view": name_view(protocol, network)})


def keeping_names(params: Mapping[str, Any], protocols: Sequence[Protocol]) -> tuple[Protocol, ...]:
    """The protocols of a row; clusters that have names keep them, so nothing has to find names for them."""
    if not named_by_text(params):
        return tuple(protocols)
    found = []
    for protocol in protocols:
        scoring = protocol.scoring.model_copy(update={"names": None})
        found.append(protocol.model_copy(update={"scoring": scoring, "name_view": None}))
    return tuple(found)


def keep_words(store: Store, manifest: Manifest) -> None:
    """Keep in a store the words that a grid names clusters by, so that reports need no file of them.

    Raises:
        ConfigError: a file holds another text than when the grid was planned.
        DataError: it is not as such a file has to be.
        StoreError: the store cannot be written.
    """
    named = (protocol.scoring.names for row in manifest.rows for protocol in row.protocols)
    for path, digest in dict.fromkeys((names.text, names.text_digest) for names in named if names is not None):
        text = read_text(Path(path))
        if text.digest != digest:
            raise ConfigError(f"text {path}: has changed since the grid was planned with it; give the command again")
        store.keep_words(text)


def _other_classes(classes: tuple[str, ...], dataset: str, sets: Mapping[str, tuple[str, ...]]) -> str:
    """How the classes of a text differ from those of the class set that is nearest to them."""
    name = max(sets, key=lambda one: len(set(sets[one]) & set(classes)))
    lacking = [one for one in sets[name] if one not in classes]
    strange = [one for one in classes if one not in sets[name]]
    parts = [f"lacks {few(lacking)}"] * bool(lacking) + [f"has {few(strange)} besides"] * bool(strange)
    how = " and ".join(parts) or "has them in another order"
    return f"its classes are not those of {dataset}: of class set {name} it {how}"
