"""Parameters of a method, checked against the method, then the classes, then the number of images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spectral_bench.bench.features.backbones import backbone_info
from spectral_bench.bench.grid.keys import RUN_KEYS
from spectral_bench.bench.plan.inputs import facts_of
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import nearest, unknown
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.datasets.registry import data_info
from spectral_bench.methods.registry import MethodFacts, complete_params
from spectral_bench.results.specification import BackboneSpec, Resize, TrainingData, View


def with_classes(facts: MethodFacts, stated: Mapping[str, Any], data: TrainingData | None) -> dict[str, Any]:
    """The stated parameters, and K where it follows from the classes of the training data and is not stated."""
    n_classes = class_count(facts_of(data.dataset)) if data is not None else 0
    if not facts.classes_as_clusters or n_classes == 0:
        return dict(stated)
    return {"k": n_classes, **stated}


def checked_params(facts: MethodFacts, stated: Mapping[str, Any], problems: Problems) -> dict[str, Any] | None:
    """The complete parameters of a method, or None after noting what is wrong with the stated ones.

    Args:
        facts: of the method.
        stated: the parameters that the grid states.
        problems: where to note, by the keys of the run.
    """
    strange = [key for key in stated if key not in facts.params.model_fields]
    for key in strange:
        problems.add(("params", key), _unknown(facts, key))
    if strange:
        return None
    try:
        return complete_params(facts.name, stated)
    except ConfigError as error:
        alone = {key: fault for key in stated if (fault := _fault(facts.name, {key: stated[key]}))}
        for key, fault in alone.items():
            problems.add(("params", key), fault)
        if not alone:  # each is valid, but not together with the others
            problems.add("params", str(error))
        return None


def _unknown(facts: MethodFacts, key: str) -> str:
    run_key = nearest(key, RUN_KEYS)
    hint = f' (or did you mean "{run_key}", a key of a run?)' if run_key else ""
    return unknown(f"parameter of {facts.name}", key, facts.params.model_fields) + hint


def _fault(method: str, params: Mapping[str, Any]) -> str | None:
    try:
        complete_params(method, params)
    except ConfigError as error:
        return str(error)
    return None


def check_classes(
    facts: MethodFacts,
    params: Mapping[str, Any],
    data: TrainingData,
    evaluated: DataInfo,
    problems: Problems,
) -> None:
    """Note training data without labels for a method that uses them, and a K that is not the number of classes.

    Args:
        facts: of the method.
        params: its complete parameters.
        data: what it is trained on.
        evaluated: the data set that it is evaluated on, whose labels an oracle reads.
        problems: where to note, by the keys of the run.
    """
    if not facts.uses_labels:
        return
    trained = facts_of(data.dataset)
    for info in (trained, evaluated) if facts.labels_at_prediction else (trained,):
        n_classes = class_count(info)
        if n_classes == 0:
            problems.add("method", f"{facts.name} is fitted with labels, and data set {info.name} has none")
        elif facts.classes_as_clusters and params["k"] != n_classes:
            problems.add(
                ("params", "k"),
                f"k is {params['k']}, but the clusters of {facts.name} are the {n_classes} classes of {info.name} "
                f'(class set "{info.default_classes}"): set k: {n_classes}',
            )


def class_count(info: DataInfo) -> int:
    """Classes of a data set's default class set; 0 where it has no labels."""
    return len(info.class_sets[info.default_classes].classes) if info.class_sets else 0


def check_sizes(
    facts: MethodFacts,
    params: Mapping[str, Any],
    data: TrainingData,
    backbone: BackboneSpec,
    problems: Problems,
) -> None:
    """Note parameters that ask for more training images or patches than there are.

    Where their number depends on files that are not seen yet, the fit says it.

    Args:
        facts: of the method.
        params: its complete parameters.
        data: what it is trained on.
        backbone: whose patches it sees.
        problems: where to note, by the keys of the run.
    """
    images, sides = image_count(data), training_sides(data)
    if images is None:
        return
    patches = None
    if sides is not None:
        rows, columns = backbone_info(backbone.name, backbone.options).grid(*sides)
        patches = images * rows * columns
    for name, expected in facts.params(**params).misfits(images, patches).items():
        where = f"{data.dataset} {data.split}" + (f" with subset: {data.subset}" if data.subset else "")
        problems.add(("params", name), f"{name} = {params[name]}: expected {expected} (of {where})")


def image_count(source: TrainingData | View) -> int | None:
    """How many images are looked at; None where the data set does not state it."""
    return source.subset or data_info(source.dataset).splits.get(source.split)


def training_sides(data: TrainingData) -> tuple[int, int] | None:
    """Height and width in pixels of what the backbone sees; None where they depend on the images."""
    if data.transform.crop is not None:
        return data.transform.crop, data.transform.crop
    return _resized(data.transform.resize)


def view_sides(view: View) -> tuple[int, int] | None:
    """The same of a view."""
    if view.window is not None:
        return None  # the number of windows depends on the images
    if view.centre_crop is not None:
        return view.centre_crop, view.centre_crop
    return _resized(view.resize)


def _resized(resize: Resize) -> tuple[int, int] | None:
    return resize.size if resize.mode == "exact" else None
