"""How far each run is, read from the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Protocol

from spectral_bench.bench.code.fingerprint import changed
from spectral_bench.bench.code.fingerprint import is_own_file as is_own
from spectral_bench.bench.plan.held import Data, changed_data
from spectral_bench.bench.plan.model import Condition, State
from spectral_bench.bench.plan.snapshot import Recorded, RecordedEvaluation, RecordedFit, Snapshot
from spectral_bench.common.names import few
from spectral_bench.results.record import Failure
from spectral_bench.results.specification import FitSpec, View


class Code(Protocol):
    """The fingerprints of today's code that records depend on, module by module."""

    def fit(self, method: str, dataset: str) -> Mapping[str, str]:
        """What a fit on a data set depends on."""
        ...

    def evaluation(self, method: str, dataset: str) -> Mapping[str, str]:
        """What an evaluation on a data set depends on besides its fit."""
        ...


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
    status, past = snapshot.status(run_id), snapshot.run(run_id)
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
    news = _news(past.fit, evaluations, code, data, places)
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


@dataclass(frozen=True)
class Places:
    """Where the parts of a run lie today.

    Attributes:
        method: name or path of the method.
        dataset: of the data set that it is trained on.
        evaluated: view id -> that of the data set that is looked at; others are where they were.
    """

    method: str
    dataset: str
    evaluated: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, fit: RecordedFit, spec: FitSpec | None = None, views: Iterable[View] = ()) -> Places:
        """Of a recorded fit as it is asked for today, if that is known."""
        evaluated = {view.view_id: view.dataset for view in views}
        return cls(spec.method, spec.data.dataset, evaluated) if spec else cls(fit.method, fit.dataset, evaluated)

    def looked_at(self, record: RecordedEvaluation) -> str:
        """The data set of an evaluation."""
        return self.evaluated.get(record.view_id, record.dataset)


def _news(
    fit: RecordedFit, evaluations: Sequence[RecordedEvaluation], code: Code, data: Data | None, places: Places
) -> str:
    """One line that names the modules and the data that have changed since a run was done; empty if nothing has."""
    modules = changed_since(fit, evaluations, code, places)
    files = []
    if data is not None:
        seen = [(fit, places.dataset), *((record, places.looked_at(record)) for record in evaluations)]
        files = changed_data(seen, data)
    news = (("code", modules), ("data", files))
    return "; ".join(f"{what} changed since: {few(names)}" for what, names in news if names)


def changed_since(
    fit: RecordedFit, evaluations: Iterable[RecordedEvaluation], code: Code, places: Places | None = None
) -> list[str]:
    """The modules whose code has changed since a fit and its evaluations were done, in alphabetical order.

    Records without fingerprints say nothing of their code, so nothing has changed for them.

    Args:
        fit: of a run.
        evaluations: of the same run.
        code: today's.
        places: where the parts of the run lie today; None: where they lay.
    """
    places = places or Places.of(fit)
    names = changed_modules(fit.code, code.fit(places.method, places.dataset)) if fit.code else set()
    for record in evaluations:
        if record.code:
            names |= changed_modules(record.code, code.evaluation(places.method, places.looked_at(record)))
    return sorted(names)


def changed_modules(recorded: Mapping[str, str], today: Mapping[str, str]) -> set[str]:
    """The modules whose code differs from what a record was made with, appeared or vanished."""
    # Almost all records are of today's code, and there can be thousands.
    return set() if recorded == today else set(changed(comparable(recorded, today), today))


def comparable(recorded: Mapping[str, str], today: Mapping[str, str]) -> dict[str, str]:
    """A recorded fingerprint in the words of today's.

    A user's own files that are not where they were are not at hand: nobody knows whether they changed. Earlier releases
    called such a file by its path as the grid had it, not by its path from the folder of the method.
    """
    own = {name for name in recorded if is_own(name)}
    if own and not today:  # the method itself is not at hand, and so nobody knows what it would lead to
        return {}
    if own and not any(is_own(name) for name in today):
        return {name: hashed for name, hashed in recorded.items() if name not in own}
    short = {name: PurePath(name).name for name in own if name not in today}
    return {short.get(name, name) if short.get(name) in today else name: hashed for name, hashed in recorded.items()}


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
