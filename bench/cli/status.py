"""``bench status`` and ``bench logs``: how far the runs of a store or grid are, and what a run said."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from spectral_bench.bench.cli import options
from spectral_bench.bench.cli.options import (
    DEFAULT_OUT,
    Debug,
    GridName,
    GridOption,
    Json,
    Out,
    Roots,
    RunName,
    find_run,
    one_grid,
    show_runs,
)
from spectral_bench.bench.cli.output import console, on_terminal, say, show_json, tell
from spectral_bench.bench.cli.runs import (
    Where,
    abandoned,
    chosen,
    counts_in_words,
    parse_where,
    settings_of,
    show_summary,
)
from spectral_bench.bench.executors.slurm.causes import record_and_track
from spectral_bench.bench.executors.slurm.status import with_queue
from spectral_bench.bench.executors.slurm.submissions import Ledger
from spectral_bench.bench.grid.load import grid_name
from spectral_bench.bench.plan.states import RunStatus, runs_of_store
from spectral_bench.bench.plan.titles import LABELS_NOTE, TEXT_NOTE, marked
from spectral_bench.bench.work.progress import LOG_FILE
from spectral_bench.common.collection import no_collection
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import how_many, unknown
from spectral_bench.results.state import RunState
from spectral_bench.results.store import Store

WATCH_S = 5
FEW = 20  # as many runs are listed on a terminal unasked

StateFilter = Annotated[
    list[str] | None,
    typer.Option("--state", help="Only runs in this state; may be given several times.", metavar="STATE"),
]


class Watchable(options.Watchable):
    """Lets ``--watch`` stand without its seconds."""

    seconds = WATCH_S


def status(
    grid_file: GridName = None,
    out: Out = DEFAULT_OUT,
    grid: GridOption = None,
    state: StateFilter = None,
    where: Where = None,
    listed: Annotated[
        bool | None,
        typer.Option("--list/--no-list", help="List every run, or sum up only.", show_default=False),
    ] = None,
    watch: Annotated[
        float | None,
        typer.Option("--watch", min=0.1, help=f"Look again every SECONDS, by default {WATCH_S}.", metavar="[SECONDS]"),
    ] = None,
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Print the state of each run: stage and progress while it runs, the reason where it failed.

    A terminal gets a summary first: counts, what is at work, what failed and why, the time left. Without --list or a
    filter, it lists no more than 20 runs. Elsewhere every run is listed, and --no-list asks for the summary.
    """
    states, wanted = _states(state or ()), parse_where(where)
    if watch is not None and as_json:
        raise ConfigError("--watch prints for people; without it, --json tells how things are now")
    named = one_grid(grid_file, grid)
    name = grid_name(named) if named is not None else None
    store = Store.open(out)

    def look() -> None:
        tracked = record_and_track(store)
        with no_collection():  # thousands of records are made at once, and the collector would go through them all
            found = with_queue(runs_of_store(store, name), tracked, store)
            left_over = abandoned(found)
            found = [_noted(run, run.run_id in left_over) for run in chosen(found, wanted)]
            shown = [run for run in found if not states or run.condition.state.word in states]
            if as_json:
                show_json([_json(run) for run in shown])
                return
            if watch is not None and on_terminal():
                console().clear()
            _show(store, found, shown, listed, few=bool(states or wanted) or len(shown) <= FEW)

    look() if watch is None else _again(look, watch)
    return 0


def _again(look: Callable[[], None], seconds: float) -> None:
    """Look every so many seconds until Ctrl-C, which is no mistake here."""
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            look()
            say(f"{time.strftime('%H:%M:%S', time.gmtime())} UTC, again every {seconds:g} s; Ctrl-C ends it")
            time.sleep(seconds)


def _states(given: Sequence[str]) -> set[str]:
    """The states of ``--state``, which tables write with blanks.

    Raises:
        ConfigError: one is none.
    """
    valid = {one.word for one in RunState}
    states = {text.replace(" ", "_") for text in given}
    for state in sorted(states - valid):
        raise ConfigError(f"--state: {unknown('state', state, valid)}")
    return states


def _noted(run: RunStatus, is_abandoned: bool) -> RunStatus:
    """A run that was ordered and never begun says so: its job or its launcher may have ended before its turn."""
    if run.condition.state is not RunState.ORDERED:
        return run
    reason = "ordered, not begun: waits for its launcher, or for bench retry"
    if is_abandoned:
        reason = "ordered, not begun, and no grid asks for it any more: see bench prune"
    return replace(run, condition=replace(run.condition, reason=reason))


def _show(
    store: Store, found: Sequence[RunStatus], shown: Sequence[RunStatus], listed: bool | None, *, few: bool
) -> None:
    """On a terminal a summary of all that were ``found``, there and elsewhere the runs ``shown`` as a table.

    Args:
        store: the store.
        found, shown: runs.
        listed: whether to list them, where that was said.
        few: whether to list them on a terminal where nothing was said.
    """
    summed = listed is False or on_terminal()
    if summed and not found:
        tell(f"{store.path}: " + ("none of its runs fits" if store.runs() or store.manifests() else "holds no run"))
        return
    if summed:
        show_summary(store, found)
    if listed if listed is not None else few or not on_terminal():
        if summed:
            say("")
        _show_table(store, found, shown, counted=not summed)
    elif listed is None:
        tell("--list shows every run; --state failed or --where k=32,method=spin show some")


def _show_table(store: Store, found: Sequence[RunStatus], shown: Sequence[RunStatus], *, counted: bool) -> None:
    """The runs ``shown`` as a table, then the counts of all that were ``found``."""
    columns = ("state", "progress", "grid", "row", "seed", "run", "note")
    show_runs(columns, [_cells(run) for run in shown], store.runs(), right=("seed",), constant=("grid",))
    if counted:
        say(": ".join(filter(None, (how_many(len(found), "run"), counts_in_words(found)))))
    if any(run.uses_labels for run in shown):
        say(LABELS_NOTE)
    if any(run.by_text for run in shown):
        say(TEXT_NOTE)


def _cells(run: RunStatus) -> tuple[Any, ...]:
    title = marked(run.title, run.uses_labels, run.by_text)
    return run.condition.state.word, run.progress_text, run.grid, title, run.seed, run.run_id, run.condition.reason


def _json(run: RunStatus) -> dict[str, Any]:
    progress = run.progress
    return {
        "run_id": run.run_id,
        "grid": run.grid,
        "title": run.title,
        "seed": run.seed,
        "uses_labels": run.uses_labels,
        "state": run.condition.state.word,
        "reason": run.condition.reason,
        "missing": len(run.condition.missing),
        "stage": progress.stage if progress else None,
        "done": progress.done if progress else None,
        "total": progress.total if progress else None,
        "seconds_left": progress.left if progress else None,
        **settings_of(run),
    }


POLL_S = 0.5


def logs(
    run: RunName,
    out: Out = DEFAULT_OUT,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    debug: Debug = False,
) -> int:
    """Print the log of a run; where it has none, what Slurm said of its job."""
    store = Store.open(out)
    if (extraction := _extraction_log(store, run)) is not None:
        say(extraction)
        return 0
    run_id = find_run(store, run)
    path = store.run_folder(run_id) / LOG_FILE
    if follow:
        follow_file(path, lambda: _at_work(store, run_id))
        return 0
    files = [path] if path.exists() else _job_outputs(store, run_id)
    if not files:
        raise ConfigError(f"run {run_id}: no log yet; bench status says how it stands")
    for file in files:
        say(file.read_text(encoding="utf-8", errors="replace").rstrip("\n"))
    return 0


def follow_file(path: Path, at_work: Callable[[], bool]) -> None:
    """Copy a file to standard output as it grows, from its beginning, until ``at_work`` says that nothing will come."""
    position = 0
    while True:
        going = at_work()  # asked before reading: what was written last is read when nothing comes any more
        if path.exists():
            with path.open("rb") as file:
                file.seek(position)
                text = file.read()
            position += len(text)
            sys.stdout.write(text.decode("utf-8", errors="replace"))
            sys.stdout.flush()
        if not going:
            return
        time.sleep(POLL_S)


def _at_work(store: Store, run_id: str) -> bool:
    if store.is_claimed(run_id):
        return True
    tracked = record_and_track(store)
    run = tracked.newest().get(run_id) if tracked is not None else None
    return run is not None and run.live


def _extraction_log(store: Store, name: str) -> str | None:
    """What an extraction of features said, by the name that messages call it; None where it is no such name."""
    order = store.path / "slurm" / "orders" / f"{Path(name).name}.json"
    if not order.exists():
        return None
    files = [*_job_outputs(store, name), order.with_suffix(".log")]
    told = [file.read_text(encoding="utf-8", errors="replace").strip() for file in files if file.exists()]
    return "\n".join(filter(None, told)) or f"{name}: no log yet"


def _job_outputs(store: Store, run_id: str) -> list[Path]:
    """What Slurm and the last job of a run said; where that never began, what the jobs said that it waited for."""
    ledger = Ledger(store)
    places = [
        (submission, index)
        for submission in ledger.every()
        for index, unit in enumerate(submission.units)
        if run_id in {run.run_id for run in unit.entries}
    ]
    for submission, index in places[-1:]:
        before = [(name, other) for name, indices in submission.after.items() for other in indices]
        said = [path for name, other in before for path in ledger.outputs(name, other)]
        return ledger.outputs(submission.name, index) or said
    return []
