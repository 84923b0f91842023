"""``bench status`` and ``bench logs``: how far the runs of a store or grid are, and what a run said."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from spectral_bench.bench.cli.options import DEFAULT_OUT, Debug, Json, Out, Roots, RunName, find_run
from spectral_bench.bench.cli.output import say, show_json, show_table
from spectral_bench.bench.executors.slurm.causes import record_and_track
from spectral_bench.bench.executors.slurm.status import with_queue
from spectral_bench.bench.executors.slurm.submissions import Ledger
from spectral_bench.bench.grid.load import grid_name
from spectral_bench.bench.plan.states import RunStatus, runs_of_store
from spectral_bench.bench.plan.titles import LABELS_NOTE, marked
from spectral_bench.bench.work.progress import LOG_FILE
from spectral_bench.common.collection import no_collection
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.names import how_many, unknown
from spectral_bench.results.state import RunState
from spectral_bench.results.store import Store

StateFilter = Annotated[
    list[str] | None,
    typer.Option("--state", help="Only runs in this state; may be given several times.", metavar="STATE"),
]


def status(
    out: Out = DEFAULT_OUT,
    grid: Annotated[
        str | None,
        typer.Option("--grid", "-g", help="One grid, by name or file; default: all of the store.", metavar="GRID"),
    ] = None,
    state: StateFilter = None,
    data_root: Roots = None,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Print the state of each run: stage and progress while it runs, the reason where it failed."""
    states = _states(state or ())
    store = Store.open(out)
    tracked = record_and_track(store)
    with no_collection():
        found = with_queue(runs_of_store(store, grid_name(grid) if grid is not None else None), tracked, store)
        found = [_noted(run) for run in found]
        shown = [run for run in found if not states or run.condition.state.word in states]
        if as_json:
            show_json([_json(run) for run in shown])
        else:
            _show_table(found, shown)
    return 0


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


def _noted(run: RunStatus) -> RunStatus:
    """A run that was ordered and never begun says so: its job or its launcher may have ended before its turn."""
    if run.condition.state is not RunState.ORDERED:
        return run
    return replace(
        run, condition=replace(run.condition, reason="ordered, not begun: waits for its launcher, or for bench retry")
    )


def _show_table(found: Sequence[RunStatus], shown: Sequence[RunStatus]) -> None:
    """The runs ``shown`` as a table, then the counts of all that were ``found``."""
    columns = ("state", "progress", "grid", "row", "seed", "run", "note")
    show_table(columns, [_cells(run) for run in shown], right=("seed",))
    counts = Counter(run.condition.state.word for run in found)
    say(
        f"{how_many(len(found), 'run')}: "
        + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    )
    if any(run.uses_labels for run in shown):
        say(LABELS_NOTE)


def _cells(run: RunStatus) -> tuple[Any, ...]:
    title = marked(run.title, run.uses_labels)
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
        going = at_work()
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
