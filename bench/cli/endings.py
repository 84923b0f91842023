"""How the runs of a launch ended, why those failed that did, and which exit code that is."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spectral_bench.bench.executors.jobs import FAILURES, SUCCESSES, Exit
from spectral_bench.bench.work.progress import LOG_FILE
from spectral_bench.results.record import Failure
from spectral_bench.results.specification import View
from spectral_bench.results.store import Store

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


def concluded(
    store: Store, exits: dict[str, Exit], views: Mapping[str, Iterable[View]], titles: Mapping[str, str]
) -> Launch:
    """How a launch ended, by the records of its runs; why runs failed is printed.

    Args:
        store: where the records are.
        exits: how each run ended, by run id.
        views: what each run was to be looked at by.
        titles: what to call each run.
    """
    failed = [run_id for run_id in views if exits.get(run_id) in FAILURES]
    failures = {run_id: why for run_id in failed if (why := failure_of_run(store, run_id, views[run_id])) is not None}
    print_failures(store, {run_id: titles[run_id] for run_id in failed}, failures)
    return Launch(exits, failures)


def failure_of_run(store: Store, run_id: str, views: Iterable[View]) -> Failure | None:
    """Why a run failed: its fit, else the first of its evaluations that did."""
    records = [store.fit_record(run_id)]
    found = [record.failure for record in records if record is not None and record.status == "failed"]
    for view in views:
        evaluation = store.evaluation_record(run_id, view.view_id)
        if evaluation is not None and evaluation.status == "failed":
            found.append(evaluation.failure)
    return next((failure for failure in found if failure is not None), None)


def print_failures(store: Store, failed: Mapping[str, str], failures: Mapping[str, Failure]) -> None:
    """Print one line for each run that failed; what the user can mend as an error, once for all runs that met it.

    Args:
        store: where logs are.
        failed: run id -> what to call the run.
        failures: why, for those that say it.
    """
    told: set[str] = set()
    for run_id, title in failed.items():
        failure = failures.get(run_id)
        message = (failure.message.strip().splitlines() or [""])[0] if failure else "no reason recorded"
        if failure is not None and failure.kind in _BAD_INPUT:
            if message not in told:
                sys.stderr.write(f"error: {message}\n")
            told.add(message)
            continue
        kind = failure.kind if failure else "failed"
        log = store.run_folder(run_id) / LOG_FILE
        where = f" (log: {log})" if log.exists() else ""
        sys.stderr.write(f"failed: {title}: {kind}: {message}{where}\n")
