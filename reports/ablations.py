"""Ablations: which rows vary which baseline, and by how much they differ from it, paired by seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spectral_bench.reports.cells import Metric, seed_values
from spectral_bench.reports.rows import ScoredRow
from spectral_bench.reports.settings import value_text
from spectral_bench.results.statistics import PairedDifference, holm, paired_difference, without_claim


@dataclass(frozen=True)
class Ablation:
    """A baseline and its variations, as (baseline, row) pairs under one protocol after the other, baselines first."""

    grid: str
    pairs: tuple[tuple[ScoredRow, ScoredRow], ...]


def ablations(entries: Sequence[ScoredRow]) -> list[Ablation]:
    """The ablations in some entries. A baseline's variations follow it in its grid."""
    blocks: list[list[ScoredRow]] = []
    for entry in entries:
        if entry.row.role == "baseline" and not (blocks and blocks[-1][0].row is entry.row):
            blocks.append([])
        if entry.row.role != "row" and blocks:
            blocks[-1].append(entry)
    return [Ablation(block[0].grid, tuple(_pairs(block))) for block in blocks if block[-1].row.role == "variation"]


@dataclass(frozen=True)
class Compared:
    """The differences of an ablation, by position among its pairs and metric.

    Attributes:
        differences: row minus baseline in points of per cent; None where they share no seed. Baselines have none, nor
            have rows that saw other data or were scored otherwise.
        p: their p values, corrected over all differences of the ablation by Holm's method.
    """

    differences: dict[tuple[int, str], PairedDifference | None]
    p: dict[tuple[int, str], float]


def compare(ablation: Ablation, metrics: Mapping[str, Metric]) -> Compared:
    """Compare each row of an ablation with its baseline in some metrics."""
    differences = {
        (index, key): _difference(entry, baseline, metric)
        for index, (baseline, entry) in enumerate(ablation.pairs)
        if entry is not baseline and entry.protocol == baseline.protocol and entry.versions == baseline.versions
        for key, metric in metrics.items()
    }
    p = {key: found.p for key, found in differences.items() if found is not None and found.p is not None}
    return Compared(differences, holm(p))


def _difference(entry: ScoredRow, baseline: ScoredRow, metric: Metric) -> PairedDifference | None:
    found = paired_difference(seed_values(entry, metric), seed_values(baseline, metric))
    return found if entry.replicated and baseline.replicated else without_claim(found)


def _pairs(block: Sequence[ScoredRow]) -> Iterator[tuple[ScoredRow, ScoredRow]]:
    baselines = {entry.scored_as: entry for entry in block if entry.row.role == "baseline"}
    for scored_as, baseline in baselines.items():
        yield from ((baseline, entry) for entry in block if entry.scored_as == scored_as)


def baseline_value(baseline: ScoredRow, factor: str, variations: Sequence[ScoredRow] = ()) -> Any:
    """The baseline's own value of a factor, stated or by default; None where nothing tells, ``"null"`` for a null.

    The grid tells it with each variation. Manifests of schema 1 do not: there it is the parameter of the fits, which
    leave some out at their defaults, or what the grid states.

    Args:
        baseline: the baseline.
        factor: a key, or several, joined by commas; then the value is a list.
        variations: rows that vary it.
    """
    told = next((entry.row.baseline for entry in variations if entry.row.baseline is not None), None)
    if told is not None:
        value = told[0] if len(told) == 1 else told
        return "null" if value is None else value
    for result in baseline.seeds:
        if result.fit is not None and factor in result.fit.spec.params:
            return result.fit.spec.params[factor]
    stated = baseline.row.settings
    return stated.get(factor, stated.get("params", {}).get(factor) if isinstance(stated.get("params"), dict) else None)


def baseline_texts(ablation: Ablation) -> dict[str, str]:
    """Factor -> the baseline's own value of it, in the order of the table; those that nothing tells are left out."""
    found: dict[str, str] = {}
    for baseline, entry in ablation.pairs:
        factor = entry.row.factor or ""
        value = None if entry is baseline else baseline_value(baseline, factor, [entry])
        if value is not None:
            found.setdefault(factor, value_text(value))
    return found
