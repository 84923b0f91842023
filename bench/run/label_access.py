"""The only way by which labels reach a method, and only one that declares that it uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spectral_bench.bench.features.backbones import backbone_info
from spectral_bench.bench.features.patch_labels import PatchLabels
from spectral_bench.datasets.subset import subset
from spectral_bench.methods.registry import method_facts

if TYPE_CHECKING:
    from spectral_bench.bench.measure.meter import Meter
    from spectral_bench.bench.run.context import Run
    from spectral_bench.datasets.interface import DataSet
    from spectral_bench.results.specification import FitSpec, View


def training_labels(run: Run, meter: Meter) -> PatchLabels | None:
    """The labels of the training images, all of them read once; None, without a look, for a method that uses none.

    Raises:
        ConfigError: the training data has no classes.
        DataError: a label is missing or not as it should be; the message names its file.
        RunInterrupted: the run was asked to stop.
    """
    if not method_facts(run.spec.method).uses_labels:
        return None
    data = run.spec.data
    labels = _patch_labels(run.spec, run.open_data(data.dataset), data.split)
    ids = subset(run.open_data(data.dataset).images(data.split).ids, data.subset)
    with meter.stage("labels", items=len(ids)):
        labels.require(ids, workers=run.order.execution.workers, should_stop=run.should_stop)
    return labels


def evaluated_labels(run: Run, view: View) -> PatchLabels | None:
    """The labels of the evaluated images for a method that declares ``labels_at_prediction``; None for all others.

    Raises:
        ConfigError: the evaluated data has no classes.
        DataError: the data root does not hold the labels.
    """
    return labels_at_prediction(run.spec, run.open_data(view.dataset), view.split)


def labels_at_prediction(spec: FitSpec, data: DataSet, split: str) -> PatchLabels | None:
    """The labels of a split for a fit whose method declares that it predicts from them; None for all others.

    Errors: as for ``evaluated_labels``.
    """
    return _patch_labels(spec, data, split) if method_facts(spec.method).labels_at_prediction else None


def _patch_labels(spec: FitSpec, data: DataSet, split: str) -> PatchLabels:
    return PatchLabels(data.labels(split), data.info, backbone_info(spec.backbone.name, spec.backbone.options))
