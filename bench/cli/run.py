"""``bench run``: from a grid to its tables."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from bench.cli.options import (
    DEFAULT_OUT,
    Changes,
    Debug,
    Grid,
    Out,
    Roots,
    data_roots,
    find_store,
    parse_bytes,
    parse_device,
    parse_gpus,
)
from bench.cli.output import say, warn
from bench.cli.plan import show_plan
from common.errors import ConfigError

if TYPE_CHECKING:
    from bench.executors import Executor
    from bench.grid.load import Grid as LoadedGrid
    from bench.order import Execution
    from bench.plan.model import Plan
    from results.store import Store


def run(
    grid: Grid,
    out: Out = DEFAULT_OUT,
    data_root: Roots = None,
    changes: Changes = None,
    jobs: Annotated[
        Optional[int],  # noqa: UP045 - typer reads this annotation at run time
        typer.Option("--jobs", "-j", min=1, help="Runs at a time; default: the grid's executor.jobs, or one a GPU."),
    ] = None,
    executor: Annotated[
        str, typer.Option("--executor", help="local (a process a run) or inline (this process, for debugging).")
    ] = "local",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")] = "auto",
    gpus: Annotated[str, typer.Option("--gpus", help="GPUs to hand out, one a process: 0,1.")] = "",
    threads: Annotated[int, typer.Option("--threads", min=0, help="Threads a run; 0: processors / jobs.")] = 0,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Workers a run that decode images.")] = 2,
    inference_batch: Annotated[
        int, typer.Option("--inference-batch", min=1, help="Images a forward pass of the backbone.")
    ] = 8,
    cache_limit: Annotated[
        str, typer.Option("--cache-limit", help="What the feature caches of the grid may take.", metavar="SIZE")
    ] = "50GB",
    checkpoint_every: Annotated[
        float, typer.Option("--checkpoint-every", min=0, help="Seconds between checkpoints of a fit.")
    ] = 120.0,
    rerun_stale: Annotated[
        bool, typer.Option("--rerun-stale", help="Do again what was done with code that has changed since.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, print the plan, and stop.")] = False,
    debug: Debug = False,
) -> int:
    """Carry out a grid and print its tables.

    Everything is checked before anything runs, the data included. The same command resumes: what is done is not done
    again, what failed is tried again, and more seeds, rows or protocols extend what is there.
    """
    from bench.cli.checks import check_data, check_device, check_executor, check_extras
    from bench.grid.load import load_grid
    from bench.order import Execution
    from bench.plan.show import plan_lines
    from bench.plan.storage import require_space

    check_executor(executor, jobs)
    execution = Execution(
        device=parse_device(device),
        threads=threads,
        workers=workers,
        inference_batch=inference_batch,
        cache_limit=parse_bytes(cache_limit),
        checkpoint_every=checkpoint_every,
        executor=executor,
    )
    devices = parse_gpus(gpus)
    loaded = load_grid(grid, changes or ())
    roots = data_roots(data_root, loaded.data_roots)
    at_a_time = jobs_of(jobs, loaded, execution, devices)
    made = _plan(loaded, out, rerun_stale=rerun_stale and not dry_run)
    require_space(made, execution.cache_limit)
    check_extras(made)
    check_device(device)
    for warning in check_data(made, roots):
        warn(warning)
    if dry_run:
        show_plan(made)
        return 0
    for line in plan_lines(made):
        say(line)
    return _carry_out(made, execution, roots.roots, at_a_time, devices)


def _plan(grid: LoadedGrid, out: Path, *, rerun_stale: bool) -> Plan:
    """The plan of a grid, with final identities, and without stale runs if they are to be done again."""
    from bench.cli.checks import fetch_weights
    from bench.plan.build import make_plan

    store = find_store(out)
    made = make_plan(grid, store, out, verify=True)
    if made.provisional:
        say(f"fetching weights: {', '.join(made.provisional)}")
        fetch_weights(made)
        made = make_plan(grid, store, out, verify=True)
    if rerun_stale and store is not None and "stale" in made.counts():
        _discard_stale(made, store)
        made = make_plan(grid, store, out, verify=True)
    return made


def _discard_stale(plan: Plan, store: Store) -> None:
    for planned in plan.runs:
        if planned.condition.state == "stale":
            with store.claim(planned.run_id):
                store.discard(planned.run_id)


def _carry_out(
    plan: Plan, execution: Execution, roots: tuple[Path, ...], jobs: int | None, gpus: tuple[str, ...]
) -> int:
    from bench.cli.launch import launch, tell_tables
    from results.store import Store

    store = Store.open(plan.store, create=True)
    counts = plan.counts()
    if counts.get("stale"):
        say(f"{counts['stale']} runs were done with code that has changed since; --rerun-stale does them again")
    if counts.get("failed"):
        say(f"{counts['failed']} runs that failed are tried again")
    if not plan.unfinished:
        store.write_manifest(plan.manifest)
        tell_tables(store, plan.grid.name)
        return 0
    ended = launch(plan, store, make_executor(execution, store, jobs, gpus), execution, roots)
    tell_tables(store, plan.grid.name)
    if ended.unfinished:
        say(
            f"\n{ended.unfinished} runs are left; go on with:\n  {shlex.join(['python', '-m', 'bench', *sys.argv[1:]])}"
        )
    return ended.exit_code


def jobs_of(given: int | None, grid: LoadedGrid, execution: Execution, gpus: tuple[str, ...]) -> int | None:
    """Runs at a time: of the command line, else of the grid's executor block where no GPUs are handed out.

    Raises:
        ConfigError: the grid's number is none.
    """
    of_grid = grid.executor.get("jobs")
    if of_grid is not None and (isinstance(of_grid, bool) or not isinstance(of_grid, int) or of_grid < 1):
        raise ConfigError(f"{grid.path}: executor.jobs: expected a whole number from 1, got {of_grid!r}")
    if given is not None or gpus or execution.executor != "local":
        return given
    return of_grid


def make_executor(execution: Execution, store: Store, jobs: int | None, gpus: tuple[str, ...]) -> Executor:
    """The executor that was asked for.

    Raises:
        ConfigError: more jobs than GPUs.
    """
    from bench.executors import InlineExecutor, LocalExecutor

    if execution.executor == "inline":
        return InlineExecutor(store)
    return LocalExecutor(store, jobs=jobs, gpus=gpus, threads=execution.threads)
