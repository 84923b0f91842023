"""``bench status``: how far the runs of a store or of a grid are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

import typer

from spectral_bench.bench.cli.options import DEFAULT_OUT, Debug, Json, Out, Roots
from spectral_bench.bench.cli.output import say, show_json, show_table
from spectral_bench.bench.executors.slurm.causes import record_and_track
from spectral_bench.bench.executors.slurm.status import with_queue
from spectral_bench.bench.grid.load import grid_name
from spectral_bench.bench.plan.states import RunStatus, runs_of_store
from spectral_bench.bench.plan.titles import LABELS_NOTE, marked
from spectral_bench.common.collection import no_collection
from spectral_bench.common.names import how_many
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
    store = Store.open(out)
    tracked = record_and_track(store)
    with no_collection():
        found = with_queue(runs_of_store(store, grid_name(grid) if grid is not None else None), tracked, store)
        found = [_noted(run) for run in found]
        shown = [run for run in found if not state or run.condition.state.word in state]
        if as_json:
            show_json([_json(run) for run in shown])
        else:
            _show_table(found, shown)
    return 0


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
    }
