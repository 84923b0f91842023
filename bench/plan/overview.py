"""How far the runs are that a store knows of, from its manifests and records alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from spectral_bench.bench.plan.build import views_of
from spectral_bench.bench.plan.current import CurrentCode
from spectral_bench.bench.plan.model import Condition
from spectral_bench.bench.plan.snapshot import Snapshot
from spectral_bench.bench.plan.states import Code, condition
from spectral_bench.bench.progress import PROGRESS_FILE, Progress, read_progress
from spectral_bench.common.errors import StoreError
from spectral_bench.common.names import unknown
from spectral_bench.results.manifest import Manifest, ManifestRow
from spectral_bench.results.specification import View
from spectral_bench.results.store import Store

_AT_WORK = ("running", "interrupted")


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


def overview(store: Store, grid: str | None = None, code: Code | None = None) -> list[RunStatus]:
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
