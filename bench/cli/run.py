"""``bench plan`` and ``bench run``: what a grid asks for, and from the grid to its tables."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from spectral_bench.bench.cli.launch import launch, print_tables
from spectral_bench.bench.cli.options import (
    DEFAULT_OUT,
    CacheLimit,
    Changes,
    CheckpointEvery,
    CohortMode,
    Debug,
    Device,
    DryRun,
    ExecutorName,
    Gpus,
    Grid,
    InferenceBatch,
    Jobs,
    Json,
    Out,
    RerunStale,
    Roots,
    Threads,
    Workers,
    data_roots,
    find_store,
    parse_bytes,
    parse_cohort,
    parse_device,
    parse_gpus,
)
from spectral_bench.bench.cli.output import say, show_json, show_table
from spectral_bench.bench.cli.preflight import check_executor, check_plan, fetch_weights
from spectral_bench.bench.cli.slurm import (
    PrintSbatch,
    SlurmLaunch,
    Wait,
    refuse_slurm_options,
    slurm_launch,
    slurm_options,
)
from spectral_bench.bench.executors import Executor, InlineExecutor, LocalExecutor
from spectral_bench.bench.grid.keys import SlurmSettings, megabytes
from spectral_bench.bench.grid.load import Grid as LoadedGrid
from spectral_bench.bench.grid.load import load_grid
from spectral_bench.bench.plan.build import make_plan, with_stale_anew
from spectral_bench.bench.plan.cohorts import cohorts, free_memory
from spectral_bench.bench.plan.show import PLAN_COLUMNS, plan_json, plan_lines, plan_rows
from spectral_bench.bench.plan.states import Plan
from spectral_bench.bench.plan.today import CurrentData
from spectral_bench.bench.work.order import Execution
from spectral_bench.common.collection import no_collection
from spectral_bench.common.names import how_many
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.results.store import Store


def plan(
    grid: Grid,
    out: Out = DEFAULT_OUT,
    data_root: Roots = None,
    changes: Changes = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Print the runs of a grid, which of them are done, and the disk and time that the others need.

    Writes nothing, and needs no data; finished runs are held against the data that is there.
    """
    with no_collection():  # what is imported stays, too
        loaded = load_grid(grid, changes or ())
        held = CurrentData(data_roots(data_root, loaded.data_roots))
        made = make_plan(loaded, find_store(out), out, data=held)
        if as_json:
            show_json(plan_json(made))
        else:
            show_plan(made)
    return 0


def show_plan(made: Plan) -> None:
    """Print the runs of a plan in the order of execution, what they need, and totals."""
    show_table(PLAN_COLUMNS, plan_rows(made), right=("seed", "evaluated", "time"))
    say("\n" + "\n".join(plan_lines(made)))


@slurm_options
def run(
    grid: Grid,
    out: Out = DEFAULT_OUT,
    data_root: Roots = None,
    changes: Changes = None,
    jobs: Jobs = None,
    executor: ExecutorName = "local",
    cohort: CohortMode = "auto",
    device: Device = "auto",
    gpus: Gpus = "",
    threads: Threads = 0,
    workers: Workers = 2,
    inference_batch: InferenceBatch = 8,
    cache_limit: CacheLimit = "50GB",
    checkpoint_every: CheckpointEvery = 120.0,
    rerun_stale: RerunStale = False,
    dry_run: DryRun = False,
    wait: Wait = False,
    print_sbatch: PrintSbatch = False,
    debug: Debug = False,
    *,
    slurm: SlurmSettings,
) -> int:
    """Carry out a grid and print its tables.

    Everything is checked before anything runs, the data too. Issued again, it resumes, retries or extends.
    """
    devices, together = () if executor == "slurm" else parse_gpus(gpus), parse_cohort(cohort)
    check_executor(executor, jobs, devices)
    refuse_slurm_options(slurm, executor, wait=wait, print_sbatch=print_sbatch)
    execution = Execution(
        device=parse_device(device),
        threads=threads,
        workers=workers,
        inference_batch=inference_batch,
        cache_limit=parse_bytes(cache_limit),
        checkpoint_every=checkpoint_every,
        executor=executor,
    )
    loaded = load_grid(grid, changes or ())
    on_slurm = slurm_launch(loaded.executor, slurm, gpus, wait) if executor == "slurm" else None
    roots = data_roots(data_root, loaded.data_roots)
    made = _plan(loaded, out, roots, rerun_stale)
    check_plan(made, execution, roots, devices, jobs_of(jobs, loaded, execution, devices))
    if dry_run:
        show_plan(made)
        return 0
    if on_slurm:
        on_slurm.check(made, show_only=print_sbatch)
    if made.provisional:
        fetch_weights(made)
        made = _plan(loaded, out, roots, rerun_stale)
    at_a_time = jobs_of(jobs, loaded, execution, devices)
    formed = planned_cohorts(made, executor, at_a_time or max(1, len(devices)), on_slurm) if together else {}
    if on_slurm and print_sbatch:
        return on_slurm.show(made, execution, roots.roots, formed)
    here = partial(make_executor, execution, jobs=at_a_time, gpus=devices)
    return _carry_out(made, execution, roots.roots, on_slurm.executor if on_slurm else here, formed)


def planned_cohorts(made: Plan, executor: str, slots: int, on_slurm: SlurmLaunch | None) -> dict[str, str]:
    """The name of the cohort of each run of a plan that is not to be alone; none for the executor ``inline``."""
    if on_slurm is not None:
        asked = [on_slurm.settings(run.spec.method).mem for run in made.unfinished]
        known = [megabytes(mem) * 2**20 for mem in asked if mem is not None]
        return cohorts(made.unfinished, memory=min(filter(None, known), default=None))
    return {} if executor == "inline" else cohorts(made.unfinished, slots=slots, memory=free_memory(slots))


def _plan(grid: LoadedGrid, out: Path, roots: DataRoots, rerun_stale: bool) -> Plan:
    made = make_plan(grid, find_store(out), out, data=CurrentData(roots), verify=True, anew=rerun_stale)
    return with_stale_anew(made) if rerun_stale else made


def _carry_out(
    plan: Plan,
    execution: Execution,
    roots: tuple[Path, ...],
    executor: Callable[[Store], Executor],
    formed: Mapping[str, str],
) -> int:
    for line in plan_lines(plan):
        say(line)
    store = Store.open(plan.store, create=True)
    stale = sum(run.condition.changed and run.condition.fitted for run in plan.runs)
    if stale:
        what = f"{how_many(stale, 'run')} done with code or data that has changed since"
        say(f"{what}; --rerun-stale does such runs again")
    if failed := plan.counts().get("failed"):
        say(f"{how_many(failed, 'failed run')} to try again")
    if not plan.unfinished:
        store.write_manifest(plan.manifest)
        print_tables(store, plan.grid.name)
        return 0
    if sizes := sorted(Counter(formed.values()).values(), reverse=True):
        each = f"{how_many(len(sizes), 'cohort')}, of {', '.join(map(str, sizes))} runs side by side in a process"
        say(f"{each}; --cohort off gives each run its own")
    ended = launch(plan, store, executor(store), execution, roots, formed)
    if ended.submitted:
        say(f"{how_many(ended.submitted, 'run')} with Slurm; see bench status --out {shlex.quote(str(plan.store))}")
        return ended.exit_code
    print_tables(store, plan.grid.name)
    if ended.unfinished:
        say(f"\n{how_many(ended.unfinished, 'run')} left; go on with:\n  {same_command(sys.argv)}")
    return ended.exit_code


def same_command(arguments: Sequence[str]) -> str:
    """The command line of this process, as its user called it: by the script, or by ``python -m bench``."""
    called = Path(arguments[0]).name
    words = [called] if called in ("bench", "spectral-bench") else ["python", "-m", "bench"]
    return shlex.join([*words, *arguments[1:]])


def jobs_of(given: int | None, grid: LoadedGrid, execution: Execution, gpus: tuple[str, ...]) -> int | None:
    """Runs at a time: of the command line, else of the grid's executor block where no GPUs are handed out."""
    if given is not None or gpus or execution.executor != "local":
        return given
    return grid.executor.jobs


def make_executor(execution: Execution, store: Store, jobs: int | None, gpus: tuple[str, ...]) -> Executor:
    """The executor that was asked for.

    Raises:
        ConfigError: more jobs than GPUs.
    """
    if execution.executor == "inline":
        return InlineExecutor(store)
    return LocalExecutor(store, jobs=jobs, gpus=gpus, threads=execution.threads)
