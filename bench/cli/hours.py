"""``run --max-hours``: what is begun within a number of hours, when it stops, and what is said of the rest."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated

import typer

from spectral_bench.bench.cli.launch import Launch
from spectral_bench.bench.cli.options import find_store
from spectral_bench.bench.cli.output import say
from spectral_bench.bench.executors.jobs import FAILURES, Event, Job
from spectral_bench.bench.plan.measured import is_gpu
from spectral_bench.bench.plan.show import marked_title
from spectral_bench.bench.plan.states import Plan
from spectral_bench.bench.work.process import StopFlag
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import duration, how_many

MaxHours = Annotated[
    float | None,
    typer.Option(
        "--max-hours",
        help="Stop in order after so many hours: begin nothing that would not fit, by what plan predicts, and let what "
        "runs then save itself. Exit code 3 where that leaves runs over and none has failed.",
        metavar="H",
    ),
]

TIME_UP = 3
"""The exit code of a launch that left runs over because its hours were up, and in which nothing failed."""


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
        left = self._ends - time.monotonic()
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
        asked = bool(self.stop.signals)  # by Ctrl-C
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
