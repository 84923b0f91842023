"""What a plan holds, and how far each run is: of one run, and of all that a store knows of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spectral_bench.bench.grid.load import Grid
from spectral_bench.bench.plan.prediction import Measurements, Part, Prediction
from spectral_bench.bench.plan.records import Recorded, Snapshot
from spectral_bench.bench.plan.run_ids import ResolvedRow
from spectral_bench.bench.plan.today import Code, CurrentCode, Data, Places, changes_in_words
from spectral_bench.bench.work.order import Execution, Order, newest_order
from spectral_bench.bench.work.progress import PROGRESS_FILE, Progress, read_progress
from spectral_bench.common.errors import StoreError
from spectral_bench.common.names import unknown
from spectral_bench.results.manifest import Manifest, ManifestRow
from spectral_bench.results.specification import FitSpec, Protocol, View, named_by_text, named_in, own_name, shared
from spectral_bench.results.state import RunState, StoredRun, run_state
from spectral_bench.results.store import Store


@dataclass(frozen=True)
class Condition:
    """How far a run is.

    Attributes:
        state: in one word.
        missing: the views that are still to be evaluated.
        fitted: whether the fit is stored.
        reason: why it failed, what has changed, or what is missing; one line, may be empty.
        changed: whether the code or the data of what is stored has changed since.
    """

    state: RunState
    missing: tuple[View, ...] = ()
    fitted: bool = False
    reason: str = ""
    changed: bool = False

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.state.finished and self.fitted and not self.missing


@dataclass(frozen=True)
class PlannedRun:
    """One fit and the evaluations that are wanted of it.

    Attributes:
        run_id: the identity of the fit.
        spec: the fit.
        features: what the runs that share its features have in common.
        views: all that it is evaluated on, without repeats.
        requires: run id of the fit that it starts from, or None.
        title: of the first row that asks for it.
        asked_for: False for a fit that is there only because another starts from it.
        condition: how far it is.
        counts: (data set, split) -> images, of those whose data set does not state it and is at hand.
        parts: of what is left to do.
        prediction: what these are going to take; None where nothing is known to go by.
    """

    run_id: str
    spec: FitSpec
    features: str
    views: tuple[View, ...]
    requires: str | None
    title: str
    asked_for: bool = True
    condition: Condition = Condition(RunState.NEW)
    counts: Mapping[tuple[str, str], int] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    prediction: Prediction | None = None

    @property
    def seconds(self) -> float | None:
        """That what is left is going to take; None where nothing is known to go by."""
        return None if self.prediction is None else self.prediction.seconds

    @property
    def splits(self) -> set[tuple[str, str]]:
        """(Data set, split) of all that it looks at."""
        return {(self.spec.data.dataset, self.spec.data.split)} | {(view.dataset, view.split) for view in self.views}

    @property
    def provisional(self) -> bool:
        """Whether the weights are not here yet, so that the run's identity is going to change."""
        return not self.spec.backbone.weights


@dataclass(frozen=True)
class PlannedCache:
    """A feature cache that runs of a plan share.

    Attributes:
        title: data set, split, subset and backbone, for tables.
        bytes: its size on disk; None where the data set does not say how many images it has.
        present: whether it is there already.
        runs: how many unfinished runs need it.
    """

    title: str
    bytes: int | None
    present: bool
    runs: int


@dataclass(frozen=True)
class Plan:
    """A grid against a store.

    Attributes:
        grid: the grid.
        rows: its rows.
        runs: what they need, in the order of execution.
        caches: the feature caches that unfinished runs need.
        manifest: what the store is told of the grid.
        store: the folder of the store, which need not exist.
        free: free bytes on the disk of the store.
        measured: what is known of the time and memory that work takes.
        further_data: (data set, split) that rows with a fault of their own would look at, so that it is checked too.
    """

    grid: Grid
    rows: tuple[ResolvedRow, ...]
    runs: tuple[PlannedRun, ...]
    caches: tuple[PlannedCache, ...]
    manifest: Manifest
    store: Path
    free: int
    measured: Measurements = field(default_factory=lambda: Measurements(()))
    further_data: tuple[tuple[str, str], ...] = ()

    @property
    def unfinished(self) -> tuple[PlannedRun, ...]:
        """The runs with something left to do, in the order of execution."""
        return tuple(run for run in self.runs if not run.condition.finished)

    @property
    def provisional(self) -> tuple[str, ...]:
        """The backbones whose weights are not on this machine."""
        return tuple(sorted({run.spec.backbone.name for run in self.runs if run.provisional}))

    @property
    def cache_bytes(self) -> int:
        """Bytes that the caches still to be written take, as far as known."""
        return sum(cache.bytes or 0 for cache in self.caches if not cache.present)

    def counts(self) -> dict[str, int]:
        """How many runs are in each state by its word, states without runs left out."""
        return dict(Counter(run.condition.state.word for run in self.runs))


def plan_orders(plan: Plan, execution: Execution, roots: Sequence[Path]) -> list[Order]:
    """One order for each unfinished run, in the order of execution.

    Args:
        plan: the plan.
        execution: how runs are executed.
        roots: where data sets lie.
    """
    return [
        Order(
            spec=run.spec,
            views=run.views,
            requires=run.requires,
            store=plan.store.absolute(),
            data_roots=tuple(root.absolute() for root in roots),  # a worker may start in another folder
            execution=execution,
        )
        for run in plan.unfinished
    ]


def views_of(protocols: Iterable[Protocol]) -> tuple[View, ...]:
    """All that protocols look at, each view once."""
    return unique_views(shared(view) for protocol in protocols for view in protocol.views)


def unique_views(views: Iterable[View]) -> tuple[View, ...]:
    """Each view once, in order."""
    return tuple({view.view_id: view for view in views}.values())


# The states in which it matters whether code and data are as they were; to find out takes time.
_COMPARED = (RunState.PARTIAL, RunState.NOT_CONVERGED, RunState.DONE)

_AT_WORK = (RunState.RUNNING, RunState.INTERRUPTED)


def condition(
    run_id: str,
    views: Sequence[View],
    snapshot: Snapshot,
    code: Code,
    data: Data | None = None,
    spec: FitSpec | None = None,
) -> Condition:
    """How far a run is.

    Args:
        run_id: the run.
        views: all that it is to be evaluated on.
        snapshot: what the store holds.
        code: of today.
        data: of today; None: nobody looks at it.
        spec: the fit as it is asked for today, whose own parts may lie elsewhere than they did; None: as recorded.
    """
    wanted = {view.view_id: view for view in views}
    past, stored = snapshot.run(run_id), snapshot.stored(run_id, wanted)
    missing = tuple(wanted[view_id] for view_id in stored.missing)
    state = snapshot.state(run_id, stored)
    # To compare reads files of data and code, which is worth it only where something stored could be stale.
    if past is None or state not in _COMPARED:
        return Condition(state, missing, stored.fitted, _reason(state, stored))
    evaluations = [past.evaluations[view_id] for view_id in wanted if view_id in past.evaluations]
    news = changes_in_words(past.fit, evaluations, code, data, Places.of(past.fit, spec, views))
    reason = "; ".join(filter(None, (_reason(state, stored), news)))
    return Condition(run_state(stored, changed=bool(news)), missing, stored.fitted, reason, bool(news))


def _reason(state: RunState, stored: StoredRun[Recorded]) -> str:
    """Why a run is no further, in one line, by its records; empty where its state says it all."""
    if state in (RunState.FAILED, RunState.CANCELLED) and stored.failed is not None:
        failure = stored.failed.failure
        told = "no reason recorded" if failure is None else failure.in_a_line
        return f"evaluation: {told}" if stored.fitted else told
    if state is RunState.INTERRUPTED:
        return "goes on from its checkpoint"
    if state is RunState.PARTIAL:
        return f"{len(stored.missing)} of {len(stored.evaluations)} evaluations missing"
    if state is RunState.NOT_CONVERGED and stored.not_converged is not None:
        return _failed_checks(stored.not_converged)
    return ""


def _failed_checks(record: Recorded) -> str:
    return "; ".join(f"{check.name} {check.note}".strip() for check in record.health if not check.passed)


@dataclass(frozen=True)
class RunStatus:
    """One run of a store.

    Attributes:
        run_id: the run.
        grid: the grid that asks for it; empty for a fit that others start from, or of a grid that has changed since.
        title: of its row.
        seed: its seed.
        condition: how far it is.
        progress: what it last said of itself, while it is at work.
        uses_labels: whether its method is fitted with labels, by its grid or its record.
        spec: its specification as it is written in its record, else in its last order; empty where neither tells.
        requires: run id of the fit that it starts from, by its last order; None once it is fitted, or if it needs none.
        row: what its grid says of it; None where none asks for it.
    """

    run_id: str
    grid: str
    title: str
    seed: int
    condition: Condition
    progress: Progress | None
    uses_labels: bool = False
    spec: Mapping[str, Any] = field(default_factory=dict)
    requires: str | None = None
    row: ManifestRow | None = None

    @property
    def by_text(self) -> bool:
        """Whether its method is given the names of the classes as text."""
        return named_by_text(self.spec.get("params", {}))

    @property
    def progress_text(self) -> str:
        """Stage and progress, such as ``fit 12/60, 3 min left``; empty where it is not at work."""
        if self.progress is None:
            return ""
        total = f"/{self.progress.total}" if self.progress.total else ""
        left = self.progress.in_words if self.condition.state is RunState.RUNNING else ""
        return f"{self.progress.stage} {self.progress.done}{total}{left}"


def runs_of_store(store: Store, grid: str | None = None, code: Code | None = None) -> list[RunStatus]:
    """The runs that the grids of a store ask for, then all others that left anything.

    Args:
        store: the store.
        grid: the name of one grid; None: all.
        code: today's; default: that of the project.

    Raises:
        StoreError: the store cannot be read, or knows no such grid.
    """
    manifests = store.manifests()
    if grid is not None:
        names = [manifest.name for manifest in manifests]
        if grid not in names:
            raise StoreError(f"{store.path}: {unknown('grid', grid, names)}")
        manifests = [manifest for manifest in manifests if manifest.name == grid]
    reader = _Reader(store, code or CurrentCode())  # which reads the records once, for all grids
    found = [reader.status(*wanted) for wanted in _wanted(manifests)]
    if grid is None:
        found += reader.others({run.run_id for run in found})
    return found


def _wanted(manifests: list[Manifest]) -> Iterator[tuple[Manifest, ManifestRow, int, tuple[View, ...]]]:
    for manifest in manifests:
        for row in manifest.rows:
            views = views_of(row.protocols)
            for seed in row.runs:
                yield manifest, row, seed, views


class _Reader:
    """Reads the runs of a store."""

    def __init__(self, store: Store, code: Code) -> None:
        self._store, self._code = store, code
        self._snapshot = Snapshot(store)

    def status(self, manifest: Manifest, row: ManifestRow, seed: int, views: tuple[View, ...]) -> RunStatus:
        """A run that a grid asks for, with the views that its row asks for."""
        run_id = row.runs[seed]
        spec, requires = self._specification(run_id)
        found = RunStatus(run_id, manifest.name, row.title, seed, *self._how_far(run_id, views))
        return replace(found, uses_labels=row.uses_labels, spec=spec, requires=requires, row=row)

    def others(self, known: set[str]) -> list[RunStatus]:
        """All other runs, in alphabetical order, by the name of their method."""
        found = []
        for run_id in sorted(self._snapshot.known - known):
            past = self._snapshot.run(run_id)
            spec, requires = self._specification(run_id)
            method, seed = named_in(run_id)
            run = RunStatus(run_id, "", own_name(str(spec.get("method", method))), seed, *self._how_far(run_id, ()))
            uses_labels = past is not None and past.fit.uses_labels
            found.append(replace(run, uses_labels=uses_labels, spec=spec, requires=requires))
        return found

    def _how_far(self, run_id: str, views: tuple[View, ...]) -> tuple[Condition, Progress | None]:
        found = condition(run_id, views, self._snapshot, self._code)
        at_work = found.state in _AT_WORK
        return found, read_progress(self._store.run_folder(run_id) / PROGRESS_FILE) if at_work else None

    def _specification(self, run_id: str) -> tuple[Mapping[str, Any], str | None]:
        """Of a run's record, else of its last order; and the fit that it still has to start from."""
        spec: Mapping[str, Any] = {}
        if (past := self._snapshot.run(run_id)) is not None:
            spec = past.fit.spec if isinstance(past.fit.spec, Mapping) else past.fit.spec.model_dump(mode="json")
            # It has what it started from: nobody needs to look for the order.
            if past.fit.status != "failed":
                return spec, None
        file = newest_order(self._store.run_folder(run_id)) if run_id in self._snapshot.known else None
        if file is None:
            return spec, None
        try:
            order = json.loads(file.read_bytes())
            return spec or dict(order["spec"]), order.get("requires")
        except (OSError, ValueError, TypeError, KeyError):  # torn, or just removed: what else there is needs none
            return spec, None
