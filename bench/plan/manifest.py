"""What the store is told of a grid, so that reports know its rows, seeds and protocols."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from spectral_bench.bench.grid.load import Grid
from spectral_bench.bench.plan.inputs import facts_of
from spectral_bench.bench.plan.rows import ResolvedRow
from spectral_bench.bench.plan.titles import factor_values, stated_settings, unusual_settings, weights_words
from spectral_bench.common.documents.problems import Problems
from spectral_bench.common.registry import short_name
from spectral_bench.results.class_lists import class_tables
from spectral_bench.results.manifest import DataFacts, Manifest, ManifestRow


def grid_manifest(grid: Grid, rows: Sequence[ResolvedRow], titles: Sequence[str]) -> Manifest:
    """The manifest of a grid: its rows in order, each baseline directly before its variations."""
    return Manifest(
        name=grid.name,
        note=grid.note,
        # The newest manifest that tells of a data set has today's class list, and launches can follow in a second.
        written=datetime.now(UTC).isoformat(timespec="milliseconds"),
        data=_data_facts(rows),
        rows=[_manifest_row(row, title, own) for row, title, own in zip(rows, titles, _baselines(rows), strict=True)],
    )


def refuse_two_lists(rows: Sequence[ResolvedRow]) -> None:
    """Refuse a grid that looks at the same files under two descriptions whose classes differ.

    They are one data set to the store, and all that is known of one data set is scored over one class list.

    Raises:
        InvalidDocument: a grid does so; a line for each row.
    """
    problems = Problems()
    first: dict[str, str] = {}
    for row in rows:
        view = row.protocols[0].view
        place = first.setdefault(view.data_name, view.dataset)
        if place != view.dataset and _class_lists(place) != _class_lists(view.dataset):
            problems.of(row.grid_row.places).add(
                "dataset" if "dataset" in row.grid_row.stated else (),
                f"{view.dataset} has the same images and labels as {place} but other classes, and a store scores a "
                "data set over one class list; give them stores and grids of their own",
            )
    problems.check()


def _class_lists(dataset: str) -> tuple[object, ...]:
    info = facts_of(dataset)
    return info.class_sets, info.default_classes


def _data_facts(rows: Sequence[ResolvedRow]) -> dict[str, DataFacts]:
    """The facts of all data sets of a grid, by the names that identities of views and fits have for them."""
    named = {spec.data.data_name: spec.data.dataset for row in rows for spec in row.specs}
    views = (protocol.view for row in rows for protocol in row.protocols)
    named |= {view.data_name: view.dataset for view in views}
    found = {name: facts_of(place) for name, place in named.items()}
    return {
        name: DataFacts(
            title=info.title, class_sets=class_tables(info.class_sets), default_classes=info.default_classes
        )
        for name, info in found.items()
    }


def _baselines(rows: Sequence[ResolvedRow]) -> list[ResolvedRow | None]:
    """For each row the baseline that it varies, which stands before it; None for other rows."""
    found: list[ResolvedRow | None] = []
    latest: ResolvedRow | None = None
    for row in rows:
        latest = row if row.grid_row.role == "baseline" else latest
        found.append(latest if row.grid_row.role == "variation" else None)
    return found


def _manifest_row(row: ResolvedRow, title: str, baseline: ResolvedRow | None) -> ManifestRow:
    settings, grid_row, first = row.grid_row.settings, row.grid_row, row.specs[0]
    return ManifestRow(
        title=title,
        method=settings.method,
        dataset=settings.dataset,
        train_dataset=settings.train_dataset or settings.dataset,
        data_name=row.protocols[0].view.known_as,
        train_data_name=first.data.known_as,
        backbone=short_name(settings.backbone),
        uses_labels=row.facts.uses_labels,
        settings=stated_settings(row),
        role=grid_row.role,
        factor=grid_row.factor,
        value=grid_row.value,
        baseline=None if baseline is None else factor_values(baseline, grid_row.factor or ""),
        k=first.params.get("k"),
        train_split=first.data.split,
        subset=first.data.subset,
        weights=weights_words(row),
        unusual=unusual_settings(row),
        runs={spec.seed: run_id for spec, run_id in zip(row.specs, row.run_ids, strict=True)},
        protocols=list(row.protocols),
    )
