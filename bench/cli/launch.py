"""Hand the unfinished runs of a plan to an executor, show how they fare, and say how it went."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from spectral_bench.bench.cli.endings import Launch, concluded
from spectral_bench.bench.cli.output import on_terminal, say, show_tables, warn
from spectral_bench.bench.executors.jobs import Event, Executor, Job
from spectral_bench.bench.features.backbones.registry import is_own
from spectral_bench.bench.plan.show import marked_title
from spectral_bench.bench.plan.states import Plan, plan_orders
from spectral_bench.bench.plan.text import keep_words
from spectral_bench.bench.work.order import ORDER_PREFIX, Execution, Order
from spectral_bench.bench.work.progress import PROGRESS_FILE, read_progress
from spectral_bench.common.collection import importing
from spectral_bench.common.errors import UserError
from spectral_bench.common.files import write_bytes
from spectral_bench.common.names import duration
from spectral_bench.common.registry import is_from_files, is_weights_file
from spectral_bench.results.identity import digest
from spectral_bench.results.store import Busy, Store

# Between two looks at the progress of runs at work where there is no terminal.
QUIET_S = 30.0
BAR_S = 0.5


class Watcher(Protocol):
    """Is told of each event."""

    def __call__(self, event: Event) -> None:
        """Show it."""
        ...


@contextmanager
def watching(
    store: Store,
    titles: Mapping[str, str],
    *,
    bars: bool | None = None,
    seconds: Mapping[str, float | None] | None = None,
) -> Iterator[Watcher]:
    """A watcher for the length of the block.

    Args:
        store: where progress is read.
        titles: what to call each run.
        bars: bars or lines; None: bars on a terminal.
        seconds: what each run is going to take, as far as known, for the time left of all.
    """
    if bars is None:
        bars = sys.stderr.isatty()
    if not bars:
        yield LineWatcher(store, titles)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), LeftColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield BarWatcher(store, titles, progress, seconds)


class LineWatcher:
    """One line for each start and end, and now and then one for each run at work."""

    def __init__(self, store: Store, titles: Mapping[str, str]) -> None:
        self._store, self._titles = store, titles
        self._begun: dict[str, float] = {}
        self._ended = 0
        self._looked = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Print it, if it is news."""
        if event.kind == "tick":
            self._look()
        elif event.kind == "stopping":
            self._line(f"stopping: {event.message}" if event.message else "stopping")
        elif event.kind == "elsewhere":
            self._line(f"{self._name(event)}: another launcher is at work on it")
        elif event.kind == "submitted":
            self._line(f"{self._name(event)}: submitted, {event.message}")
        elif event.kind == "again":
            self._begun.pop(event.run_id, None)
            self._line(f"{self._name(event)}: {event.message}")
        elif event.kind == "started":
            self._begun[event.run_id] = time.monotonic()
            self._line(f"{self._name(event)}: started")
        else:
            self._finished(event)

    def _finished(self, event: Event) -> None:
        self._ended += 1
        begun = self._begun.pop(event.run_id, None)
        took = f" after {duration(time.monotonic() - begun)}" if begun is not None else ""
        why = f": {event.message}" if event.message else ""
        how = (event.exit or "").replace("_", " ")
        self._line(f"{self._name(event)}: {how}{took}{why} ({self._ended} of {len(self._titles)})")

    def _look(self) -> None:
        if time.monotonic() - self._looked < QUIET_S:
            return
        self._looked = time.monotonic()
        for run_id in self._begun:
            progress = read_progress(self._store.run_folder(run_id) / PROGRESS_FILE)
            if progress is not None:
                total = f" of {progress.total}" if progress.total else ""
                name = self._titles.get(run_id, run_id)
                self._line(f"{name}: {progress.stage} {progress.done}{total}{progress.in_words}")

    def _name(self, event: Event) -> str:
        return self._titles.get(event.run_id, event.run_id)

    @staticmethod
    def _line(text: str) -> None:
        say(f"{time.strftime('%H:%M:%S', time.gmtime())} UTC {text}")  # the clock of logs and records


class LeftColumn(ProgressColumn):
    """The time left that a task was last told; a bar's own would be guessed from its last half minute."""

    def render(self, task: Task) -> Text:
        """The text of the column."""
        left = task.fields.get("left")
        return Text("" if left is None else f"{duration(left)} left", style="progress.remaining")


class BarWatcher:
    """A bar for all runs, and one for each at work.

    Args:
        store: where progress is read.
        titles: what to call each run.
        progress: where the bars are.
        seconds: what each run is going to take, as far as known.
    """

    def __init__(
        self,
        store: Store,
        titles: Mapping[str, str],
        progress: Progress,
        seconds: Mapping[str, float | None] | None = None,
    ) -> None:
        self._store, self._titles, self._progress = store, titles, progress
        self._all = progress.add_task("all runs", total=len(titles))
        self._bars: dict[str, TaskID] = {}
        self._left = TimeLeft({run_id: (seconds or {}).get(run_id) for run_id in titles})
        self._looked = 0.0

    def __call__(self, event: Event) -> None:
        """Move the bars."""
        name = self._titles.get(event.run_id, event.run_id)
        if event.kind == "started":
            self._left.begin(event.run_id)
            self._bars[event.run_id] = self._progress.add_task(name, total=None)
        elif event.kind == "finished":
            self._left.end(event.run_id)
            self._progress.advance(self._all)
            if event.run_id in self._bars:
                self._progress.remove_task(self._bars.pop(event.run_id))
            how = (event.exit or "").replace("_", " ")
            style = "green" if event.exit == "done" else "yellow" if event.exit == "not_converged" else "red"
            self._progress.console.print(Text.assemble((f"{how:>9}", style), f"  {name}  {event.message}".rstrip()))
        elif event.kind == "tick":
            self._look()
        else:
            if event.kind == "again" and event.run_id in self._bars:
                self._progress.remove_task(self._bars.pop(event.run_id))
            self._progress.console.print(Text(f"{name} {event.kind} {event.message}".strip()))

    def _look(self) -> None:
        if time.monotonic() - self._looked < BAR_S:
            return
        self._looked = time.monotonic()
        for run_id, bar in self._bars.items():
            progress = read_progress(self._store.run_folder(run_id) / PROGRESS_FILE)
            if progress is not None:
                name = f"{self._titles.get(run_id, run_id)}: {progress.stage}"
                self._progress.update(
                    bar,
                    description=name,
                    completed=progress.done,
                    total=progress.total or None,
                    left=progress.left,
                )
        self._progress.update(self._all, left=self._left.seconds())


class TimeLeft:
    """What all runs of a launch have left, by what each was going to take and by the time that it has had.

    Args:
        expected: seconds by run; None where they are unknown.
    """

    def __init__(self, expected: Mapping[str, float | None]) -> None:
        self._waiting = dict(expected)
        self._working: dict[str, tuple[float | None, float]] = {}
        self._abreast = 1

    def begin(self, run_id: str) -> None:
        """Note that a run has begun."""
        self._working[run_id] = self._waiting.pop(run_id, None), time.monotonic()
        # As seen, not as asked for: Slurm, cohorts and dependencies all have a say in it.
        self._abreast = max(self._abreast, len(self._working))

    def end(self, run_id: str) -> None:
        """Note that a run is over, whether it had begun or not."""
        self._waiting.pop(run_id, None)
        self._working.pop(run_id, None)

    def seconds(self) -> float | None:
        """On the wall clock, with as many runs at a time as there were so far; None where a run is unknown."""
        now = time.monotonic()
        left = [*self._waiting.values()]
        left += [None if whole is None else max(whole - (now - begun), 0.0) for whole, begun in self._working.values()]
        known = [one for one in left if one is not None]
        return sum(known) / self._abreast if known and len(known) == len(left) else None


def launch(
    plan: Plan,
    store: Store,
    executor: Executor,
    execution: Execution,
    roots: Sequence[Path],
    cohorts: Mapping[str, str] | None = None,
    also: Watcher | None = None,
) -> Launch:
    """Carry out the unfinished runs of a plan.

    Args:
        plan: the plan.
        store: where records go.
        executor: what carries them out.
        execution: how.
        roots: where data sets lie.
        cohorts: names of the cohorts of runs that are not alone: see ``bench.plan.build.cohorts``.
        also: told of each event, too.

    Raises:
        StoreError: the store cannot be written.
    """
    # First of all: from here on, a machine without the weights plans the same ids.
    for run in plan.unfinished:
        backbone = run.spec.backbone
        weights = backbone.options.get("weights")
        elsewhere = is_own(backbone.name) or is_from_files(backbone.name)
        if weights != "random" and not is_weights_file(weights) and not elsewhere:
            store.lock_weights(backbone.name, backbone.weights)
    for run in plan.unfinished:
        if run.condition.state == "stale":
            # Busy: another launcher is at work on it, and it is for that one to do.
            with contextlib.suppress(Busy), store.claim(run.run_id):
                store.discard(run.run_id)
    keep_words(store, plan.manifest)
    # Before the orders: a run that is found is found as one of a grid.
    store.write_manifest(plan.manifest)
    jobs = [write_job(order, store, cohorts) for order in plan_orders(plan, execution, roots)]
    titles = {run.run_id: f"{marked_title(run)}, seed {run.spec.seed}" for run in plan.unfinished}
    seconds = {run.run_id: run.seconds for run in plan.unfinished}
    with watching(store, titles, bars=False if executor.name == "inline" else None, seconds=seconds) as watch:
        exits = executor.run(jobs, watch if also is None else _both(watch, also))
    plain = {run.run_id: f"{run.title}, seed {run.spec.seed}" for run in plan.unfinished}
    return concluded(store, exits, {run.run_id: run.views for run in plan.unfinished}, plain)


def _both(first: Watcher, second: Watcher) -> Watcher:
    def tell(event: Event) -> None:
        first(event)
        second(event)

    return tell


def write_job(order: Order, store: Store, cohorts: Mapping[str, str] | None = None) -> Job:
    """Write an order into the folder of its run."""
    job = job_of(order, store, cohorts)
    write_bytes(job.order_path, (order.model_dump_json(indent=1) + "\n").encode())
    return job


def job_of(order: Order, store: Store, cohorts: Mapping[str, str] | None = None) -> Job:
    """The job of an order; the same order has the same file, whoever launches it, beside whatever others."""
    path = store.run_folder(order.spec.run_id) / f"{ORDER_PREFIX}{digest(order, 8)}.json"
    required = frozenset({order.requires} if order.requires else ())
    return Job(order.spec.run_id, path, required, (cohorts or {}).get(order.spec.run_id, ""))


def print_tables(store: Store, grid: str) -> None:
    """Print the tables of a grid."""
    with importing():
        from spectral_bench.reports import build_tables, render  # a plan, and a wrong option, shall not wait for them
        from spectral_bench.reports.api import fit_only

    fitted, others = fit_only(store, grid)
    for line in fitted:
        say(f"\n{line}")
    if not others:
        return
    try:
        tables = build_tables(store, grid=grid)
    except UserError as error:
        warn(str(error))
        return
    if on_terminal():
        say("")
        show_tables(tables)
        return
    for table in tables:
        say("\n" + render(table, "markdown").rstrip("\n"))
