"""``bench list``: the methods, data sets, backbones and protocols that there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from spectral_bench.bench.cli.commands import NearestGroup
from spectral_bench.bench.cli.options import DEFAULT_OUT, Debug, Json, Out, Roots, data_roots
from spectral_bench.bench.cli.output import say, show_json, show_table
from spectral_bench.bench.features.backbones import backbone_info, backbone_names, complete_options
from spectral_bench.bench.grid import protocol as catalogue
from spectral_bench.bench.plan.titles import LABELS_NOTE, marked
from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.common.names import unknown
from spectral_bench.datasets import registry as data_registry
from spectral_bench.datasets.registry import data_info, open_data
from spectral_bench.datasets.verify import splits_on_disk
from spectral_bench.methods import registry as method_registry
from spectral_bench.methods.registry import method_facts

app = typer.Typer(
    help="List methods, data sets, backbones or protocols.",
    cls=NearestGroup,
    add_completion=False,
    rich_markup_mode=None,
)
Name = Annotated[str | None, typer.Argument(help="One of them, for all about it.")]


@app.command("methods")
def methods(
    name: Name = None, out: Out = DEFAULT_OUT, data_root: Roots = None, as_json: Json = False, debug: Debug = False
) -> int:
    """List the methods, or the parameters of one with defaults and meaning."""
    if name is not None:
        return _method(name, as_json)
    facts = [method_facts(known) for known in method_registry.names()]
    if as_json:
        keys = ("name", "summary", "uses_labels", "labels_at_prediction", "fit_from")
        show_json([{key: getattr(fact, key) for key in keys} for fact in facts])
        return 0
    rows = [(marked(fact.name, fact.uses_labels), fact.summary, fact.fit_from or "") for fact in facts]
    show_table(("method", "", "starts from"), rows)
    if any(fact.uses_labels for fact in facts):
        say(LABELS_NOTE)
    return 0


def _method(name: str, as_json: bool) -> int:
    facts = method_facts(name)
    fields = facts.params.model_json_schema()["properties"]
    if as_json:
        keys = ("name", "summary", "uses_labels", "labels_at_prediction", "fit_from")
        show_json({**{key: getattr(facts, key) for key in keys}, "parameters": fields})
        return 0
    rows = [(key, _default(field), _valid(field), field.get("description", "")) for key, field in fields.items()]
    notes = [f"{facts.name}: {facts.summary}"]
    if facts.uses_labels:
        notes.append("Is fitted with labels: marked in every table and kept out of rankings.")
    if facts.labels_at_prediction:
        notes.append("Reads the labels of the very images that are evaluated.")
    if facts.classes_as_clusters:
        notes.append("Its clusters are the classes: a grid that leaves out k gets their number.")
    if facts.fit_from:
        notes.append(f"Starts from the stored fit of {facts.fit_from} with the same parameters.")
    say("\n".join(notes) + "\n")
    show_table(("parameter", "default", "valid", ""), rows)
    return 0


def _default(field: dict[str, Any]) -> str:
    default = field.get("default")
    return default if isinstance(default, str) else json.dumps(default)


def _valid(field: dict[str, Any]) -> str:
    """Type and range of a parameter in a few characters."""
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if "anyOf" in field:
        return " or ".join(_valid(part) for part in field["anyOf"])
    signs = (("minimum", ">="), ("exclusiveMinimum", ">"), ("maximum", "<="), ("exclusiveMaximum", "<"))
    limits = [f"{sign} {field[key]:g}" for key, sign in signs if key in field]
    return " ".join([str(field.get("type", "")), *limits]).strip()


@app.command("datasets")
def datasets(
    name: Name = None, out: Out = DEFAULT_OUT, data_root: Roots = None, as_json: Json = False, debug: Debug = False
) -> int:
    """List the data sets with classes, splits and sizes, and whether a data root holds them, or all about one."""
    roots = data_roots(data_root)
    if name is not None:
        return _one_data_set(data_info(name), roots, as_json)
    found = [_data_set(data_info(name), roots) for name in data_registry.names()]
    if as_json:
        show_json(found)
        return 0
    rows = [
        (one["name"], ", ".join(one["classes"]) or "no labels", _splits(one["splits"]), one["held"]) for one in found
    ]
    show_table(("data set", "classes", "splits", "held"), rows)
    return 0


def _one_data_set(info: Any, roots: Any, as_json: bool) -> int:
    """The facts of a data set, and the classes of each class set with their raw label ids."""
    facts = _data_set(info, roots)
    tables = {key: dict(zip(one.classes, one.raw_ids, strict=True)) for key, one in info.class_sets.items()}
    if as_json:
        show_json({**facts, "classes": tables})
        return 0
    facts |= {"splits": _splits(info.splits), "classes": ", ".join(tables) or "no labels"}
    show_table(("", ""), [(key, str(value)) for key, value in facts.items() if value])
    for key, classes in tables.items():
        say(f"\nclass set {key}: {len(classes)} classes")
        show_table(("class", "raw label ids"), [(one, ", ".join(map(str, ids))) for one, ids in classes.items()])
    return 0


def _data_set(info: Any, roots: Any) -> dict[str, Any]:
    held = "generated"
    if info.needs_root or info.name.startswith("folder:"):
        try:
            held = ", ".join(splits_on_disk(open_data(info.name, roots))) or "no"
        except DataError:
            held = "no"
    elif not info.splits:
        held = ""
    return {
        "name": info.name,
        "title": info.title,
        "splits": info.splits,
        "classes": list(info.class_sets),
        "default_classes": info.default_classes,
        "evaluation_size": info.evaluation_size,
        "held": held,
        "licence": info.licence,
    }


def _splits(splits: dict[str, int | None]) -> str:
    return ", ".join(name if size is None else f"{name} {size}" for name, size in splits.items())


@app.command("backbones")
def backbones(
    name: Name = None, out: Out = DEFAULT_OUT, data_root: Roots = None, as_json: Json = False, debug: Debug = False
) -> int:
    """List the backbones, or stride, channels and options of one."""
    if name is None:
        show_json(list(backbone_names())) if as_json else say("\n".join(backbone_names()))
        return 0
    info = backbone_info(name)
    facts = {
        "name": info.name,
        "family": info.family,
        "stride": info.stride,
        "channels": list(info.channels),
        "options": complete_options(name, {}),
    }
    show_json(facts) if as_json else show_table(("", ""), [(key, str(value)) for key, value in facts.items()])
    return 0


@app.command("protocols")
def protocols(
    name: Name = None, out: Out = DEFAULT_OUT, data_root: Roots = None, as_json: Json = False, debug: Debug = False
) -> int:
    """List the protocols that ship, or one as it is written, to start a protocol of your own from."""
    if name is not None:
        if name not in catalogue.names():
            raise ConfigError(unknown("protocol", name, catalogue.names()))
        show_json(catalogue.find(name, catalogue.FOLDER).document.value) if as_json else say(
            (catalogue.FOLDER / f"{name}.yaml").read_text("utf-8").rstrip()
        )
        return 0
    found = [catalogue.find(known, Path()) for known in catalogue.names()]
    if as_json:
        show_json([{"name": one.name, "note": one.note} for one in found])
    else:
        show_table(("protocol", ""), [(one.name, one.note) for one in found])
    return 0
