"""Why a run is what it is: what its identity is made of, how far it is and why, and what has changed since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from spectral_bench.bench.plan.records import Snapshot, Try, tries_of
from spectral_bench.bench.plan.states import Condition, condition
from spectral_bench.bench.plan.today import Code, CurrentCode, Data, DataState, Places, comparable, data_states
from spectral_bench.common.errors import UserError
from spectral_bench.reports.scoring import Reader, run_scores, todays_lists
from spectral_bench.results.class_lists import ClassLists
from spectral_bench.results.record import EvaluationRecord, Failure, FitRecord, HealthCheck
from spectral_bench.results.specification import FitSpec, Protocol, View
from spectral_bench.results.store import Store

Change = Literal["changed", "new", "gone"]


@dataclass(frozen=True)
class Asked:
    """A row of a grid that asks for the run.

    Attributes:
        miou: its mIoU, of 1, under those of the row's protocols whose evaluation is finished.
    """

    grid: str
    title: str
    protocols: tuple[str, ...]
    miou: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A record of the run: that of its fit, or of one evaluation.

    Attributes:
        name: ``fit``, or ``evaluation`` and the id of the view.
        status: as recorded.
        started, finished: UTC, ISO 8601.
        commit: of the checkout that made it; ``None`` where it is not recorded. ``dirty``: with local changes.
        view: what was looked at; None for the fit.
        modules: how many modules it depended on; 0 for a record without fingerprints.
        changes: module -> what became of its code since.
        data: what it saw (``camvid val labels``) -> what has become of it; empty where that is not recorded.
        failed_checks: the checks of its numerical health that it did not pass.
        failure: why it did not end well.
    """

    name: str
    status: str
    started: str
    finished: str
    commit: str | None
    dirty: bool
    view: View | None
    modules: int
    changes: dict[str, Change]
    data: dict[str, DataState]
    failed_checks: tuple[HealthCheck, ...]
    failure: Failure | None


@dataclass(frozen=True)
class Explanation:
    """All about one run.

    Attributes:
        run_id: its identity.
        spec: what the identity is a hash of; None before the fit has a record.
        condition: how far it is, for all that grids ask of it.
        asked: the rows that ask for it.
        parts: its records, the fit's first.
        attempts: the names of the failures behind it.
        tries: these failures, with what their jobs of Slurm asked for, oldest first.
        owner: what the process that works on it says of itself; empty where none does.
    """

    run_id: str
    spec: FitSpec | None
    condition: Condition
    asked: tuple[Asked, ...]
    parts: tuple[Part, ...]
    attempts: tuple[str, ...]
    owner: dict[str, Any] = field(default_factory=dict)
    tries: tuple[Try, ...] = ()


def explain(store: Store, run_id: str, data: Data, code: Code | None = None) -> Explanation:
    """All that the store, today's code and today's data say about a run.

    Args:
        store: the store.
        run_id: a run that left anything in it.
        data: today's.
        code: today's; default: that of the project.

    Raises:
        StoreError: a record cannot be read.
    """
    today = code or CurrentCode()
    past = store.load_run(run_id, verify=False)
    asked, views = _asked(store, run_id)
    parts: list[Part] = []
    if past is not None:
        backbone = past.fit.spec.backbone.name
        used = (past.fit.method, past.fit.dataset, backbone)
        parts.append(_part("fit", past.fit, None, today.fit(*used), used, data))
        for view_id, record in past.evaluations.items():
            views.setdefault(view_id, record.view)  # of an evaluation that no grid asks for any more
            seen = Places.of(past.fit).parts(record)
            parts.append(_part(f"evaluation {view_id}", record, record.view, today.evaluation(*seen), seen, data))
    return Explanation(
        run_id,
        None if past is None else past.fit.spec,
        condition(run_id, tuple(views.values()), Snapshot(store, only=run_id), today, data),
        asked,
        tuple(parts),
        tuple(store.attempts(run_id)),
        store.owner(run_id),
        tuple(tries_of(store, run_id)),
    )


def changes(recorded: Mapping[str, str], today: Mapping[str, str]) -> dict[str, Change]:
    """What became of each module that is not as it was recorded, in alphabetical order."""
    return {
        name: "new" if name not in recorded else "gone" if name not in today else "changed"
        for name in sorted(recorded.keys() | today.keys())
        if recorded.get(name) != today.get(name)
    }


def _asked(store: Store, run_id: str) -> tuple[tuple[Asked, ...], dict[str, View]]:
    """The rows that ask for a run, and the views that they want of it."""
    asked: list[Asked] = []
    views: dict[str, View] = {}
    reader = Reader(store)
    lists = todays_lists([reader])
    for manifest in store.manifests():
        for row in manifest.rows:
            if run_id in row.runs.values():
                names = tuple(protocol.name for protocol in row.protocols)
                asked.append(Asked(manifest.name, row.title, names, _scored(reader, run_id, row.protocols, lists)))
                wanted = (view for protocol in row.protocols for view in protocol.views)
                views |= {view.view_id: view for view in wanted}
    return tuple(asked), views


def _scored(reader: Reader, run_id: str, protocols: Iterable[Protocol], lists: ClassLists) -> dict[str, float]:
    """mIoU by the name of the protocol, where reports have one too; what keeps others from one, reports say."""
    found: dict[str, float] = {}
    fit = reader.fit(run_id)
    for protocol in protocols:
        records = fit, reader.evaluation(run_id, protocol.view.view_id)
        if any(record is None or record.status != "done" for record in records):  # not converged is no plain number
            continue
        classes = lists.find(protocol.view.data_name, protocol.scoring.classes)
        with suppress(UserError):
            found[protocol.name] = run_scores(reader, run_id, protocol, classes, lists).miou
    return found


def _part(
    name: str,
    record: FitRecord | EvaluationRecord,
    view: View | None,
    today: Mapping[str, str],
    used: tuple[str, ...],
    data: Data,
) -> Part:
    git = record.environment.get("git") or {}
    return Part(
        name=name,
        status=record.status,
        started=record.started,
        finished=record.finished,
        commit=git.get("commit"),
        dirty=bool(git.get("dirty")),
        view=view,
        modules=len(record.code),
        changes=changes(comparable(record.code, today, used), today) if record.code else {},
        data=data_states(record, data),
        failed_checks=tuple(check for check in record.health if not check.passed),
        failure=record.failure,
    )
