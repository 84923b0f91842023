"""What a clustering of images is asked for: its method and parameters, its network, and what they cannot do with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from spectral_bench.bench.features.backbones import complete_options
from spectral_bench.bench.features.backbones.language import LANGUAGE
from spectral_bench.bench.features.files import find, titled
from spectral_bench.bench.predict.bounds import misfits
from spectral_bench.bench.predict.names import is_file
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown
from spectral_bench.common.registry import is_path, short_name
from spectral_bench.methods.registry import complete_params, method_facts
from spectral_bench.methods.registry import names as method_names
from spectral_bench.results.specification import BackboneSpec, Features

CLUSTERS, BACKBONE = 8, "efficientnet_lite0"


def require_known(method: str) -> None:
    """Refuse the name of no method; those that are valid here use no labels.

    Raises:
        ConfigError: there is no method of this name.
    """
    if not is_path(method) and method not in method_names():
        free = [name for name in method_names() if not method_facts(name).uses_labels]
        raise ConfigError(unknown("method", method, free))


def clustering_params(method: str, stated: Mapping[str, Any], images: int) -> dict[str, Any]:
    """The complete parameters of a method that clusters photographs.

    Unless others are stated, there are 8 clusters, and a batch holds at most all ``images``.

    Raises:
        ConfigError: as ``methods.registry.complete_params``.
    """
    require_known(method)
    fields = method_facts(method).params.model_fields
    usual = {"k": CLUSTERS} if "k" in fields and "text" not in fields else {}  # of text vectors: their classes
    if "batch_size" in fields and isinstance(default := fields["batch_size"].default, int):
        usual["batch_size"] = min(default, images)
    return complete_params(method, {**usual, **stated})


def network(backbone: str, options: Mapping[str, Any], features: Features | None) -> BackboneSpec:
    """What makes features of images, or stands for it where they lie in files.

    Args:
        backbone: its name; of features in files their title, or the default: the name of their folder.
        options: of the network.
        features: of mode ``files``; None: the network makes them.

    Raises:
        ConfigError: the backbone is unknown, or an option is, or the title is none.
        DataError: there are no files, or the first holds no features.
    """
    if features is None:
        return BackboneSpec(name=backbone, options=complete_options(backbone, options))
    if options:
        raise ConfigError(f"backbone option {next(iter(options))}: features lie in files, so no network has options")
    title = Path(str(features.root)).name if backbone == BACKBONE else backbone
    return BackboneSpec(name=titled(title), options=find(features, "", "").facts())


def require_fitting(method: str, params: dict[str, Any], images: int, patches: int) -> None:
    """Refuse parameters that so few images or patches cannot do with, in the words of a grid.

    Args:
        method: its name.
        params: complete.
        images: training images.
        patches: in all of them.

    Raises:
        ConfigError: says each of them.
    """
    found = misfits(method_facts(method).params(**params), images, patches)
    if found:
        told = [f"{method}: {name} = {params[name]!r}: expected {expected}" for name, expected in found.items()]
        raise ConfigError("; ".join(told))


def takes_text(method: str) -> bool:
    """Whether a method is given text vectors itself, so that its clusters have names already."""
    known = is_path(method) or method in method_names()
    return known and "text" in method_facts(method).params.model_fields


def with_text(method: str, names: str | Path | Sequence[str], params: dict[str, Any], options: dict[str, Any]) -> bool:
    """Hand a file of text vectors to a method that takes one, with a backbone in its space; whether it does.

    Args:
        method: the method.
        names: the file; any other method may have words here.
        params: stated ones of the method, which get the file.
        options: of the backbone, which get the facet unless they have one.

    Raises:
        ConfigError: the method takes a file, and there are words, or two files.
    """
    if not takes_text(method):
        return False
    if not is_file(names):
        raise ConfigError(
            f"--names {names}: {short_name(method)} is given its names as a file; bench data text --names writes one"
        )
    if "text" in params:
        raise ConfigError(f"--names {names} and --set text={params['text']}: give one of them")
    params["text"] = str(Path(str(names)).absolute())
    options.setdefault("facet", LANGUAGE)
    return True
