"""The classes that methods which use labels are fitted with, and the number of clusters that follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from spectral_bench.bench.plan.data import facts_of
from spectral_bench.common.documents.nodes import Node
from spectral_bench.common.documents.problems import Problems
from spectral_bench.datasets.interface import DataInfo
from spectral_bench.methods.registry import MethodFacts
from spectral_bench.results.specification import TrainingData


def with_classes(facts: MethodFacts, stated: Mapping[str, Any], data: TrainingData | None) -> dict[str, Any]:
    """The stated parameters, and K where it follows from the classes of the training data and is not stated."""
    n_classes = class_count(facts_of(data.dataset)) if data is not None else 0
    if not facts.classes_as_clusters or n_classes == 0:
        return dict(stated)
    return {"k": n_classes, **stated}


def check_classes(
    facts: MethodFacts,
    params: Mapping[str, Any],
    data: TrainingData,
    evaluated: DataInfo,
    node: Callable[[str], Node],
    problems: Problems,
) -> None:
    """Note training data without labels for a method that uses them, and a K that is not the number of classes.

    Args:
        facts: of the method.
        params: its complete parameters.
        data: what it is trained on.
        evaluated: the data set that it is evaluated on, whose labels an oracle reads.
        node: where a key of the run stands.
        problems: where to note.
    """
    if not facts.uses_labels:
        return
    trained = facts_of(data.dataset)
    for info in (trained, evaluated) if facts.labels_at_prediction else (trained,):
        n_classes = class_count(info)
        if n_classes == 0:
            problems.add(node("method"), f"{facts.name} is fitted with labels, and data set {info.name} has none")
        elif facts.classes_as_clusters and params["k"] != n_classes:
            problems.add(
                node("params").locate(("k",)),
                f"k is {params['k']}, but the clusters of {facts.name} are the {n_classes} classes of {info.name} "
                f'(class set "{info.default_classes}"): set k: {n_classes}',
            )


def class_count(info: DataInfo) -> int:
    """Classes of a data set's default class set; 0 where it has no labels."""
    return len(info.class_sets[info.default_classes].classes) if info.class_sets else 0
