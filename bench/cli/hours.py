"""``run --max-hours`` and ``--budget``: what is begun, when it stops, and what is said of the rest."""

from __future__ import annotations

import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from spectral_bench.bench.cli.endings import Launch
from spectral_bench.bench.cli.options import find_store
from spectral_bench.bench.cli.output import say
from spectral_bench.bench.executors.jobs import FAILURES, Event, Job
from spectral_bench.bench.executors.slurm.submit import Array, job_pieces
from spectral_bench.bench.plan.budget import (
    BY,
    By,
    Choice,
    Piece,
    cheapest,
    choose,
    left_by_row,
    narrowed,
    ordered,
    pieces_of,
)
from spectral_bench.bench.plan.measured import is_gpu
from spectral_bench.bench.plan.show import marked_title
from spectral_bench.bench.plan.states import Plan
from spectral_bench.bench.work.order import StopFlag
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import duration, how_many, unknown

TIME_UP = 3  # the exit code of a launch that left runs over because its hours were up, and in which nothing failed


class Hours:
    """The hours of a launch, from now on.

    Args:
        hours: how many.
        plan: whose predictions say what fits.
        cohorts: names of the cohorts of runs that are not alone, which take what all of their runs take.
        gpus: that were asked for, and are held for all of that time.
        option: by which they were given; empty: ``--max-hours``.

    Attributes:
        stop: set once they are up.
    """

    def __init__(
        self, hours: float, plan: Plan, cohorts: Mapping[str, str], gpus: int = 0, *, option: str = ""
    ) -> None:
        self._plan, self._hours, self._gpus = plan, hours, gpus
        self._option = option or f"--max-hours {hours:g}"
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
        if self._option.startswith("--max-hours"):  # of a budget, more was told when runs were chosen
            self._announce_time()
        if self._gpus:
            on_gpu = [run.seconds for run in self._plan.unfinished if run.prediction and is_gpu(run.prediction.machine)]
            predicted = f", of which the plan takes {sum(filter(None, on_gpu)) / 3600:.2g}" if on_gpu else ""
            say(f"GPU-hours: at most {self._hours * self._gpus:.3g}{predicted}")

    def _announce_time(self) -> None:
        known = [seconds for seconds in self._takes.values() if seconds is not None]
        unknown = how_many(len(self._takes) - len(known), "run")
        parts = [f"the plan takes {duration(sum(known))} on one worker"] * bool(known)
        if len(known) < len(self._takes):
            parts.append(f"{unknown} of a kind not seen before: begun while there is time (bench plan --probe tells)")
        say(f"{self._option}: {'; '.join(parts)}")

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
        if saved:
            return "goes on from what it has saved"
        probe = "; bench plan --probe tells what it takes" if self._takes[run_id] is None else ""
        return f"begins anew, since it had saved nothing{probe}"

    def _why(self, run_id: str) -> str:
        left, takes = self._left_out.get(run_id), self._together[run_id]
        if takes is not None and takes > self._hours * 3600:
            return f"takes {duration(takes)}, more than {self._option} in all"
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


# ``--budget``: which runs fit, before anything is begun.

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)(m|h|d|gpuh)")
_HOURS = {"m": 1 / 60, "h": 1.0, "d": 24.0, "gpuh": 1.0}

Arrays = Callable[[Plan], Sequence[Array]]
"""The arrays that the rest of a plan would be submitted as."""


@dataclass(frozen=True)
class Budget:
    """What a launch may take.

    Attributes:
        text: as it was stated.
        amount: hours, or GPU-hours.
        of_gpus: which of the two.
        by: what comes first.
    """

    text: str
    amount: float
    of_gpus: bool
    by: By

    @property
    def option(self) -> str:
        """The option that states it."""
        return f"--budget {self.text}"

    def hours(self, gpus: int) -> float:
        """Those on the clock, with so many GPUs held all the time."""
        return self.amount / gpus if self.of_gpus else self.amount


@dataclass(frozen=True)
class Cut:
    """What a budget makes of a plan.

    Attributes:
        plan: with those of the unfinished runs that fit, in the order in which they are begun.
        left: how many runs that rows ask for do not fit.
        lines: what to say of it.
        least: the budget that the next of these needs at least, where that is more than there is; else empty.
    """

    plan: Plan
    left: int
    lines: tuple[str, ...]
    least: str = ""


def read_budget(
    text: str | None, by: str | None, *, max_hours: float | None, executor: str, gpus: int
) -> Budget | None:
    """The budget that a command line states; None where it states none.

    Args:
        text, by, max_hours: its options.
        executor: what carries out the runs.
        gpus: that it names.

    Raises:
        ConfigError: an option is not valid, or does not go with another.
    """
    if text is None:
        if by is not None:
            raise ConfigError(f"--budget-by {by}: says in which order a budget is spent; give --budget too")
        return None
    option = f"--budget {text}"
    if max_hours is not None:
        raise ConfigError(f"{option}: --max-hours {max_hours:g} is given, too; give one of them")
    match = _AMOUNT.fullmatch(text.strip())
    if match is None or not float(match[1]):
        raise ConfigError(f"{option}: expected hours or GPU-hours above 0, such as 90m, 2h, 1.5d or 20gpuh")
    if (order := by or BY[0]) not in BY:
        raise ConfigError(f"--budget-by: {unknown('order', order, BY)}")
    if match[2] == "gpuh" and executor != "slurm" and not gpus:
        raise ConfigError(f"{option}: no GPU is named; give --gpus or --device cuda, or a budget in hours")
    chosen: By = "rows" if order == "rows" else "seeds"
    return Budget(text.strip(), float(match[1]) * _HOURS[match[2]], match[2] == "gpuh", chosen)


def cut_here(plan: Plan, budget: Budget, gpus: int, processes: int) -> Cut:
    """What fits on this machine, by predictions.

    Args:
        plan: the plan.
        budget: the budget.
        gpus: that are held.
        processes: at a time.
    """
    pieces, order = pieces_of(plan), ordered(plan, budget.by)
    hours = budget.hours(gpus)
    choice = choose(pieces, order, hours, processes)
    per_hour = budget.amount / hours
    whole = choose(pieces, order, math.inf, processes).hours * per_hour
    fitting = narrowed(plan, choice.chosen)
    used = f"{_hours_text(choice.hours)} of {_hours_text(hours)}" + (
        f", with {processes} processes" if processes > 1 else ""
    )
    first = f"{budget.option}, {budget.by} first: {how_many(len(fitting.unfinished), 'run')} in {used}"
    first += ", as far as known" * bool(choice.unknown)
    unknown_runs = sum(run.run_id in choice.unknown for run in fitting.unfinished)
    lines = [first, *_of_unknown(unknown_runs)]
    home = {run.run_id: run.run_id for run in plan.runs}
    return _told(plan, fitting, budget, lines, pieces, choice, home, whole, per_hour)


def fitting_cohorts(cohorts: Mapping[str, str], plan: Plan, hours: float) -> dict[str, str]:
    """The cohorts without those that would take more than all hours, whose runs are then begun one by one."""
    seconds: dict[str, float] = defaultdict(float)
    for run in plan.unfinished:
        seconds[cohorts.get(run.run_id, run.run_id)] += run.seconds or 0.0
    return {run_id: name for run_id, name in cohorts.items() if seconds[name] <= hours * 3600 * (1 + 1e-9)}


def cut_on_slurm(plan: Plan, budget: Budget, arrays: Arrays) -> Cut:
    """What fits into the hours that jobs ask for.

    Args:
        plan: the plan.
        budget: the budget.
        arrays: what plans are submitted as.

    Raises:
        ConfigError: GPU-hours are counted, and no job asks for a GPU: they would hold nothing back.
    """
    pieces, home = job_pieces(arrays(plan), of_gpus=budget.of_gpus)
    if budget.of_gpus and pieces and not any(piece.hours for piece in pieces.values()):
        raise ConfigError(f"{budget.option}: no job asks for a GPU; give --gpus, or a budget in hours")
    # What is in the queue already asks for nothing again, and stays.
    queued = [run.run_id for run in plan.unfinished if run.run_id not in home]
    order = list(dict.fromkeys(home[run_id] for run_id in ordered(plan, budget.by) if run_id in home))
    whole = choose(pieces, order, math.inf).hours
    while True:
        choice = choose(pieces, order, budget.amount)
        chosen = set(choice.chosen)
        fitting = narrowed(plan, [*queued, *_runs_in(choice.chosen, home, ordered(plan, budget.by))])
        # Fewer runs may be packed in another way, and features that only one of them reads are left to that one.
        asked = sum(piece.hours or 0.0 for piece in job_pieces(arrays(fitting), of_gpus=budget.of_gpus)[0].values())
        if asked <= budget.amount * (1 + 1e-9) or not chosen:
            break
        order.remove([name for name in order if name in chosen][-1])
    total = f"{asked:.3g} GPU-hours" if budget.of_gpus else _hours_text(asked)
    count = len(fitting.unfinished) - len(queued)
    first = f"{budget.option}, {budget.by} first: {how_many(count, 'run')}, whose jobs ask for {total}"
    return _told(plan, fitting, budget, [first], pieces, choice, home, whole)


def _runs_in(jobs: Iterable[str], home: Mapping[str, str], wanted: Sequence[str]) -> list[str]:
    """The runs of some jobs, in the order of these, those of one as they are wanted; features that they need, too."""
    turns = {run_id: turn for turn, run_id in enumerate(wanted)}
    inside: dict[str, list[str]] = defaultdict(list)
    for run_id, job in home.items():
        inside[job].append(run_id)
    return [run_id for job in jobs for run_id in sorted(inside[job], key=lambda one: turns.get(one, -1))]


def _of_unknown(count: int) -> list[str]:
    if not count:
        return []
    return [
        f"{how_many(count, 'run')} of a kind not seen before come last, while there is time (bench plan --probe tells)"
    ]


def _told(
    plan: Plan,
    fitting: Plan,
    budget: Budget,
    lines: list[str],
    pieces: Mapping[str, Piece],
    choice: Choice,
    home: Mapping[str, str],
    whole: float,
    per_hour: float = 1.0,
) -> Cut:
    """The cut, with a line for each row of which runs are left out, and one for what all of it would need.

    ``whole`` is that in the unit of the budget, of which an hour of a piece takes ``per_hour``.
    """
    kept = {run.run_id for run in fitting.runs}
    lacking = [run for run in plan.unfinished if run.asked_for and run.run_id not in kept]
    room = {one.name: one.left for one in choice.left}
    for runs, hours in left_by_row(plan, pieces, [*kept, *choice.chosen], home):
        seeds = ", ".join(str(run.spec.seed) for run in runs)
        title = f"{marked_title(runs[0])}, seed{'s' * (len(runs) > 1)} {seeds}"
        least = "at least " * any(pieces[home[run.run_id]].hours is None for run in runs)
        left = max((room.get(home[run.run_id], 0.0) for run in runs), default=0.0)
        needs, had = (_hours_text(each) if not budget.of_gpus else f"{each:.2g} GPU-hours" for each in (hours, left))
        lines.append(f"left out: {title}: needs {least}{needs}, and {had} were left")
    more = ""
    if lacking:
        unit = "gpuh" if budget.of_gpus else "h"
        least = "at least " * any(piece.hours is None for piece in pieces.values())
        lines.append(f"all of it needs {least}--budget {_round_up(whole)}{unit}")
        # What is done costs nothing the next time, so a budget that some of the rest fits into goes on by itself.
        takes = per_hour * (cheapest(pieces, [home[run.run_id] for run in lacking], choice.chosen) or 0.0)
        more = f"{_round_up(takes)}{unit}" if takes > budget.amount * (1 + 1e-9) else ""
        lines += [f"the next run needs at least --budget {more}"] * bool(more)
    return Cut(fitting, len(lacking), tuple(lines), more)


def _hours_text(hours: float) -> str:
    return duration(hours * 3600)


def _round_up(hours: float) -> str:
    """Hours with two digits, and no fewer than there are."""
    scale = 10 ** (1 - math.floor(math.log10(hours))) if hours > 0 else 1.0
    # Never as 1e-05, which --budget does not take.
    return f"{math.ceil(hours * scale - 1e-6) / scale:.10f}".rstrip("0").rstrip(".") or "0"
