"""Evaluation protocols: named YAML files, each a view and a scoring, resolved for one data set at planning.

A protocol is data. Besides those in ``protocols/``, a grid may name the path of a YAML file or hold a mapping. Keys:

* ``name``, ``note``: its name in tables, and one line about it.
* ``extends``: another protocol whose keys it takes over, except where it states its own, for all data sets or one: what
  it states goes before what the other states of a data set.
* ``view``: the keys of ``results.specification.View`` apart from ``dataset``. ``size: evaluation`` stands for the data
  set's evaluation size; ``short_side``, ``window`` and ``stride`` may say ``dataset``: what the paper uses for it.
* ``scoring``: the keys of ``results.specification.Scoring``. ``fit_split: train`` fits the matching on another split.
  ``names: FILE``, or a mapping with ``text: FILE``, names clusters by text vectors; the path starts from the folder of
  the file that states it.
* ``clusters``: ``any``, or ``classes`` where the number of clusters must be the number of classes.
* ``datasets``: data set -> ``view`` and ``scoring`` that replace the common ones, key by key.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from spectral_bench.common.documents.document import Document, Place, standing_at
from spectral_bench.common.documents.problems import Problems, describe, validate
from spectral_bench.common.documents.reading import read_document
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import unknown
from spectral_bench.common.registry import absolute_path
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.results.specification import BackboneSpec, Protocol, Scoring, View

FOLDER = Path(__file__).parent / "protocols"
Clusters = Literal["any", "classes"]


@dataclass(frozen=True)
class Definition:
    """A protocol for any data set.

    Attributes:
        name: its name in tables.
        note: one line about it.
        clusters: ``classes`` where K must be the number of classes.
        document: all of its keys, those of the protocol that it extends included.
        own: the keys that it states itself.
        base: the protocol that it extends.
    """

    name: str
    note: str
    clusters: Clusters
    document: Document
    own: Document
    base: Definition | None = None

    def part(self, key: Literal["view", "scoring"], dataset: str) -> Document:
        """The view or the scoring for one data set, its own values merged into the common ones.

        Those of the protocol that is extended come first, both kinds: whoever extends it has the last word.
        """
        empty = standing_at(Place(self.document.place.where, key), {})
        part = empty if self.base is None else self.base.part(key, dataset)
        for path in ((key,), ("datasets", dataset, key)):
            if self.own.states(path):
                part = part.overlaid(self.own.part(path))
        return part


def names() -> tuple[str, ...]:
    """The protocols that ship with the harness."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load(reference: Document, folder: Path) -> Definition:
    """The protocol that a grid refers to.

    Args:
        reference: a name, the path of a YAML file (relative to ``folder``), or a mapping with the protocol's keys.
        folder: the folder of the grid.

    Raises:
        ConfigError: there is no such protocol (the nearest is suggested), or it is not valid.
    """
    if isinstance(reference.value, dict):
        return _define(reference, folder, ())
    problems = Problems(reference.places)
    if isinstance(reference.value, str):
        with problems.at(()):
            return find(reference.value, folder)
    else:
        found = describe(reference.value)
        problems.add((), f"expected the name of a protocol, a path or a mapping, got {found}")
    problems.check()
    raise AssertionError("unreachable")


def find(name: str, folder: Path, users: tuple[str, ...] = ()) -> Definition:
    """The protocol of a name or path; ``users`` are the protocols that extend it, outermost first.

    Raises:
        ConfigError: as for ``load``.
    """
    if name in users:
        raise ConfigError(f"protocol {users[0]} extends itself: {' -> '.join((*users, name))}")
    if "/" in name or name.endswith((".yaml", ".yml")):
        path = folder / Path(name).expanduser()
        return _define(read_document(path), path.parent, (*users, name))
    return _shipped(name, users)


@cache
def _shipped(name: str, users: tuple[str, ...]) -> Definition:
    if name not in names():
        raise ConfigError(f"{unknown('protocol', name, names())} (or the path of a YAML file)")
    return _define(read_document(FOLDER / f"{name}.yaml"), FOLDER, (*users, name))


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    note: str = ""
    extends: str | None = None
    view: dict[str, Any] = {}
    scoring: dict[str, Any] = {}
    clusters: Clusters = "any"
    datasets: dict[str, dict[str, dict[str, Any]]] = {}


def _define(document: Document, folder: Path, users: tuple[str, ...]) -> Definition:
    """The definition that a document writes down, on top of the one that it extends."""
    problems = Problems(document.places)
    document = _with_text(document, folder, problems)
    extended = document.get(("extends",))
    base = None
    if isinstance(extended, str):
        with problems.at("extends"):
            base = find(extended, folder, users)
    keys = validate(_Keys, document.value, problems)
    _check_datasets(document.get(("datasets",)), problems)
    problems.check()
    assert keys is not None
    clusters = keys.clusters if base is None or document.states(("clusters",)) else base.clusters
    note = keys.note or (base.note if base else "")
    whole = base.document.overlaid(document) if base else document
    return Definition(keys.name, note, clusters, whole, document, base)


def _with_text(document: Document, folder: Path, problems: Problems) -> Document:
    """The document with the paths of files of text vectors made absolute: they start from its own folder."""
    datasets = document.get(("datasets",))
    starts: list[tuple[str, ...]] = [("scoring",)]
    starts += [("datasets", name, "scoring") for name in datasets] if isinstance(datasets, dict) else []
    for start in starts:
        for path in ((*start, "names"), (*start, "names", "text")):
            if isinstance(text := document.get(path), str) and text:
                with problems.at(path):
                    found = str(absolute_path(text, folder, f"text {text}"))
                    document = document.with_part(path, standing_at(document.places[path], found))
    return document


def _check_datasets(datasets: Any, problems: Problems) -> None:
    for dataset, parts in datasets.items() if isinstance(datasets, dict) else ():
        for key in parts if isinstance(parts, dict) else ():
            if key not in ("view", "scoring"):
                problems.add(("datasets", dataset, key), 'expected "view" or "scoring" below a data set')


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
    scoring = _scoring(definition, info, split if view is None else view.split, problems)
    problems.check()
    assert view is not None
    assert scoring is not None
    return Protocol(name=definition.name, view=view, fit_view=_fit_view(view, scoring), scoring=scoring)


def named_splits(definition: Definition, dataset: str) -> list[str]:
    """The splits of a data set that a protocol names itself, whether there are such or not."""
    named = definition.part("view", dataset).get(("split",)), definition.part("scoring", dataset).get(("fit_split",))
    return [split for split in named if isinstance(split, str)]


def name_view(protocol: Protocol, network: BackboneSpec) -> View:
    """The view that gives the mean features of clusters, by a network in the space of texts, for a resolved protocol.

    It looks at the same images in the same way, or at all of the split whose images ``names`` asks for. What follows
    on scores changes nothing of it: views that differ in that alone share one.
    """
    view, names = protocol.view, protocol.scoring.names
    split = None if names is None else names.split
    other = {} if split in (None, view.split) else {"split": split, "subset": None}
    return view.model_copy(update={**other, "crf": None, "refine": None, "upsample": None, "names": network})


def class_count(protocol: Protocol, info: DataInfo) -> int:
    """The number of classes that a resolved protocol counts."""
    return len(info.class_sets[protocol.scoring.classes or info.default_classes].classes)


def _view(definition: Definition, info: DataInfo, split: str, subset: int | None, problems: Problems) -> View | None:
    written = definition.part("view", info.name)
    problems = problems.of(written.places)
    if written.states(("dataset",)):
        problems.add("dataset", "the data set of a view is chosen by the runs of a grid, not by a protocol")
    if written.states(("names",)):
        problems.add("names", "clusters are named by a scoring; expected scoring: {names: FILE}")
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


def _scoring(definition: Definition, info: DataInfo, split: str, problems: Problems) -> Scoring | None:
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
    if scoring.names is not None and scoring.names.split not in (None, *info.splits):
        problems.add(("names", "split"), unknown(f"split of {info.name}", str(scoring.names.split), info.splits))
    budget, size = scoring.label_budget, info.splits.get(scoring.fit_split or "")
    if budget is not None and scoring.fit_split == split:
        problems.add("label_budget", f"fit_split: {split} is the split that is scored; name another, such as train")
    elif budget is not None and size is not None and budget > size:
        problems.add("label_budget", f"{budget} images are more than the {size} of {info.name} {scoring.fit_split}")
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
