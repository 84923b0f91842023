"""How far each run is, read from the store: of one run, and of all that a store knows of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from spectral_bench.bench.plan.model import Condition, views_of
from spectral_bench.bench.plan.records import Recorded, Snapshot
from spectral_bench.bench.plan.today import Code, CurrentCode, Data, Places, changes_in_words
from spectral_bench.bench.work.progress import PROGRESS_FILE, Progress, read_progress
from spectral_bench.common.errors import StoreError
from spectral_bench.common.names import unknown
from spectral_bench.results.manifest import Manifest, ManifestRow
from spectral_bench.results.specification import FitSpec, View
from spectral_bench.results.state import RunState, StoredRun, run_state
from spectral_bench.results.store import Store

_COMPARED = (RunState.PARTIAL, RunState.NOT_CONVERGED, RunState.DONE)
"""The states in which it matters whether code and data are as they were; to find out takes time."""

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
    """

    run_id: str
    grid: str
    title: str
    seed: int
    condition: Condition
    progress: Progress | None
    uses_labels: bool = False

    @property
    def progress_text(self) -> str:
        """Stage and progress, such as ``fit 12/60``; empty where it is not at work."""
        if self.progress is None:
            return ""
        total = f"/{self.progress.total}" if self.progress.total else ""
        return f"{self.progress.stage} {self.progress.done}{total}"


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
    reader = _Reader(store, code or CurrentCode())
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
        known = (manifest.name, row.title, seed, row.uses_labels)
        return self._read(row.runs[seed], *known, views)

    def others(self, known: set[str]) -> list[RunStatus]:
        """All other runs, in alphabetical order."""
        found = []
        for run_id in sorted(self._snapshot.known - known):
            past = self._snapshot.run(run_id)
            title, seed = (past.fit.method, past.fit.seed) if past else ("", 0)
            found.append(self._read(run_id, "", title, seed, past is not None and past.fit.uses_labels, ()))
        return found

    def _read(
        self, run_id: str, grid: str, title: str, seed: int, uses_labels: bool, views: tuple[View, ...]
    ) -> RunStatus:
        found = condition(run_id, views, self._snapshot, self._code)
        at_work = found.state in _AT_WORK
        progress = read_progress(self._store.run_folder(run_id) / PROGRESS_FILE) if at_work else None
        return RunStatus(run_id, grid, title, seed, found, progress, uses_labels)
