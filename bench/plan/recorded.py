"""Runs of a store that were made of a user's own files, ready to be compared with what a grid asks for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from pydantic import BaseModel

from spectral_bench.bench.code.fingerprint import is_own_file as is_own_code
from spectral_bench.bench.order import order_files
from spectral_bench.bench.outstanding import read_order
from spectral_bench.bench.plan.held import same_files
from spectral_bench.bench.plan.snapshot import RecordedEvaluation, Snapshot
from spectral_bench.common.errors import ConfigError
from spectral_bench.common.registry import is_path
from spectral_bench.datasets.registry import FOLDER
from spectral_bench.datasets.registry import is_own as is_own_data
from spectral_bench.results.identity import digest
from spectral_bench.results.specification import own_name
from spectral_bench.results.store import Store

Relation = Literal["same", "edited"]


@dataclass(frozen=True)
class Content:
    """What the parts of a user's own consist of, as far as known.

    Attributes:
        code: file -> fingerprint of the method's (and data set's) own files.
        images: digest of the images.
        labels: digest of the labels; empty where none are looked at.
    """

    code: Mapping[str, str] | None
    images: str | None
    labels: str | None


@dataclass(frozen=True)
class Part:
    """One own part of a fit or view: what it is called, where it lies, what it consists of.

    Attributes:
        known_as: its name in identities; empty in records of earlier releases, whose identities had the path.
        place: its path as it was given.
        contents: one value for each thing that it consists of; None where that is not known.
        is_method: whether it is a method; else a data set.
    """

    known_as: str
    place: str
    contents: tuple[object, ...]
    is_method: bool = False

    def relation(self, today: Part) -> tuple[bool, bool, bool]:
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


def relation(past: list[Part], today: list[Part]) -> Relation | None:
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
    seen = [some for part, (_, some, _) in zip(past, found, strict=True) if not part.is_method]
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

    def parts(self) -> list[Part]:
        """Its own parts, in the order of ``fit_parts``."""
        return fit_parts(self.written, self.content)


def fit_parts(written: Mapping[str, Any], content: Content) -> list[Part]:
    """The own parts of a fit as plain values: its method, its data set; those that are a user's own."""
    method, data = str(written["method"]), written["data"]
    parts = []
    if is_path(method):
        parts.append(Part(str(written.get("known_as", "")), method, (_portable(content.code, written),), True))
    if is_own_data(data["dataset"]):
        parts.append(Part(str(data.get("known_as", "")), data["dataset"], (content.images, content.labels)))
    return parts


def view_part(written: Mapping[str, Any], content: Content) -> Part:
    """The data set of a view as plain values, which is a user's own."""
    return Part(str(written.get("known_as", "")), written["dataset"], (content.images, content.labels))


def has_own(written: Mapping[str, Any]) -> bool:
    """Whether a fit as plain values has parts of a user's own."""
    return is_path(str(written["method"])) or is_own_data(written["data"]["dataset"])


def fit_kind(written: Mapping[str, Any]) -> str:
    """What fits have in common that differ in nothing but the content and the place of own parts."""
    data = {**written["data"]}
    kind = {**written, "method": own_name(written["method"]), "data": data}
    kind.pop("known_as", None)
    data.pop("known_as", None)
    if is_own_data(data["dataset"]):
        data["dataset"] = "own"
    return digest(kind)


def view_kind(written: Mapping[str, Any]) -> str:
    """The same for views."""
    kind = {**written, "dataset": "own"}
    kind.pop("known_as", None)
    return digest(kind)


def plain(spec: Any) -> Mapping[str, Any]:
    """A specification as plain values."""
    return spec.model_dump(mode="json") if isinstance(spec, BaseModel) else spec


def own_code(code: Mapping[str, str]) -> dict[str, str]:
    """What of a fingerprint is of a user's own files."""
    return {name: hashed for name, hashed in code.items() if is_own_code(name)}


def past_own_runs(snapshot: Snapshot) -> Iterator[PastOwnRun]:
    """The runs with own parts that a store has records or orders of."""
    for past in snapshot.past:
        written = plain(past.fit.spec)
        if has_own(written) or any(is_own_data(record.dataset) for record in past.evaluations.values()):
            fit = past.fit
            labels = fit.label_files if fit.uses_labels else ""
            content = Content(fit.code or None, fit.data_digest or None, labels)
            evaluations = tuple(past.evaluations.values())
            yield PastOwnRun(past.run_id, written, fit.status, fit.finished, content, evaluations)
    if snapshot.store is None:
        return
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
    return PastOwnRun(run_id, plain(order.spec), "ordered", "", Content(None, None, None))


def _portable(code: Mapping[str, str] | None, written: Mapping[str, Any]) -> object:
    """The own files of a fingerprint. Earlier releases knew the method file alone, by its path as the grid had it."""
    if code is None:
        return None
    own = own_code(code)
    return own if written.get("known_as") else {PurePath(name).name: hashed for name, hashed in own.items()}
