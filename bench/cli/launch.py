"""Hand the unfinished runs of a plan to an executor, and say how it went."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from spectral_bench.bench.cli.output import say, warn
from spectral_bench.bench.cli.watch import watching
from spectral_bench.bench.executors.interface import FAILURES, SUCCESSES, Executor, Exit, Job
from spectral_bench.bench.plan.model import Plan, PlannedRun, plan_orders
from spectral_bench.bench.plan.show import marked_title
from spectral_bench.bench.work.order import ORDER_PREFIX, Execution, Order
from spectral_bench.bench.work.progress import LOG_FILE
from spectral_bench.common.errors import UserError
from spectral_bench.common.files import write_bytes
from spectral_bench.common.registry import is_path
from spectral_bench.results.identity import digest
from spectral_bench.results.record import Failure
from spectral_bench.results.store import Busy, Store

# Failures that are no fault of a method: something that the user can mend.
_BAD_INPUT = ("data", "store", "rejected", "setup")


@dataclass(frozen=True)
class Launch:
    """How a launch ended.

    Attributes:
        exits: how each run ended, by run id.
        failures: why, for those that failed.
    """

    exits: dict[str, Exit]
    failures: dict[str, Failure]

    @property
    def exit_code(self) -> int:
        """0 if all is done or submitted, 2 if anything failed for what the user can mend, 1 if anything else is."""
        if any(failure.kind in _BAD_INPUT for failure in self.failures.values()):
            return 2
        return 0 if all(how in SUCCESSES or how == "submitted" for how in self.exits.values()) else 1

    @property
    def unfinished(self) -> int:
        """How many runs were stopped or not begun."""
        over = (*SUCCESSES, *FAILURES, "submitted")
        return sum(how not in over for how in self.exits.values())

    @property
    def submitted(self) -> int:
        """How many runs a batch system carries on with."""
        return sum(how == "submitted" for how in self.exits.values())


def launch(plan: Plan, store: Store, executor: Executor, execution: Execution, roots: Sequence[Path]) -> Launch:
    """Carry out the unfinished runs of a plan.

    Raises:
        StoreError: the store cannot be written.
    """
    for run in plan.unfinished:
        backbone = run.spec.backbone
        if backbone.options.get("weights") != "random" and not is_path(backbone.name):
            store.lock_weights(backbone.name, backbone.weights)
    for run in plan.unfinished:
        if run.condition.state == "stale":
            # Another launcher that is at work on it will settle it.
            with contextlib.suppress(Busy), store.claim(run.run_id):
                store.discard(run.run_id)
    store.write_manifest(plan.manifest)
    jobs = [write_job(order, store) for order in plan_orders(plan, execution, roots)]
    titles = {run.run_id: f"{marked_title(run)}, seed {run.spec.seed}" for run in plan.unfinished}
    with watching(store, titles, bars=False if executor.name == "inline" else None) as watch:
        exits = executor.run(jobs, watch)
    failed = [run for run in plan.unfinished if exits.get(run.run_id) in FAILURES]
    failures = {run.run_id: failure for run in failed if (failure := failure_of_run(store, run))}
    tell_failures(store, failed, failures)
    return Launch(exits, failures)


def write_job(order: Order, store: Store) -> Job:
    """Write an order into the folder of its run."""
    job = job_of(order, store)
    write_bytes(job.order_path, (order.model_dump_json(indent=1) + "\n").encode())
    return job


def job_of(order: Order, store: Store) -> Job:
    """The job of an order; the same order has the same file, whoever launches it."""
    path = store.run_folder(order.spec.run_id) / f"{ORDER_PREFIX}{digest(order, 8)}.json"
    return Job(order.spec.run_id, path, frozenset({order.requires} if order.requires else ()))


def failure_of_run(store: Store, run: PlannedRun) -> Failure | None:
    """Why a run failed: its fit, else the first of its evaluations that did."""
    records = [store.fit_record(run.run_id)]
    found = [record.failure for record in records if record is not None and record.status == "failed"]
    for view in run.views:
        evaluation = store.evaluation_record(run.run_id, view.view_id)
        if evaluation is not None and evaluation.status == "failed":
            found.append(evaluation.failure)
    return next((failure for failure in found if failure is not None), None)


def tell_failures(store: Store, failed: Sequence[PlannedRun], failures: dict[str, Failure]) -> None:
    """Print one line for each run that failed; what the user can mend as an error, once for all runs that met it."""
    told: set[str] = set()
    for run in failed:
        failure = failures.get(run.run_id)
        message = (failure.message.strip().splitlines() or [""])[0] if failure else "no reason recorded"
        if failure is not None and failure.kind in _BAD_INPUT:
            if message not in told:
                sys.stderr.write(f"error: {message}\n")
            told.add(message)
            continue
        kind = failure.kind if failure else "failed"
        log = store.run_folder(run.run_id) / LOG_FILE
        where = f" (log: {log})" if log.exists() else ""
        sys.stderr.write(f"failed: {run.title}, seed {run.spec.seed}: {kind}: {message}{where}\n")


def tell_tables(store: Store, grid: str) -> None:
    """Print the tables of a grid."""
    from spectral_bench.reports import build_tables, render

    try:
        for table in build_tables(store, grid=grid):
            say("\n" + render(table, "markdown").rstrip("\n"))
    except UserError as error:
        warn(str(error))
