"""Evaluate one fit under one view: the scores of its images, their counts, what one image takes, and the record."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from spectral_bench.bench.evaluation.counting import ScoredImage, count, labels_at_prediction
from spectral_bench.bench.evaluation.crf import CrfPool
from spectral_bench.bench.evaluation.guided import guided_clusters
from spectral_bench.bench.evaluation.layout import window_layout
from spectral_bench.bench.evaluation.pamr import pamr_clusters
from spectral_bench.bench.features import open_view_features
from spectral_bench.bench.measure.environment import now
from spectral_bench.bench.measure.flops import backbone_flops, count_flops
from spectral_bench.bench.run.context import Run
from spectral_bench.bench.run.health import Foreseen, clusters_in_use, foresee, spectral_health, status_of
from spectral_bench.common.errors import RunInterrupted
from spectral_bench.common.registry import is_from_files
from spectral_bench.datasets.digests import label_files
from spectral_bench.datasets.subset import subset
from spectral_bench.methods.errors import NumericalError
from spectral_bench.methods.labels import predict_scores
from spectral_bench.results.class_lists import class_tables
from spectral_bench.results.record import EvaluationRecord

if TYPE_CHECKING:
    from pathlib import Path

    from spectral_bench.bench.features import ViewFeatures, ViewItem
    from spectral_bench.bench.measure.meter import Meter
    from spectral_bench.bench.run.cohort import View as CohortView
    from spectral_bench.datasets.interface import ImageLoader
    from spectral_bench.methods.interface import LabelSource, Segmenter
    from spectral_bench.results.contingency import Contingency
    from spectral_bench.results.specification import BackboneSpec, View


logger = logging.getLogger(__name__)


def evaluate(run: Run, view: View, method: Segmenter) -> EvaluationRecord:
    """Count the clusters of a fitted method against the raw labels of a view, and store counts and record.

    Raises:
        RunInterrupted: the run was asked to stop; the evaluation starts anew when it is ordered again.
        UserError: images or labels are not as they should be.
    """
    started, meter = now(), run.meter()
    check = run.method_check
    data = run.open_data(view.dataset)
    images, labels = data.images(view.split), data.labels(view.split)
    seen = images.digest(), label_files(labels)  # before anything is read: see bench.run.fit
    features = view_features(run, view, images, meter)
    if run.cohort is not None:
        labels = run.cohort.labels((view.dataset, view.split), labels)
    counting = partial(count, labels=labels, n_clusters=method.n_clusters, n_labels=data.info.n_raw_labels)
    foreseen = foresee(run, view, method, features, meter)
    contingency = _count(run, view, method, features, counting, meter, foreseen)
    health = [
        clusters_in_use(int(np.unique(contingency.cluster).size)),
        *spectral_health(run, view, method, features, meter, foreseen),
    ]
    facts = run.facts(meter)  # before what follows, which is not to be charged
    kept = run.store.flops_folder
    flops = image_flops(
        run.spec.backbone,
        method,
        features,
        run.device,
        labels_at_prediction(run.spec, run.open_data(view.dataset), view.split),
        kept,
        looks=2 if view.flip == "features" else 1,
    )
    record = EvaluationRecord(
        run_id=run.spec.run_id,
        view_id=view.view_id,
        view=view,
        status=status_of(health),
        started=started,
        finished=now(),
        n_images=contingency.n_images,
        n_clusters=contingency.n_clusters,
        n_raw_labels=contingency.n_labels,
        class_sets=class_tables(data.info.class_sets),
        default_classes=data.info.default_classes,
        contingency_sha256=contingency.sha256(),
        health=health,
        code=run.code[1][view.dataset],
        method_check=check,
        data_digest=seen[0],
        label_files=seen[1],
        flops_features=flops.features,
        flops_predict=flops.predict,
        warnings=flops.warnings,
        **facts,
    )
    run.store.write_evaluation(record, contingency)
    return record


def view_features(run: Run, view: View, images: ImageLoader, meter: Meter) -> ViewFeatures | CohortView:
    """The features of a view. Those that are to be cached are extracted now, unless they are there."""
    ids = subset(images.ids, view.subset)
    spec, settings = run.spec, run.feature_settings("features")

    def opened() -> ViewFeatures:
        return open_view_features(
            view, backbone_spec=spec.backbone, features=spec.features, images=images, ids=ids, **settings
        )

    with meter.stage("features", items=len(ids)):
        if run.cohort is None:
            features: ViewFeatures | CohortView = opened()
        else:
            # The processes of a CRF are those of one run at a time: their memory and time are its own.
            features = run.cohort.view((view.view_id, *run.seen_as), opened, in_turns=view.crf is None)
    if features.reused:
        meter.reused("features")
    return features


def _count(
    run: Run,
    view: View,
    method: Segmenter,
    features: ViewFeatures | CohortView,
    counting: Callable[..., Contingency],
    meter: Meter,
    foreseen: Foreseen | None,
) -> Contingency:
    progress = run.progress("evaluate")
    logger.info("evaluate %s on %s %s, %d images", run.spec.run_id, view.dataset, view.split, len(features))
    with meter.stage("evaluate", items=len(features)):
        scored = scored_images(
            method,
            view,
            features,
            device=run.device,
            stage=meter.stage,
            should_stop=run.should_stop,
            labels=labels_at_prediction(run.spec, run.open_data(view.dataset), view.split),
            foreseen=foreseen,
        )
        counted = partial(counting, counted=lambda done: progress(done, len(features)))
        if view.refine is not None:
            images = run.open_data(view.dataset).images(view.split)
            of_pamr = partial(pamr_clusters, images=images, pamr=view.refine, guided=view.upsample, stage=meter.stage)
            counted = partial(counted, assign=of_pamr)
        elif view.upsample is not None and view.crf is None:
            images = run.open_data(view.dataset).images(view.split)
            of_guided = partial(guided_clusters, images=images, guided=view.upsample, stage=meter.stage)
            counted = partial(counted, assign=of_guided)
        contingency = counted(scored) if view.crf is None else _with_crf(run, view, scored, counted, meter)
    if contingency.n_images < len(features):
        raise RunInterrupted
    return contingency


def _with_crf(
    run: Run, view: View, scored: Iterator[ScoredImage], counted: Callable[..., Contingency], meter: Meter
) -> Contingency:
    """Count with a CRF over each image, in processes of their own."""
    assert view.crf is not None
    images, processes = run.open_data(view.dataset).images(view.split), run.order.execution.workers
    with CrfPool(
        view.crf,
        images,
        processes=processes,
        should_stop=run.should_stop,
        stage=meter.stage,
        helpers=meter.helpers,
        guided=view.upsample,
    ) as pool:
        return counted(pool.ahead(scored), assign=pool.assign)


def scored_images(
    method: Segmenter,
    view: View,
    features: Iterable[ViewItem],
    *,
    device: torch.device,
    stage: Callable[[str], AbstractContextManager[None]] = lambda name: nullcontext(),
    should_stop: Callable[[], bool] = lambda: False,
    labels: LabelSource | None = None,
    foreseen: Foreseen | None = None,
) -> Iterator[ScoredImage]:
    """The patch scores of each image of a view, in order; ends early once it should stop.

    Args:
        method: a fitted method.
        view: what is looked at.
        features: of the view.
        device: where to predict.
        stage: charges a block to a stage.
        should_stop: asked before every image.
        labels: of the view's images, for a method that declares ``labels_at_prediction``; no other is handed them.
        foreseen: keeps the eigenfunctions of images that they will be checked on.

    Raises:
        ConfigError: the method needs labels of the images, and there are none.
        NumericalError: a score is NaN or infinite; the message names the image.
    """
    items = iter(features)
    while not should_stop():
        with stage("features"):  # read from the cache, or computed here
            item = next(items, None)
        if item is None:
            return
        with stage("predict"), torch.inference_mode():
            patches = item.patches.to(device)
            scores = None if foreseen is None else foreseen.predict(method, patches)
            scores = (predict_scores(method, patches, labels) if scores is None else scores).float()
            if not bool(torch.isfinite(scores).all()):
                raise NumericalError(f"image {item.image_id}: the method predicts NaN or infinite scores")
        layout = window_layout(view, item.original, item.patches.crops, item.patches.grid, item.cover)
        yield ScoredImage(item.image_id, item.original, scores, layout)


@dataclass(frozen=True)
class ImageFlops:
    """Operations of the backbone and of the method on one image; None where they could not be counted, with the reason.

    Those of features that were computed elsewhere are nobody's to count, and take no reason.

    Attributes:
        features: of the backbone, all windows.
        predict: of the method's prediction.
        warnings: why a number is missing.
    """

    features: int | None
    predict: int | None
    warnings: list[str]


def image_flops(
    spec: BackboneSpec,
    method: Segmenter,
    features: Iterable[ViewItem],
    device: torch.device,
    labels: LabelSource | None,
    kept: Path | None = None,
    *,
    looks: int = 1,
) -> ImageFlops:
    """Count what the first image of a view takes. It never fails an evaluation: what cannot be counted is None.

    Args:
        spec: the backbone.
        method: a fitted method.
        features: of the view.
        device: where to predict.
        labels: as for ``scored_images``.
        kept: folder where counts of backbones are kept; None: nowhere.
        looks: how often the backbone sees a window of which the method gets one set of features.
    """
    item = next(iter(features))
    crops = item.patches.crops
    patches = replace(item.patches, products=None).to(device)  # what others have computed of it is to be counted too
    size = looks * len(crops), crops[0].height, crops[0].width
    warnings: list[str] = []

    def counted(what: str, count: Callable[[], int]) -> int | None:
        try:
            return count()
        except Exception as error:
            warnings.append(f"operations of {what} not counted ({type(error).__name__}: {error})")
            logger.warning("%s", warnings[-1])
            return None

    return ImageFlops(
        None if is_from_files(spec.name) else counted("the backbone", lambda: backbone_flops(spec, *size, kept)),
        counted("the prediction", lambda: count_flops(lambda: predict_scores(method, patches, labels))),
        warnings,
    )
