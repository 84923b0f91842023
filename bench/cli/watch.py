"""What a launcher shows while runs are carried out: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from spectral_bench.bench.cli.output import say
from spectral_bench.bench.executors.interface import Event
from spectral_bench.bench.plan.show import show_seconds
from spectral_bench.bench.work.progress import PROGRESS_FILE, read_progress
from spectral_bench.results.store import Store

# Between two looks at the progress of runs at work where there is no terminal.
QUIET_S = 30.0
BAR_S = 0.5


class Watcher(Protocol):
    """Is told of each event."""

    def __call__(self, event: Event) -> None:
        """Show it."""
        ...


@contextmanager
def watching(store: Store, titles: Mapping[str, str], *, bars: bool | None = None) -> Iterator[Watcher]:
    """A watcher for the length of the block.

    Args:
        store: where progress is read.
        titles: what to call each run.
        bars: bars or lines; None: bars on a terminal.
    """
    if bars is None:
        bars = sys.stderr.isatty()
    if not bars:
        yield LineWatcher(store, titles)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield BarWatcher(store, titles, progress)


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
        elif event.kind == "started":
            self._begun[event.run_id] = time.monotonic()
            self._line(f"{self._name(event)}: started")
        else:
            self._finished(event)

    def _finished(self, event: Event) -> None:
        self._ended += 1
        begun = self._begun.pop(event.run_id, None)
        took = f" after {show_seconds(time.monotonic() - begun)}" if begun is not None else ""
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
                self._line(f"{self._titles.get(run_id, run_id)}: {progress.stage} {progress.done}{total}")

    def _name(self, event: Event) -> str:
        return self._titles.get(event.run_id, event.run_id)

    @staticmethod
    def _line(text: str) -> None:
        say(f"{time.strftime('%H:%M:%S')} {text}")


class BarWatcher:
    """A bar for all runs, and one for each at work."""

    def __init__(self, store: Store, titles: Mapping[str, str], progress: Progress) -> None:
        self._store, self._titles, self._progress = store, titles, progress
        self._all = progress.add_task("all runs", total=len(titles))
        self._bars: dict[str, TaskID] = {}
        self._looked = 0.0

    def __call__(self, event: Event) -> None:
        """Move the bars."""
        name = self._titles.get(event.run_id, event.run_id)
        if event.kind == "started":
            self._bars[event.run_id] = self._progress.add_task(name, total=None)
        elif event.kind == "finished":
            self._progress.advance(self._all)
            if event.run_id in self._bars:
                self._progress.remove_task(self._bars.pop(event.run_id))
            how = (event.exit or "").replace("_", " ")
            style = "green" if event.exit == "done" else "yellow" if event.exit == "not_converged" else "red"
            self._progress.console.print(Text.assemble((f"{how:>9}", style), f"  {name}  {event.message}".rstrip()))
        elif event.kind == "tick":
            self._look()
        else:
            self._progress.console.print(Text(f"{name} {event.kind} {event.message}".strip()))

    def _look(self) -> None:
        if time.monotonic() - self._looked < BAR_S:
            return
        self._looked = time.monotonic()
        for run_id, bar in self._bars.items():
            progress = read_progress(self._store.run_folder(run_id) / PROGRESS_FILE)
            if progress is not None:
                name = f"{self._titles.get(run_id, run_id)}: {progress.stage}"
                self._progress.update(bar, description=name, completed=progress.done, total=progress.total or None)
