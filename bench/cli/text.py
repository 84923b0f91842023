"""``bench data text``: the names of classes as vectors, for methods that name clusters by text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from spectral_bench.bench.cli.options import Debug, Json, require_folder
from spectral_bench.bench.cli.output import say, show_json
from spectral_bench.bench.cli.parameters import plain_parameters
from spectral_bench.bench.features.backbones.registry import complete_options
from spectral_bench.bench.features.text import parse_words, text_vectors
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import how_many, unknown
from spectral_bench.common.registry import absolute_name
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.datasets.registry import FOLDER, absolute_data, data_info
from spectral_bench.methods.maskclip.text_vectors import SUFFIX, write_text

if TYPE_CHECKING:
    from spectral_bench.bench.predict.names import Naming

_SYNONYMS = ("max", "mean")

# What ``predict`` and ``cluster`` take to name clusters.

Names = Annotated[
    str | None,
    typer.Option(
        "--names",
        help='Masks of words: each cluster is called as the nearest, no label used. "sky, road, tree", which takes '
        "open_clip, or a file of text vectors (FILE.safetensors).",
        metavar="WORDS|FILE",
    ),
]
NamesBackbone = Annotated[
    str | None,
    typer.Option(
        "--names-backbone",
        help="With --names: the CLIP or SigLIP network whose features name clusters; default: that of the file, else "
        "that of the fit.",
        metavar="NAME",
    ),
]
NamesOptions = Annotated[
    list[str] | None,
    typer.Option("--names-option", help="An option of that network, such as weights=FILE.", metavar="KEY=VALUE"),
]
TextModel = Annotated[
    str | None,
    typer.Option(
        "--text-model",
        help="With --names WORDS: the text network as open_clip calls it, and its weights, a tag or a file; default: "
        "known by the network.",
        metavar="MODEL:WEIGHTS",
    ),
]


def require_names(names: str | None, backbone: str | None, options: list[str] | None, model: str | None) -> None:
    """Refuse what says how clusters are named where nothing names them. Raises ``ConfigError``."""
    given = {"--names-backbone": backbone, "--names-option": options, "--text-model": model}
    if names is None and (odd := [flag for flag, value in given.items() if value]):
        raise ConfigError(f"{odd[0]}: says how clusters are named, by --names, which is not given")


def text(
    model: Annotated[str, typer.Option("--model", help="A model of open_clip, such as ViT-B-16-quickgelu.")],
    weights: Annotated[str, typer.Option("--weights", help="Its weights: a tag, such as openai, or a file.")],
    backbone: Annotated[str, typer.Option("--backbone", help="The same model's image network, as grids have it.")],
    to: Annotated[Path, typer.Option("--to", help="The file to write.", metavar="FILE.safetensors")],
    classes: Annotated[
        str | None, typer.Option("--classes", help="Whose classes: a data set, and which set.", metavar="DATASET[:SET]")
    ] = None,
    names: Annotated[
        str | None, typer.Option("--names", help='In their place words of your own: "sky, road".', metavar="WORDS")
    ] = None,
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
    called = class_words(_asked(classes, names), words)
    name = absolute_name(backbone, Path.cwd())
    given = complete_options(name, {"facet": "language", **plain_parameters(options or [])})
    made = text_vectors(model, weights, called, chosen=templates, synonyms=synonyms, backbone=name, options=given)
    write_text(to, made)
    told = {"file": str(to), "classes": len(made.classes), "vectors": len(made.vectors), "digest": made.digest}
    show_json(told) if as_json else say(
        f"{to} written: {how_many(len(made.vectors), 'vector')} for {len(made.classes)} classes"
    )
    return 0


def _asked(classes: str | None, names: str | None) -> tuple[str, ...]:
    """The classes that are asked for, of a data set or as words."""
    if (classes is None) == (names is None):
        raise ConfigError("expected one of --classes DATASET[:SET] and --names WORDS")
    return tuple(parse_words(names)) if names is not None else class_names(classes or "")


def naming_of(
    names: str | None,
    backbone: str,
    options: Mapping[str, Any],
    other: str | None,
    other_options: list[str] | None,
    text_model: str | None,
) -> Naming | None:
    """What names the clusters of a fit with this backbone, if anything does. Loads torch."""
    if names is None:
        return None
    from spectral_bench.bench.predict.names import find_naming

    return find_naming(
        names,
        backbone=backbone,
        options=options,
        network=absolute_name(other, Path.cwd()) if other else "",
        network_options=plain_parameters(other_options or [], "--names-option"),
        text_model=text_model or "",
    )


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
