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
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePath
from typing import Any, Literal

from pydantic import BaseModel

from spectral_bench.bench.code.fingerprint import is_own_file as is_own_code
from spectral_bench.bench.features.backbones.registry import content_name
from spectral_bench.bench.plan.records import RecordedEvaluation, Snapshot
from spectral_bench.bench.plan.run_ids import ResolvedRow, base_spec
from spectral_bench.bench.plan.today import Code, Data, same_files
from spectral_bench.bench.work.order import order_files, read_order
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.registry import is_path
from spectral_bench.datasets.registry import FOLDER
from spectral_bench.datasets.registry import is_own as is_own_data
from spectral_bench.methods.registry import method_facts
from spectral_bench.results.identity import digest
from spectral_bench.results.specification import FitSpec, Protocol, View, own_name
from spectral_bench.results.store import Store

Relation = Literal["same", "edited"]

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
        views = [view for protocol in row.protocols for view in protocol.views]
        # Most rows: seeds differ in nothing that could be a user's own, so the first tells for all.
        if not has_own(as_written(row.specs[0])) and not any(is_own_data(view.dataset) for view in views):
            return row
        specs = tuple(self._fit(spec, row.facts.uses_labels) for spec in row.specs)
        run_ids = tuple(spec.run_id for spec in specs)
        runs = [run for run_id in run_ids if (run := self._snapshot.run(run_id)) is not None]
        past = [record for run in runs for record in run.evaluations.values()]
        name = {view.view_id: self._view(view, past) for view in views}
        protocols = tuple(_renamed(protocol, name) for protocol in row.protocols)
        return replace(row, specs=specs, run_ids=run_ids, protocols=protocols)

    def _fit(self, spec: FitSpec, uses_labels: bool) -> FitSpec:
        written = as_written(spec)
        if not has_own(written):
            return spec
        content = self._content_of(spec, uses_labels)
        fresh = _called(spec, content)
        found = self._recorded(fresh, fit_parts(as_written(fresh), content))
        if found is not None:
            return _called_as(spec, found.written)
        base = base_spec(fresh)
        if base is not None:  # whose stored fit is to be found under the name that it has
            stored = self._fit(base, method_facts(base.method).uses_labels)
            fresh = fresh.model_copy(update={"data": stored.data, "backbone": stored.backbone})
        # What the store has under the name of this content is another run, edited since: its records stay.
        return next(one for one in _fresh_fits(fresh) if one.run_id not in self._snapshot.known)

    def _recorded(self, fresh: FitSpec, today: list[OwnPart]) -> PastOwnRun | None:
        """The run of the store that a fit is, if any; the newest of the same content, else of the same place."""
        found: dict[Relation, list[PastOwnRun]] = defaultdict(list)
        alike = self._past[fit_kind(as_written(fresh))]
        for run in alike:
            kind = relation(run.parts(), today)
            if kind == "same" or (kind == "edited" and not (self._anew and run.status in _ENDED)):
                found[kind].append(run)
        best = found["same"] or found["edited"]  # content before place
        if not best:
            self.alike |= {fresh.run_id: alike[-1].run_id} if alike else {}
            return None
        # Results first; of several, the one whose id needs no further name, then the newest.
        return max(best, key=lambda run: (run.status in _ENDED, run.run_id == fresh.run_id, run.finished))

    @cached_property
    def _past(self) -> Mapping[str, list[PastOwnRun]]:
        found: dict[str, list[PastOwnRun]] = defaultdict(list)
        for run in past_own_runs(self._snapshot):
            found[fit_kind(run.written)].append(run)
        return found

    def _view(self, view: View, past: Sequence[RecordedEvaluation]) -> View:
        if not is_own_data(view.dataset):
            return view
        content = self._data_content(view.dataset, view.split, labels=view.names is None)
        fresh = view.model_copy(update={"known_as": _data_name(view.dataset, content)})
        today, kind = [view_part(as_written(fresh), content)], view_kind(as_written(fresh))
        found: dict[Relation, list[RecordedEvaluation]] = defaultdict(list)
        for record in past:
            written = as_written(record.view)
            if not is_own_data(record.dataset) or view_kind(written) != kind:  # another way of looking
                continue
            seen = Content(None, record.data_digest or None, record.label_files)
            how = relation([view_part(written, seen)], today)
            if how == "same" or (how == "edited" and not (self._anew and record.status in _ENDED)):
                found[how].append(record)
        if best := found["same"] or found["edited"]:
            return view.model_copy(update={"known_as": _recorded_name(as_written(best[-1].view), "dataset")})
        taken = {_view_of(record).view_id for record in past}
        further = (view.model_copy(update={"known_as": name}) for name in _further(fresh.known_as))
        return next(one for one in further if one.view_id not in taken)

    def _content_of(self, spec: FitSpec, uses_labels: bool) -> Content:
        data = spec.data
        content = Content(None, "", "")
        if is_own_data(data.dataset):
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
    if is_own_data(data.dataset):
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
    own = is_own_data(written[key]) if key == "dataset" else is_path(written[key])
    return str(written.get("known_as") or (written[key] if own else ""))


def _view_of(record: RecordedEvaluation) -> View:
    return record.view if isinstance(record.view, View) else View.model_validate(record.view)


def _fresh_fits(fresh: FitSpec) -> Iterator[FitSpec]:
    """A fit under the name that its content gives, then under further ones."""
    if is_path(fresh.method):
        return (fresh.model_copy(update={"known_as": name}) for name in _further(fresh.known_as))
    if not is_own_data(fresh.data.dataset):
        further = (fresh.backbone.model_copy(update={"known_as": name}) for name in _further(fresh.backbone.known_as))
        return (fresh.model_copy(update={"backbone": one}) for one in further)
    data = (fresh.data.model_copy(update={"known_as": name}) for name in _further(fresh.data.known_as))
    return (fresh.model_copy(update={"data": one}) for one in data)


def _further(name: str) -> Iterator[str]:
    """A name, then names for what is not what the store has under it: made at another place, or edited since."""
    return itertools.chain([name], (f"{name}~{number}" for number in itertools.count(2)))


def _renamed(protocol: Protocol, name: Mapping[str, View]) -> Protocol:
    views = {key: getattr(protocol, key) for key in ("view", "fit_view", "name_view")}
    return protocol.model_copy(update={key: view and name[view.view_id] for key, view in views.items()})


# What the own parts of fits and views consist of, and what a store has of them.


@dataclass(frozen=True)
class Content:
    """What the parts of a user's own consist of, as far as known.

    Attributes:
        code: file -> fingerprint of own files: the method's, the data set's and the backbone's.
        images: digest of the images.
        labels: digest of the labels; empty where none are looked at.
    """

    code: Mapping[str, str] | None
    images: str | None
    labels: str | None


@dataclass(frozen=True)
class OwnPart:
    """One own part of a fit or view: what it is called, where it lies, what it consists of.

    Attributes:
        known_as: its name in identities; empty in records of earlier releases, whose identities had the path.
        place: its path as it was given.
        contents: one value for each thing that it consists of; None where that is not known.
        is_code: whether it is a method or a backbone; else a data set.
    """

    known_as: str
    place: str
    contents: tuple[object, ...]
    is_code: bool = False

    def relation(self, today: OwnPart) -> tuple[bool, bool, bool]:
        """Whether all of it, any of it, and its place are those of today's part."""
        if None in self.contents:  # ordered, or failed early: its name is what tells
            same = bool(self.known_as) and self.known_as == today.known_as
            return same, same, self._lies_at(today.place)
        pairs = [self._same(one, other) for one, other in zip(self.contents, today.contents, strict=True)]
        told = [same for same, one in zip(pairs, self.contents, strict=True) if one]  # no labels on both sides: nothing
        return all(pairs), any(told), self._lies_at(today.place)

    def _same(self, one: object, other: object) -> bool:
        if isinstance(one, str) and isinstance(other, str):
            return same_files(one, other)
        if self.known_as or not isinstance(one, dict) or not isinstance(other, dict):
            return one == other
        return bool(one) and one.items() <= other.items()  # earlier releases knew of no file but the method's own

    def _lies_at(self, place: str) -> bool:
        if self.known_as or self.place == place:
            return self.place == place
        # Earlier releases kept the path as the grid had it, often relative to a folder that nobody knows.
        path, other = (PurePath(name.removeprefix(FOLDER).partition(".py:")[0]) for name in (place, self.place))
        return not other.is_absolute() and path.parts[-len(other.parts) :] == other.parts


def relation(past: list[OwnPart], today: list[OwnPart]) -> Relation | None:
    """Whether something recorded is what is asked for today: ``same`` content, or the same place ``edited`` since.

    A record of an earlier release is known by its path only where it saw some of today's images or labels: the same
    method file may lie in many projects.
    """
    found = [one.relation(other) for one, other in zip(past, today, strict=True)]
    if all(same for same, _, _ in found):
        return "same"
    if not all(same or there for same, _, there in found):
        return None
    earlier = any(not part.known_as for part in past)
    seen = [some for part, (_, some, _) in zip(past, found, strict=True) if not part.is_code]
    return "edited" if not earlier or any(seen) else None


@dataclass(frozen=True)
class PastOwnRun:
    """A run in a store with parts of a user's own.

    Attributes:
        run_id: its id.
        written: its specification as plain values.
        status: of its fit; ``ordered`` where that has no record.
        finished: when, UTC.
        content: of what it was fitted on, and the method.
        evaluations: its evaluations.
    """

    run_id: str
    written: Mapping[str, Any]
    status: str
    finished: str
    content: Content
    evaluations: tuple[RecordedEvaluation, ...] = ()

    def parts(self) -> list[OwnPart]:
        """Its own parts, in the order of ``fit_parts``."""
        return fit_parts(self.written, self.content)


def fit_parts(written: Mapping[str, Any], content: Content) -> list[OwnPart]:
    """The own parts of a fit as plain values: its method, its data set, its backbone; those that are a user's own."""
    method, data, backbone = str(written["method"]), written["data"], written["backbone"]
    parts = []
    if is_path(method):
        parts.append(OwnPart(str(written.get("known_as", "")), method, (_portable(content.code, written),), True))
    if is_own_data(data["dataset"]):
        parts.append(OwnPart(str(data.get("known_as", "")), data["dataset"], (content.images, content.labels)))
    if is_path(backbone["name"]):
        code = None if content.code is None else own_code(content.code)
        parts.append(OwnPart(str(backbone.get("known_as", "")), backbone["name"], (code,), True))
    return parts


def view_part(written: Mapping[str, Any], content: Content) -> OwnPart:
    """The data set of a view as plain values, which is a user's own."""
    return OwnPart(str(written.get("known_as", "")), written["dataset"], (content.images, content.labels))


def has_own(written: Mapping[str, Any]) -> bool:
    """Whether a fit as plain values has parts of a user's own."""
    own_code = is_path(str(written["method"])) or is_path(written["backbone"]["name"])
    return own_code or is_own_data(written["data"]["dataset"])


def fit_kind(written: Mapping[str, Any]) -> str:
    """What fits have in common that differ in nothing but the content and the place of own parts."""
    data, backbone = {**written["data"]}, {**written["backbone"]}
    backbone["name"] = own_name(backbone["name"])
    kind = {**written, "method": own_name(written["method"]), "data": data, "backbone": backbone}
    for part in (kind, data, backbone):
        part.pop("known_as", None)
    if is_own_data(data["dataset"]):
        data["dataset"] = "own"
    return digest(kind)


def view_kind(written: Mapping[str, Any]) -> str:
    """The same for views."""
    kind = {**written, "dataset": "own"}
    kind.pop("known_as", None)
    return digest(kind)


def as_written(spec: Any) -> Mapping[str, Any]:
    """A specification as plain values."""
    return spec.model_dump(mode="json") if isinstance(spec, BaseModel) else spec


def own_code(code: Mapping[str, str]) -> dict[str, str]:
    """What of a fingerprint is of a user's own files."""
    return {name: hashed for name, hashed in code.items() if is_own_code(name)}


def past_own_runs(snapshot: Snapshot) -> Iterator[PastOwnRun]:
    """The runs with own parts that a store has records or orders of."""
    for past in snapshot.past:
        written = as_written(past.fit.spec)
        if has_own(written) or any(is_own_data(record.dataset) for record in past.evaluations.values()):
            fit = past.fit
            labels = fit.label_files if fit.uses_labels else ""
            content = Content(fit.code or None, fit.data_digest or None, labels)
            evaluations = tuple(past.evaluations.values())
            yield PastOwnRun(past.run_id, written, fit.status, fit.finished, content, evaluations)
    if snapshot.store is None:
        return
    # Ordered runs too: between order and record, a second launch must find the same ids.
    for run_id in sorted(snapshot.known):
        if snapshot.run(run_id) is None and (found := _ordered(snapshot.store, run_id)) is not None:
            yield found


def _ordered(store: Store, run_id: str) -> PastOwnRun | None:
    """A run that has no record, from the newest order of it."""
    orders = order_files(store.run_folder(run_id))
    if not orders:
        return None
    try:
        order = read_order(max(orders, key=lambda path: path.stat().st_mtime_ns))
    except ConfigError:
        return None
    return PastOwnRun(run_id, as_written(order.spec), "ordered", "", Content(None, None, None))


def _portable(code: Mapping[str, str] | None, written: Mapping[str, Any]) -> object:
    if code is None:
        return None
    own = own_code(code)
    # Earlier releases knew the method file alone, by its path as the grid had it.
    return own if written.get("known_as") else {PurePath(name).name: hashed for name, hashed in own.items()}
