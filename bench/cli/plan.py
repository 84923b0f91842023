"""``bench plan``: what a grid asks for, and with ``--probe`` what was never measured, measured now."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from spectral_bench.bench.cli.endings import failure_of_run
from spectral_bench.bench.cli.launch import write_job
from spectral_bench.bench.cli.options import (
    DEFAULT_OUT,
    Changes,
    Debug,
    Device,
    Grid,
    GridFile,
    Json,
    Out,
    Probe,
    Roots,
    Threads,
    data_roots,
    find_store,
    parse_device,
    required_grid,
    show_runs,
)
from spectral_bench.bench.cli.output import progress_bar, say, show_json, tell, warn
from spectral_bench.bench.cli.preflight import absent_weights, check_plan, fetch_weights
from spectral_bench.bench.executors import LocalExecutor
from spectral_bench.bench.executors.jobs import Event, Exit
from spectral_bench.bench.grid.load import load_grid
from spectral_bench.bench.plan.build import make_plan
from spectral_bench.bench.plan.measured import write_probe
from spectral_bench.bench.plan.show import PLAN_COLUMNS, marked_title, plan_json, plan_lines, plan_rows
from spectral_bench.bench.plan.states import Plan
from spectral_bench.bench.plan.today import CurrentData
from spectral_bench.bench.work.order import Execution
from spectral_bench.common.collection import importing
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import how_many
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.results.store import Store

if TYPE_CHECKING:
    from spectral_bench.bench.plan.probe import Probe as Measured


def plan(
    grid_file: GridFile = None,
    grid: Grid = None,
    out: Out = DEFAULT_OUT,
    data_root: Roots = None,
    changes: Changes = None,
    probe: Probe = False,
    device: Device = "auto",
    threads: Threads = 0,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Print the runs of a grid, which of them are done, and the disk, time and memory that the others need.

    Writes nothing, and needs no data, unless --probe is given; finished runs are held against the data that is there.
    """
    if not probe and (device != "auto" or threads):
        raise ConfigError("--device and --threads are for probes; give --probe too")
    execution = Execution(device=parse_device(device), threads=threads, executor="local")
    with importing():  # making a plan does, too
        problems = Problems()
        loaded = load_grid(required_grid(grid_file, grid, "plan"), changes or (), problems=problems)
        held = CurrentData(data_roots(data_root, loaded.data_roots))
        made = make_plan(loaded, find_store(out), out, data=held, problems=problems)
        problems.check()
    seen_through = True
    if probe:
        seen_through = _probe(made, execution, data_roots(data_root, loaded.data_roots), quiet=as_json)
        made = make_plan(loaded, find_store(out), out, data=held)
    if as_json:
        show_json(plan_json(made))
    else:
        show_plan(made)
    return 0 if seen_through else 1


def _probe(made: Plan, execution: Execution, roots: DataRoots, *, quiet: bool) -> bool:
    """Check what probes need, and carry them out; JSON has standard output to itself."""

    check_plan(made, execution, roots)
    with redirect_stdout(sys.stderr) if quiet else nullcontext():
        if wanted := absent_weights(made, here=True):
            fetch_weights(wanted)
        return probe_plan(made, execution, roots.roots)


def show_plan(made: Plan) -> None:
    """Print the runs of a plan in the order of execution, what they need, and totals."""
    store = find_store(made.store)
    show_runs(PLAN_COLUMNS, plan_rows(made), store.runs() if store else (), right=("seed", "evaluated", "time"))
    tell("\n" + "\n".join(plan_lines(made)))


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
    # Loads torch, which a plan without probes shall not wait for.
    from spectral_bench.bench.plan.probe import found_by, probe_of, runs_to_probe, scratch_store

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


def _carry_out(probes: Sequence[Measured], scratch: Store, execution: Execution) -> dict[str, Exit]:
    from spectral_bench.bench.plan.probe import orders_of, target

    jobs = [write_job(order, scratch) for order in orders_of(probes, scratch)]
    with progress_bar("probing") as progress:
        ended = 0

        def watch(event: Event) -> None:
            nonlocal ended
            ended += event.kind == "finished"
            progress(ended, len(jobs))

        return LocalExecutor(scratch, threads=execution.threads, target=target).run(jobs, watch)


def _reason(probe: Measured, scratch: Store, exits: dict[str, Exit]) -> str | None:
    """Why a probe measured nothing; None where it was stopped."""
    run_id = probe.orders[-1].spec.run_id
    how = exits.get(run_id, "pending")
    if how in ("interrupted", "pending"):
        return None
    failure = failure_of_run(scratch, run_id, probe.orders[-1].views)
    return failure.in_a_line if failure is not None else how
