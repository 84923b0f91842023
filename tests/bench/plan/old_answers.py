"""The answers to "how far is this run?" as they were given before there was one: for comparison only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from spectral_bench.bench.order import Order, order_files
from spectral_bench.bench.plan.records import Recorded, RecordedFit, Snapshot
from spectral_bench.bench.plan.today import Code, Data, Places, changes_in_words
from spectral_bench.reports.table import State as Shown
from spectral_bench.results.record import EvaluationRecord, Failure, FitRecord
from spectral_bench.results.runs import CHECKPOINT_FILE
from spectral_bench.results.specification import FitSpec, View
from spectral_bench.results.store import Store

State = str
FINISHED = ("done", "stale", "not_converged")


@dataclass(frozen=True)
class Condition:
    state: State
    missing: tuple[View, ...] = ()
    fitted: bool = False
    reason: str = ""
    changed: bool = False

    @property
    def finished(self) -> bool:
        return self.state in FINISHED and self.fitted and not self.missing


@dataclass(frozen=True)
class Run:
    run_id: str
    condition: Condition


@dataclass(frozen=True)
class Place:
    stand: str
    job: str = "7_0"
    element: None = None


@dataclass(frozen=True)
class Trace:
    run_id: str
    host: str = "node1"


def store_status(store: Store, run_id: str) -> str:
    """Store.status."""
    folder = store.run_folder(run_id)
    if store.is_claimed(run_id):
        return "running"
    record = store.fit_record(run_id)
    if record is not None:
        return record.status
    return "interrupted" if (folder / CHECKPOINT_FILE).exists() else "new"


def snapshot_status(snapshot: Snapshot, run_id: str) -> str:
    """Snapshot.status."""
    if snapshot.store is None or run_id not in snapshot.known:
        return "new"
    past = snapshot.run(run_id)
    if past is not None:
        return "running" if snapshot.store.is_claimed(run_id) else past.fit.status
    return store_status(snapshot.store, run_id)


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
    views = tuple(views)
    status, past = snapshot_status(snapshot, run_id), snapshot.run(run_id)
    if past is None or past.fit.status == "failed":
        return _without_fit(views, status, past.fit if past else None)
    found = {view.view_id: past.evaluations.get(view.view_id) for view in views}
    evaluations = [record for record in found.values() if record is not None]
    failed = [record for record in evaluations if record.status == "failed"]
    missing = tuple(view for view in views if (r := found[view.view_id]) is None or r.status == "failed")
    if status == "running":
        return Condition("running", missing, fitted=True)
    if failed:
        state = _failed_state(failed[0].failure)
        return Condition(state, missing, fitted=True, reason=f"evaluation: {_why(failed[0].failure)}")
    places = Places.of(past.fit, spec, views)
    news = changes_in_words(past.fit, evaluations, code, data, places)
    if missing:
        reason = f"{len(missing)} of {len(views)} evaluations missing"
        reason += f"; {news}" if news else ""
        return Condition("partial", missing, fitted=True, reason=reason, changed=bool(news))
    records: list[Recorded] = [past.fit, *evaluations]
    unsound = next((record for record in records if record.status == "not_converged"), None)
    if unsound is not None:
        checks = "; ".join(filter(None, (_failed_checks(unsound), news)))
        return Condition("not_converged", fitted=True, reason=checks, changed=bool(news))
    return Condition("stale" if news else "done", fitted=True, reason=news, changed=bool(news))


def _without_fit(views: tuple[View, ...], status: str, fit: RecordedFit | None) -> Condition:
    if status == "running":
        return Condition("running", views)
    if fit is not None:
        return Condition(_failed_state(fit.failure), views, reason=_why(fit.failure))
    if status == "interrupted":
        return Condition("interrupted", views, reason="goes on from its checkpoint")
    return Condition("new", views)


def _failed_state(failure: Failure | None) -> State:
    return "cancelled" if failure is not None and failure.kind == "cancelled" else "failed"


def _why(failure: Failure | None) -> str:
    if failure is None:
        return "no reason recorded"
    first = failure.message.strip().splitlines() or [""]
    return f"{failure.kind}: {first[0]}" if first[0] else failure.kind


def _failed_checks(record: Recorded) -> str:
    return "; ".join(f"{check.name} {check.note}".strip() for check in record.health if not check.passed)


def with_place(run: Run, place: Place | None, trace: Trace | None) -> Run:
    """Slurm's overlay."""
    if place is None or run.condition.finished or place.stand == "settled":
        return run
    if run.condition.state == "running":
        return run
    if place.stand in ("unknown", "lost"):
        return _with(run, "unknown", "")
    if place.stand == "pending":
        return _with(run, "pending", "")
    if place.stand == "running":
        return _with(run, "pending" if trace is None or trace.run_id != run.run_id else "running", "")
    return run


def _with(run: Run, state: str, reason: str) -> Run:
    return replace(run, condition=Condition(state, run.condition.missing, run.condition.fitted, reason))


def retried(states: dict[str, str], store: Store) -> set[str]:
    """bench retry's choice."""
    known = ("failed", "cancelled", "interrupted", "partial", "unknown")
    states = dict(states)
    states |= {
        name: "interrupted" for name, state in states.items() if state == "new" and order_files(store.run_folder(name))
    }
    return {name for name, state in states.items() if state in known}


def noted(run: Run, store: Store) -> bool:
    """Whether bench status says that it was ordered and not begun."""
    return run.condition.state == "new" and bool(order_files(store.run_folder(run.run_id)))


def fit_outstanding(order: Order, store: Store) -> bool:
    """Whether the order's fit has no record, or only a failed one."""
    record = store.fit_record(order.spec.run_id)
    return record is None or record.status == "failed"


def views_outstanding(order: Order, store: Store) -> list[View]:
    """The order's views whose evaluation has no intact record, or only a failed one."""
    run_id = order.spec.run_id
    records = ((view, store.evaluation_record(run_id, view.view_id)) for view in order.views)
    return [view for view, record in records if record is None or record.status == "failed"]


def settled(order: Order, store: Store) -> Literal["done", "not_converged"] | None:
    """How an order ended of which everything is stored; None where something is outstanding."""
    fit = store.fit_record(order.spec.run_id)
    if fit is None or fit.status == "failed":
        return None
    statuses = [fit.status]
    for view in order.views:
        record = store.evaluation_record(order.spec.run_id, view.view_id)
        if record is None or record.status == "failed":
            return None
        statuses.append(record.status)
    return "not_converged" if "not_converged" in statuses else "done"


def shown(store: Store, run_id: str, view: View) -> tuple[Shown, str] | None:
    """What reports said of a seed under one protocol; None where it is scored."""
    fit = store.fit_record(run_id)
    evaluation = store.evaluation_record(run_id, view.view_id) if fit is not None else None
    for record in (fit, evaluation):
        if record is not None and record.status != "done":
            return _state(record), _reason(record)
    if fit is not None and evaluation is not None:
        return None
    status = store_status(store, run_id)
    if status == "running":
        return Shown.RUNNING, ""
    if fit is not None:
        return Shown.MISSING, "trained, not evaluated under this protocol"
    return Shown.MISSING, "interrupted" if status == "interrupted" else "not begun"


def _state(record: FitRecord | EvaluationRecord) -> Shown:
    return Shown.NOT_CONVERGED if record.status == "not_converged" else Shown.FAILED


def _reason(record: FitRecord | EvaluationRecord) -> str:
    if record.failure is not None:
        message = record.failure.message.strip().splitlines()
        return f"{record.failure.kind}: {message[0]}" if message else record.failure.kind
    broken = [check.name for check in record.health if not check.passed]
    return f"failed checks: {', '.join(broken)}" if broken else ""
