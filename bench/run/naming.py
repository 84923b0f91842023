"""Look at a fit under a view that names its clusters: one pass over features in the space of texts, and no label."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from spectral_bench.bench.code.records import evaluation_code
from spectral_bench.bench.evaluation.counting import labels_at_prediction
from spectral_bench.bench.evaluation.naming import ClusterMeans
from spectral_bench.bench.features import open_view_features
from spectral_bench.bench.features.backbones import load_backbone
from spectral_bench.bench.measure.environment import now
from spectral_bench.bench.run.evaluate import evaluate, scored_images, view_features
from spectral_bench.common.errors import RunInterrupted
from spectral_bench.datasets.subset import subset
from spectral_bench.methods.params import PLAIN
from spectral_bench.results.record import EvaluationRecord
from spectral_bench.results.specification import Features

if TYPE_CHECKING:
    from spectral_bench.bench.features import ViewFeatures
    from spectral_bench.bench.measure.meter import Meter
    from spectral_bench.bench.run.cohort import View as CohortView
    from spectral_bench.bench.run.context import Run
    from spectral_bench.datasets.interface import ImageLoader
    from spectral_bench.methods.interface import Segmenter
    from spectral_bench.results.naming import ClusterVectors
    from spectral_bench.results.specification import BackboneSpec, View

NAMES_STAGE = "names"
"""The stage of the network in the space of texts, and of the means of its features."""

logger = logging.getLogger(__name__)


def look(run: Run, view: View, method: Segmenter) -> EvaluationRecord:
    """Evaluate a fit under a view, or find what its clusters are named by where the view is for that."""
    return evaluate(run, view, method) if view.names is None else name_clusters(run, view, method, view.names)


def name_clusters(run: Run, view: View, method: Segmenter, network: BackboneSpec) -> EvaluationRecord:
    """Store the mean feature of each cluster of a fitted method over the images of a view, and a record.

    Raises:
        RunInterrupted: the run was asked to stop; it starts anew when it is ordered again.
        UserError: images or weights are not as they should be.
        NumericalError: a score or a feature is not finite.
    """
    started, meter = now(), run.meter()
    check, code = run.method_check, _code(run, view, network)
    images = run.open_data(view.dataset).images(view.split)
    seen = images.digest()  # before anything is read: see bench.run.fit
    features = view_features(run, view, images, meter)
    found = _means(run, view, method, features, _language(run, view, network, images), meter)
    record = EvaluationRecord(
        run_id=run.spec.run_id,
        view_id=view.view_id,
        view=view,
        status="done",
        started=started,
        finished=now(),
        n_images=len(features),
        n_clusters=method.n_clusters,
        code=code,
        method_check=check,
        data_digest=seen,
        **run.facts(meter),
    )
    return run.store.write_evaluation(record, found)


def _means(
    run: Run,
    view: View,
    method: Segmenter,
    features: ViewFeatures | CohortView,
    language: ViewFeatures | CohortView,
    meter: Meter,
) -> ClusterVectors:
    progress, means = run.progress("evaluate"), ClusterMeans(method.n_clusters)
    told = run.spec.run_id, view.dataset, view.split, len(features)
    logger.info("name the clusters of %s by %s %s, %d images", *told)
    scored = scored_images(
        method,
        view,
        features,
        device=run.device,
        stage=meter.stage,
        should_stop=run.should_stop,
        labels=labels_at_prediction(run.spec, run.open_data(view.dataset), view.split),
    )
    done, seen = 0, iter(language)
    with meter.stage("evaluate", items=len(features)):
        for done, image in enumerate(scored, start=1):
            with meter.stage(NAMES_STAGE):
                means.add(image, next(seen))
            progress(done, len(features))
    if done < len(features):
        raise RunInterrupted
    return means.result()


def _language(run: Run, view: View, network: BackboneSpec, images: ImageLoader) -> ViewFeatures | CohortView:
    """The same windows through the network in the space of texts, computed as they are asked for."""
    plain = view.model_copy(update={"features": ""})
    settings = {**run.feature_settings(NAMES_STAGE), "colours": PLAIN}
    settings["backbone"] = lambda: load_backbone(network.name, network.options, run.device)

    def opened() -> ViewFeatures:
        return open_view_features(
            plain,
            backbone_spec=network,
            features=Features(mode="online"),
            images=images,
            ids=subset(images.ids, view.subset),
            **settings,
        )

    if run.cohort is None:
        return opened()
    return run.cohort.view((NAMES_STAGE, plain.view_id), opened, in_turns=False)


def _code(run: Run, view: View, network: BackboneSpec) -> dict[str, str]:
    """Fingerprints of the code that is at work here, that of the network in the space of texts among it."""
    return evaluation_code(run.spec.method, view.dataset, run.spec.backbone.name, network.name, loaded=True)
