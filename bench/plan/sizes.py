"""How many images a run looks at and of what size, as far as it is known before any is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from spectral_bench.bench.features.backbones import backbone_info
from spectral_bench.common.documents.nodes import Node
from spectral_bench.common.documents.problems import Problems
from spectral_bench.datasets.registry import data_info
from spectral_bench.methods.registry import MethodFacts
from spectral_bench.results.specification import BackboneSpec, Resize, TrainingData, View


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


def check_sizes(
    facts: MethodFacts,
    params: Mapping[str, Any],
    data: TrainingData,
    backbone: BackboneSpec,
    node: Callable[[str], Node],
    problems: Problems,
) -> None:
    """Note parameters that ask for more training images or patches than there are.

    Where their number depends on files that are not seen yet, the fit says it.

    Args:
        facts: of the method.
        params: its complete parameters.
        data: what it is trained on.
        backbone: whose patches it sees.
        node: where a key of the run stands.
        problems: where to note.
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
        problems.add(node("params").locate((name,)), f"{name} = {params[name]}: expected {expected} (of {where})")


def _resized(resize: Resize) -> tuple[int, int] | None:
    return resize.size if resize.mode == "exact" else None
