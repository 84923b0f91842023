"""Why two rows cannot be compared, and what else is unlike about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spectral_bench.common.digests import apart
from spectral_bench.common.names import few
from spectral_bench.reports.hardware import entry_hardware
from spectral_bench.reports.rows import ScoredRow, SeedResult
from spectral_bench.results.class_lists import same_classes
from spectral_bench.results.record import files_seen
from spectral_bench.results.specification import identity_form, own_name, view_form

_LISTED = 4

_VIEWS = ("view", "fit_view", "name_view")


def score_blockers(a: ScoredRow, b: ScoredRow) -> list[str]:
    """Why the scores of two rows cannot be compared; empty where they can."""
    found = []
    fields = _differing(_scored_as(a), _scored_as(b))
    if fields:
        found.append(f"protocol: {few(fields, _LISTED)} differ")
    if a.class_table is not None and b.class_table is not None and not same_classes(a.class_table, b.class_table):
        found.append("protocol: the classes differ")
    if not fields:
        pairs = ((what, _digests(a, what), _digests(b, what)) for what in ("images", "labels"))
        found += [f"data: evaluated on other {what}" for what, one, two in pairs if _others(one, two)]
    return [*found, *_seed_blockers(a, b)]


def cost_blockers(a: ScoredRow, b: ScoredRow) -> list[str]:
    """Why time and memory of two rows cannot be compared; empty where they can."""
    here, there = entry_hardware(a), entry_hardware(b)
    found = [] if here == there and here is not None else [_hardware(here, there)]
    return [*found, *_seed_blockers(a, b)]


def remarks(a: ScoredRow, b: ScoredRow) -> list[str]:
    """What is unlike about two rows without making their scores incomparable: configuration, code, hardware, seeds."""
    found = []
    if settings := _differing(_configuration(a), _configuration(b)):
        found.append(f"configuration: {few(settings, _LISTED)} differ")
    if modules := code_changes(a, b):
        found.append(f"code: {few(modules, _LISTED)} differ")
    if relisted := [name for name, entry in (("A", a), ("B", b)) if any(result.relisted for result in entry.done)]:
        found.append(f"classes: {' and '.join(relisted)} scored over today's list, edited after the evaluation")
    here, there = entry_hardware(a), entry_hardware(b)
    if here != there:
        found.append(_hardware(here, there))
    for name, entry, other in (("A", a, b), ("B", b, a)):
        alone = sorted(_seeds(entry) - _seeds(other))
        if alone and _seeds(other):
            found.append(f"seeds only in {name}: {few([str(seed) for seed in alone], _LISTED)}")
    return found


def code_changes(a: ScoredRow, b: ScoredRow) -> list[str]:
    """The modules whose fingerprints differ between the records of two rows, over the seeds that both have."""
    others = {result.seed: result for result in b.done}
    modules: set[str] = set()
    for result in a.done:
        if result.seed in others:
            modules.update(_differing(_code(result), _code(others[result.seed])))
    return sorted(modules)


def _hardware(a: str | None, b: str | None) -> str:
    return f"hardware: {a or 'unknown'} in A, {b or 'unknown'} in B"


def _seed_blockers(a: ScoredRow, b: ScoredRow) -> list[str]:
    if not _seeds(a) or not _seeds(b):
        return []  # a state and no number: told by the comparison itself
    return [] if _seeds(a) & _seeds(b) else ["seeds: none in common"]


def _seeds(entry: ScoredRow) -> set[int]:
    return {result.seed for result in entry.done}


def _code(result: SeedResult) -> dict[str, str]:
    records = (result.fit, result.evaluation)
    return {name: digest for record in records if record is not None for name, digest in record.code.items()}


def _digests(entry: ScoredRow, what: str) -> set[str]:
    seen = (files_seen(result.evaluation) for result in entry.done if result.evaluation is not None)
    return {digests[what] for digests in seen if what in digests}


def _others(one: set[str], two: set[str]) -> bool:
    """Whether digests of what two rows saw show that one of them saw files that the other did not."""
    unmatched = [a for a in one if all(apart(a, b) for b in two)] + [b for b in two if all(apart(a, b) for a in one)]
    return bool(one and two and unmatched)


def _scored_as(entry: ScoredRow) -> dict[str, Any]:
    """How a row is looked at and scored. A data set of one's own is told by what was seen of it, not by its place."""
    written = entry.protocol.model_dump(mode="json", exclude={"name"})
    written |= {part: view_form(written[part]) for part in _VIEWS if written.get(part) is not None}
    for part in _VIEWS:
        (written.get(part) or {}).pop("features", None)  # told by the fit
    (written["scoring"].get("names") or {}).pop("text", None)  # told by its digest
    if ":" in entry.protocol.view.dataset and _digests(entry, "images"):
        written["view"]["dataset"] = "own"
    return _flat(written)


def _configuration(entry: ScoredRow) -> dict[str, Any]:
    for result in entry.seeds:
        if result.fit is not None:
            spec = result.fit.spec
            # Whether a file of the user's own was edited is told by its fingerprint.
            form = {**identity_form(spec.model_dump(mode="json")), "method": own_name(spec.method)}
            return _flat({key: value for key, value in form.items() if key != "seed"})
    return {}


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by dots."""
    out: dict[str, Any] = {}
    for key, part in value.items():
        out |= _flat(part, f"{prefix}{key}.") if isinstance(part, Mapping) and part else {f"{prefix}{key}": part}
    return out


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    if not one or not other:
        return []
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
