"""``bench run``: from a grid to its tables, within ``--max-hours`` if they are given."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from spectral_bench.bench.cli.launch import Launch, launch, print_tables
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
from spectral_bench.bench.cli.output import say, tell
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
from spectral_bench.bench.executors.jobs import FAILURES, Event, Job
from spectral_bench.bench.grid.keys import SlurmSettings, megabytes
from spectral_bench.bench.grid.load import Grid as LoadedGrid
from spectral_bench.bench.grid.load import load_grid
from spectral_bench.bench.plan.build import cohorts, free_memory, make_plan, with_stale_anew
from spectral_bench.bench.plan.measured import is_gpu
from spectral_bench.bench.plan.show import marked_title, plan_lines
from spectral_bench.bench.plan.states import Plan
from spectral_bench.bench.plan.text import keep_words
from spectral_bench.bench.plan.today import CurrentData
from spectral_bench.bench.work.order import Execution, StopFlag
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import duration, how_many
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
    debug: Debug = False,
    *,
    slurm: SlurmSettings,
) -> int:
    """Carry out a grid and print its tables.

    Everything is checked before anything runs, the data too. Issued again, it resumes, retries or extends.
    """
    path = required_grid(grid_file, grid, "run")
    devices, together = () if executor == "slurm" else parse_gpus(gpus), parse_cohort(cohort)
    # What the command line alone says wrong comes first, before a file is read.
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
        made = _plan(loaded, out, roots, rerun_stale)  # anew: ids hold the digest of the weights
    at_a_time = jobs_of(jobs, loaded, execution, devices)
    formed = planned_cohorts(made, executor, at_a_time or max(1, len(devices)), on_slurm) if together else {}
    if on_slurm and print_sbatch:
        return on_slurm.show(made, execution, roots.roots, formed)
    if on_slurm and made.unfinished:
        on_slurm.announce(made, execution, roots.roots, formed)
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
        keep_words(store, plan.manifest)
        store.write_manifest(
            plan.manifest
        )  # titles, protocols or class lists may be other ones than at the last launch
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


# ``--max-hours``: what is begun, when it stops, and what is said of the rest.


TIME_UP = 3  # the exit code of a launch that left runs over because its hours were up, and in which nothing failed


class Hours:
    """The hours of a launch, from now on.

    Args:
        hours: how many.
        plan: whose predictions say what fits.
        cohorts: names of the cohorts of runs that are not alone, which take what all of their runs take.
        gpus: that were asked for, and are held for all of that time.

    Attributes:
        stop: set once they are up.
    """

    def __init__(self, hours: float, plan: Plan, cohorts: Mapping[str, str], gpus: int = 0) -> None:
        self._plan, self._hours, self._gpus = plan, hours, gpus
        self._ends = time.monotonic() + hours * 3600
        self._begun = self._seen = time.monotonic()
        self._takes = {run.run_id: run.seconds for run in plan.unfinished}
        # A cohort begins and goes on as one; what it takes is not known where that of one run is not.
        each: dict[str, list[float | None]] = defaultdict(list)
        for name, seconds in self._takes.items():
            each[cohorts.get(name, name)].append(seconds)
        whole = {name: None if None in parts else sum(filter(None, parts)) for name, parts in each.items()}
        self._together = {name: whole[cohorts.get(name, name)] for name in self._takes}
        self._left_out: dict[str, float] = {}
        self.stop = StopFlag()

    def announce(self) -> None:
        """Say how much there is to do in how much time."""
        known = [seconds for seconds in self._takes.values() if seconds is not None]
        unknown = how_many(len(self._takes) - len(known), "run")
        parts = [f"the plan takes {duration(sum(known))} on one worker"] * bool(known)
        if len(known) < len(self._takes):
            parts.append(f"{unknown} of a kind not seen before: begun while there is time (bench plan --probe tells)")
        say(f"--max-hours {self._hours:g}: {'; '.join(parts)}")
        if self._gpus:
            on_gpu = [run.seconds for run in self._plan.unfinished if run.prediction and is_gpu(run.prediction.machine)]
            predicted = f", of which the plan takes {sum(filter(None, on_gpu)) / 3600:.2g}" if on_gpu else ""
            say(f"GPU-hours: at most {self._hours * self._gpus:.3g}{predicted}")

    def admits(self, job: Job) -> bool:
        """Whether a run may begin now: there is time left, and it is not known to need more."""
        left = self._ends - time.monotonic()  # a clock that does not jump with the time of day
        takes = self._together.get(job.run_id)
        if left > 0 and (takes is None or takes <= left):
            self._left_out.pop(job.run_id, None)
            return True
        self._left_out.setdefault(job.run_id, left)
        return False

    def watch(self, event: Event) -> None:
        """Ask what runs to stop once the time is up."""
        self._seen = time.monotonic()
        if event.kind == "tick" and time.monotonic() >= self._ends and not self.stop():
            self.stop.request()

    def exit_code(self, ended: Launch) -> int:
        """That of the launch, or ``TIME_UP`` where it only ran out of hours."""
        asked = bool(self.stop.signals)  # by Ctrl-C: then the hours are not what ended it
        failed = any(how in FAILURES for how in ended.exits.values())
        return TIME_UP if ended.unfinished and not failed and not asked else ended.exit_code

    def say_rest(self, ended: Launch) -> None:
        """Say which runs were left out or stopped, and why."""
        spent = self._seen - self._begun  # until the last run was over: tables are printed since
        if self._gpus:
            say(f"GPU-hours spent: {spent * self._gpus / 3600:.2g}")
        for run in self._plan.unfinished:
            how = ended.exits.get(run.run_id)
            title = f"{marked_title(run)}, seed {run.spec.seed}"
            if how == "interrupted":
                say(f"stopped after {duration(spent)}: {title}: {self._then(run.run_id)}")
            elif how == "pending":
                say(f"left out: {title}: {self._why(run.run_id)}")

    def _then(self, run_id: str) -> str:
        store = find_store(self._plan.store)
        saved = store is not None and (store.has_checkpoint(run_id) or store.fit_record(run_id) is not None)
        return "goes on from what it has saved" if saved else "begins anew, since it had saved nothing"

    def _why(self, run_id: str) -> str:
        left, takes = self._left_out.get(run_id), self._together[run_id]
        if takes is not None and takes > self._hours * 3600:
            return f"takes {duration(takes)}, more than --max-hours {self._hours:g} in all"
        if left is None or left <= 0 or takes is None:
            return "the hours were up before its turn"
        return f"takes {duration(takes)}, and {duration(left)} were left"


def check_hours(hours: float | None, executor: str) -> None:
    """Refuse hours that are none, and those of a Slurm job, which have an option of their own.

    Raises:
        ConfigError: as said.
    """
    if hours is None:
        return
    if not 0 < hours < float("inf"):
        raise ConfigError(f"--max-hours {hours:g}: expected a number above 0")
    if executor == "slurm":
        raise ConfigError(f"--max-hours {hours:g}: with Slurm, --time says how long a job takes")
