"""``bench data text``: the names of classes as vectors, for methods that name clusters by text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from spectral_bench.bench.cli.options import Debug, Json, plain_parameters, require_folder
from spectral_bench.bench.cli.output import say, show_json
from spectral_bench.bench.features.backbones.registry import complete_options
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import how_many, unknown
from spectral_bench.common.registry import absolute_name
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.datasets.registry import FOLDER, absolute_data, data_info
from spectral_bench.methods.maskclip.text_vectors import SUFFIX, write_text

_SYNONYMS = ("max", "mean")


def text(
    model: Annotated[str, typer.Option("--model", help="A model of open_clip, such as ViT-B-16-quickgelu.")],
    weights: Annotated[str, typer.Option("--weights", help="Its weights: a tag, such as openai, or a file.")],
    backbone: Annotated[str, typer.Option("--backbone", help="The same model's image network, as grids have it.")],
    classes: Annotated[
        str, typer.Option("--classes", help="Whose classes: a data set, and which set.", metavar="DATASET[:SET]")
    ],
    to: Annotated[Path, typer.Option("--to", help="The file to write.", metavar="FILE.safetensors")],
    options: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the backbone, such as weights=FILE.", metavar="KEY=VALUE"),
    ] = None,
    templates: Annotated[str, typer.Option("--templates", help="clip80, one or none.")] = "clip80",
    words: Annotated[
        Path | None, typer.Option("--words", help="YAML: class: [word, ...]; other classes by their names.")
    ] = None,
    synonyms: Annotated[
        str, typer.Option("--synonyms", help="Of several words the most similar (max), or their mean (mean).")
    ] = "max",
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Write the names of a data set's classes as vectors of CLIP or SigLIP, for the method maskclip."""
    if to.suffix != SUFFIX:
        raise ConfigError(f"--to {to}: expected the name of a {SUFFIX} file")
    if to.exists():
        raise ConfigError(f"{to}: is there already; remove it, or give another name by --to")
    require_folder(to.parent)
    if synonyms not in _SYNONYMS:
        raise ConfigError("--synonyms: " + unknown("way", synonyms, _SYNONYMS))
    called = class_words(class_names(classes), words)
    name = absolute_name(backbone, Path.cwd())
    given = complete_options(name, {"facet": "language", **plain_parameters(options or [])})
    from spectral_bench.bench.features.text import text_vectors  # which loads torch: a wrong name shall not wait for it

    made = text_vectors(model, weights, called, chosen=templates, synonyms=synonyms, backbone=name, options=given)
    write_text(to, made)
    told = {"file": str(to), "classes": len(made.classes), "vectors": len(made.vectors), "digest": made.digest}
    show_json(told) if as_json else say(
        f"{to} written: {how_many(len(made.vectors), 'vector')} for {len(made.classes)} classes"
    )
    return 0


def class_names(classes: str) -> tuple[str, ...]:
    """The names of ``DATASET`` or ``DATASET:SET``.

    Raises:
        ConfigError: data set or class set are unknown, or it has no labels.
    """
    info, asked = _info(classes)
    if not info.class_sets:
        raise ConfigError(f"--classes {classes}: the data set has no labels, and so no classes")
    name = asked or info.default_classes
    if name not in info.class_sets:
        raise ConfigError(f"--classes {classes}: " + unknown(f"class set of {info.name}", name, info.class_sets))
    return tuple(info.class_sets[name].classes)


def _info(classes: str) -> tuple[DataInfo, str]:
    """The data set, and the class set that is asked for; empty: its default."""
    start = len(FOLDER) if classes.startswith(FOLDER) else 0
    name, _, asked = classes[start:].partition(":")
    return data_info(absolute_data(classes[:start] + name, Path())), asked


def class_words(classes: Sequence[str], file: Path | None) -> dict[str, list[str]]:
    """What each class is called: the words of the file, else its name.

    Raises:
        ConfigError: the file cannot be read, names another class, or has an empty or repeated word.
    """
    called = {name: [name.replace("_", " ")] for name in classes}
    for name, own in _words(file).items():
        if name not in called:
            raise ConfigError(f"--words {file}: " + unknown("class", str(name), classes))
        listed = own if isinstance(own, list) else [own]
        if not listed or not all(isinstance(word, str) and word.strip() for word in listed):
            raise ConfigError(f"--words {file}: {name}: expected a list of words, none of them empty, got {own!r}")
        if len(set(listed)) < len(listed):
            raise ConfigError(f"--words {file}: {name}: a word stands twice")
        called[str(name)] = listed
    return called


def _words(file: Path | None) -> Mapping[Any, Any]:
    if file is None:
        return {}
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--words {file}: cannot be read ({reason})") from error
    if not isinstance(found, dict):
        raise ConfigError(f"--words {file}: expected lines of class: [word, ...]")
    return found
