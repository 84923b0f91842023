"""``bench list``: the methods, data sets, backbones and protocols that there are."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer

from spectral_bench.bench.cli.commands import NearestGroup
from spectral_bench.bench.cli.options import DEFAULT_OUT, Debug, Json, Out, Roots, data_roots
from spectral_bench.bench.cli.output import aligned, on_terminal, say, show_json, show_table, tell
from spectral_bench.bench.features.backbones import backbone_info, backbone_names, complete_options, weights_digest
from spectral_bench.bench.features.backbones.timm_names import (
    default_tag,
    is_staged,
    is_transformer,
    pretrained_tags,
    width_and_patch,
)
from spectral_bench.bench.grid import protocol as catalogue
from spectral_bench.bench.plan.titles import LABELS_NOTE, TEXT_NOTE, marked
from spectral_bench.common.errors import ConfigError, DataError
from spectral_bench.common.names import unknown
from spectral_bench.common.registry import is_path
from spectral_bench.datasets import registry as data_registry
from spectral_bench.datasets.registry import data_info, open_data
from spectral_bench.datasets.verify import splits_on_disk
from spectral_bench.methods import registry as method_registry
from spectral_bench.methods.registry import ANY, MethodFacts, method_facts

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
    rows = [
        (marked(fact.name, fact.uses_labels, _takes_text(fact)), fact.summary, fact.fit_from or "") for fact in facts
    ]
    show_table(("method", "", "starts from"), rows)
    if any(fact.uses_labels for fact in facts):
        say(LABELS_NOTE)
    if any(map(_takes_text, facts)):
        say(TEXT_NOTE)
    return 0


def _takes_text(facts: MethodFacts) -> bool:
    return "text_digest" in facts.params.model_fields


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
    if _takes_text(facts):
        notes.append("Is named by text: given the names of the classes as vectors, and no label.")
    elif facts.classes_as_clusters:
        notes.append("Its clusters are the classes: a grid that leaves out k gets their number.")
    if facts.fit_from == ANY:
        notes.append("Starts from the stored fit of the method that start names.")
    elif facts.fit_from:
        notes.append(f"Starts from the stored fit of {facts.fit_from} with the same parameters.")
    tell("\n".join(notes) + "\n")
    if not on_terminal():
        show_table(("parameter", "default", "valid", ""), rows)
        return 0
    heading, *lines = aligned(("parameter", "default", "valid"), [row[:3] for row in rows])
    say(heading)
    for line, row in zip(lines, rows, strict=True):
        tell(f"{line}\n    {row[3]}")
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
    name: Annotated[
        str | None,
        typer.Argument(
            help="One of them, for all about it; or a part of names or tags, also with * and ?.", metavar="PATTERN"
        ),
    ] = None,
    out: Out = DEFAULT_OUT,
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """List the backbones with weights, patch size and channels, or stride, channels and options of one.

    Elsewhere than on a terminal, and without a PATTERN, names alone are printed.
    """
    if name is None and (as_json or not on_terminal()):
        show_json(list(backbone_names())) if as_json else say("\n".join(backbone_names()))
        return 0
    if name is None or (found := matching(name)):
        facts = [kind.facts() for kind in (matching("*") if name is None else found)]
        show_json(facts) if as_json else _show_backbones(facts)
        return 0
    info = backbone_info(name)
    one = {
        "name": info.name,
        "family": info.family,
        "stride": info.stride,
        "channels": list(info.channels),
        "options": complete_options(name, {}),
        "tags": list(pretrained_tags(name.partition(".")[0])),
        "weights_at_hand": weights_digest(name) is not None,
    }
    show_json(one) if as_json else show_table(("", ""), [(key, _words(value)) for key, value in one.items()])
    return 0


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}: {part}" for key, part in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) or "-" if isinstance(value, list) else str(value)


@dataclass(frozen=True)
class Kind:
    """A backbone as ``bench list backbones`` shows it.

    Attributes:
        name: as in grids, without a tag.
        tags: of its weights that were asked for, timm's default first; none where it has no tags.
    """

    name: str
    tags: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        """All about it as JSON values; looks for weights on this machine and asks no network."""
        if is_transformer(self.name) or is_staged(self.name):
            at_hand: Any = [tag for tag in self.tags if _fetched(f"{self.name}.{tag}")]
            patch, channels = _patch_and_channels(self.name)
            return {
                "name": self.name,
                "patch": patch,
                "channels": channels,
                "tags": list(self.tags),
                "at_hand": at_hand,
            }
        info = backbone_info(self.name)
        at_hand = weights_digest(self.name) is not None
        return {
            "name": self.name,
            "patch": info.stride,
            "channels": list(info.channels),
            "tags": [],
            "at_hand": at_hand,
        }


def _patch_and_channels(name: str) -> tuple[int, list[int]]:
    """Pixels a patch, and channels of the levels, of a network of timm; its default weights are not looked for."""
    if is_transformer(name):
        width, patch = width_and_patch(name)
        return patch, [width] * 3
    info = backbone_info(name, {"weights": "random"})
    return info.stride, list(info.channels)


def matching(pattern: str) -> list[Kind]:
    """The backbones of which the name, or name and tag, holds a text or is as a pattern says; none for a full name."""
    if pattern in backbone_names() or is_path(pattern) or pattern.partition(".")[0] in backbone_names():
        return []
    wanted = pattern if any(sign in pattern for sign in "*?[") else f"*{pattern}*"
    found = []
    for name in backbone_names():
        default = default_tag(name)
        tags = sorted(pretrained_tags(name), key=lambda tag: (tag != default, tag))
        if not fnmatchcase(name, wanted):
            tags = [tag for tag in tags if fnmatchcase(f"{name}.{tag}", wanted)]
            if not tags:
                continue
        found.append(Kind(name, tuple(tags)))
    return found


def _show_backbones(facts: Sequence[dict[str, Any]]) -> None:
    rows = []
    for one in facts:
        channels, at_hand = one["channels"], one["at_hand"]
        same = f"{channels[0]} x {len(channels)}" if len(set(channels)) == 1 else ", ".join(map(str, channels))
        here = ", ".join(at_hand) if isinstance(at_hand, list) else "yes" if at_hand else "no"
        rows.append((one["name"], one["patch"], same, ", ".join(one["tags"]) or "-", here or "no"))
    show_table(("backbone", "patch", "channels", "weights", "at hand"), rows, right=("patch",))
    tell("Weights are timm's tags, its default first: name one as in vit_small_patch16_224.dino.")


def _fetched(full: str) -> bool:
    """Whether the weights of a transformer lie in the cache of the hub or of torch."""
    if not _any_fetched():  # spares timm, which takes seconds to load
        return False
    from spectral_bench.bench.features.backbones.timm_hub import hub_file

    try:
        return hub_file(full) is not None
    except ConfigError:  # the table of tags knows more than this timm
        return False


@cache
def _any_fetched() -> bool:
    from huggingface_hub.constants import HF_HUB_CACHE

    kept = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "torch"
    checkpoints = Path(os.environ.get("TORCH_HOME", kept)).expanduser() / "hub" / "checkpoints"
    return any(Path(HF_HUB_CACHE).glob("models--*")) or any(checkpoints.glob("*"))


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
