"""Train one method on the images of one data set, and record it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from spectral_bench.bench.features import open_training_source
from spectral_bench.bench.measure import Meter
from spectral_bench.bench.run.checkpoint import RunCheckpoint
from spectral_bench.bench.run.context import Run, now
from spectral_bench.bench.run.health import health_records, status_of
from spectral_bench.bench.run.labels import training_labels
from spectral_bench.bench.run.stored import build_method, load_fit, require_loadable, save_state
from spectral_bench.bench.work.progress import METRICS_FILE, MetricsLog
from spectral_bench.common.seeds import SeedStreams
from spectral_bench.datasets.subset import subset
from spectral_bench.methods.interface import FitContext
from spectral_bench.methods.registry import method_facts
from spectral_bench.results.record import BASE_STAGE, FitRecord
from spectral_bench.results.runs import CHECKPOINT_FILE

if TYPE_CHECKING:
    from spectral_bench.bench.features.sources.base import TrainingSource
    from spectral_bench.datasets.interface import ImageLoader
    from spectral_bench.methods.interface import LabelSource, Segmenter

logger = logging.getLogger(__name__)


def training_images(run: Run) -> ImageLoader:
    """The images of the training split. Labels have another loader: see ``bench.run.labels``."""
    return run.open_data(run.spec.data.dataset).images(run.spec.data.split)


def training_patches(run: Run, meter: Meter) -> TrainingSource:
    """The training patches. Features that are to be cached are extracted now, unless they are there."""
    images = training_images(run)
    ids = subset(images.ids, run.spec.data.subset)
    with meter.stage("features", items=len(ids)):
        source = open_training_source(run.spec, images=images, ids=ids, **run.feature_settings("features"))
    if source.reused:
        meter.reused("features")
    return source


def fit(run: Run) -> tuple[FitRecord, Segmenter]:
    """Train the run's method, from its checkpoint where there is one, and store state and record.

    Raises:
        RunInterrupted: the run was asked to stop; it goes on from its checkpoint when it is ordered again.
        UserError: the data or the backbone is not as it should be.
        StateError: what the method stored cannot be loaded again; its checkpoint stays.
        Exception: whatever the method raises; the caller records it as the run's failure.
    """
    started, meter = now(), run.meter()
    run.progress("start")(0, 0)  # what an earlier attempt said is over
    check = run.method_check  # of the code that is about to work
    labels = training_labels(run, meter)
    # Before anything is read: what changes from here on makes the run stale, not its record wrong.
    data_digest = training_images(run).digest()
    label_digest, labels_seen = ("", "") if labels is None else (labels.digest, labels.files)
    source = training_patches(run, meter)
    method = build_method(run.spec)
    every = run.order.execution.checkpoint_every
    checkpoint = RunCheckpoint(run.folder / CHECKPOINT_FILE, every, f"{data_digest} {label_digest}", run.code[0])
    logger.info("fit %s on %d images, %d patches", run.spec.run_id, len(source), source.n_patches)
    context = _context(run, meter, checkpoint, labels)
    with meter.stage("fit", items=len(source)):
        method.fit(source, context=context)
    checkpoint.charge(meter)
    n_numbers = save_state(run.folder, method)
    require_loadable(run.folder, run.spec, method)
    health = health_records(method)
    record = FitRecord(
        run_id=run.spec.run_id,
        spec=run.spec,
        status=status_of(health),
        started=started,
        finished=now(),
        n_clusters=method.n_clusters,
        parameters=n_numbers,
        health=health,
        uses_labels=method_facts(run.spec.method).uses_labels,
        code=checkpoint.code,
        method_check=check,
        base=run.order.requires,
        data_digest=data_digest,
        label_digest=label_digest,
        label_files=labels_seen,
        **run.facts(meter),
    )
    run.store.write_fit(record)
    checkpoint.remove()
    return record, method


def _context(run: Run, meter: Meter, checkpoint: RunCheckpoint, labels: LabelSource | None) -> FitContext:
    return FitContext(
        seeds=SeedStreams(run.spec.seed),
        device=run.device,
        precision=run.spec.precision,
        progress=run.progress("fit"),
        log=MetricsLog(run.folder / METRICS_FILE).append,
        checkpoint=checkpoint,
        should_stop=run.should_stop,
        stage=meter.stage,
        base=_base(run, meter),
        labels=labels,
    )


def _base(run: Run, meter: Meter) -> Segmenter | None:
    """The stored fit that the run starts from. Its training is another run's cost; loading it is a stage of its own."""
    if run.order.requires is None:
        return None
    with meter.stage(BASE_STAGE):
        base = load_fit(run.store, run.order.requires, run.device)
    meter.reused(BASE_STAGE)
    return base
