"""From resolved rows to the runs that they need, in a good order of execution."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from spectral_bench.bench.plan.model import PlannedRun
from spectral_bench.bench.plan.rows import ResolvedRow, base_spec
from spectral_bench.results.identity import digest
from spectral_bench.results.specification import FitSpec, Protocol, View, identity_form, shared


@dataclass(frozen=True)
class _Place:
    """Where a run stands in the order of execution."""

    features: int
    seed: int
    row: int


def planned_runs(rows: Sequence[ResolvedRow], titles: Sequence[str]) -> list[PlannedRun]:
    """The runs of all rows, each fit once, with every view that some row wants of it.

    Order: runs that share features follow each other; within them the first seed of every row comes before the second
    of any, so that a table has all of its rows early; a fit that others start from comes right before the first.
    """
    runs: dict[str, PlannedRun] = {}
    places: dict[str, _Place] = {}
    groups: dict[str, int] = {}
    for index, (row, title) in enumerate(zip(rows, titles, strict=True)):
        features, views = features_key(row.specs[0]), views_of(row.protocols)
        group = groups.setdefault(features, len(groups))
        for seed, (spec, run_id) in enumerate(zip(row.specs, row.run_ids, strict=True)):
            base = base_spec(spec)
            run = PlannedRun(run_id, spec, features, views, base.run_id if base else None, title)
            runs[run_id] = _merged(runs.get(run_id), run)
            places.setdefault(run_id, _Place(group, seed, index))
            _add_bases(runs, base, run)
    ordered = sorted(places, key=lambda run_id: (places[run_id].features, places[run_id].seed, places[run_id].row))
    return _bases_first(runs, ordered)


def features_key(spec: FitSpec) -> str:
    """What the fits that share patch features have in common."""
    data = identity_form(spec.model_dump(mode="json"))["data"]
    return digest([data, spec.features.model_dump(), spec.backbone.model_dump()])


def views_of(protocols: Iterable[Protocol]) -> tuple[View, ...]:
    """All that protocols look at, each view once."""
    wanted = (view for protocol in protocols for view in (protocol.view, protocol.fit_view) if view is not None)
    return _unique(shared(view) for view in wanted)


def _unique(views: Iterable[View]) -> tuple[View, ...]:
    return tuple({view.view_id: view for view in views}.values())


def _merged(known: PlannedRun | None, run: PlannedRun) -> PlannedRun:
    if known is None:
        return run
    if not known.asked_for:
        return run
    return replace(known, views=_unique((*known.views, *run.views)))


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
