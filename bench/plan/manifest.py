"""What the store is told of a grid, so that reports know its rows, seeds and protocols."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from spectral_bench.bench.grid.load import Grid
from spectral_bench.bench.plan.rows import ResolvedRow
from spectral_bench.bench.plan.titles import stated_settings
from spectral_bench.results.manifest import Manifest, ManifestRow


def grid_manifest(grid: Grid, rows: Sequence[ResolvedRow], titles: Sequence[str]) -> Manifest:
    """The manifest of a grid: its rows in order, each baseline directly before its variations."""
    return Manifest(
        name=grid.name,
        note=grid.note,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
        rows=[_manifest_row(row, title) for row, title in zip(rows, titles, strict=True)],
    )


def _manifest_row(row: ResolvedRow, title: str) -> ManifestRow:
    settings, draft = row.row.settings, row.row.draft
    return ManifestRow(
        title=title,
        method=settings.method,
        dataset=settings.dataset,
        train_dataset=settings.train_dataset or settings.dataset,
        backbone=settings.backbone,
        uses_labels=row.facts.uses_labels,
        settings=stated_settings(row),
        role=draft.role,
        factor=draft.factor,
        value=draft.value,
        runs={spec.seed: run_id for spec, run_id in zip(row.specs, row.run_ids, strict=True)},
        protocols=list(row.protocols),
    )
