"""``bench report --all DIR --watch``: a page that is kept up to date while runs are at work, here or on a cluster."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from spectral_bench.bench.cli.options import find_store
from spectral_bench.bench.cli.output import say, warn
from spectral_bench.bench.cli.runs import at_work_for, counts_in_words, time_left
from spectral_bench.bench.executors.slurm.causes import record_and_track
from spectral_bench.bench.executors.slurm.status import with_queue
from spectral_bench.bench.grid.load import grid_name
from spectral_bench.bench.plan.states import RunStatus, runs_of_store
from spectral_bench.bench.plan.titles import marked
from spectral_bench.common.collection import no_collection
from spectral_bench.common.errors import StoreError, UserError
from spectral_bench.common.files import write_bytes
from spectral_bench.common.names import how_many, unknown
from spectral_bench.reports.api import fit_only
from spectral_bench.reports.html.live import Frame, Moment, Work, curve_view, waiting_page
from spectral_bench.reports.run_files import CurveFile, log_tail
from spectral_bench.results.claims import is_launched
from spectral_bench.results.runs import FIT_FILE
from spectral_bench.results.state import RunState
from spectral_bench.results.store import Store

PAUSE = 4
"""After each look, and after each time that tables and figures are made, at least so many times what it took is waited:
a watcher takes no more than two fifths of a core, however large the store is."""

HEARTBEAT_S = 60.0
"""The page is written at least so often, so that a reader can tell whether anybody watches."""

_MOST_WORK = 12  # runs at work that the page shows
_MOST_REASONS = 3
_LOG_LINES = 20
_WAITING = (RunState.PENDING, RunState.UNKNOWN)
_FAILED = (RunState.FAILED, RunState.CANCELLED, RunState.NOT_CONVERGED)

wait = time.sleep
WritePage = Callable[[Store, Callable[[Iterable[str]], bytes], bool], None]
"""Writes what is known of a store, given what makes the page of its parts, and whether to write the page alone."""


class PageKeeper:
    """Writes a page again and again.

    Tables and figures are made anew only where a record, a grid or the state of a run has changed; the part that tells
    what is going on is made each time.

    Args:
        out: the folder of the store, which need not exist yet.
        page: the file of the page.
        every: seconds between two looks.
        grid: a grid by name or file; None: all.
        write: writes page, tables and figures.
    """

    def __init__(self, out: Path, page: Path, every: float, grid: str | None, write: WritePage) -> None:
        self._out, self._page, self._every, self._write = out, page, every, write
        self._grid = None if grid is None else grid_name(grid)
        self._may_come = grid is not None and grid != self._grid  # a file, whose grid may be launched later
        self._frame: Frame | None = None
        self._made: object = None
        self._ready = self._making = 0.0
        self._told: Moment | None = None
        self._moment = Moment("", every)
        self._written = 0.0
        self._counts = ""
        self._curves: dict[str, CurveFile] = {}
        self._warned: set[str] = set()

    def run(self, pause: Callable[[float], None] | None = None) -> None:
        """Look again and again until Ctrl-C, which is no mistake here: the page stays, and says that it is the last.

        Args:
            pause: waits so many seconds; default: ``wait``.

        Raises:
            UserError: the first look fails; later ones are warned of, since a file system may come back.
        """
        first = True
        try:
            while True:
                began, self._making = time.monotonic(), 0.0
                told = self._counts
                self._try(first=first)
                if first:
                    say(f"{self._page} is kept up to date, every {self._every:g} s; Ctrl-C ends it")
                if self._counts != told:
                    say(f"{_now()}  {self._counts}")
                first = False
                (pause or wait)(max(self._every, PAUSE * (time.monotonic() - began - self._making)))
        except KeyboardInterrupt:
            if first:
                raise
            self.close()

    def _try(self, *, first: bool) -> None:
        try:
            self.look()
        except UserError as error:
            if first:
                raise
            if str(error) not in self._warned:
                warn(f"{error}; the page stays as it is, and is tried again")
            self._warned.add(str(error))

    def look(self) -> None:
        """Look once, and write what has changed.

        Raises:
            UserError: the store cannot be read, knows no such grid, or the page cannot be written.
        """
        store = find_store(self._out)
        if store is None:
            self._wait(f"Nothing is there yet: waiting for the store {self._out}")
            return
        known = [manifest.name for manifest in store.manifests()]
        if self._grid is not None and self._grid not in known:
            told = f"{store.path}: {unknown('grid', self._grid, known)}"
            if known and not self._may_come and self._told is None:
                raise StoreError(told)
            self._wait(f"Waiting for the grid {self._grid}: it was not launched into {self._out} yet")
            return
        if not known:
            self._wait(f"Waiting for a grid: none was launched into {self._out} yet")
            return
        self._look_at(store)

    def close(self) -> None:
        """Write the page for the last time, as one that is not kept up to date any more.

        Raises:
            StoreError: it cannot be written.
        """
        stamp = _now()
        self._put(replace(self._moment, stamp=stamp, every=0.0))
        say(f"{self._page} is as it was at {stamp}; the same command goes on")

    def _wait(self, line: str) -> None:
        self._frame, self._made = None, None
        self._counts = line[0].lower() + line[1:]
        self._show(Moment(_now(), self._every, [line]))

    def _look_at(self, store: Store) -> None:
        tracked = record_and_track(store)
        with no_collection():
            found = with_queue(runs_of_store(store, self._grid), tracked, store)
        once = list({run.run_id: run for run in reversed(found)}.values())[::-1]
        self._counts = f"{how_many(len(once), 'run')}: {counts_in_words(once)}"
        fitted, scored = fit_only(store, self._grid)
        moment = self._tell(store, once, fitted)
        going = is_launched(store.path) or any(run.condition.state in (RunState.RUNNING, *_WAITING) for run in once)
        wanted = (going, *_signature(store, found))
        if not scored:
            self._frame = None
        elif wanted != self._made and time.monotonic() >= self._ready:
            began = time.monotonic()
            self._write(store, lambda parts: self._framed(parts, moment), going)
            now = time.monotonic()
            self._making, self._ready = now - began, now + PAUSE * (now - began)
            self._made, self._told, self._written = wanted, replace(moment, stamp=""), now
            return
        self._show(moment)

    def _framed(self, parts: Iterable[str], moment: Moment) -> bytes:
        self._frame, self._moment = Frame(parts), moment
        return self._frame.filled(moment)

    def _show(self, moment: Moment) -> None:
        """Write the page if it tells anything new, or has not been written for a while."""
        told, now = replace(moment, stamp=""), time.monotonic()
        if told != self._told or now - self._written >= HEARTBEAT_S:
            self._put(moment)
            self._told, self._written = told, now

    def _put(self, moment: Moment) -> None:
        self._moment = moment
        write_bytes(self._page, waiting_page(moment) if self._frame is None else self._frame.filled(moment))

    def _tell(self, store: Store, runs: Sequence[RunStatus], lines: Sequence[str]) -> Moment:
        at_work = [run for run in runs if run.condition.state is RunState.RUNNING]
        counts = Counter(run.condition.state.word.replace("_", " ") for run in runs)
        left = time_left(store, runs, len(at_work))
        told = [*lines, *([f"{left[0].upper()}{left[1:]}."] if left else []), *_reasons(runs)]
        shown = at_work[:_MOST_WORK]
        curves = {run.run_id: self._curves.get(run.run_id) or CurveFile(store.run_folder(run.run_id)) for run in shown}
        self._curves = curves
        work = [_work(store, run, curves[run.run_id]) for run in shown]
        return Moment(_now(), self._every, told, counts, work, len(at_work) - len(shown))


def _now() -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())


def _work(store: Store, run: RunStatus, curve: CurveFile) -> Work:
    progress = run.progress
    share = min(1.0, progress.done / progress.total) if progress is not None and progress.total else None
    return Work(
        run_id=run.run_id,
        title=marked(run.title, run.uses_labels, run.by_text),
        seed=run.seed,
        progress=run.progress_text,
        share=share,
        since=at_work_for(store, run.run_id),
        curve=curve_view(curve.read()),
        log=log_tail(store.run_folder(run.run_id), _LOG_LINES),
    )


def _reasons(runs: Sequence[RunStatus]) -> Iterator[str]:
    """Why runs did not end well, or wait, the commonest reasons first."""
    for states in (_FAILED, _WAITING):
        stopped = [run for run in runs if run.condition.state in states and run.condition.reason]
        counts = Counter((run.condition.state.word.replace("_", " "), run.condition.reason) for run in stopped)
        for (word, reason), count in counts.most_common(_MOST_REASONS):
            yield f"{count} {word}: {reason}"


def _signature(store: Store, found: Sequence[RunStatus]) -> Iterator[object]:
    """Changes whenever tables or figures would: with the state of a run, a record, a grid, or a check of own code."""
    for folder in (store.path / "grids", store.path / "checks"):
        yield _entries(folder)
    for run in found:
        folder, condition = store.run_folder(run.run_id), run.condition
        yield run.run_id, condition.state, condition.changed
        yield _entry(folder / FIT_FILE), _entries(folder / "evaluations")


def _entries(folder: Path) -> tuple[object, ...]:
    """Names, times and sizes of what is in a folder; nothing where there is none."""
    try:
        with os.scandir(folder) as found:
            return tuple(sorted((one.name, one.stat().st_mtime_ns, one.stat().st_size) for one in found))
    except OSError:
        return ()


def _entry(path: Path) -> tuple[int, ...]:
    try:
        told = path.stat()
    except OSError:
        return ()
    return told.st_mtime_ns, told.st_size
