"""Make the plan of a grid: its rows, the runs that they need, in which order and side by side with which others."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from itertools import chain
from math import prod
from pathlib import Path
from typing import Protocol

import psutil

from spectral_bench.bench.features.backbones import backbone_info
from spectral_bench.bench.grid.load import Grid
from spectral_bench.bench.plan.estimate import features_key, planned_caches, with_predictions
from spectral_bench.bench.plan.images import counts_of, training_sides
from spectral_bench.bench.plan.inputs import facts_of
from spectral_bench.bench.plan.measured import measurements, read_probes
from spectral_bench.bench.plan.own_names import OwnNames
from spectral_bench.bench.plan.prediction import Measurements
from spectral_bench.bench.plan.records import Snapshot
from spectral_bench.bench.plan.run_ids import ResolvedRow, base_spec, resolve_rows
from spectral_bench.bench.plan.states import Condition, Plan, PlannedRun, condition, unique_views, views_of
from spectral_bench.bench.plan.titles import grid_manifest, refuse_two_lists, row_titles
from spectral_bench.bench.plan.today import Code, CurrentCode, CurrentData, Data
from spectral_bench.common.cgroups import memory_rooms
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.errors import UserError
from spectral_bench.datasets.interface import DataRoots
from spectral_bench.datasets.registry import absolute_data
from spectral_bench.methods.registry import method_facts
from spectral_bench.results.identity import digest
from spectral_bench.results.specification import FitSpec
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
        data: today's data, which finished runs are compared with, and whose images are counted where the data set
            does not state their number; None: nobody looks at it but for what is a user's own.
        verify: read each stored contingency to see that it is intact, before results are built on it.
        anew: what was made of a user's own files that were edited since is to be done again, under ids of its own.
        problems: where to note what is wrong with the grid, for a caller that goes on to find more and then raises all
            of it; the plan is that of the sound rows. None: raised here.

    Raises:
        ConfigError: a name or value of the grid is not valid; one line a problem.
        StoreError: the store cannot be read.
    """
    here = data or CurrentData(DataRoots())
    rows = resolve_rows(grid, store.weights_lock() if store else {}, problems, here)
    # Before parts of a user's own get their names: a title is made of what the grid says.
    titles = row_titles(rows)
    today = code or CurrentCode()
    snapshot = Snapshot(store, verify=verify)
    names = OwnNames(snapshot, today, here, anew=anew)
    # From here on parts of a user's own are called by their content, or as the store calls them, in ids too.
    rows = [names.named(row) for row in rows]
    with nullcontext() if problems is None else problems.gathering():
        refuse_two_lists(rows)
    planned = planned_runs(rows, titles)
    runs = [replace(run, condition=_condition(run, snapshot, today, data, names.alike)) for run in planned]
    measured = Measurements(())
    # Where nothing is left to do, nobody asks how long it takes, and thousands of records need not be gone through.
    if any(run.condition.changed or not run.condition.finished for run in runs):
        measured = Measurements(chain(measurements(snapshot.past), read_probes(folder)))
        counts = {} if data is None else counts_of(set().union(*(run.splits for run in runs)), data.count)
        runs = [replace(run, counts=counts) for run in runs]
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
    turns: dict[str, _Turn] = {}  # of runs that a row asks for; bases come where the first that needs them has its turn
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


def _merged(known: PlannedRun | None, run: PlannedRun) -> PlannedRun:
    if known is None:
        return run
    if not known.asked_for:  # it was there as a base of another; now a row asks for it under its own title
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


# Cohorts: runs that see the same batches are carried out side by side in one process.


PROCESS_BYTES = 10**9  # of a process with its libraries, before anything is trained

_PATCH_BYTES = 160  # a channel and patch of a step: features, and what a block of psi keeps for the backward pass

_EDGE_BYTES = 64  # a neighbour and patch: a graph with its transpose, and the sums that it is made of

_UNKNOWN_PATCHES = 2500  # an image, where the size depends on it: 50 x 50

_Group = list[PlannedRun]


def cohorts(runs: Sequence[PlannedRun], *, slots: int = 1, memory: int | None = None) -> dict[str, str]:
    """The name of the cohort of each run that has others beside it.

    Runs of a cohort share training images, features, backbone and seed, and the batch size where they are trained in
    batches; none of them starts from the fit of another. Methods of the user's own take part if they say so.

    Args:
        runs: unfinished ones, in the order of execution.
        slots: processes at a time. Where the cohorts that are left are fewer, they are cut into parts for all; those
            that wait for others' fits are counted apart.
        memory: bytes that a process may take; None: any. A cohort that would take more is cut into parts.
    """
    waiting = {run.run_id: run.requires for run in runs}
    at_once: dict[int, list[_Group]] = defaultdict(list)
    for group in _groups(runs):
        at_once[_depth(group[0].run_id, waiting)] += _within(group, memory)
    parts = [part for groups in at_once.values() for part in _for_all(groups, slots)]
    return {run.run_id: digest([one.run_id for one in part], 8) for part in parts for run in part if len(part) > 1}


def free_memory(slots: int) -> int:
    """Bytes that each of some processes of this machine may take."""
    return min([psutil.virtual_memory().available, *memory_rooms()]) // slots


class Specified(Protocol):
    """What says which fit it is about: a run of a plan, or an order."""

    @property
    def spec(self) -> FitSpec:
        """The fit."""


def predicted_bytes(runs: Sequence[Specified]) -> int:
    """The memory of a process that carries out these runs side by side.

    The process itself, what each holds from step to step, and the step of the run that takes most.
    """
    return PROCESS_BYTES + sum(map(held_bytes, runs)) + max(map(_step, runs))


def held_bytes(run: Specified) -> int:
    """What a run holds from step to step: its network, and what is kept of the optimiser."""
    params = method_facts(run.spec.method).params(**run.spec.params)
    return params.held_bytes(_channels(run))


def _step(run: Specified) -> int:
    params = run.spec.params
    sides = training_sides(run.spec.data)
    info = backbone_info(run.spec.backbone.name, run.spec.backbone.options)
    patches = int(params.get("batch_size") or 1) * (prod(info.grid(*sides)) if sides else _UNKNOWN_PATCHES)
    depth, neighbours = int(params.get("depth") or 0), int(params.get("neighbours") or 0)
    return patches * (_PATCH_BYTES * (1 + depth) * _channels(run) + _EDGE_BYTES * min(neighbours, patches))


def _channels(run: Specified) -> int:
    return sum(backbone_info(run.spec.backbone.name, run.spec.backbone.options).channels)


def _groups(runs: Sequence[PlannedRun]) -> list[_Group]:
    """Runs that may be carried out side by side, those alone too, in the order of execution."""
    waiting = {run.run_id: run.requires for run in runs}
    found: dict[object, _Group] = {}
    of_batches: dict[object, object] = {}
    for run in runs:
        if not method_facts(run.spec.method).side_by_side:
            found[run.run_id] = [run]
            continue
        seen = run.features, run.spec.seed, _depth(run.run_id, waiting)
        # A fit that starts from another one goes through no batches, whatever its parameters say.
        size = run.spec.params.get("batch_size") if run.requires is None else None
        if size is not None:
            of_batches.setdefault(seen, (seen, size))
        found.setdefault((seen, size), []).append(run)
    groups: dict[object, _Group] = defaultdict(list)
    for key, group in found.items():  # those without batches go with the first that have some
        shared = key[0] if isinstance(key, tuple) and key[1] is None else None
        groups[of_batches.get(shared, key)] += group
    return list(groups.values())


def _depth(run_id: str, waiting: dict[str, str | None]) -> int:
    """How many unfinished fits stand before a run in a row."""
    depth = 0
    while (required := waiting.get(run_id)) in waiting and required is not None:
        run_id, depth = required, depth + 1
    return depth


def _within(group: _Group, memory: int | None) -> list[_Group]:
    parts: list[_Group] = [[]]
    for run in group:
        if parts[-1] and memory is not None and predicted_bytes([*parts[-1], run]) > memory:
            parts.append([])
        parts[-1].append(run)
    return parts


def _for_all(groups: list[_Group], slots: int) -> list[_Group]:
    # Only the last round of groups is cut: before it, every process has one of its own.
    last = len(groups) % slots
    if last == 0:
        return groups
    pieces = -(-slots // last)
    parts = [group[start::pieces] for group in groups[len(groups) - last :] for start in range(pieces)]
    return [*groups[: len(groups) - last], *(part for part in parts if part)]
