"""``bench run``: from a grid to its tables, within ``--max-hours`` or ``--budget`` if they are given."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectral_bench.bench.cli.hours import (
    TIME_UP,
    Budget,
    Hours,
    check_hours,
    cut_here,
    cut_on_slurm,
    fitting_cohorts,
    read_budget,
)
from spectral_bench.bench.cli.launch import launch, print_tables
from spectral_bench.bench.cli.options import (
    DEFAULT_OUT,
    BudgetBy,
    BudgetText,
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
    MaxHours,
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
    required_grid,
)
from spectral_bench.bench.cli.output import command, say, tell
from spectral_bench.bench.cli.plan import show_plan
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
from spectral_bench.bench.plan.build import cohorts, free_memory, make_plan, with_stale_anew
from spectral_bench.bench.plan.show import plan_lines
from spectral_bench.bench.plan.states import Plan
from spectral_bench.bench.plan.text import keep_words
from spectral_bench.bench.plan.today import CurrentData
from spectral_bench.bench.work.order import Execution
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.names import how_many
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.results.claims import launching
from spectral_bench.results.store import Store


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
    budget: BudgetText = None,
    budget_by: BudgetBy = None,
    debug: Debug = False,
    *,
    slurm: SlurmSettings,
) -> int:
    """Carry out a grid and print its tables.

    Everything is checked before anything runs, the data too. Issued again, it resumes, retries or extends.
    """
    path = required_grid(grid_file, grid, "run")
    devices, together = () if executor == "slurm" else parse_gpus(gpus), parse_cohort(cohort)
    check_executor(executor, jobs, devices)  # what the command line alone says wrong, before a file is read
    check_hours(max_hours, executor)
    refuse_slurm_options(slurm, executor, wait=wait, print_sbatch=print_sbatch)
    asked = {"threads": threads, "workers": workers, "inference_batch": inference_batch, "executor": executor}
    asked |= {"device": parse_device(device), "cache_limit": parse_bytes(cache_limit)}
    execution = Execution(checkpoint_every=checkpoint_every, **asked)
    held, problems = gpus_asked_for(devices, execution.device), Problems()
    limit = read_budget(budget, budget_by, max_hours=max_hours, executor=executor, gpus=held)
    loaded = load_grid(path, changes or (), problems=problems)
    on_slurm = slurm_launch(loaded.executor, slurm, gpus, wait, grow=limit is None) if executor == "slurm" else None
    roots = data_roots(data_root, loaded.data_roots)
    made = _plan(loaded, out, roots, rerun_stale, problems)
    at_a_time = jobs_of(jobs, loaded, execution, devices)
    check_plan(made, execution, roots, devices, at_a_time, problems)
    place = _Place(execution, roots.roots, at_a_time, devices, on_slurm, together)
    if on_slurm:
        on_slurm.check(made, show_only=print_sbatch or dry_run)
    if dry_run:
        show_plan(made)
        return 0 if limit is None else place.within(made, limit).code(0)
    if wanted := absent_weights(made, here=on_slurm is None):
        fetch_weights(wanted)
        made = _plan(loaded, out, roots, rerun_stale)  # anew: ids hold the digest of the weights
    todo = place.within(made, limit)
    if on_slurm and print_sbatch:
        return on_slurm.show(todo.plan, execution, roots.roots, todo.cohorts, left=todo.left)
    return todo.code(_carry_out(todo, place, place.hours(todo, max_hours, limit)))


@dataclass(frozen=True)
class _Todo:
    """What is carried out.

    Attributes:
        plan: whose unfinished runs are.
        cohorts: the name of the cohort of each that is not to be alone.
        left: how many runs a budget leaves out.
        least: the budget that the next of these needs at least, where that is more than there is; else empty.
    """

    plan: Plan
    cohorts: Mapping[str, str]
    left: int = 0
    least: str = ""

    def code(self, code: int) -> int:
        """The exit code of the command, by that of the launch."""
        return TIME_UP if self.left and code == 0 else code


@dataclass(frozen=True)
class _Place:
    """Where and how runs are carried out: see the options of ``run``; ``jobs`` at a time, ``gpus`` to hand out."""

    execution: Execution
    roots: tuple[Path, ...]
    jobs: int | None
    gpus: tuple[str, ...]
    on_slurm: SlurmLaunch | None
    together: bool

    def cohorts(self, plan: Plan) -> dict[str, str]:
        """The cohorts of a plan."""
        if not self.together:
            return {}
        return planned_cohorts(plan, self.execution.executor, self._slots, self.on_slurm)

    @property
    def _held(self) -> int:
        return gpus_asked_for(self.gpus, self.execution.device)

    @property
    def _slots(self) -> int:
        return self.jobs or max(1, len(self.gpus))

    def within(self, plan: Plan, limit: Budget | None) -> _Todo:
        """What of a plan fits into a budget, which is told; all of it where there is none."""
        formed = self.cohorts(plan)
        if limit is None or not plan.unfinished:
            return _Todo(plan, formed)
        if self.on_slurm is not None:
            on_slurm = self.on_slurm
            # Cohorts stay as they are, so that what is left out changes no job of what is not.
            cut = cut_on_slurm(plan, limit, lambda part: on_slurm.arrays(part, self.execution, self.roots, formed))
        else:
            cut = cut_here(plan, limit, self._held, self._slots)
            formed = fitting_cohorts(self.cohorts(cut.plan), cut.plan, limit.hours(self._held))
        for line in cut.lines:
            tell(line)
        return _Todo(cut.plan, formed, cut.left, cut.least)

    def hours(self, todo: _Todo, most: float | None, limit: Budget | None) -> Hours | None:
        """The hours of ``--max-hours``, or of a budget that no cluster keeps; None without either."""
        if most is not None:
            return Hours(most, todo.plan, todo.cohorts, self._held)
        if limit is not None and self.on_slurm is None:
            return Hours(limit.hours(self._held), todo.plan, todo.cohorts, self._held, option=limit.option)
        return None

    def executor(self, store: Store, hours: Hours | None) -> Executor:
        """The executor, within hours if there are any."""
        if self.on_slurm is not None:
            return self.on_slurm.executor(store)
        within: dict[str, Any] = {} if hours is None else {"hours": hours}
        return make_executor(self.execution, store, jobs=self.jobs, gpus=self.gpus, **within)


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


def _carry_out(todo: _Todo, place: _Place, hours: Hours | None) -> int:
    plan, formed = todo.plan, todo.cohorts
    if place.on_slurm and plan.unfinished:
        place.on_slurm.announce(plan, place.on_slurm.arrays(plan, place.execution, place.roots, formed))
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
        keep_words(store, plan.manifest)
        store.write_manifest(
            plan.manifest
        )  # titles, protocols or class lists may be other ones than at the last launch
        print_tables(store, plan.grid.name)
        _say_left(todo, 0)
        return 0
    if hours:
        hours.announce()
    of_plan = Counter(formed[run.run_id] for run in plan.unfinished if run.run_id in formed)
    if sizes := sorted((size for size in of_plan.values() if size > 1), reverse=True):
        each = f"{how_many(len(sizes), 'cohort')}, of {', '.join(map(str, sizes))} runs side by side in a process"
        say(f"{each}; --cohort off gives each run its own")
    with launching(store.path):
        executor, also = place.executor(store, hours), hours.watch if hours else None
        ended = launch(plan, store, executor, place.execution, place.roots, formed, also)
    if ended.submitted:
        say(f"{how_many(ended.submitted, 'run')} with Slurm; see bench status --out {shlex.quote(str(plan.store))}")
        return ended.exit_code
    print_tables(store, plan.grid.name)
    if hours:
        hours.say_rest(ended)
    _say_left(todo, ended.unfinished)
    return hours.exit_code(ended) if hours else ended.exit_code


def _say_left(todo: _Todo, unfinished: int) -> None:
    """Say how to go on with runs that were stopped or not begun, and with those that a budget left out."""
    if not (left := unfinished + todo.left):
        return
    beyond = f", {todo.left} of them beyond the budget" * bool(todo.left)
    # Where no run that is left fits into the budget, the same command would do nothing, however often.
    same = sys.argv[1:] if not todo.least or unfinished else with_option(sys.argv[1:], "--budget", todo.least)
    say(f"\n{how_many(left, 'run')} left{beyond}; go on with:\n  {command(*same)}")


def with_option(arguments: Sequence[str], option: str, value: str) -> list[str]:
    """A command line in which an option that it gives has another value."""
    found = list(arguments)
    for index, argument in enumerate(arguments):
        if argument == option and index + 1 < len(found):
            found[index + 1] = value
        elif argument.startswith(f"{option}="):
            found[index] = f"{option}={value}"
    return found


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
