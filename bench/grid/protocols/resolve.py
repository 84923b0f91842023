"""From a protocol and a data set's facts to the view and scoring that are stored with every number."""

from __future__ import annotations

from spectral_bench.bench.grid.protocols.definition import Definition
from spectral_bench.common.documents.document import Document, Place, standing_at
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
    problems = Problems(definition.document.places)
    view = _view(definition, info, split, subset, problems)
    scoring = _scoring(definition, info, problems)
    problems.check()
    assert view is not None
    assert scoring is not None
    return Protocol(name=definition.name, view=view, fit_view=_fit_view(view, scoring), scoring=scoring)


def class_count(protocol: Protocol, info: DataInfo) -> int:
    """The number of classes that a resolved protocol counts."""
    return len(info.class_sets[protocol.scoring.classes or info.default_classes].classes)


def _view(definition: Definition, info: DataInfo, split: str, subset: int | None, problems: Problems) -> View | None:
    written = definition.part("view", info.name)
    problems = problems.of(written.places)
    if written.states(("dataset",)):
        problems.add("dataset", "the data set of a view is chosen by the runs of a grid, not by a protocol")
    given = {"dataset": info.name, "split": split, "subset": subset}
    for key, value in given.items():
        if not written.states((key,)):
            written = written.with_part((key,), standing_at(Place(written.place.where, key), value))
    written = _with_facts(written, definition.name, info)
    problems = problems.of(written.places)
    view = validate(View, written.value, problems) if not problems else None
    if view is not None:
        _check_view(view, info, problems)
    return view


def _with_facts(view: Document, name: str, info: DataInfo) -> Document:
    """Replace the words ``evaluation`` and ``dataset`` by what they stand for.

    Raises:
        ConfigError: the data set does not state what they stand for.
    """
    view = _with_evaluation_size(view, info)
    missing: list[str] = []
    for path in (("resize", "short_side"), ("window",), ("stride",)):
        if view.get(path) != "dataset":
            continue
        fact: int | None = getattr(info, path[-1])
        if fact is None:
            missing.append(path[-1])
        view = view.with_part(path, standing_at(view.places[path], fact))
    if missing:
        raise ConfigError(
            f"protocol {name} takes {', '.join(missing)} from the data set, but {info.name} states none; "
            "choose another protocol or give pixels"
        )
    return view


def _with_evaluation_size(view: Document, info: DataInfo) -> Document:
    path = ("resize", "size")
    if view.get(path) != "evaluation":
        return view
    if info.evaluation_size is None:  # each image keeps its own size
        return view.with_part(("resize",), standing_at(view.places["resize",], {}))
    place = view.places[path]
    return view.with_part(path, Document(list(info.evaluation_size), dict.fromkeys(((), (0,), (1,)), place)))


def _check_view(view: View, info: DataInfo, problems: Problems) -> None:
    if view.split not in info.splits:
        problems.add("split", unknown(f"split of {info.name}", view.split, info.splits))
    elif view.split in info.unlabelled:
        problems.add("split", info.without_labels(view.split))
    size = info.splits.get(view.split)
    if view.subset is not None and size is not None and view.subset > size:
        problems.add("subset", f"{view.subset} images are more than the {size} of {info.name} {view.split}")
    if (view.window is None) != (view.stride is None):
        problems.add((), "window and stride belong together")
    if view.window is not None and view.stride is not None and view.stride > view.window:
        problems.add("stride", f"a stride of {view.stride} leaves gaps between windows of {view.window}")
    if view.window is not None and view.centre_crop is not None:
        problems.add("window", "window and centre_crop exclude each other")


def _scoring(definition: Definition, info: DataInfo, problems: Problems) -> Scoring | None:
    written = definition.part("scoring", info.name)
    problems = problems.of(written.places)
    scoring = validate(Scoring, written.value, problems)
    if scoring is None:
        return None
    if not info.class_sets:
        problems.add_line(
            f"protocol {definition.name}: data set {info.name} has no labels; nothing can be scored on it"
        )
    elif scoring.classes and scoring.classes not in info.class_sets:
        problems.add("classes", unknown(f"class set of {info.name}", scoring.classes, info.class_sets))
    if scoring.fit_split is not None and scoring.fit_split not in info.splits:
        problems.add("fit_split", unknown(f"split of {info.name}", scoring.fit_split, info.splits))
    elif scoring.fit_split is not None and scoring.fit_split in info.unlabelled:
        problems.add("fit_split", info.without_labels(scoring.fit_split))
    return scoring


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
