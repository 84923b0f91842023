"""What the parts of a user's own are called in identities, so that these tell content and not where it lies.

The rule, for the file of a method or a backbone and for a data set's images (and labels, where they are looked at):

* What the store holds of the same content is the same run, wherever it lies now.
* What the store holds of the same place and other content is the same run, edited since: its state says so. If it is to
  be done again, it gets an id of its own, and what was there stays.
* Anything else is new, and is called by its content.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from spectral_bench.bench.features.backbones.registry import content_name
from spectral_bench.bench.plan.held import Data
from spectral_bench.bench.plan.recorded import (
    Content,
    Part,
    PastOwnRun,
    Relation,
    fit_kind,
    fit_parts,
    has_own,
    own_code,
    past_own_runs,
    plain,
    relation,
    view_kind,
    view_part,
)
from spectral_bench.bench.plan.rows import ResolvedRow, base_spec
from spectral_bench.bench.plan.snapshot import RecordedEvaluation, Snapshot
from spectral_bench.bench.plan.states import Code
from spectral_bench.common.registry import is_path
from spectral_bench.datasets.registry import FOLDER, is_own
from spectral_bench.methods.registry import method_facts
from spectral_bench.results.identity import digest
from spectral_bench.results.specification import FitSpec, Protocol, View, own_name

_ENDED = ("done", "not_converged")


class OwnNames:
    """Names of own parts against a store.

    Args:
        snapshot: what the store holds.
        code: today's.
        data: today's.
        anew: runs that were edited since they were done are to be done again.
    """

    def __init__(self, snapshot: Snapshot, code: Code, data: Data, *, anew: bool = False) -> None:
        self._snapshot, self._code, self._data, self._anew = snapshot, code, data, anew
        self._content: dict[tuple[object, ...], Content] = {}
        self.alike: dict[str, str] = {}
        """Run that is new -> a run of the store that has the same settings and was made of other files."""

    def named(self, row: ResolvedRow) -> ResolvedRow:
        """A row whose own parts are called as the store calls them, else by their content."""
        views = [view for protocol in row.protocols for view in (protocol.view, protocol.fit_view) if view is not None]
        if not has_own(plain(row.specs[0])) and not any(is_own(view.dataset) for view in views):
            return row
        specs = tuple(self._fit(spec, row.facts.uses_labels) for spec in row.specs)
        run_ids = tuple(spec.run_id for spec in specs)
        runs = [run for run_id in run_ids if (run := self._snapshot.run(run_id)) is not None]
        past = [record for run in runs for record in run.evaluations.values()]
        name = {view.view_id: self._view(view, past) for view in views}
        protocols = tuple(_renamed(protocol, name) for protocol in row.protocols)
        return replace(row, specs=specs, run_ids=run_ids, protocols=protocols)

    def _fit(self, spec: FitSpec, uses_labels: bool) -> FitSpec:
        written = plain(spec)
        if not has_own(written):
            return spec
        content = self._content_of(spec, uses_labels)
        fresh = _called(spec, content)
        found = self._recorded(fresh, fit_parts(plain(fresh), content))
        if found is not None:
            return _called_as(spec, found.written)
        base = base_spec(fresh)
        if base is not None:  # whose stored fit is to be found under the name that it has
            stored = self._fit(base, method_facts(base.method).uses_labels)
            fresh = fresh.model_copy(update={"data": stored.data, "backbone": stored.backbone})
        return next(one for one in _fresh_fits(fresh) if one.run_id not in self._snapshot.known)

    def _recorded(self, fresh: FitSpec, today: list[Part]) -> PastOwnRun | None:
        """The run of the store that a fit is, if any; the newest of the same content, else of the same place."""
        found: dict[Relation, list[PastOwnRun]] = defaultdict(list)
        alike = self._past[fit_kind(plain(fresh))]
        for run in alike:
            kind = relation(run.parts(), today)
            if kind == "same" or (kind == "edited" and not (self._anew and run.status in _ENDED)):
                found[kind].append(run)
        best = found["same"] or found["edited"]
        if not best:
            self.alike |= {fresh.run_id: alike[-1].run_id} if alike else {}
            return None
        return max(best, key=lambda run: (run.status in _ENDED, run.run_id == fresh.run_id, run.finished))

    @cached_property
    def _past(self) -> Mapping[str, list[PastOwnRun]]:
        found: dict[str, list[PastOwnRun]] = defaultdict(list)
        for run in past_own_runs(self._snapshot):
            found[fit_kind(run.written)].append(run)
        return found

    def _view(self, view: View, past: Sequence[RecordedEvaluation]) -> View:
        if not is_own(view.dataset):
            return view
        content = self._data_content(view.dataset, view.split, labels=True)
        fresh = view.model_copy(update={"known_as": _data_name(view.dataset, content)})
        today, kind = [view_part(plain(fresh), content)], view_kind(plain(fresh))
        found: dict[Relation, list[RecordedEvaluation]] = defaultdict(list)
        for record in past:
            written = plain(record.view)
            if not is_own(record.dataset) or view_kind(written) != kind:
                continue
            seen = Content(None, record.data_digest or None, record.label_files)
            how = relation([view_part(written, seen)], today)
            if how == "same" or (how == "edited" and not (self._anew and record.status in _ENDED)):
                found[how].append(record)
        if best := found["same"] or found["edited"]:
            return view.model_copy(update={"known_as": _recorded_name(plain(best[-1].view), "dataset")})
        taken = {_view_of(record).view_id for record in past}
        further = (view.model_copy(update={"known_as": name}) for name in _further(fresh.known_as))
        return next(one for one in further if one.view_id not in taken)

    def _content_of(self, spec: FitSpec, uses_labels: bool) -> Content:
        data = spec.data
        content = Content(None, "", "")
        if is_own(data.dataset):
            content = self._data_content(data.dataset, data.split, labels=uses_labels)
        if is_path(spec.method) or is_path(spec.backbone.name):
            return replace(content, code=own_code(self._code.fit(spec.method, data.dataset, spec.backbone.name)))
        return content

    def _data_content(self, dataset: str, split: str, *, labels: bool) -> Content:
        seen = self._data.labels(dataset, split) if labels else ""
        return Content(None, self._data.images(dataset, split), seen)


def _called(spec: FitSpec, content: Content) -> FitSpec:
    """A fit whose own parts are called by their content."""
    data = spec.data
    if is_own(data.dataset):
        data = data.model_copy(update={"known_as": _data_name(data.dataset, content)})
    method = f"{own_name(spec.method)}:{digest(content.code)}" if is_path(spec.method) else spec.known_as
    backbone = spec.backbone
    if is_path(backbone.name):
        backbone = backbone.model_copy(update={"known_as": content_name(backbone.name)})
    return spec.model_copy(update={"data": data, "backbone": backbone, "known_as": method})


def _data_name(dataset: str, content: Content) -> str:
    """Of a data set, by its images, and by its labels where they are looked at."""
    kind = FOLDER.removesuffix(":") if dataset.startswith(FOLDER) else own_name(dataset)
    if content.images is None or content.labels is None:  # not at hand: the place has to do until they are
        return f"{kind}:unseen-{digest(dataset)}"
    return f"{kind}:{digest(content.images)}" + (f"+{digest(content.labels)}" if content.labels else "")


def _called_as(spec: FitSpec, recorded: Mapping[str, Any]) -> FitSpec:
    """A fit whose own parts are called as in a recorded one, and lie where they lie today."""
    data = spec.data.model_copy(update={"known_as": _recorded_name(recorded["data"], "dataset")})
    backbone = spec.backbone.model_copy(update={"known_as": _recorded_name(recorded["backbone"], "name")})
    return spec.model_copy(update={"data": data, "backbone": backbone, "known_as": _recorded_name(recorded, "method")})


def _recorded_name(written: Mapping[str, Any], key: str) -> str:
    """What identities of a recorded part have: in earlier releases its path as the grid had it."""
    own = is_own(written[key]) if key == "dataset" else is_path(written[key])
    return str(written.get("known_as") or (written[key] if own else ""))


def _view_of(record: RecordedEvaluation) -> View:
    return record.view if isinstance(record.view, View) else View.model_validate(record.view)


def _fresh_fits(fresh: FitSpec) -> Iterator[FitSpec]:
    """A fit under the name that its content gives, then under further ones."""
    if is_path(fresh.method):
        return (fresh.model_copy(update={"known_as": name}) for name in _further(fresh.known_as))
    if not is_own(fresh.data.dataset):
        further = (fresh.backbone.model_copy(update={"known_as": name}) for name in _further(fresh.backbone.known_as))
        return (fresh.model_copy(update={"backbone": one}) for one in further)
    data = (fresh.data.model_copy(update={"known_as": name}) for name in _further(fresh.data.known_as))
    return (fresh.model_copy(update={"data": one}) for one in data)


def _further(name: str) -> Iterator[str]:
    """A name, then names for what is not what the store has under it: made at another place, or edited since."""
    return itertools.chain([name], (f"{name}~{number}" for number in itertools.count(2)))


def _renamed(protocol: Protocol, name: Mapping[str, View]) -> Protocol:
    fit_view = protocol.fit_view
    looked = {"view": name[protocol.view.view_id], "fit_view": None if fit_view is None else name[fit_view.view_id]}
    return protocol.model_copy(update=looked)
