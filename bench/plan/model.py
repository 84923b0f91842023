"""What a plan holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from spectral_bench.bench.grid.load import Grid
from spectral_bench.bench.plan.rows import ResolvedRow
from spectral_bench.bench.work.order import Execution, Order
from spectral_bench.results.manifest import Manifest
from spectral_bench.results.specification import FitSpec, Protocol, View, shared
from spectral_bench.results.state import RunState


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
        seconds: estimate of what is left, from past records; None where there are none to go by.
        stages: the same by stage.
    """

    run_id: str
    spec: FitSpec
    features: str
    views: tuple[View, ...]
    requires: str | None
    title: str
    asked_for: bool = True
    condition: Condition = Condition(RunState.NEW)
    seconds: float | None = None
    stages: dict[str, float] = field(default_factory=dict)

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
    """

    grid: Grid
    rows: tuple[ResolvedRow, ...]
    runs: tuple[PlannedRun, ...]
    caches: tuple[PlannedCache, ...]
    manifest: Manifest
    store: Path
    free: int

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
            data_roots=tuple(root.absolute() for root in roots),
            execution=execution,
        )
        for run in plan.unfinished
    ]


def views_of(protocols: Iterable[Protocol]) -> tuple[View, ...]:
    """All that protocols look at, each view once."""
    wanted = (view for protocol in protocols for view in (protocol.view, protocol.fit_view) if view is not None)
    return unique_views(shared(view) for view in wanted)


def unique_views(views: Iterable[View]) -> tuple[View, ...]:
    """Each view once, in order."""
    return tuple({view.view_id: view for view in views}.values())
