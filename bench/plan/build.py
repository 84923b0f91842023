"""Make the plan of a grid: its rows, the runs that they need in the order of execution, and how far each is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from spectral_bench.bench.grid.load import Grid
from spectral_bench.bench.plan.estimate import planned_caches, with_predictions
from spectral_bench.bench.plan.identity import OwnNames
from spectral_bench.bench.plan.inputs import facts_of
from spectral_bench.bench.plan.measured import measurements, read_probes
from spectral_bench.bench.plan.prediction import Measurements
from spectral_bench.bench.plan.records import Snapshot
from spectral_bench.bench.plan.rows import ResolvedRow, base_spec, resolve_rows
from spectral_bench.bench.plan.states import Condition, Plan, PlannedRun, condition, unique_views, views_of
from spectral_bench.bench.plan.titles import grid_manifest, refuse_two_lists, row_titles
from spectral_bench.bench.plan.today import Code, CurrentCode, CurrentData, Data
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.errors import UserError
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import absolute_data
from spectral_bench.results.identity import digest
from spectral_bench.results.specification import FitSpec, identity_form
from spectral_bench.results.state import RunState
from spectral_bench.results.store import Store


def make_plan(
    grid: Grid,
    store: Store | None,
    folder: Path,
    code: Code | None = None,
    *,
    data: Data | None = None,
    verify: bool = False,
    anew: bool = False,
    problems: Problems | None = None,
) -> Plan:
    """What ``grid`` asks for, and how much of it the store holds. Writes nothing and needs no data.

    Args:
        grid: the grid.
        store: the records; None where there is no store yet.
        folder: the folder of the store.
        code: today's code; default: that of the project.
        data: today's data, which finished runs are compared with; None: nobody looks at it.
        verify: read each stored contingency to see that it is intact, before results are built on it.
        anew: what was made of a user's own files that were edited since is to be done again, under ids of its own.
        problems: where to note what is wrong with the grid, for a caller that goes on to find more and then raises all
            of it; the plan is that of the sound rows. None: raised here.

    Raises:
        ConfigError: a name or value of the grid is not valid; one line a problem.
        StoreError: the store cannot be read.
    """
    rows = resolve_rows(grid, store.weights_lock() if store else {}, problems)
    titles = row_titles(rows)
    today = code or CurrentCode()
    snapshot = Snapshot(store, verify=verify)
    names = OwnNames(snapshot, today, data or CurrentData(DataRoots()), anew=anew)
    rows = [names.named(row) for row in rows]
    with nullcontext() if problems is None else problems.gathering():
        refuse_two_lists(rows)
    planned = planned_runs(rows, titles)
    runs = [replace(run, condition=_condition(run, snapshot, today, data, names.alike)) for run in planned]
    measured = Measurements(())
    if any(run.condition.changed or not run.condition.finished for run in runs):
        measured = Measurements(chain(measurements(snapshot.past), read_probes(folder)))
        runs = with_predictions(runs, measured, folder)
    return Plan(
        grid=grid,
        rows=tuple(rows),
        runs=tuple(runs),
        caches=planned_caches(runs, folder),
        manifest=grid_manifest(grid, rows, titles),
        store=folder,
        free=free_bytes(folder),
        measured=measured,
        further_data=_data_of_faulty_rows(grid, rows) if problems else (),
    )


def _data_of_faulty_rows(grid: Grid, rows: Sequence[ResolvedRow]) -> tuple[tuple[str, str], ...]:
    """What the rows of a grid look at that did not become part of its plan, as far as they say so without a fault."""
    sound, found = {id(row.grid_row) for row in rows}, dict[tuple[str, str], None]()
    for row in grid.rows:
        settings = row.settings
        if id(row) in sound or row.faulty & {"dataset", "split"}:
            continue
        with suppress(UserError):  # which has been noted
            name = absolute_data(settings.dataset, grid.path.parent)
            if settings.split in facts_of(name).splits and facts_of(name).class_sets:
                found[name, settings.split] = None
    return tuple(found)


def _condition(
    run: PlannedRun, snapshot: Snapshot, code: Code, data: Data | None, alike: Mapping[str, str]
) -> Condition:
    found = condition(run.run_id, run.views, snapshot, code, data, run.spec)
    if found.state.word == RunState.NEW and run.run_id in alike:
        return replace(found, reason=f"same settings as {alike[run.run_id]}, which was made of other files")
    return found


def with_stale_anew(plan: Plan) -> Plan:
    """The plan in which runs whose code or data has changed are to be done again from the start, partial ones too."""
    runs = [
        replace(run, condition=replace(run.condition, state=RunState.STALE, missing=run.views, fitted=False))
        if run.condition.changed
        else run
        for run in plan.runs
    ]
    runs = with_predictions(runs, plan.measured, plan.store)
    return replace(plan, runs=tuple(runs), caches=planned_caches(runs, plan.store))


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk of a folder that need not exist yet."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def planned_runs(rows: Sequence[ResolvedRow], titles: Sequence[str]) -> list[PlannedRun]:
    """The runs of all rows, each fit once, with every view that some row wants of it.

    Order: runs that share features follow each other; within them the first seed of every row comes before the second
    of any, so that a table has all of its rows early; a fit that others start from comes right before the first.
    """
    runs: dict[str, PlannedRun] = {}
    turns: dict[str, _Turn] = {}
    groups: dict[str, int] = {}
    for index, (row, title) in enumerate(zip(rows, titles, strict=True)):
        features, views = features_key(row.specs[0]), views_of(row.protocols)
        group = groups.setdefault(features, len(groups))
        for seed, (spec, run_id) in enumerate(zip(row.specs, row.run_ids, strict=True)):
            base = base_spec(spec)
            run = PlannedRun(run_id, spec, features, views, base.run_id if base else None, title)
            runs[run_id] = _merged(runs.get(run_id), run)
            turns.setdefault(run_id, _Turn(group, seed, index))
            _add_bases(runs, base, run)
    ordered = sorted(turns, key=lambda run_id: (turns[run_id].features, turns[run_id].seed, turns[run_id].row))
    return _bases_first(runs, ordered)


def features_key(spec: FitSpec) -> str:
    """What the fits that share patch features have in common."""
    data = identity_form(spec.model_dump(mode="json"))["data"]
    return digest([data, spec.features.model_dump(), spec.backbone.model_dump()])


def _merged(known: PlannedRun | None, run: PlannedRun) -> PlannedRun:
    if known is None:
        return run
    if not known.asked_for:
        return run
    return replace(known, views=unique_views((*known.views, *run.views)))


def _add_bases(runs: dict[str, PlannedRun], base: FitSpec | None, user: PlannedRun) -> None:
    """Add the fits that a run starts from, unless the grid asks for them."""
    while base is not None and (run_id := base.run_id) not in runs:
        below = base_spec(base)
        required = below.run_id if below else None
        runs[run_id] = PlannedRun(run_id, base, user.features, (), required, f"for {user.title}", asked_for=False)
        base = below


def _bases_first(runs: dict[str, PlannedRun], ordered: Sequence[str]) -> list[PlannedRun]:
    done: dict[str, PlannedRun] = {}

    def visit(run_id: str) -> None:
        if run_id in done:
            return
        required = runs[run_id].requires
        if required is not None:
            visit(required)
        done[run_id] = runs[run_id]

    for run_id in ordered:
        visit(run_id)
    return list(done.values())


@dataclass(frozen=True)
class _Turn:
    """What decides when a run has its turn: groups of features first, then seeds, then rows."""

    features: int
    seed: int
    row: int
