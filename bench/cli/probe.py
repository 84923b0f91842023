"""Carry out the probes of ``plan --probe``, a process each, and keep what they measured."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from spectral_bench.bench.cli.launch import failure_of_run, write_job
from spectral_bench.bench.cli.output import progress_bar, say, warn
from spectral_bench.bench.executors import LocalExecutor
from spectral_bench.bench.executors.jobs import Event, Exit
from spectral_bench.bench.plan.measured import write_probe
from spectral_bench.bench.plan.probe import Probe, found_by, orders_of, probe_of, runs_to_probe, scratch_store, target
from spectral_bench.bench.plan.show import marked_title
from spectral_bench.bench.plan.states import Plan
from spectral_bench.bench.work.order import Execution
from spectral_bench.common.names import how_many
from spectral_bench.results.store import Store


def probe_plan(plan: Plan, execution: Execution, roots: Sequence[Path]) -> bool:
    """Measure the rows of a plan of which a part was never measured, one after the other.

    Args:
        plan: the plan.
        execution: how its runs would be executed.
        roots: where data sets lie.

    Returns:
        Whether it was seen through: false where it was asked to stop.

    Raises:
        StoreError: the store cannot be written.
    """
    wanted = runs_to_probe(plan)
    if not wanted:
        say("nothing to probe: all that is left was measured before")
        return True
    scratch = scratch_store(plan.store)
    try:
        probes = [probe_of(run, scratch, execution, [root.absolute() for root in roots]) for run in wanted]
        exits = _carry_out(probes, scratch, execution)
        measured = 0
        for probe in probes:
            if found := found_by(probe, scratch):
                write_probe(plan.store, found)
                measured += 1
            elif (reason := _reason(probe, scratch, exits)) is not None:
                warn(f"not measured: {marked_title(probe.run)}: {reason}")
        say(f"measured {how_many(measured, 'row')} by a few steps and images each")
        return not any(how in ("interrupted", "pending") for how in exits.values())
    finally:
        shutil.rmtree(scratch.path, ignore_errors=True)


def _carry_out(probes: Sequence[Probe], scratch: Store, execution: Execution) -> dict[str, Exit]:
    jobs = [write_job(order, scratch) for order in orders_of(probes, scratch)]
    with progress_bar("probing") as progress:
        ended = 0

        def watch(event: Event) -> None:
            nonlocal ended
            ended += event.kind == "finished"
            progress(ended, len(jobs))

        return LocalExecutor(scratch, threads=execution.threads, target=target).run(jobs, watch)


def _reason(probe: Probe, scratch: Store, exits: dict[str, Exit]) -> str | None:
    """Why a probe measured nothing; None where it was stopped."""
    run_id = probe.orders[-1].spec.run_id
    how = exits.get(run_id, "pending")
    if how in ("interrupted", "pending"):
        return None
    failure = failure_of_run(scratch, run_id, probe.orders[-1].views)
    return failure.in_a_line if failure is not None else how
