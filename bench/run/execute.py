"""Carry out one order: the fit unless it is stored, then each evaluation that is not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from spectral_bench.bench.measure.environment import require_crf
from spectral_bench.bench.run.context import Run
from spectral_bench.bench.run.evaluate import view_features
from spectral_bench.bench.run.fit import fit, load_fit, training_patches
from spectral_bench.bench.run.naming import look
from spectral_bench.common.errors import RunInterrupted
from spectral_bench.methods.graphs.pixel_memory import MEMORY as PIXEL_GRAPHS
from spectral_bench.results.runs import CHECKPOINT_FILE

if TYPE_CHECKING:
    from spectral_bench.bench.run.cohort import Member
    from spectral_bench.bench.work.order import Order
    from spectral_bench.methods.interface import Segmenter
    from spectral_bench.results.record import EvaluationRecord, FitRecord, Status
    from spectral_bench.results.specification import View
    from spectral_bench.results.store import Store

logger = logging.getLogger(__name__)

_BY_MERIT: tuple[Status, ...] = ("done", "not_converged", "failed")


@dataclass(frozen=True)
class Outcome:
    """How an order ended. ``interrupted``: it was asked to stop and goes on when it is ordered again."""

    status: Literal["done", "failed", "not_converged", "interrupted"]


def execute(order: Order, *, store: Store, should_stop: Callable[[], bool], cohort: Member | None = None) -> Outcome:
    """Fit, evaluate and record. What is stored already is not done again. The caller owns the claim on the run.

    Args:
        order: what is wanted.
        store: where records go.
        should_stop: true once the run has been asked to stop.
        cohort: the run among those that are carried out side by side in this process; None: it is alone.

    Raises:
        UserError: the data or the backbone is not as the order needs it, or a package that it needs is missing.
        Exception: whatever the method raises. Recording a failure is the caller's.
    """
    run = Run(order, store, should_stop, cohort)
    # Before the fit, which may take hours: the package is needed after it.
    require_crf(order.views)
    if cohort is None:
        PIXEL_GRAPHS.clear()  # of an earlier run of this process: each pays for its own
    try:
        if order.features_only:
            _extract(run)
            return Outcome("done")
        logger.info("%s depends on %d modules", run.spec.run_id, len(run.code[0]))  # taken here, before the work
        record, method = _fitted(run)
        statuses = [record.status, *(_evaluated(run, view, method).status for view in order.views)]
    except RunInterrupted:
        return Outcome("interrupted")
    # The worst of them, so that one failed evaluation of many is told.
    return Outcome(max(statuses, key=_BY_MERIT.index))


def _fitted(run: Run) -> tuple[FitRecord, Callable[[], Segmenter]]:
    """The record of the fit and a way to the fitted method, which is read from the store only if it is needed."""
    record = run.store.fit_record(run.spec.run_id)
    if record is None or record.status == "failed":
        record, method = fit(run)
        return record, lambda: method
    (run.folder / CHECKPOINT_FILE).unlink(missing_ok=True)  # a kill may have come between record and removal
    # Read when a view is missing, and not for the answer that all is there.
    return record, lambda: load_fit(run.store, run.spec.run_id, run.device, run.spec)


def _evaluated(run: Run, view: View, method: Callable[[], Segmenter]) -> EvaluationRecord:
    record = run.store.evaluation_record(run.spec.run_id, view.view_id)
    if record is None or record.status == "failed":
        return look(run, view, method())
    return record


def _extract(run: Run) -> None:
    """Write the caches that the order's fit and evaluations read."""
    meter = run.meter()
    training_patches(run, meter)
    for view in run.order.views:
        view_features(run, view, run.open_data(view.dataset).images(view.split), meter)
