"""The only way by which labels reach a method, and only one that declares that it uses them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from spectral_bench.bench.features.backbones import backbone_info
from spectral_bench.bench.features.patch_labels import PatchLabels
from spectral_bench.datasets.subset import subset
from spectral_bench.methods.registry import method_facts

if TYPE_CHECKING:
    from spectral_bench.bench.measure.meter import Meter
    from spectral_bench.datasets.interface import DataSet
    from spectral_bench.results.specification import FitSpec


def training_labels(
    spec: FitSpec,
    open_data: Callable[[str], DataSet],
    meter: Meter,
    *,
    workers: int,
    should_stop: Callable[[], bool],
) -> PatchLabels | None:
    """The labels of the training images, all of them read once; None, without a look, for a method that uses none.

    Args:
        spec: the fit.
        open_data: opens a data set by its name.
        meter: which reading them is charged to.
        workers: that read them.
        should_stop: whether the run has been asked to stop.

    Raises:
        ConfigError: the training data has no classes.
        DataError: a label is missing or not as it should be; the message names its file.
        RunInterrupted: the run was asked to stop.
    """
    if not method_facts(spec.method).uses_labels:
        return None
    data = open_data(spec.data.dataset)
    labels = _patch_labels(spec, data, spec.data.split)
    ids = subset(data.images(spec.data.split).ids, spec.data.subset)
    with meter.stage("labels", items=len(ids)):
        labels.require(ids, workers=workers, should_stop=should_stop)
    return labels


def labels_at_prediction(spec: FitSpec, data: DataSet, split: str) -> PatchLabels | None:
    """The labels of a split for a fit whose method declares ``labels_at_prediction``; None for all others.

    Raises:
        ConfigError: the data has no classes.
        DataError: the data root does not hold the labels.
    """
    return _patch_labels(spec, data, split) if method_facts(spec.method).labels_at_prediction else None


def _patch_labels(spec: FitSpec, data: DataSet, split: str) -> PatchLabels:
    return PatchLabels(data.labels(split), data.info, backbone_info(spec.backbone.name, spec.backbone.options))
