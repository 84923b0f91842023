"""From a protocol and a data set's facts to the view and scoring that are stored with every number."""

from __future__ import annotations

from dataclasses import replace

from spectral_bench.bench.grid.protocols.definition import Definition
from spectral_bench.common.documents.document import Node
from spectral_bench.common.documents.problems import Problems, validate
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.results.specification import Protocol, Scoring, View


def resolve(definition: Definition, info: DataInfo, *, split: str, subset: int | None) -> Protocol:
    """The protocol for one data set.

    Args:
        definition: the protocol.
        info: the data set that is evaluated.
        split: the split that is evaluated, unless the protocol names one.
        subset: the number of images evaluated, unless the protocol states one.

    Raises:
        ConfigError: a value is not valid, the data set lacks a fact, a split or a class set that the protocol needs.
    """
    problems = Problems()
    view = _view(definition, info, split, subset, problems)
    scoring_node = definition.part("scoring", info.name)
    scoring = validate(Scoring, scoring_node, problems)
    if scoring is not None:
        _check_scoring(scoring, scoring_node, definition, info, problems)
    problems.check()
    assert view is not None
    assert scoring is not None
    return Protocol(name=definition.name, view=view, fit_view=_fit_view(view, scoring), scoring=scoring)


def class_count(protocol: Protocol, info: DataInfo) -> int:
    """The number of classes that a resolved protocol counts."""
    return len(info.class_sets[protocol.scoring.classes or info.default_classes].classes)


def _view(definition: Definition, info: DataInfo, split: str, subset: int | None, problems: Problems) -> View | None:
    node = definition.part("view", info.name)
    if "dataset" in node.items:
        problems.add(node.items["dataset"], "the data set of a view is chosen by the runs of a grid, not by a protocol")
    given = {"dataset": info.name, "split": split, "subset": subset}
    for key, value in given.items():
        if key not in node.items:
            node = node.with_item(key, Node(value, node.where, key))
    node = _with_facts(node, definition.name, info)
    view = validate(View, node, problems) if not problems else None
    if view is not None:
        _check_view(view, node, info, problems)
    return view


def _with_facts(node: Node, name: str, info: DataInfo) -> Node:
    """Replace the words ``evaluation`` and ``dataset`` by what they stand for.

    Raises:
        ConfigError: the data set does not state what they stand for.
    """
    missing: list[str] = []
    resize = node.child("resize")
    if resize is not None:
        resize = _with_fact(_with_evaluation_size(resize, info), "short_side", info, missing)
        node = node.with_item("resize", resize)
    for key in ("window", "stride"):
        node = _with_fact(node, key, info, missing)
    if missing:
        raise ConfigError(
            f"protocol {name} takes {', '.join(missing)} from the data set, but {info.name} states none; "
            "choose another protocol or give pixels"
        )
    return node


def _with_evaluation_size(resize: Node, info: DataInfo) -> Node:
    size = resize.child("size")
    if size is None or size.value != "evaluation":
        return resize
    if info.evaluation_size is None:
        return Node({}, resize.where, resize.path)  # each image keeps its own size
    sides = tuple(replace(size, value=side) for side in info.evaluation_size)
    return resize.with_item("size", replace(size, value=sides))


def _with_fact(node: Node, key: str, info: DataInfo, missing: list[str]) -> Node:
    word = node.child(key)
    if word is None or word.value != "dataset":
        return node
    fact: int | None = getattr(info, key)
    if fact is None:
        missing.append(key)
    return node.with_item(key, replace(word, value=fact))


def _check_view(view: View, node: Node, info: DataInfo, problems: Problems) -> None:
    if view.split not in info.splits:
        problems.add(node.items["split"], unknown(f"split of {info.name}", view.split, info.splits))
    size = info.splits.get(view.split)
    if view.subset is not None and size is not None and view.subset > size:
        problems.add(node.items["subset"], f"{view.subset} images are more than the {size} of {info.name} {view.split}")
    if (view.window is None) != (view.stride is None):
        problems.add(node, "window and stride belong together")
    if view.window is not None and view.stride is not None and view.stride > view.window:
        problems.add(node.items["stride"], f"a stride of {view.stride} leaves gaps between windows of {view.window}")
    if view.window is not None and view.centre_crop is not None:
        problems.add(node.items["window"], "window and centre_crop exclude each other")


def _check_scoring(scoring: Scoring, node: Node, definition: Definition, info: DataInfo, problems: Problems) -> None:
    if not info.class_sets:
        problems.add_line(
            f"protocol {definition.name}: data set {info.name} has no labels; nothing can be scored on it"
        )
    elif scoring.classes and scoring.classes not in info.class_sets:
        problems.add(node.items["classes"], unknown(f"class set of {info.name}", scoring.classes, info.class_sets))
    if scoring.fit_split is not None and scoring.fit_split not in info.splits:
        problems.add(node.items["fit_split"], unknown(f"split of {info.name}", scoring.fit_split, info.splits))


def _fit_view(view: View, scoring: Scoring) -> View | None:
    """All images of the split that the matching is fitted on; None where that is the view itself."""
    if scoring.fit_split is None:
        return None
    fitted = view.model_copy(update={"split": scoring.fit_split, "subset": None})
    return None if fitted == view else fitted


def check_clusters(definition: Definition, protocol: Protocol, info: DataInfo, clusters: int) -> None:
    """Refuse a number of clusters that the protocol cannot score.

    Raises:
        ConfigError: the protocol matches clusters and classes one to one and their numbers differ.
    """
    classes = class_count(protocol, info)
    if definition.clusters == "classes" and clusters != classes:
        raise ConfigError(
            f"protocol {definition.name} matches one cluster to one class: k is {clusters}, but the class set "
            f'"{protocol.scoring.classes or info.default_classes}" of {info.name} has {classes} classes'
        )
