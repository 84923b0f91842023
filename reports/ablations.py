"""Ablations: which rows vary which baseline, and by how much they differ from it, paired by seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from spectral_bench.reports.cells import Metric, seed_values
from spectral_bench.reports.collect import Entry
from spectral_bench.results.statistics import PairedDifference, holm, paired_difference


@dataclass(frozen=True)
class Ablation:
    """A baseline and its variations, as (baseline, row) pairs under one protocol after the other, baselines first."""

    grid: str
    pairs: tuple[tuple[Entry, Entry], ...]


def ablations(entries: Sequence[Entry]) -> list[Ablation]:
    """The ablations in some entries. A baseline's variations follow it in its grid."""
    blocks: list[list[Entry]] = []
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
        (index, key): paired_difference(seed_values(entry, metric), seed_values(baseline, metric))
        for index, (baseline, entry) in enumerate(ablation.pairs)
        if entry is not baseline and entry.protocol == baseline.protocol and entry.versions == baseline.versions
        for key, metric in metrics.items()
    }
    p = {key: found.p for key, found in differences.items() if found is not None and found.p is not None}
    return Compared(differences, holm(p))


def _pairs(block: Sequence[Entry]) -> Iterator[tuple[Entry, Entry]]:
    baselines = {entry.protocol.name: entry for entry in block if entry.row.role == "baseline"}
    for name, baseline in baselines.items():
        yield from ((baseline, entry) for entry in block if entry.protocol.name == name)
