"""``bench retry``: carry out again what failed, was cancelled or was interrupted, from what the store knows."""

from __future__ import annotations

from typing import Annotated

import typer

from spectral_bench.bench.cli.endings import concluded
from spectral_bench.bench.cli.launch import job_of, watching
from spectral_bench.bench.cli.options import (
    DEFAULT_OUT,
    Debug,
    Gpus,
    Out,
    RunNames,
    chosen_runs,
    last_order,
    one_grid,
    parse_gpus,
)
from spectral_bench.bench.cli.output import say, warn
from spectral_bench.bench.cli.preflight import check_executor, check_gpus, shared_gpu
from spectral_bench.bench.cli.run import make_executor
from spectral_bench.bench.cli.runs import abandoned
from spectral_bench.bench.cli.slurm import Wait, refuse_slurm_options, slurm_launch, slurm_options, warn_of_environment
from spectral_bench.bench.executors.jobs import Executor, Job
from spectral_bench.bench.executors.slurm.causes import record_and_track
from spectral_bench.bench.executors.slurm.status import with_queue
from spectral_bench.bench.executors.slurm.submissions import Ledger
from spectral_bench.bench.grid.keys import SlurmSettings
from spectral_bench.bench.grid.load import grid_name
from spectral_bench.bench.plan.states import runs_of_store
from spectral_bench.bench.work.order import Execution, Order, fit_missing, read_order
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import how_many
from spectral_bench.results.claims import launching
from spectral_bench.results.state import RunState
from spectral_bench.results.store import Store

RETRIED = (
    RunState.FAILED,
    RunState.CANCELLED,
    RunState.INTERRUPTED,
    RunState.PARTIAL,
    RunState.UNKNOWN,
    RunState.ORDERED,  # its job, or its launcher, ended before its turn came
)


@slurm_options
def retry(
    runs: RunNames = None,
    out: Out = DEFAULT_OUT,
    grid: Annotated[
        str | None, typer.Option("--grid", "-g", help="Only runs of one grid, by name or file.", metavar="GRID")
    ] = None,
    and_abandoned: Annotated[
        bool, typer.Option("--abandoned", help="Runs too that no grid asks for since it was changed.")
    ] = False,
    executor: Annotated[
        str | None, typer.Option("--executor", help="local, slurm or inline; default: the one that each run had.")
    ] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", "-j", min=1, help="Runs at a time on this machine.")] = None,
    gpus: Gpus = "",
    wait: Wait = False,
    debug: Debug = False,
    *,
    slurm: SlurmSettings,
) -> int:
    """Try again what did not end well, as it was ordered before; a run that has a checkpoint goes on from there.

    Unless they are named, only runs that a grid asked for at its last launch. A RUN that ends in .yaml is a grid.
    Slurm jobs ask for what they asked for before, but for what is stated now, such as --mem 32G.
    """
    if executor is not None:
        check_executor(executor, jobs)
    files = [name for name in runs or () if name.endswith((".yaml", ".yml"))]
    for file in files:
        grid = one_grid(file, grid)
    store = Store.open(out, to_write=True)
    named = chosen_runs(store, [name for name in runs or () if name not in files])
    wanted = _wanted(store, named, grid, and_abandoned)
    if not wanted:
        say("nothing to try again")
        return 0
    orders = _orders(store, list(wanted))
    of: dict[str, list[tuple[Job, Order]]] = {}
    for job, order in orders.values():
        of.setdefault(executor or order.execution.executor, []).append((job, order))
    if "slurm" not in of:
        refuse_slurm_options(slurm, min(of), wait=wait)
    for name in of.keys() - {"slurm"}:
        check_executor(name, jobs, parse_gpus(gpus))
        places = [order.execution.device for _, order in of[name]]
        check_gpus(parse_gpus(gpus), name, places)
        if not gpus and (crowded := shared_gpu(places, jobs)):
            warn(crowded)
    code = 0
    for name, chosen in of.items():
        say(f"{how_many(len(chosen), 'run')} to try again with executor {name}")
        code = max(code, _carry_out(store, _executor(name, store, jobs, gpus, slurm, wait), chosen, wanted))
    return code


def _wanted(store: Store, named: list[str] | None, grid: str | None, and_abandoned: bool) -> dict[str, str]:
    """The runs to try again, with titles: those named, else all of grids that did not end well or were never begun."""
    tracked = record_and_track(store)
    found = with_queue(runs_of_store(store, grid_name(grid) if grid is not None else None), tracked, store)
    # While Slurm is silent, a run whose job is unknown may well be at work.
    silent = tracked is not None and bool(tracked.report.queue_error)
    retried = [state for state in RETRIED if not (silent and state is RunState.UNKNOWN)]
    states = {run.run_id: run.condition.state for run in found}
    for run_id in named or ():
        if states.get(run_id) not in retried:
            warn(f"{run_id}: {states[run_id].word if run_id in states else 'not of this grid'}, left alone")
    wanted = {run.run_id: f"{run.title}, seed {run.seed}" for run in found if states[run.run_id] in retried}
    if named is not None:
        return {run_id: title for run_id, title in wanted.items() if run_id in named}
    left = set() if and_abandoned else abandoned(found) & wanted.keys()
    if left:
        what = f"{how_many(len(left), 'unfinished run')} no grid asks for any more"
        warn(f"{what}: left alone; name them or give --abandoned to try them too, or see bench prune")
    return {run_id: title for run_id, title in wanted.items() if run_id not in left}


def _orders(store: Store, run_ids: list[str]) -> dict[str, tuple[Job, Order]]:
    """The last orders of runs, with those of the fits that they start from and that are not there."""
    found: dict[str, tuple[Job, Order]] = {}
    left = list(run_ids)
    while left:
        run_id = left.pop(0)
        job = _newest_job(store, run_id)
        if job is None:
            raise ConfigError(f"run {run_id}: the store has no order of it; issue bench run with its grid")
        order = read_order(job.order_path)
        found[run_id] = (job, order)
        if order.requires is not None and order.requires not in found:
            # A base that has vanished since has to be fitted again, or the run would wait for what nobody makes.
            base = _newest_job(store, order.requires)
            left += [order.requires] if base is not None and fit_missing(read_order(base.order_path), store) else []
    return found


def _newest_job(store: Store, run_id: str) -> Job | None:
    """The job of the order that was last written for a run; None where none was."""
    last = last_order(store, run_id)
    return None if last is None else job_of(read_order(last), store)


def _executor(name: str, store: Store, jobs: int | None, gpus: str, stated: SlurmSettings, wait: bool) -> Executor:
    if name != "slurm":
        return make_executor(Execution(executor=name), store, jobs, parse_gpus(gpus))
    warn_of_environment()
    return slurm_launch(Ledger(store).last_settings(), stated, gpus, wait).executor(store)


def _carry_out(store: Store, executor: Executor, chosen: list[tuple[Job, Order]], titles: dict[str, str]) -> int:
    bases = {job.run_id: f"{order.spec.method}, seed {order.spec.seed}" for job, order in chosen}
    bars = False if executor.name == "inline" else None  # its runs write to this very terminal
    with launching(store.path), watching(store, bases | titles, bars=bars) as watch:
        exits = executor.run([job for job, _ in chosen], watch)
    return concluded(store, exits, {job.run_id: order.views for job, order in chosen}, bases | titles).exit_code
