"""The facts at the head of the page: what was run, on what, and what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from spectral_bench.reports.hardware import hardware
from spectral_bench.reports.rows import ScoredRow, SeedResult
from spectral_bench.results.record import StageCost

_NAMED = 2  # names that a fact lists before it counts


def facts(entries: Sequence[ScoredRow]) -> list[tuple[str, str]]:
    """Pairs of a word and a value, for people; what no record tells is left out."""
    results = {(result.run_id, entry.protocol.name): result for entry in entries for result in entry.seeds}
    seeds = sorted({len(entry.done) for entry in entries})
    pairs = [
        ("configurations", str(len({(entry.row.title, entry.all_runs) for entry in entries}))),
        ("seeds a row", str(seeds[0]) if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"),
        ("data", _named(entry.data_title for entry in entries)),
        ("backbones", _named(entry.row.backbone for entry in entries)),
        ("protocols", _named(entry.protocol.name for entry in entries)),
        ("hardware", _named(filter(None, (hardware(r.fit) for r in results.values() if r.fit is not None)))),
        ("computed", _duration(sum(cost.wall_s for cost in _paid(results.values())))),
    ]
    return [(word, value) for word, value in pairs if value]


def _named(names: Iterable[str]) -> str:
    found = list(dict.fromkeys(names))
    return ", ".join(found) if len(found) <= _NAMED else f"{', '.join(found[:_NAMED])} and {len(found) - _NAMED} more"


def _paid(results: Iterable[SeedResult]) -> list[StageCost]:
    """The stages of each fit and evaluation once, those that another run had paid for left out."""
    records = {
        (record.run_id, getattr(record, "view_id", "")): record
        for result in results
        for record in (result.fit, result.evaluation)
        if record is not None
    }
    return [cost for record in records.values() for cost in record.costs if not cost.reused]


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds else ""
    return f"{seconds / 60:.0f} min" if seconds < 2 * 3600 else f"{seconds / 3600:,.1f} h"
