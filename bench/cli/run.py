"""``bench plan`` and ``bench run``: what a grid asks for, and from the grid to its tables."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from spectral_bench.bench.cli.hours import Hours, MaxHours, check_hours
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
    GridFile,
    InferenceBatch,
    Jobs,
    Json,
    Out,
    Probe,
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
    required_grid,
    show_runs,
)
from spectral_bench.bench.cli.output import say, show_json, tell
from spectral_bench.bench.cli.preflight import absent_weights, check_executor, check_plan, fetch_weights
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
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import how_many
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.results.claims import launching
from spectral_bench.results.store import Store


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
    with no_collection():  # what is imported stays, too
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
    from spectral_bench.bench.cli.probe import probe_plan

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


@slurm_options
def run(
    grid_file: GridFile = None,
    grid: Grid = None,
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
    max_hours: MaxHours = None,
    debug: Debug = False,
    *,
    slurm: SlurmSettings,
) -> int:
    """Carry out a grid and print its tables.

    Everything is checked before anything runs, the data too. Issued again, it resumes, retries or extends.
    """
    path = required_grid(grid_file, grid, "run")
    devices, together = () if executor == "slurm" else parse_gpus(gpus), parse_cohort(cohort)
    check_executor(executor, jobs, devices)
    check_hours(max_hours, executor)
    refuse_slurm_options(slurm, executor, wait=wait, print_sbatch=print_sbatch)
    asked = {"threads": threads, "workers": workers, "inference_batch": inference_batch, "executor": executor}
    asked |= {"device": parse_device(device), "cache_limit": parse_bytes(cache_limit)}
    execution = Execution(checkpoint_every=checkpoint_every, **asked)
    problems = Problems()
    loaded = load_grid(path, changes or (), problems=problems)
    on_slurm = slurm_launch(loaded.executor, slurm, gpus, wait) if executor == "slurm" else None
    roots = data_roots(data_root, loaded.data_roots)
    made = _plan(loaded, out, roots, rerun_stale, problems)
    check_plan(made, execution, roots, devices, jobs_of(jobs, loaded, execution, devices), problems)
    if dry_run:
        show_plan(made)
        return 0
    if on_slurm:
        on_slurm.check(made, show_only=print_sbatch)
    if wanted := absent_weights(made, here=on_slurm is None):
        fetch_weights(wanted)
        made = _plan(loaded, out, roots, rerun_stale)
    at_a_time = jobs_of(jobs, loaded, execution, devices)
    formed = planned_cohorts(made, executor, at_a_time or max(1, len(devices)), on_slurm) if together else {}
    if on_slurm and print_sbatch:
        return on_slurm.show(made, execution, roots.roots, formed)
    hours = None if max_hours is None else Hours(max_hours, made, formed, gpus_asked_for(devices, execution.device))
    here = partial(make_executor, execution, jobs=at_a_time, gpus=devices)
    here = here if hours is None else partial(here, hours=hours)
    return _carry_out(made, execution, roots.roots, on_slurm.executor if on_slurm else here, formed, hours)


def planned_cohorts(made: Plan, executor: str, slots: int, on_slurm: SlurmLaunch | None) -> dict[str, str]:
    """The name of the cohort of each run of a plan that is not to be alone; none for the executor ``inline``."""
    if on_slurm is not None:
        asked = [on_slurm.settings(run.spec.method).mem for run in made.unfinished]
        known = [megabytes(mem) * 2**20 for mem in asked if mem is not None]
        return cohorts(made.unfinished, memory=min(filter(None, known), default=None))
    return {} if executor == "inline" else cohorts(made.unfinished, slots=slots, memory=free_memory(slots))


def _plan(grid: LoadedGrid, out: Path, roots: DataRoots, rerun_stale: bool, problems: Problems | None = None) -> Plan:
    data = CurrentData(roots)
    made = make_plan(grid, find_store(out), out, data=data, verify=True, anew=rerun_stale, problems=problems)
    return with_stale_anew(made) if rerun_stale else made


def gpus_asked_for(devices: Sequence[str], device: str) -> int:
    """How many GPUs a command line names: those of ``--gpus``, or that of ``--device``."""
    return len(devices) or int(device.startswith("cuda"))


def _carry_out(
    plan: Plan,
    execution: Execution,
    roots: tuple[Path, ...],
    executor: Callable[[Store], Executor],
    formed: Mapping[str, str],
    hours: Hours | None = None,
) -> int:
    for line in plan_lines(plan):
        tell(line)
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
    if hours:
        hours.announce()
    if sizes := sorted(Counter(formed.values()).values(), reverse=True):
        each = f"{how_many(len(sizes), 'cohort')}, of {', '.join(map(str, sizes))} runs side by side in a process"
        say(f"{each}; --cohort off gives each run its own")
    with launching(store.path):
        ended = launch(plan, store, executor(store), execution, roots, formed, hours.watch if hours else None)
    if ended.submitted:
        say(f"{how_many(ended.submitted, 'run')} with Slurm; see bench status --out {shlex.quote(str(plan.store))}")
        return ended.exit_code
    print_tables(store, plan.grid.name)
    if hours:
        hours.say_rest(ended)
    if ended.unfinished:
        say(f"\n{how_many(ended.unfinished, 'run')} left; go on with:\n  {same_command(sys.argv)}")
    return hours.exit_code(ended) if hours else ended.exit_code


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


def make_executor(
    execution: Execution, store: Store, jobs: int | None, gpus: tuple[str, ...], hours: Hours | None = None
) -> Executor:
    """The executor that was asked for, within hours if there are any.

    Raises:
        ConfigError: more jobs than GPUs.
    """
    limits: dict[str, Any] = {} if hours is None else {"admits": hours.admits}
    if execution.executor == "inline":
        return InlineExecutor(store, **limits)
    limits |= {} if hours is None else {"stop": hours.stop}
    return LocalExecutor(store, jobs=jobs, gpus=gpus, threads=execution.threads, **limits)
